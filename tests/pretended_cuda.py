"""An onnxruntime with a CUDA provider whose GPU is the computer's own memory: what is copied, bound and waited for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnxruntime
import pytest
from chiasm.runtime.backends import _ort_cuda, ort

CALLS: Counter[str] = Counter()
"""How often tensors were copied ("in", "out") or bound, and how often somebody waited."""
OPENED: list[dict[str, str]] = []
"""The provider's options of each session."""


class _Value:
    def __init__(self, value: Any) -> None:
        self.real = value

    def update_inplace(self, array: np.ndarray) -> None:
        CALLS["in"] += 1
        self.real.update_inplace(array)

    def numpy(self) -> np.ndarray:
        CALLS["out"] += 1
        return np.array(self.real.numpy())


class _OrtValue:
    @staticmethod
    def ortvalue_from_shape_and_type(shape: Sequence[int], dtype: Any, device: str, index: int) -> _Value:
        assert (device, index) == ("cuda", 0)
        return _Value(onnxruntime.OrtValue.ortvalue_from_shape_and_type(shape, dtype, "cpu", 0))


class _Binding:
    """Runs that are not waited for are done when somebody waits."""

    def __init__(self, real: Any) -> None:
        self.real = real
        self.later: list[Any] = []

    def bind_ortvalue_input(self, name: str, value: _Value) -> None:
        CALLS["bind"] += 1
        self.real.bind_ortvalue_input(name, value.real)

    def bind_ortvalue_output(self, name: str, value: _Value) -> None:
        self.real.bind_ortvalue_output(name, value.real)

    def synchronize_outputs(self) -> None:
        CALLS["wait"] += 1
        while self.later:
            self.later.pop(0)()


class _Session:
    providers: tuple[str, ...] = (_ort_cuda.PROVIDER, "CPUExecutionProvider")

    def __init__(self, proto: bytes, settings: Any, providers: Sequence[Any]) -> None:
        (name, options), cpu = providers
        assert (name, cpu) == self.providers or len(self.providers) == 1
        OPENED.append(options)
        self.real = onnxruntime.InferenceSession(proto, settings, providers=["CPUExecutionProvider"])

    def get_providers(self) -> list[str]:
        return list(self.providers)

    def io_binding(self) -> _Binding:
        return _Binding(self.real.io_binding())

    def run_with_iobinding(self, binding: _Binding, options: Any) -> None:
        def work() -> None:
            self.real.run_with_iobinding(binding.real)

        key = "disable_synchronize_execution_providers"
        if options is not None and options.get_run_config_entry(key) == "1":
            binding.later.append(work)
        else:
            work()


class _OnTheCpu(_Session):
    providers = ("CPUExecutionProvider",)


class _Refused(_Session):
    def __init__(self, proto: bytes, settings: Any, providers: Sequence[Any]) -> None:
        OPENED.append(providers[0][1])
        raise RuntimeError("CUDA failure 35: CUDA driver version is insufficient\nmore lines")


class _Module:
    """onnxruntime, apart from what is replaced."""

    OrtValue = _OrtValue

    def __init__(self, session: type) -> None:
        self.InferenceSession = session
        self.arenas: list[tuple[str, dict[str, str]]] = []

    def create_and_register_allocator_v2(self, name: str, place: Any, options: dict[str, str], arena: Any) -> None:
        self.arenas.append((name, options))

    def __getattr__(self, name: str) -> Any:
        return getattr(onnxruntime, name)


def install(monkeypatch: pytest.MonkeyPatch, outcome: str = "gpu") -> Any:
    """Put it in place of the real one. `outcome` "cpu": the provider does not start; "refused": nothing opens."""
    module = _Module({"gpu": _Session, "cpu": _OnTheCpu, "refused": _Refused}[outcome])
    CALLS.clear()
    OPENED.clear()
    monkeypatch.setitem(ort.DEVICES, "cuda", lambda: None)
    real = _ort_cuda.CudaBackend.__init__

    def start(self: Any, given: Any, options: Any, settings: Any) -> None:
        real(self, module, options, settings)

    monkeypatch.setattr(_ort_cuda.CudaBackend, "__init__", start)
    monkeypatch.setattr(_ort_cuda, "_arenas", set())
    return module
