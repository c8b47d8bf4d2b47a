"""Checkpoints of the image models: ResNet, EfficientNet, ConvNeXt, MobileNetV2, ViT, DINOv2, and LeNet's plain weights.

Real sizes are ResNet-50, EfficientNet-B0, ConvNeXt-T, MobileNetV2 1.0, ViT-B/16 and DINOv2 ViT-B/14. Their processor
files say what the published ones say, old spellings included. Random weights alone would leave the convolutional ones
with statistics of batch normalisation that fit no picture (activations that vanish or grow with every layer), so two
batches of noise go through them first; EfficientNet's weights are drawn anew (He et al. 2015), because its class draws
the factors of batch normalisation around 0, and nothing comes out at the end.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from . import Make, Model, Size
from ._write import labelled, seeded, write_model

__all__ = ["IMAGENET", "LABELS", "LENET", "LENET_RECIPE", "MODELS", "draw", "settle"]

LABELS = ("tench", "crane", "crane", "goldfish", "street sign")
"""The classes of the tiny heads; ImageNet too has two cranes."""
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def _labels(size: Size) -> dict[str, Any]:
    return labelled(LABELS if size == "tiny" else tuple(f"class {index}" for index in range(1000)))


def _normal(constants: tuple[tuple[float, ...], tuple[float, ...]]) -> dict[str, Any]:
    return {"do_normalize": True, "image_mean": list(constants[0]), "image_std": list(constants[1])}


def settle(model: Any, side: int) -> None:
    """Let batch normalisation see noise, so that every layer hands on numbers of about unit size."""
    import torch

    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None
    model.train()
    with torch.no_grad():
        for _ in range(2):
            model(torch.randn(4, 3, side, side))
    model.eval()


def draw(model: Any) -> None:
    """Weights of convolutions that keep the size of a signal through the activation behind them; factors of 1."""
    import torch

    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight)
        elif isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.ones_(module.weight)
            torch.nn.init.zeros_(module.bias)


def _head(kind: str, head: bool) -> Any:
    import transformers

    return getattr(transformers, f"{kind}{'ForImageClassification' if head else 'Model'}")


def _resnet(head: bool) -> Make:
    def make(folder: Path, size: Size, seed: int = 0) -> None:
        from transformers import ResNetConfig

        tiny: dict[str, Any] = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic"}
        side = 32 if size == "tiny" else 224
        with seeded(seed):
            model = _head("ResNet", head)(ResNetConfig(**(tiny if size == "tiny" else {}), **_labels(size)))
            settle(model, side)
            processor = {  # as microsoft/resnet-50 has it
                "crop_pct": 0.875, "do_resize": True, "feature_extractor_type": "ConvNextFeatureExtractor",
                "resample": 3, "size": side, **_normal(IMAGENET),
            }  # fmt: skip
            write_model(model, folder, preprocessor_config=processor)

    return make


def _efficientnet(head: bool) -> Make:
    def make(folder: Path, size: Size, seed: int = 0) -> None:
        from transformers import EfficientNetConfig

        tiny: dict[str, Any] = {
            "image_size": 32, "in_channels": [32, 16], "out_channels": [16, 24], "kernel_sizes": [3, 5],
            "strides": [1, 2], "num_block_repeats": [1, 1], "expand_ratios": [1, 2], "hidden_dim": 320,
            "depthwise_padding": [], "width_coefficient": 0.25, "depth_coefficient": 1.0, "depth_divisor": 4,
        }  # fmt: skip
        real = {"image_size": 224, "width_coefficient": 1.0, "depth_coefficient": 1.0, "hidden_dim": 1280}
        side = 32 if size == "tiny" else 224
        with seeded(seed):
            config = EfficientNetConfig(**(tiny if size == "tiny" else real), **_labels(size))
            model = _head("EfficientNet", head)(config)
            draw(model)
            settle(model, side)
            processor = {  # as google/efficientnet-b0 has it
                "crop_size": {"height": 289, "width": 289}, "do_center_crop": False, "do_rescale": True,
                "do_resize": True, "image_processor_type": "EfficientNetImageProcessor", "include_top": True,
                "resample": 0, "rescale_factor": 0.00392156862745098, "rescale_offset": False,
                "size": {"height": side, "width": side},
                **_normal((IMAGENET[0], (0.47853944, 0.4732864, 0.47434163))),
            }  # fmt: skip
            write_model(model, folder, preprocessor_config=processor)

    return make


def _convnext(head: bool) -> Make:
    def make(folder: Path, size: Size, seed: int = 0) -> None:
        from transformers import ConvNextConfig

        tiny: dict[str, Any] = {"hidden_sizes": [8, 16], "depths": [1, 1], "num_stages": 2}
        side = 32 if size == "tiny" else 224
        with seeded(seed):
            model = _head("ConvNext", head)(ConvNextConfig(**(tiny if size == "tiny" else {}), **_labels(size)))
            processor = {  # as facebook/convnext-tiny-224 has it
                "crop_pct": 0.875, "do_resize": True, "feature_extractor_type": "ConvNextFeatureExtractor",
                "resample": 3, "size": side, **_normal(IMAGENET),
            }  # fmt: skip
            write_model(model, folder, preprocessor_config=processor)

    return make


def _mobilenet_v2(head: bool) -> Make:
    def make(folder: Path, size: Size, seed: int = 0) -> None:
        from transformers import MobileNetV2Config

        tiny: dict[str, Any] = {"depth_multiplier": 0.15, "image_size": 32, "min_depth": 4, "depth_divisible_by": 4}
        side = 32 if size == "tiny" else 224
        with seeded(seed):
            model = _head("MobileNetV2", head)(MobileNetV2Config(**(tiny if size == "tiny" else {}), **_labels(size)))
            settle(model, side)
            processor = {  # as google/mobilenet_v2_1.0_224 has it
                "crop_size": {"height": side, "width": side}, "do_center_crop": True, "do_rescale": True,
                "do_resize": True, "image_processor_type": "MobileNetV2ImageProcessor", "resample": 2,
                "rescale_factor": 0.00392156862745098, "size": {"shortest_edge": side * 256 // 224}, **_normal(_HALF),
            }  # fmt: skip
            write_model(model, folder, preprocessor_config=processor)

    return make


_TINY_VIT: dict[str, Any] = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64, "image_size": 32,
    "patch_size": 8,
}  # fmt: skip


def _vit(head: bool) -> Make:
    def make(folder: Path, size: Size, seed: int = 0) -> None:
        from transformers import ViTConfig

        side = 32 if size == "tiny" else 224
        with seeded(seed):
            model = _head("ViT", head)(ViTConfig(**(_TINY_VIT if size == "tiny" else {}), **_labels(size)))
            processor = {  # as google/vit-base-patch16-224 has it
                "do_rescale": True, "do_resize": True, "image_processor_type": "ViTImageProcessor", "resample": 2,
                "rescale_factor": 0.00392156862745098, "size": {"height": side, "width": side}, **_normal(_HALF),
            }  # fmt: skip
            write_model(model, folder, preprocessor_config=processor)

    return make


def _dinov2(head: bool) -> Make:
    def make(folder: Path, size: Size, seed: int = 0) -> None:
        from transformers import Dinov2Config

        tiny: dict[str, Any] = {**_TINY_VIT, "image_size": 56, "mlp_ratio": 2}
        side = 32 if size == "tiny" else 224
        with seeded(seed):
            real = {"image_size": 518, "patch_size": 14}
            model = _head("Dinov2", head)(Dinov2Config(**(tiny if size == "tiny" else real), **_labels(size)))
            processor = {  # as facebook/dinov2-base has it
                "crop_size": {"height": side, "width": side}, "do_center_crop": True, "do_convert_rgb": True,
                "do_rescale": True, "do_resize": True, "image_processor_type": "BitImageProcessor", "resample": 3,
                "rescale_factor": 0.00392156862745098, "size": {"shortest_edge": side * 256 // 224},
                **_normal(IMAGENET),
            }  # fmt: skip
            write_model(model, folder, preprocessor_config=processor)

    return make


LENET = '''"""LeNet-5 (LeCun et al. 1998) with ReLU: 32 × 32 grey → ten digits."""

import torch
from torch import nn


def lenet() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 6, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10),
    )
'''
"""A user's own file: what `module = "lenet.py:lenet"` names."""

