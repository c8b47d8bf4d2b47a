"""How far the runtime's pictures are from those of transformers: `python -m chiasm.bench.zoo.processors`.

For every processor that `export/processors.py` reads, fifty pictures of odd sizes go both ways: through the class that
`AutoImageProcessor` picks on this machine, and through its settings in the manifest's words and the runtime. What is
compared is grey levels, before normalisation.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from ...runtime.manifest import ImageModality
from ...runtime.values import Array

__all__ = ["SETTINGS", "Agreement", "agreement", "compare", "modality_of", "pictures", "theirs"]

_SIZES = (
    (1, 1), (1, 90), (90, 1), (2, 3), (5, 700), (700, 5), (7, 7), (31, 33), (32, 32), (33, 31), (40, 41), (63, 64),
    (64, 63), (97, 101), (100, 100), (111, 487), (112, 224), (128, 127), (150, 600), (199, 200), (223, 224), (224, 223),
    (224, 224), (225, 225), (227, 341), (233, 90), (240, 320), (255, 257), (256, 256), (257, 255), (289, 346),
    (299, 299), (320, 240), (333, 251), (346, 289), (347, 345), (360, 640), (383, 385), (384, 384), (400, 111),
    (427, 640), (480, 640), (513, 257), (600, 601), (640, 427), (721, 1281), (800, 97), (900, 1201), (1080, 1920),
    (1601, 900),
)  # fmt: skip
"""(height, width) of fifty pictures: tall, wide, tiny, large, and as large as the processors make them."""

SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "vit": {"image_processor_type": "ViTImageProcessor", "size": {"height": 224, "width": 224}, "resample": 2},
    "siglip": {"image_processor_type": "SiglipImageProcessor", "size": {"height": 224, "width": 224}, "resample": 3},
    "blip": {"image_processor_type": "BlipImageProcessor"},
    "clip": {"feature_extractor_type": "CLIPFeatureExtractor", "size": 224, "crop_size": 224, "resample": 3},
    "dinov2": {"image_processor_type": "BitImageProcessor", "size": {"shortest_edge": 256}, "resample": 3},
    "convnext 224": {"feature_extractor_type": "ConvNextFeatureExtractor", "size": 224, "crop_pct": 0.875},
    "convnext 384": {"image_processor_type": "ConvNextImageProcessor", "size": {"shortest_edge": 384}, "resample": 2},
    "mobilenet v2": {"image_processor_type": "MobileNetV2ImageProcessor", "size": {"shortest_edge": 256}},
    "efficientnet": {
        "image_processor_type": "EfficientNetImageProcessor", "size": {"height": 224, "width": 224}, "resample": 0,
        "include_top": True, "image_std": [0.47853944, 0.4732864, 0.47434163],
    },
    "align": {
        "image_processor_type": "EfficientNetImageProcessor", "size": {"height": 346, "width": 346}, "resample": 2,
        "crop_size": {"height": 289, "width": 289}, "do_center_crop": True, "do_normalize": False,
        "rescale_factor": 1 / 127.5, "rescale_offset": True, "include_top": False,
    },
    "crop that pads": {
        "image_processor_type": "BitImageProcessor", "size": {"shortest_edge": 97}, "crop_size": [131, 160],
    },
    "no resize": {"image_processor_type": "BitImageProcessor", "do_resize": False, "crop_size": [99, 130]},
    "fit and pad": {
        "image_processor_type": "ViTImageProcessor", "size": {"max_height": 200, "max_width": 300}, "do_pad": True,
        "pad_size": {"height": 210, "width": 300}, "resample": 3,
    },
    "lanczos": {"image_processor_type": "ViTImageProcessor", "size": {"height": 190, "width": 250}, "resample": 1},
    "box": {"image_processor_type": "ViTImageProcessor", "size": {"height": 190, "width": 250}, "resample": 4},
    "hamming": {"image_processor_type": "ViTImageProcessor", "size": {"height": 190, "width": 250}, "resample": 5},
    "plain bytes": {"image_processor_type": "ViTImageProcessor", "do_rescale": False, "do_normalize": False},
}  # fmt: skip
"""preprocessor_config.json by name: as the published models have it, and every step that a processor can do."""


@dataclass(frozen=True)
class Agreement:
    """Of one processor: the class of transformers, and over all pixels of all pictures the largest difference in grey
    levels and the share of pixels whose grey level is the same.
    """

    processor: str
    pictures: int
    largest: float
    identical: float


def pictures(sizes: Sequence[tuple[int, int]] = _SIZES) -> list[Array]:
    """uint8 RGB pictures: soft gradients with hard edges and noise, where resampling and rounding show."""
    made = []
    for index, (height, width) in enumerate(sizes):
        random = np.random.default_rng(index)
        y, x = np.mgrid[0:height, 0:width].astype(np.float32)
        waves = np.sin(x[..., None] / random.uniform(2, 60, 3) + y[..., None] / random.uniform(2, 60, 3))
        edges = ((x // random.integers(3, 40) + y // random.integers(3, 40)) % 2)[..., None] * 90
        noise = random.normal(0, 20, (height, width, 3))
        made.append(np.clip(110 + 80 * waves + edges + noise, 0, 255).astype(np.uint8))
    return made


def theirs(settings: Mapping[str, Any]) -> tuple[str, Callable[[Array], Array]]:
    """The class that transformers picks for the settings, and a picture → its float32 (C, H, W)."""
    from transformers import AutoImageProcessor

    with TemporaryDirectory() as folder:
        (Path(folder) / "preprocessor_config.json").write_text(json.dumps(settings))
        processor = AutoImageProcessor.from_pretrained(folder)
    name = type(processor).__name__

    def run(picture: Array) -> Array:
        made = processor(picture, input_data_format="channels_last", return_tensors="np")
        return np.asarray(made["pixel_values"][0], dtype=np.float32)

    return name, run


def modality_of(settings: Mapping[str, Any]) -> ImageModality:
    """The settings in the manifest's words."""
    from ...export.processors import PROCESSORS, class_of, pixel_constants

    constants = pixel_constants(PROCESSORS[class_of(settings)], settings)
    return ImageModality(name="image", part="image", rate_hz=1.0, max_age_s=None, tokens=(1, 1), **constants)


