"""Detection, on the text of real boards: see boards/README.md."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from chiasm.targets.detect import detect, match_host, release_of
from chiasm.targets.host import Gpu, Host, parse_gpus, read_host

BOARDS = Path(__file__).parent / "boards"
EXPECTED = {
    "orin-nano-devkit": ("jetson-orin-nano-8gb", "5.1.1", "nvidia,p3767-0003"),
    "orin-nano-super": ("jetson-orin-nano-8gb-super", "7.2.1", "p3767-0005-super"),
    "orin-nx-16gb": ("jetson-orin-nx-16gb", "6.2.1", "nvidia,p3767-0000, 15,656 MiB"),
    "orin-nx-super": ("jetson-orin-nx-16gb", None, "nvidia,p3767-0000"),
    "agx-orin-64gb": ("jetson-agx-orin-64gb", None, "nvidia,p3701-0005"),
    "agx-thor": ("jetson-thor", "7.0", "nvidia,p3834-0008"),
    "raspberry-pi-5": ("arm-cpu", None, "an aarch64 machine without an NVIDIA GPU"),
    "x86-l4": ("l4", None, "NVIDIA L4"),
    "x86-rtx-4090": ("rtx-4090", None, "NVIDIA GeForce RTX 4090"),
    "x86-rtx-5070": ("x86-cpu", None, "no target describes the GPU NVIDIA GeForce RTX 5070; an x86_64 machine"),
    "x86-epyc-virtual": ("x86-cpu", None, "an x86_64 machine without an NVIDIA GPU"),
}


def test_every_board_is_expected() -> None:
    assert set(EXPECTED) == {path.name for path in BOARDS.iterdir() if path.is_dir()}


@pytest.mark.parametrize("board", EXPECTED)
def test_boards_are_recognised(board: str) -> None:
    name, jetpack, why = EXPECTED[board]
    found = detect(BOARDS / board)
    assert found.target is not None
    assert found.target.name == name
    assert why in found.why
    release = release_of(found.host, found.target)
    assert (release.jetpack if release else None) == jetpack


def test_a_board_says_more_than_its_name() -> None:
    host = read_host(BOARDS / "orin-nano-super")
    assert (host.arch, host.l4t, host.jetson) == ("unknown", "39.2.1", True)
    assert host.memory_mib == 7486
    assert host.available_mib == pytest.approx(4.4 * 1024, abs=1)
    assert host.model == "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super"
    assert read_host(BOARDS / "raspberry-pi-5").arch == "aarch64"
    assert read_host(BOARDS / "x86-l4").gpus[0] == Gpu("NVIDIA L4", "8.9", 23034.0, "570.144")


def _jetson(*compatible: str, memory: float | None = None) -> Host:
    return Host("aarch64", "a board", compatible, None, (), False, memory, None)


@pytest.mark.parametrize(
    ("memory", "name"), [(30_000.0, "jetson-agx-orin-32gb"), (62_000.0, "jetson-agx-orin-64gb"), (9000.0, None)]
)
def test_memory_tells_boards_of_one_name_apart(memory: float, name: str | None) -> None:
    found = match_host(_jetson("nvidia,p3737-0000+p3701-0000", "nvidia,p3701-0000", "nvidia,tegra234", memory=memory))
    assert (found.target.name if found.target else None) == name


def test_what_no_target_describes() -> None:
    xavier = match_host(_jetson("nvidia,p3668-0001", "nvidia,tegra194"))
    assert xavier.target is None
    assert "no target is for the board a board" in xavier.why
    riscv = match_host(Host("riscv64", None, (), None, (), False, None, None))
    assert riscv.target is riscv.cpu is None
    assert riscv.why == "no target is for riscv64"


def test_a_gpu_whose_driver_does_not_answer(tmp_path: Path) -> None:
    for name, vendor in {"0000:00:1f.0": "0x8086", "0000:01:00.0": "0x10de"}.items():
        (tmp_path / "sys/bus/pci/devices" / name).mkdir(parents=True)
        (tmp_path / "sys/bus/pci/devices" / name / "vendor").write_text(vendor + "\n")
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cpuinfo").write_text("vendor_id\t: AuthenticAMD\n")
    found = detect(tmp_path)
    assert found.host.nvidia_pci
    assert found.target is not None
    assert found.target.name == "x86-cpu"
    assert "driver does not answer" in found.why


def test_cards_of_one_name_with_other_memory_are_others() -> None:
    small = Host("x86_64", None, (), None, (Gpu("NVIDIA GeForce RTX 3060", "8.6", 8192.0, "535"),), True, None, None)
    assert match_host(small).target is not None
    assert "no target describes" in match_host(small).why


def test_answers_of_nvidia_smi() -> None:
    assert parse_gpus("") == ()
    assert parse_gpus("NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.\n") == ()
    assert parse_gpus("Orin (nvgpu), [N/A], [N/A], 540.4.0\n") == (Gpu("Orin (nvgpu)", None, None, "540.4.0"),)


def test_this_machine_is_read_without_torch() -> None:
    code = "import sys; from chiasm.targets.detect import detect; detect(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_an_empty_tree_says_nothing(tmp_path: Path) -> None:
    host = read_host(tmp_path)
    assert host == Host("unknown", None, (), None, (), False, None, None)
    assert match_host(host).target is None
