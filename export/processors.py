"""preprocessor_config.json → the manifest's constants: what an image processor of transformers does to a picture.

The PIL-backed processors of transformers 5 are the model: those are what a machine without torchvision runs, and their
resize is Pillow's. A key that would change pixels and is not understood here is an error that names it. What folds into
one scale, mean and std is folded: EfficientNet's offset of −1 is added to the mean, and its second division by the
standard deviation squares it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..runtime.errors import CheckpointError
from .hub import HubFolder

__all__ = ["PROCESSORS", "Processor", "class_of", "image_constants", "pixel_constants"]

_FILTERS = ("nearest", "lanczos", "bilinear", "bicubic", "area", "hamming")
"""By Pillow's number of the filter, which is what `resample` holds."""
_HALF = (0.5, 0.5, 0.5)
_CLIP_MEAN, _CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
_SILENT = frozenset({
    "image_processor_type", "feature_extractor_type", "processor_class", "do_convert_rgb", "device", "return_tensors",
    "disable_grouping", "image_seq_length", "do_reduce_labels", "_valid_processor_keys",
})  # fmt: skip
"""Keys that change nothing about the pixels of an RGB picture."""


@dataclass(frozen=True)
class Processor:
    """An image processor class of transformers: what holds where the file is silent, and which steps it has at all.

    `square`: a `size` that is one number means both edges, else the shorter one; `pads`: it heeds `do_pad`.
    """

    size: Mapping[str, int]
    resample: int = 3
    do_center_crop: bool = False
    crop_size: int | None = None
    square: bool = True
    mean: tuple[float, ...] = _HALF
    std: tuple[float, ...] = _HALF
    pads: bool = True
    own: tuple[str, ...] = ()

    def filled(self, found: Mapping[str, Any]) -> dict[str, Any]:
        """A file's keys over the class's own; null is as good as absent."""
        own = {"crop_pct": 224 / 256, "rescale_offset": False, "include_top": True}
        defaults = {
            "do_resize": True, "size": dict(self.size), "resample": self.resample, "do_rescale": True,
            "do_center_crop": self.do_center_crop, "crop_size": self.crop_size, "rescale_factor": 1 / 255,
            "do_normalize": True, "image_mean": self.mean, "image_std": self.std, "do_pad": False, "pad_size": None,
            "default_to_square": self.square, "data_format": "channels_first", **{key: own[key] for key in self.own},
        }  # fmt: skip
        given = {key: value for key, value in found.items() if value is not None and key not in _SILENT}
        unknown = [key for key, value in given.items() if key not in defaults and value is not False]
        if unknown:
            raise CheckpointError(
                "The image processor has a setting that chiasm does not know",
                found=", ".join(f"{key} = {given[key]!r}"[:80] for key in unknown),
                expected=", ".join(sorted(defaults)),
                fix="Take it out of the file if it changes no pixel of one RGB picture",
            )
        return defaults | {key: value for key, value in given.items() if key in defaults}


_BIT = Processor(
    {"shortest_edge": 224}, do_center_crop=True, crop_size=224, square=False, mean=_CLIP_MEAN, std=_CLIP_STD
)
PROCESSORS: Mapping[str, Processor] = {
    "BitImageProcessor": _BIT,
    "BlipImageProcessor": Processor({"height": 384, "width": 384}, mean=_CLIP_MEAN, std=_CLIP_STD),
    "CLIPImageProcessor": _BIT,
    "ConvNextImageProcessor": Processor({"shortest_edge": 384}, square=False, pads=False, own=("crop_pct",)),
    "EfficientNetImageProcessor": Processor(
        {"height": 346, "width": 346}, crop_size=289, pads=False, own=("rescale_offset", "include_top")
    ),
    "MobileNetV2ImageProcessor": Processor(
        {"shortest_edge": 256}, resample=2, do_center_crop=True, crop_size=224, square=False, pads=False
    ),
    "SiglipImageProcessor": Processor({"height": 224, "width": 224}, square=False),
    "ViTImageProcessor": Processor({"height": 224, "width": 224}, resample=2),
}
"""Class of transformers → what it does. Names with Fast or Pil at their end, or FeatureExtractor, mean the same."""
_OF_MODEL = {
    "align": "EfficientNet", "clip": "CLIP", "convnext": "ConvNext", "convnextv2": "ConvNext", "dinov2": "Bit",
    "efficientnet": "EfficientNet", "mobilenet_v2": "MobileNetV2", "resnet": "ConvNext", "siglip": "Siglip",
    "vit": "ViT",
}  # fmt: skip
"""The processor of a model whose file does not name one."""