def compare(modality: ImageModality, run: Callable[[Array], Array], samples: Sequence[Array]) -> tuple[float, int, int]:
    """Largest difference in grey levels, pixels that are the same, and all pixels."""
    from ...runtime.preprocess.image import image_tensor

    level = modality.scale / np.asarray(modality.std)[:, None, None]
    largest, same, total = 0.0, 0, 0
    for picture in samples:
        difference = np.abs(image_tensor(picture, modality)[0] - run(picture)) / level
        largest = max(largest, float(difference.max()))
        same += int((difference < 0.01).sum())
        total += difference.size
    return largest, same, total


def agreement(settings: Mapping[str, Any], samples: Sequence[Array]) -> Agreement:
    """Both ways for every picture."""
    name, run = theirs(settings)
    largest, same, total = compare(modality_of(settings), run, samples)
    return Agreement(name, len(samples), largest, same / total)


def main() -> int:
    """Print the table; 1 when a processor is further off than one grey level, or on more than a thousandth."""
    samples = pictures()
    print(f"| processor | class | pictures | largest difference | identical |\n|{'---|' * 5}")
    worst = 0
    for name, settings in SETTINGS.items():
        found = agreement(settings, samples)
        worst |= found.largest > 1.01 or found.identical < 0.999
        row = (name, found.processor, found.pictures, f"{found.largest:.3g}", f"{found.identical:.4%}")
        print("| " + " | ".join(map(str, row)) + " |", flush=True)
    return worst


if __name__ == "__main__":
    sys.exit(main())
