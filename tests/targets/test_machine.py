from __future__ import annotations

import json
from pathlib import Path

from chiasm.targets import machine, packages
from chiasm.targets.machine import Machine

XEON = """processor : 0
model name : Intel(R) Xeon(R) Platinum 8488C
flags : fpu sse4_2 avx2 fma avx512f avx512_vnni made_up
"""
ORIN = """processor\t: 0
BogoMIPS\t: 62.50
Features\t: fp asimd asimddp i8mm
CPU part\t: 0xd42
"""


def _proc(folder: Path, cpuinfo: str, model: str | None = None) -> Path:
    (folder / "cpuinfo").write_text(cpuinfo)
    (folder / "meminfo").write_text("MemTotal:       8000000 kB\nMemFree: 1 kB\n")
    if model is not None:
        (folder / "device-tree").mkdir()
        (folder / "device-tree" / "model").write_text(model)
    return folder


def test_x86_is_read_from_proc(tmp_path: Path) -> None:
    found = machine(_proc(tmp_path, XEON))
    assert found.cpu == "Intel(R) Xeon(R) Platinum 8488C"
    assert found.isa == ("avx2", "avx512_vnni", "avx512f", "fma", "sse4_2")
    assert found.memory_bytes == 8_000_000 * 1024
    assert found.device is None


def test_a_jetson_names_itself_in_the_device_tree(tmp_path: Path) -> None:
    found = machine(_proc(tmp_path, ORIN, "NVIDIA Jetson Orin Nano Developer Kit\0"))
    assert found.device == "NVIDIA Jetson Orin Nano Developer Kit"
    assert found.isa == ("asimd", "asimddp", "i8mm")
    assert str(found).startswith("NVIDIA Jetson Orin Nano Developer Kit: ")


def test_without_proc_the_rest_is_still_known(tmp_path: Path) -> None:
    found = machine(tmp_path / "nowhere")
    assert found.cpu
    assert found.isa == ()
    assert 1 <= found.cores <= found.cores_in_all


def test_facts_are_plain_json() -> None:
    found = machine()
    assert isinstance(found, Machine)
    assert json.loads(json.dumps(found.to_dict()))["cores"] == found.cores


def test_packages_have_versions() -> None:
    found = packages()
    assert found["numpy"]
    assert found["chiasm"]