LENET_RECIPE = """[modalities.image]
module = "lenet.py:lenet"
weights = "lenet.safetensors"
kind = "image"

[modalities.image.preprocess]
height = 32
width = 32
channels = 1
resize = "exact"
filter = "bilinear"
crop = "none"
order = "pillow"
scale = 0.00392156862745098
mean = [0.1307]
std = [0.3081]

[heads.digit]
labels = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]
"""
"""The recipe beside it, with the constants that MNIST's pictures are usually given."""


def _lenet(folder: Path, size: Size, seed: int = 0) -> None:
    """lenet.py, lenet.safetensors and recipe.toml; there is only one size of it."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "lenet.py").write_text(LENET, encoding="utf-8")
    (folder / "recipe.toml").write_text(LENET_RECIPE, encoding="utf-8")
    names: dict[str, Any] = {}
    exec(compile(LENET, "lenet.py", "exec"), names)  # the text above, which is what the file holds
    with seeded(seed):
        save_file(names["lenet"]().state_dict(), folder / "lenet.safetensors")


MODELS: dict[str, Model] = {
    model.name: model
    for model in (
        Model("resnet", "resnet", ("image",), _resnet(False)),
        Model("resnet-classes", "resnet", ("image",), _resnet(True)),
        Model("efficientnet", "efficientnet", ("image",), _efficientnet(False)),
        Model("efficientnet-classes", "efficientnet", ("image",), _efficientnet(True)),
        Model("convnext", "convnext", ("image",), _convnext(False)),
        Model("convnext-classes", "convnext", ("image",), _convnext(True)),
        Model("mobilenet-v2", "mobilenet_v2", ("image",), _mobilenet_v2(False)),
        Model("mobilenet-v2-classes", "mobilenet_v2", ("image",), _mobilenet_v2(True)),
        Model("vit", "vit", ("image",), _vit(False)),
        Model("vit-classes", "vit", ("image",), _vit(True)),
        Model("dinov2", "dinov2", ("image",), _dinov2(False)),
        Model("dinov2-classes", "dinov2", ("image",), _dinov2(True)),
        Model("lenet", "own", ("image",), _lenet),
    )
}