def image_constants(folder: HubFolder) -> dict[str, Any]:
    """The pixel fields of an `ImageModality` for a checkpoint folder, from the file that transformers would read."""
    found, file = _read(folder)
    if "auto_map" in found:
        raise CheckpointError(
            f"{folder.path} asks for code of its own to be run", found=f"auto_map in {file}",
            expected="an image processor of transformers", fix="Such code is never run",
        )  # fmt: skip
    kind = class_of(found) or f"{_OF_MODEL.get(folder.model_type, folder.model_type)}ImageProcessor"
    if kind not in PROCESSORS:
        raise CheckpointError(
            f"{folder.path / file} names an image processor that chiasm does not know",
            found=class_of(found) or f"none, and model_type {folder.model_type!r}",
            expected=f"one of {', '.join(PROCESSORS)}",
            fix="A processor is one entry in export/processors.py",
        )
    try:
        return pixel_constants(PROCESSORS[kind], found)
    except CheckpointError as error:
        what = f"{folder.path / file}: {error.what[0].lower()}{error.what[1:]}"
        raise CheckpointError(what, found=error.found, expected=error.expected, fix=error.fix) from None
    except (TypeError, ValueError, IndexError, ZeroDivisionError) as error:
        raise CheckpointError(f"{folder.path / file} has an unusable value", found=str(error)) from error


def class_of(found: Mapping[str, Any]) -> str:
    """The class that a processor file names, in one spelling; empty where it names none."""
    named = str(found.get("image_processor_type") or found.get("feature_extractor_type") or "")
    return named.removesuffix("Fast").removesuffix("Pil").replace("FeatureExtractor", "ImageProcessor")


def _read(folder: HubFolder) -> tuple[dict[str, Any], str]:
    """The processor's settings and the name of their file; a nested processor_config.json goes first."""
    if folder.has("processor_config.json"):
        nested = folder.json("processor_config.json").get("image_processor")
        if isinstance(nested, dict):
            return nested, "processor_config.json"
    if not folder.has("preprocessor_config.json"):
        raise CheckpointError(
            f"{folder.path} does not say how its pictures are prepared", found="no preprocessor_config.json",
            expected="the file as the model was published with it",
            fix="Copy it from where the checkpoint came from; without it a model sees other pictures than in training",
        )  # fmt: skip
    return folder.json("preprocessor_config.json"), "preprocessor_config.json"


def pixel_constants(processor: Processor, found: Mapping[str, Any]) -> dict[str, Any]:
    """What a processor class does with the settings `found`, as the pixel fields of an `ImageModality`."""
    values = processor.filled(found)
    if values["data_format"] not in ("channels_first", "first"):
        raise CheckpointError("The channels are not first", found=values["data_format"], expected="channels_first")
    constants = _geometry(processor, values) | _numbers(values)
    number = values["resample"]
    if not isinstance(number, int) or not 0 <= number < len(_FILTERS):
        raise CheckpointError("The resampling filter is none of Pillow's", found=number, expected="0 to 5")
    return constants | {"filter": _FILTERS[number], "order": "pillow"}


def _numbers(values: Mapping[str, Any]) -> dict[str, Any]:
    """x → x·factor − offset → (x − mean) / std → x / std, as one scale, mean and std."""
    mean, std = _triple(values, "image_mean"), _triple(values, "image_std")
    once = std if values["do_normalize"] else (1.0, 1.0, 1.0)
    mean = mean if values["do_normalize"] else (0.0, 0.0, 0.0)
    offset = 1.0 if values["do_rescale"] and values.get("rescale_offset") else 0.0
    again = std if values.get("include_top") else (1.0, 1.0, 1.0)
    return {
        "scale": float(values["rescale_factor"]) if values["do_rescale"] else 1.0,
        "mean": tuple(each + offset for each in mean),
        "std": tuple(first * second for first, second in zip(once, again, strict=True)),
    }


