"""OpenVINO on the CPU, latency hint, with transformers' processors; FP32 arithmetic is asked for by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from .parts import HEAD, Arrays, example, graph, input_names
from .racer import AbsentError, Network, Racer, assembled
from .works import Work

NAME, NEEDS, PRECISION = "OpenVINO", ("openvino", "transformers"), "fp32"


def open_racer(work: Work, folder: Path, threads: int) -> Racer:
    """The racer in FP32."""
    return open_models(NAME, "fp32", work, folder, threads)


def open_models(name: str, precision: Literal["fp32", "int8"], work: Work, folder: Path, threads: int) -> Racer:
    """A racer of compiled models; in INT8 all but the little head that fuses."""
    import openvino

    core: Any = openvino.Core()
    settings = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}

    def part(name: str) -> Network:
        int8 = precision == "int8" and name != HEAD
        path = _nncf_model(core, work, name, folder) if int8 else graph(work, name, folder)
        compiled = core.compile_model(str(path), "CPU", settings)
        request = compiled.create_infer_request()
        known = {each.get_any_name() for each in compiled.inputs}
        names, count = input_names(work, name), len(compiled.outputs)

        def run(arrays: Arrays) -> Arrays:
            fed = {key: value for key, value in zip(names, arrays, strict=True) if key in known}
            request.infer(fed, share_inputs=True)
            return tuple(request.get_output_tensor(index).data for index in range(count))

        return run

    return assembled(name, precision, work, folder, part)


def _nncf_model(core: Any, work: Work, part: str, folder: Path) -> Path:
    """Post-training INT8 by NNCF with its preset for transformers, made once; AbsentError when NNCF cannot."""
    source = graph(work, part, folder)
    path = source.with_name(f"{source.stem}.nncf.xml")
    if path.exists():
        return path
    try:
        import nncf
    except Exception as error:  # it checks other packages' versions while it is imported
        raise AbsentError(f"NNCF cannot be imported: {type(error).__name__}: {error}") from error
    import openvino

    model = core.read_model(str(source))
    known = {each.get_any_name() for each in model.inputs}
    fed = [
        {key: value for key, value in zip(input_names(work, part), arrays, strict=True) if key in known}
        for arrays in example(work, part, folder, 6)
    ]
    made = nncf.quantize(model, nncf.Dataset(fed), model_type=nncf.ModelType.TRANSFORMER, subset_size=len(fed))
    openvino.save_model(made, str(path), compress_to_fp16=False)
    return path
