"""What the peers share: transformers' processors, the torch module of each part, and its ONNX graph.

A fresh process that runs a graph imports the processors, never the module: it stays a function to call.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .works import RATE, Encoder, Work, text_length

if TYPE_CHECKING:
    import torch

__all__ = ["HEAD", "Arrays", "example", "graph", "input_names", "int8_graph", "module", "processor"]

Arrays = tuple[NDArray[Any], ...]
HEAD = "head"
"""The part that fuses: gated fusion, hazard head, embedding."""

_INPUTS = {"image": ("pixel_values",), "text": ("input_ids", "attention_mask"), "audio": ("input_values",)}


def input_names(work: Work, part: str) -> tuple[str, ...]:
    """The names of a part's inputs."""
    return tuple(each.modality for each in work.encoders) if part == HEAD else _INPUTS[part]


def processor(encoder: Encoder, folder: Path) -> Callable[[Any], Arrays]:
    """A raw value → the network's inputs, by the checkpoint's own processor or tokenizer of transformers."""
    place = str(folder / encoder.model)
    if encoder.modality == "image":
        from transformers import AutoImageProcessor

        seen: Any = AutoImageProcessor.from_pretrained(place)
        return lambda frame: (np.asarray(seen(images=frame, return_tensors="np")["pixel_values"]),)
    if encoder.modality == "text":
        from transformers import AutoTokenizer

        words: Any = AutoTokenizer.from_pretrained(place)
        length = text_length(encoder, folder)

        def tokens(text: str) -> Arrays:
            made = words(text, padding="max_length", truncation=True, max_length=length, return_tensors="np")
            return np.asarray(made["input_ids"], np.int64), np.asarray(made["attention_mask"], np.int64)

        return tokens
    from transformers import AutoFeatureExtractor

    heard: Any = AutoFeatureExtractor.from_pretrained(place)
    return lambda sound: (np.asarray(heard(sound, sampling_rate=RATE, return_tensors="np")["input_values"]),)


def _encoder(work: Work, part: str) -> Encoder:
    return next(each for each in work.encoders if each.modality == part)


def module(work: Work, part: str, folder: Path) -> torch.nn.Module:
    """The torch module of a part, from the checkpoint by transformers' own classes; vectors (1, E) come out."""
    if part == HEAD:
        from .fusing import fused_head

        return fused_head(work, folder)
    import torch
    import transformers

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    encoder = _encoder(work, part)
    kind, answer = _CLASSES[encoder.family, part]
    model = getattr(transformers, kind).from_pretrained(str(folder / encoder.model)).eval()

    class Tower(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
            vector: torch.Tensor = answer(self.model(*inputs), *inputs[1:])
            return vector

    return Tower().eval()


def _image_embeds(out: Any) -> Any:
    return out.image_embeds


def _text_embeds(out: Any, mask: Any) -> Any:
    return out.text_embeds


def _mean_words(out: Any, mask: Any) -> Any:
    """The mean over what is no padding, as sentence encoders pool."""
    weight = mask[..., None].to(out.last_hidden_state.dtype)
    return (out.last_hidden_state * weight).sum(1) / weight.sum(1)


def _mean_sound(out: Any) -> Any:
    return out.last_hidden_state.mean(1)


_CLASSES: dict[tuple[str, str], tuple[str, Callable[..., Any]]] = {
    ("clip", "image"): ("CLIPVisionModelWithProjection", _image_embeds),
    ("clip", "text"): ("CLIPTextModelWithProjection", _text_embeds),
    ("bert", "text"): ("BertModel", _mean_words),
    ("wav2vec2", "audio"): ("Wav2Vec2Model", _mean_sound),
}


def example(work: Work, part: str, folder: Path, count: int = 1) -> list[Arrays]:
    """Inputs of a part, to export with or to set INT8 ranges from; none of them is raced."""
    from .works import captures

    size: Any = (folder / "size.txt").read_text()
    made = captures(work, count, size, seed=100)
    if part != HEAD:
        ready = processor(_encoder(work, part), folder)
        return [ready(each[part]) for each in made]
    import torch

    found = []
    for each in work.encoders:
        tower, ready = module(work, each.modality, folder), processor(each, folder)
        with torch.inference_mode():
            found.append([tower(*map(torch.from_numpy, ready(one[each.modality]))).numpy() for one in made])
    return list(zip(*found, strict=True))


def graph(work: Work, part: str, folder: Path) -> Path:
    """The part's ONNX graph by torch's own exporter, static shapes, made once."""
    place = folder / "peers"
    name = f"{work.bundle}-{part}" if part == HEAD else f"{_encoder(work, part).model}-{part}"
    path = place / f"{name}.onnx"
    if not path.exists():
        import torch

        place.mkdir(exist_ok=True)
        outputs = ["embedding", "hazard"] if part == HEAD else ["vector"]
        inputs = tuple(map(torch.from_numpy, example(work, part, folder)[0]))
        model = module(work, part, folder)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what torch's exporter says of itself
            torch.onnx.export(
                model, inputs, str(place / f"{name}.part.onnx"), dynamo=True, external_data=False,
                input_names=list(input_names(work, part)), output_names=outputs, verbose=False,
            )  # fmt: skip
        (place / f"{name}.part.onnx").replace(path)
    return path


def int8_graph(work: Work, part: str, folder: Path) -> Path:
    """The graph with dynamic INT8 by `onnxruntime.quantization`: its shape inference first, as its guide says; matrix
    products only, because dynamic INT8 convolutions are slow or missing. Without VNNI, 7 bits: 8 overflow there.
    """
    source = graph(work, part, folder)
    path = source.with_name(f"{source.stem}.int8.onnx")
    if not path.exists():
        from onnxruntime.quantization import QuantType, quantize_dynamic
        from onnxruntime.quantization.shape_inference import quant_pre_process

        ready = source.with_name(f"{source.stem}.ready.onnx")
        quant_pre_process(str(source), str(ready), skip_symbolic_shape=True)
        half = source.with_name(f"{source.stem}.part.int8.onnx")
        quantize_dynamic(
            str(ready), str(half), op_types_to_quantize=["MatMul", "Gemm"], weight_type=QuantType.QInt8,
            reduce_range=not _vnni(),
        )  # fmt: skip
        ready.unlink()
        half.replace(path)
    return path


def _vnni() -> bool:
    try:
        return "vnni" in Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
