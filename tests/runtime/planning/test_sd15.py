"""The layouts of tests/sd15.py are those of the real classes: as many weights, on the meta device."""

from __future__ import annotations

import pytest
from sd15 import clip, decoder, unet

pytest.importorskip("torch", reason="the layouts are compared with torch modules")
pytest.importorskip("diffusers", reason="it has the classes")


def test_the_unet_and_the_decoder() -> None:
    import torch
    from diffusers import AutoencoderKL, UNet2DConditionModel

    with torch.device("meta"):
        net = UNet2DConditionModel(cross_attention_dim=768, sample_size=64)
        coder = AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
            block_out_channels=(128, 256, 512, 512), layers_per_block=2, latent_channels=4, sample_size=512,
        )  # fmt: skip
    assert unet("fp32")[0].weights == sum(each.numel() for each in net.parameters()) == 859_520_964
    decoding = (*coder.decoder.parameters(), *coder.post_quant_conv.parameters())
    assert decoder("fp32")[0].weights == sum(each.numel() for each in decoding) == 49_490_199


def test_the_text_encoder() -> None:
    import torch
    from transformers import CLIPTextConfig, CLIPTextModel

    config = CLIPTextConfig(hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12)
    with torch.device("meta"):
        model = CLIPTextModel(config)
    assert clip("fp32")[0].weights == sum(each.numel() for each in model.parameters()) == 123_060_480
