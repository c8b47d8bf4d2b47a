"""diffusers pipelines: Stable Diffusion 1.5, 2.x, LCM and Turbo, inpainting, SDXL, SD 3, and TAESD.

Real sizes are those of Stable Diffusion 1.5 and of its LCM (U-Net of 860 million weights, CLIP-L text, the KL
autoencoder) and TAESD. Tokenizers lie there as diffusers' folders have them, vocab.json and merges.txt without a
tokenizer.json, except T5's. Pictures of the classes' own initialisation would be grey: the autoencoders' weights are
drawn wider, so that a difference shows.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from . import Model, Size
from ._write import seeded, write_json

__all__ = ["MODELS"]

_NOISE = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
_SPREAD = 1.6
"""How much wider than the classes' own the weights of tiny autoencoders are drawn."""
_UNET: dict[str, Any] = {
    "block_out_channels": (16, 32), "layers_per_block": 1, "sample_size": 16, "cross_attention_dim": 32,
    "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"), "up_block_types": ("UpBlock2D", "UpBlock2D"),
    "attention_head_dim": 4, "norm_num_groups": 8,
}  # fmt: skip
_TINY_LCM: dict[str, Any] = {"time_cond_proj_dim": 32, "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D")}
_VAE: dict[str, Any] = {
    "block_out_channels": (8, 16), "layers_per_block": 1, "norm_num_groups": 4, "sample_size": 32,
    "down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2,
}  # fmt: skip
_REAL_UNET: dict[str, Any] = {
    "sample_size": 64, "cross_attention_dim": 768, "attention_head_dim": 8, "layers_per_block": 2,
    "block_out_channels": (320, 640, 1280, 1280),
}  # fmt: skip
_REAL_VAE: dict[str, Any] = {
    "block_out_channels": (128, 256, 512, 512), "layers_per_block": 2, "norm_num_groups": 32, "sample_size": 512,
    "down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4,
}  # fmt: skip
_TINY_TEXT: dict[str, Any] = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 2, "projection_dim": 24,
    "max_position_embeddings": 77,
}  # fmt: skip
_REAL_TEXT: dict[str, Any] = {
    "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12,
    "projection_dim": 768, "max_position_embeddings": 77, "vocab_size": 49408,
}  # fmt: skip


