"""Generators of one pass: the user's module becomes the decoder of a bundle, and draws what torch draws."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the export package's extra")

from chiasm.export import Settings, export  # noqa: E402
from chiasm.export.assemble import open_assembly  # noqa: E402
from chiasm.runtime import load  # noqa: E402
from chiasm.runtime.errors import ExportError  # noqa: E402
from chiasm.runtime.manifest import OnePassDecoder  # noqa: E402
from safetensors.torch import save_file  # noqa: E402

NETS = '''
import torch
from torch import nn

class Turn(nn.Module):
    """As Pix2Pix: down, up with a skip, tanh; a style is added in the middle."""

    def __init__(self, width=8, styled=False):
        super().__init__()
        self.down = nn.Conv2d(3, width, 4, 2, 1)
        self.up = nn.ConvTranspose2d(width, 3, 4, 2, 1)
        self.style = nn.Linear(4, width) if styled else None

    def forward(self, source, noise=None):
        middle = torch.relu(self.down(source))
        if self.style is not None:
            middle = middle + self.style(noise)[:, :, None, None]
        return torch.tanh(3 * self.up(middle) + source)

def grey():
    return nn.AdaptiveAvgPool2d(1)
'''
RECIPE = """
[decoder]
module = "nets.py:Turn"
weights = "turn.safetensors"
options = { width = 6, styled = STYLED }
source = { height = 24, width = 32 }
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "nets.py").write_text(NETS)
    return tmp_path


def _module(styled: bool) -> torch.nn.Module:
    space: dict[str, type[torch.nn.Module]] = {}
    exec(NETS, space)
    torch.manual_seed(0)
    return space["Turn"](6, styled).eval()  # type: ignore[call-arg]


@pytest.mark.parametrize("styled", [False, True])
def test_it_draws_what_torch_draws(folder: Path, styled: bool) -> None:
    module = _module(styled)
    save_file(module.state_dict(), folder / "turn.safetensors")
    text = RECIPE.replace("STYLED", str(styled).lower()) + ("noise = [1, 4]\n" if styled else "")
    (folder / "turn.toml").write_text(text)
    settings = Settings(("fp32", "fp16"), samples=4, checks=4, rounds=1)
    out = export(folder / "turn.toml", folder / "turn.chiasm", modules=["nets.py:Turn"], settings=settings)
    source = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    with load(out) as pipeline:
        decoder = pipeline.manifest.decoder
        assert isinstance(decoder, OnePassDecoder)
        assert decoder.picture == (24, 32)
        made = list(pipeline.generate(image=source, seed=3))[-1]
        large = list(pipeline.generate(image=source.repeat(2, axis=0).repeat(2, axis=1)))[-1]
    from chiasm.kernels import normal_noise

    tensors = [torch.from_numpy(source).permute(2, 0, 1)[None].float() / 127.5 - 1.0]
    tensors += [torch.from_numpy(normal_noise(3, 0, (1, 4)))] if styled else []
    with torch.inference_mode():
        expected = module(*tensors)
    np.testing.assert_allclose(made.latents, expected[0].numpy(), atol=1e-4)
    assert large.picture is not None
    assert large.picture.shape == (24, 32, 3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("Turn", "grey"), r"gives no picture: found Tensor \(1, 3, 1, 1\)|options|nets.py:grey"),
        (("height = 24, ", ""), "does not say how a picture is prepared.*height"),
        (("height = 24", "height = 24, hight = 3"), "does not say how a picture is prepared.*hight"),
        (("styled = STYLED", "styled = true"), "The generator cannot be run on source"),
        (('module = "nets.py:Turn"', 'module = "nets.py:Turn"\nsteps = [1]'), "a module of your own: found steps"),
        (('module = "nets.py:Turn"', 'module = "nets.py:Turn"\ncheckpoint = "x"'), "found both"),
    ],
)
def test_what_cannot_be_a_generator(folder: Path, change: tuple[str, str], message: str) -> None:
    text = RECIPE.replace(*change).replace("STYLED", "false")
    save_file(_module("styled = true" in text).state_dict(), folder / "turn.safetensors")
    (folder / "turn.toml").write_text(text)
    with pytest.raises(ExportError, match=f"(?s){message}") as caught:
        open_assembly(folder / "turn.toml", ["nets.py:Turn", "nets.py:grey"])
    assert len(str(caught.value).splitlines()) == 1


def test_a_module_that_gives_no_picture(folder: Path) -> None:
    (folder / "nets.py").write_text(NETS + "\nclass Flat(nn.Module):\n    def forward(self, source):\n"
                                    "        return source.mean(dim=(2, 3))\n")  # fmt: skip
    (folder / "flat.toml").write_text('[decoder]\nmodule = "nets.py:Flat"\nsource = { height = 8, width = 8 }\n')
    with pytest.raises(ExportError, match=r"gives no picture: found Tensor \(1, 3\)"):
        open_assembly(folder / "flat.toml", ["nets.py:Flat"])
