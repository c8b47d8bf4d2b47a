"""The autoencoder's shapes, its latent normalisation, and that it can learn a picture."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the torch modules need the extra 'export'")

from chiasm.export.modules.autoencoder import PictureDecoder, PictureEncoder  # noqa: E402

TINY = {"widths": (8, 8, 8), "pairs": (1, 1, 1)}


def test_shapes_are_a_factor_of_eight() -> None:
    latents = PictureEncoder(8)(torch.zeros(2, 3, 64, 64))
    assert latents.shape == (2, 8, 8, 8)
    assert PictureDecoder(8)(latents).shape == (2, 3, 64, 64)
    assert PictureDecoder(8, **TINY)(torch.zeros(1, 8, 4, 6)).shape == (1, 3, 32, 48)


def test_sizes_stay_within_their_budget() -> None:
    from chiasm.reference.stages.autoencoder import FULL
    from chiasm.reference.stages.autoencoder import TINY as SHIPPED_TINY

    def count(net: object) -> int:
        return sum(each.numel() for each in net.parameters())  # type: ignore[attr-defined]

    assert count(PictureEncoder(8)) <= 400_000
    assert count(PictureDecoder(8, **FULL)) <= 400_000
    assert count(PictureDecoder(8, **SHIPPED_TINY)) <= 100_000


def test_decoder_undoes_the_normalisation_of_the_latents() -> None:
    torch.manual_seed(0)
    decoder = PictureDecoder(8, **TINY).eval()
    raw = torch.randn(2, 8, 8, 8) * 3 + 1
    plain = decoder(raw)
    decoder.mean.fill_(1.0)
    decoder.std.fill_(3.0)
    assert torch.allclose(decoder((raw - 1) / 3), plain, atol=1e-5)


def test_picture_is_clamped_only_when_it_is_shown() -> None:
    torch.manual_seed(0)
    decoder = PictureDecoder(8, **TINY)
    latents = torch.randn(1, 8, 8, 8) * 1000
    assert decoder.train()(latents).abs().max() > 1
    assert decoder.eval()(latents).abs().max() <= 1


def test_it_learns_four_scenes() -> None:
    from chiasm.reference.draw import render_image
    from chiasm.reference.scene import sample_scene
    from chiasm.reference.stages.autoencoder import picture_loss

    torch.manual_seed(0)
    rendered = [torch.from_numpy(render_image(sample_scene(seed))) for seed in range(4)]
    pictures = torch.stack(rendered).permute(0, 3, 1, 2) / 127.5 - 1
    encoder, decoder = PictureEncoder(8, (16, 24, 32)), PictureDecoder(8, (32, 24, 16))
    adam = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], 3e-3)
    losses = []
    for _ in range(300):
        loss = picture_loss(decoder(encoder(pictures)), pictures, torch.ones(4, 1, 64, 64))
        adam.zero_grad()
        loss.backward()
        adam.step()
        losses.append(loss.item())
    assert losses[-1] < 0.45 * losses[0], losses[-1] / losses[0]