def _tokenizer(folder: Path, pad: str = "<|endoftext|>") -> Any:
    """CLIP's, as diffusers' folders have it."""
    from . import tokenizers

    words = tokenizers.clip()
    document = json.loads(words.backend_tokenizer.to_str())["model"]
    merges = [" ".join(each) if isinstance(each, list) else each for each in document["merges"]]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps(document["vocab"]), encoding="utf-8")
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]) + "\n", encoding="utf-8")
    marks = {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>"}
    (folder / "special_tokens_map.json").write_text(json.dumps({**marks, "pad_token": pad}), encoding="utf-8")
    settings = {**marks, "pad_token": pad, "model_max_length": 77, "tokenizer_class": "CLIPTokenizer"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    return words


def _clip(size: Size, words: Any, *, projected: bool, old: bool, **settings: Any) -> Any:
    """A CLIP text encoder. `old`: its config names end token 2, as those of Stable Diffusion do."""
    import transformers

    numbers = _TINY_TEXT | {"vocab_size": len(words)} if size == "tiny" else _REAL_TEXT
    marks = {"bos_token_id": 0, "eos_token_id": 2} if old else {
        "bos_token_id": words.bos_token_id, "eos_token_id": words.eos_token_id}  # fmt: skip
    config = transformers.CLIPTextConfig(**{**numbers, **marks, **settings})
    model = transformers.CLIPTextModelWithProjection if projected else transformers.CLIPTextModel
    return model(config).eval()


def _wider(model: Any) -> Any:
    """The same model with wider weights."""
    import torch

    with torch.no_grad():
        for tensor in model.parameters():
            if tensor.dim() > 1:
                tensor.mul_(_SPREAD)
    return model.eval()


def _vae(size: Size, **settings: Any) -> Any:
    import diffusers

    model = diffusers.AutoencoderKL(**{**(_VAE if size == "tiny" else _REAL_VAE), **settings})
    return _wider(model) if size == "tiny" else model.eval()


def _write(folder: Path, kind: str, parts: dict[str, Any], **settings: Any) -> None:
    """model_index.json and the folder of each part; None stands for a part that is not there."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    index: dict[str, Any] = {"_class_name": kind, "_diffusers_version": "0.42.0", **settings}
    for name, part in parts.items():
        if part is None or isinstance(part, str):
            index[name] = [None, None] if part is None else ["transformers", part]
            continue
        library = "transformers" if type(part).__module__.startswith("transformers") else "diffusers"
        index[name] = [library, type(part).__name__]
        part.save_pretrained(folder / name)
    (folder / "model_index.json").write_text(json.dumps(index, indent=2), encoding="utf-8")


def _stable(
    folder: Path, size: Size, seed: int, *, kind: str = "StableDiffusionPipeline", scheduler: Any,
    pad: str = "<|endoftext|>", **unet: Any,
) -> None:  # fmt: skip
    """A pipeline of the Stable Diffusion 1.x and 2.x kind."""
    import diffusers

    with seeded(seed):
        words = _tokenizer(folder / "tokenizer", pad)
        net = diffusers.UNet2DConditionModel(**{**(_UNET if size == "tiny" else _REAL_UNET), **unet}).eval()
        parts = {
            "vae": _vae(size), "text_encoder": _clip(size, words, projected=False, old=True),
            "tokenizer": "CLIPTokenizer", "unet": net, "scheduler": scheduler,
            "safety_checker": None, "feature_extractor": None,
        }  # fmt: skip
        _write(folder, kind, parts, **({} if kind.startswith("Latent") else {"requires_safety_checker": False}))


def sd15(folder: Path, size: Size, seed: int = 0) -> None:
    """As Stable Diffusion 1.5, whose own scheduler (PNDM) remembers earlier steps."""
    import diffusers

    scheduler = diffusers.PNDMScheduler(
        **_NOISE, skip_prk_steps=True, steps_offset=1, set_alpha_to_one=False, num_train_timesteps=1000
    )
    _stable(folder, size, seed, scheduler=scheduler)
    path = folder / "scheduler" / "scheduler_config.json"
    write_json(path, {**json.loads(path.read_bytes()), "clip_sample": False})  # which the published file has, too


def sd2(folder: Path, size: Size, seed: int = 0) -> None:
    """As Stable Diffusion 2.1: predicts v, heads of different numbers, fills up with "!"."""
    import diffusers

    scheduler = diffusers.DDIMScheduler(
        **_NOISE, prediction_type="v_prediction", clip_sample=False, set_alpha_to_one=False, steps_offset=1
    )
    own: dict[str, Any] = {"attention_head_dim": (2, 4)} if size == "tiny" else {"attention_head_dim": (5, 10, 20, 20)}
    _stable(folder, size, seed, scheduler=scheduler, pad="!", use_linear_projection=True, **own)


def turbo(folder: Path, size: Size, seed: int = 0) -> None:
    """As SD-Turbo: Euler's steps, spaced from the end."""
    import diffusers

    scheduler = diffusers.EulerDiscreteScheduler(**_NOISE, timestep_spacing="trailing", steps_offset=1)
    _stable(folder, size, seed, scheduler=scheduler)


def lcm(folder: Path, size: Size, seed: int = 0) -> None:
    """As LCM Dreamshaper: told of the guidance."""
    import diffusers

    _stable(
        folder, size, seed, kind="LatentConsistencyModelPipeline", scheduler=diffusers.LCMScheduler(**_NOISE),
        **_TINY_LCM if size == "tiny" else {"time_cond_proj_dim": 256},
    )  # fmt: skip


def inpainting(folder: Path, size: Size, seed: int = 0) -> None:
    """As the inpainting model of Stable Diffusion: nine channels in."""
    import diffusers

    scheduler = diffusers.DDIMScheduler(**_NOISE, clip_sample=False, set_alpha_to_one=False, steps_offset=1)
    _stable(folder, size, seed, kind="StableDiffusionInpaintPipeline", scheduler=scheduler, in_channels=9)


def sdxl(folder: Path, size: Size, seed: int = 0) -> None:
    """As SDXL-Turbo, tiny only."""
    import diffusers

    _only_tiny(size)
    with seeded(seed):
        words = _tokenizer(folder / "tokenizer")
        _tokenizer(folder / "tokenizer_2", "!")
        unet = diffusers.UNet2DConditionModel(
            **{**_UNET, "cross_attention_dim": 64}, use_linear_projection=True, addition_embed_type="text_time",
            addition_time_embed_dim=8, projection_class_embeddings_input_dim=24 + 6 * 8,
            transformer_layers_per_block=(1, 2),
        )  # fmt: skip
        scheduler = diffusers.EulerAncestralDiscreteScheduler(**_NOISE, timestep_spacing="trailing", steps_offset=1)
        parts = {
            "vae": _vae(size, scaling_factor=0.13025), "unet": unet.eval(), "scheduler": scheduler,
            "text_encoder": _clip(size, words, projected=False, old=True),
            "text_encoder_2": _clip(size, words, projected=True, old=False, hidden_act="gelu"),
            "tokenizer": "CLIPTokenizer", "tokenizer_2": "CLIPTokenizer",
            "image_encoder": None, "feature_extractor": None,
        }  # fmt: skip
        _write(folder, "StableDiffusionXLPipeline", parts, force_zeros_for_empty_prompt=True)


def sd3(folder: Path, size: Size, seed: int = 0) -> None:
    """As SD 3, tiny only."""
    import diffusers
    import transformers

    from . import tokenizers

    _only_tiny(size)
    with seeded(seed):
        words = _tokenizer(folder / "tokenizer")
        _tokenizer(folder / "tokenizer_2", "!")
        five = tokenizers.t5()
        five.save_pretrained(folder / "tokenizer_3")
        config = transformers.T5Config(
            vocab_size=len(five), d_model=80, d_kv=16, d_ff=64, num_layers=2, num_heads=2, dense_act_fn="gelu_new",
            feed_forward_proj="gated-gelu",
        )  # fmt: skip
        net = diffusers.SD3Transformer2DModel(
            sample_size=16, patch_size=2, in_channels=16, num_layers=2, attention_head_dim=8, num_attention_heads=4,
            joint_attention_dim=80, caption_projection_dim=32, pooled_projection_dim=48, out_channels=16,
            pos_embed_max_size=24, dual_attention_layers=(0,), qk_norm="rms_norm",
        )  # fmt: skip
        vae = _vae(size, latent_channels=16, scaling_factor=1.5305, shift_factor=0.0609, use_quant_conv=False,
                   use_post_quant_conv=False)  # fmt: skip
        parts = {
            "vae": vae, "transformer": net.eval(),
            "scheduler": diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0),
            "text_encoder": _clip(size, words, projected=True, old=True),
            "text_encoder_2": _clip(size, words, projected=True, old=False, hidden_act="gelu"),
            "text_encoder_3": transformers.T5EncoderModel(config).eval(),
            "tokenizer": "CLIPTokenizer", "tokenizer_2": "CLIPTokenizer", "tokenizer_3": "T5Tokenizer",
            "image_encoder": None, "feature_extractor": None,
        }  # fmt: skip
        _write(folder, "StableDiffusion3Pipeline", parts)


def taesd(folder: Path, size: Size, seed: int = 0) -> None:
    """The tiny autoencoder of Stable Diffusion, as its own folder."""
    import diffusers

    with seeded(seed):
        tiny = {"encoder_block_out_channels": (8, 8), "decoder_block_out_channels": (8, 8),
                "num_encoder_blocks": (1, 1), "num_decoder_blocks": (1, 1)}  # fmt: skip
        model = diffusers.AutoencoderTiny(**(tiny if size == "tiny" else {}))
        (_wider(model) if size == "tiny" else model.eval()).save_pretrained(folder)


def _only_tiny(size: Size) -> None:
    if size != "tiny":
        raise NotImplementedError("only the tiny size: the real one does not fit a small machine's memory")


MODELS = {
    name: Model(name, family, (), make)
    for name, family, make in (
        ("sd15", "stable_diffusion", sd15), ("sd2", "stable_diffusion", sd2), ("turbo", "stable_diffusion", turbo),
        ("lcm", "stable_diffusion", lcm), ("inpainting", "stable_diffusion", inpainting), ("sdxl", "sdxl", sdxl),
        ("sd3", "sd3", sd3), ("taesd", "", taesd),
    )
}  # fmt: skip
