"""chiasm: the bundle through `chiasm.load`, each part in the precision that its export preferred here."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from .racer import Racer
from .works import DRAWN, RATE, Capture, Work

if TYPE_CHECKING:
    from ...runtime.pipeline import Pipeline

NAME, NEEDS, PRECISION = "chiasm", ("onnxruntime",), "auto"


def open_racer(work: Work, folder: Path, threads: int) -> Racer:
    """The racer with `precision="auto"`."""
    return open_bundle(NAME, "auto", work, folder, threads)


def open_bundle(name: str, precision: str, work: Work, folder: Path, threads: int) -> Racer:
    """A racer of the bundle. Every encoder runs on every step, but where a workload keeps captures, that of a text that
    has not changed. It is held to INT8's cosine when a part runs in INT8.
    """
    place = folder / f"{work.bundle}.chiasm"
    if work.network:
        return _network(name, precision, work, place, threads)
    from ...runtime.pipeline import load

    pipeline = load(place, precision=precision, threads=threads, cache=bool(work.kept))
    if work.pipeline:
        return _drawing(name, work, pipeline)
    chosen, one = dict(pipeline.precisions), work.encoders[0].modality
    run: Callable[[Any], NDArray[np.float32]] = (
        (lambda packets: pipeline(time_s=0.0, **packets).embedding) if work.fused
        else (lambda packets: pipeline.encode(time_s=0.0, **packets)[one])
    )  # fmt: skip
    return Racer(name, _held_to(chosen), _packets, run, {"precisions": chosen}, pipeline.close)


def _drawing(name: str, work: Work, pipeline: Pipeline) -> Racer:
    """The decoder, from words to the picture; its numbers around mid-grey are the answer."""

    def run(capture: Capture) -> NDArray[np.float32]:
        steps = pipeline.generate(text=capture["text"], steps=work.steps, seed=DRAWN, guidance=work.guidance)
        picture = deque(steps, maxlen=1).pop().picture
        assert picture is not None
        return picture.astype(np.float32).ravel() - 127.5

    chosen = dict(pipeline.precisions)
    return Racer(name, _held_to(chosen), lambda capture: capture, run, {"precisions": chosen}, pipeline.close)


def _held_to(precisions: dict[str, str]) -> Literal["fp32", "int8"]:
    return "int8" if any(each.startswith("int8") for each in precisions.values()) else "fp32"


def _packets(capture: Capture) -> dict[str, Any]:
    """A capture as new packets, as sources would stamp them."""
    from ...runtime.values import Packet

    return {name: Packet(name, value, 0.0, RATE if name == "audio" else None) for name, value in capture.items()}


def _network(name: str, precision: str, work: Work, place: Path, threads: int) -> Racer:
    """The encoder's session alone, on what the runtime prepares."""
    from ...runtime.backends import SessionOptions
    from ...runtime.bundle import open_bundle as read_bundle
    from ...runtime.preprocess.image import image_tensor
    from ...runtime.sessions import open_sessions

    bundle = read_bundle(place)
    modality: Any = bundle.modality(work.encoders[0].modality)
    sessions = open_sessions(bundle, "auto", precision, SessionOptions(threads=threads))
    session = sessions.get(modality.part)
    key, chosen = session.inputs[0].name, {modality.part: sessions.precisions[modality.part]}

    def run(feed: dict[str, NDArray[Any]]) -> NDArray[np.float32]:
        answer: NDArray[np.float32] = session.run(feed)["embedding"][0]
        return answer

    def prepare(capture: Capture) -> dict[str, NDArray[Any]]:
        return {key: image_tensor(capture[modality.name], modality)}

    return Racer(name, _held_to(chosen), prepare, run, {"precisions": chosen}, sessions.close)