def _triple(values: Mapping[str, Any], key: str) -> tuple[float, ...]:
    value = values[key]
    numbers = (value,) * 3 if isinstance(value, int | float) else tuple(value)
    if len(numbers) != 3:
        raise CheckpointError(f"{key} is not for three channels", found=value, expected="three numbers")
    return tuple(map(float, numbers))


def _geometry(processor: Processor, values: Mapping[str, Any]) -> dict[str, Any]:
    """Size of the tensor, and how a picture comes to it."""
    resize, size = _resize(processor, values)
    target = size if resize["resize"] == "exact" else None
    made = dict(resize)
    crop = _crop(values)
    if "crop_pct" in values and values["do_resize"]:
        if crop not in (None, size):
            raise CheckpointError("Two crops in a row", found=f"size {size} and crop_size {crop}", expected="the same")
        crop = size if resize["resize"] == "shortest-edge" else None
    if crop is not None:
        made["crop"], target = "centre", crop
    if processor.pads and values["do_pad"] and values["pad_size"] is not None:
        padded = _both(values["pad_size"], "pad_size")
        if crop is not None and crop != padded:
            raise CheckpointError("A crop and a pad", found=f"{crop} and {padded}", expected="one of them")
        made["pad"], target = "end" if crop is None else "none", padded
    if target is None:
        raise CheckpointError(
            "The image processor gives tensors of varying size",
            found=f"size {values['size']}, do_center_crop {values['do_center_crop']}, do_pad {values['do_pad']}",
            expected="one size, since a graph has static shapes: a size of height and width, or a crop",
        )
    if made["resize"] in ("exact", "fit") and size != target:
        made["resized"] = size
    return {"crop": "none", **made, "height": target[0], "width": target[1]}


def _resize(processor: Processor, values: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[int, int]]:
    """The fields of the resize, and the (height, width) that it aims at."""
    if not values["do_resize"]:
        return {"resize": "none"}, (0, 0)
    size = _size(values["size"], values["default_to_square"])
    if "crop_pct" in values:
        if set(size) != {"shortest_edge"}:
            raise CheckpointError("The size is not that of a shortest edge", found=size, expected="shortest_edge")
        edge = size["shortest_edge"]
        # ConvNeXt's rule: below 384 the picture is scaled a little larger than the crop, from 384 on it is warped.
        if edge >= 384:
            return {"resize": "exact"}, (edge, edge)
        return {"resize": "shortest-edge", "edge": int(edge / values["crop_pct"])}, (edge, edge)
    if set(size) == {"height", "width"}:
        return {"resize": "exact"}, (size["height"], size["width"])
    if set(size) == {"max_height", "max_width"}:
        return {"resize": "fit"}, (size["max_height"], size["max_width"])
    if set(size) == {"shortest_edge"}:
        return {"resize": "shortest-edge", "edge": size["shortest_edge"]}, (0, 0)
    raise CheckpointError(
        "The size is one that chiasm does not know", found=size,
        expected="height and width, shortest_edge, or max_height and max_width",
    )  # fmt: skip


def _size(size: Any, square: bool) -> dict[str, int]:
    """The forms that `size` had over the years: a mapping, two numbers, one number."""
    if isinstance(size, Mapping):
        return {key: int(value) for key, value in size.items() if value is not None}
    if isinstance(size, int):
        return {"height": size, "width": size} if square else {"shortest_edge": size}
    return {"height": int(size[0]), "width": int(size[1])}


def _crop(values: Mapping[str, Any]) -> tuple[int, int] | None:
    return _both(values["crop_size"], "crop_size") if values["do_center_crop"] else None


def _both(size: Any, key: str) -> tuple[int, int]:
    found = {} if size is None else _size(size, True)
    if set(found) != {"height", "width"}:
        raise CheckpointError(f"{key} is not a height and a width", found=size, expected="height and width")
    return found["height"], found["width"]
