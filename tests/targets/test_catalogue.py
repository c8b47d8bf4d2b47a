from __future__ import annotations

from pathlib import Path

import pytest
from chiasm.targets.catalogue import figures, find_target, read_target, releases, releases_of, targets
from chiasm.targets.schema import Figure, TargetError

NAMES = [
    "x86-cpu", "arm-cpu", "jetson-orin-nano-4gb", "jetson-orin-nano-8gb", "jetson-orin-nano-4gb-super",
    "jetson-orin-nano-8gb-super", "jetson-orin-nx-8gb", "jetson-orin-nx-16gb", "jetson-agx-orin-32gb",
    "jetson-agx-orin-64gb", "jetson-thor", "rtx-3060", "rtx-4060", "rtx-4090", "rtx-5090", "rtx-4060-laptop",
    "l4", "h200",
]  # fmt: skip
GOOD = """
title = "A card"
kind = "gpu"
about = "For a test."
compute_capability = { value = "8.6", source = "sheet" }
[memory]
shared = false
size_mib = { value = 8192, source = "sheet" }
bandwidth_gbs = { value = 300, source = "sheet" }
[rates]
fp16 = { value = 50, source = "sheet" }
[match]
gpu = ["A card"]
[sources]
sheet = "A sheet"
"""


def _read(folder: Path, text: str) -> str:
    path = folder / "card.toml"
    path.write_text(text)
    return read_target(path).name


def test_the_targets_that_were_promised() -> None:
    assert sorted(targets()) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_number_has_a_source(name: str) -> None:
    target = find_target(name)
    found = dict(figures(target))
    assert "memory.bandwidth_gbs" in found
    assert all(len(target.sources[figure.source]) > 15 for figure in found.values())
    halved = [each.note for each in found.values() if isinstance(each, Figure) and "halved" in each.note]
    assert all("sparse" in note for note in halved)


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_rate_is_said(name: str) -> None:
    target = find_target(name)
    words = " ".join(target.missing)
    for precision in ("fp32", "int8"):
        assert getattr(target.rates, precision) is not None or precision.upper() in words
    assert target.kind != "jetson" or target.dla is not None or "DLA" in words


def test_rates_stand_in_for_each_other_upwards() -> None:
    thor, nano, cpu = find_target("jetson-thor"), find_target("jetson-orin-nano-4gb"), find_target("x86-cpu")
    assert thor.rate("int8") == (517.0, "fp8")
    assert nano.rate("fp32") == (2.5, "tf32")
    assert nano.rate("fp8") == (10.0, "int8")
    assert cpu.rate("fp32") == (0.8448, "fp32")
    assert cpu.rate("fp16") == (3.3792, "int8")


def test_the_share_that_is_ours() -> None:
    nano = find_target("jetson-orin-nano-4gb")
    assert nano.usable_mib == 4096 - 585 - 1638
    assert nano.sm == 87
    assert find_target("rtx-5090").sm == 120
    assert find_target("x86-cpu").usable_mib is None
    assert find_target("x86-cpu").sm is None


@pytest.mark.parametrize(
    ("asked", "near"),
    [("jetson-orin-nano", "jetson-orin-nano-4gb"), ("Orin NX 16GB", "jetson-orin-nx-16gb"), ("rtx4090", "rtx-4090")],
)
def test_an_unknown_target_has_near_names(asked: str, near: str) -> None:
    with pytest.raises(TargetError, match="chiasm targets") as caught:
        find_target(asked)
    assert near in str(caught.value)
    assert repr(asked) in str(caught.value)


def test_a_good_file(tmp_path: Path) -> None:
    assert _read(tmp_path, GOOD) == "card"


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("[rates]", "[rate]", "unknown field `rate`"),
        ("value = 300", "value = -1", "memory.bandwidth_gbs is -1, expected more than 0"),
        ("value = 300", "value = 'fast'", "Expected `float`"),
        ('300, source = "sheet"', '300, source = "rumour"', "names the source 'rumour'"),
        ('300, source = "sheet"', "300", "missing required field `source`"),
        ('sheet = "A sheet"', 'sheet = "A sheet"\nother = "Another"', "has other, which nothing uses"),
        ('kind = "gpu"', 'kind = "tpu"', "Invalid enum value 'tpu'"),
        ('kind = "gpu"', 'kind = "cpu"', "a CPU has none"),
        ('kind = "gpu"', 'kind = "jetson"', "a Jetson has a soc"),
        ('gpu = ["A card"]', "", "no way to recognise it"),
        ("shared = false", 'shared = true\nsystem_mib = { value = 9000, source = "sheet" }', "-808 MiB are left"),
        ("[sources]", "[sources", "card.toml is not a description of a target"),
    ],
)
def test_a_bad_file_says_what_is_wrong(tmp_path: Path, old: str, new: str, words: str) -> None:
    with pytest.raises(TargetError) as caught:
        _read(tmp_path, GOOD.replace(old, new))
    assert words in str(caught.value)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="cannot be read"):
        read_target(tmp_path / "none.toml")


def test_jetpack_versions_pair() -> None:
    assert len({release.l4t for release in releases()}) == len(releases())
    orin, thor = releases_of(find_target("jetson-orin-nano-4gb")), releases_of(find_target("jetson-thor"))
    assert {release.tensorrt for release in orin if release.jetpack.startswith("6.2")} == {"10.3"}
    assert {release.jetpack for release in thor} == {"7.0", "7.1", "7.2", "7.2.1"}
    assert releases_of(find_target("rtx-4090")) == ()
