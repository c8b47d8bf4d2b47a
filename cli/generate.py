"""`chiasm generate`: a picture of what the other senses describe."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .common import (
    BackendOption,
    BundleArgument,
    FusionOption,
    PrecisionOption,
    ThreadsOption,
    bundle_path,
    freshest,
    known_modalities,
    option_names,
    progress,
    split_modalities,
    stderr,
)
from .png import png_bytes

if TYPE_CHECKING:
    from ..runtime.pipeline import Pipeline
    from ..runtime.values import Array, Packet

OPEN = True


def command(
    ctx: typer.Context,
    bundle: BundleArgument,
    out: Annotated[Path, typer.Option(metavar="FILE", help="The PNG to write.")] = Path("picture.png"),
    steps: Annotated[
        int | None, typer.Option(metavar="COUNT", help="Denoising steps; default: the most the bundle has.", min=1)
    ] = None,
    seed: Annotated[int, typer.Option(metavar="NUMBER", help="Seed of the noise: same seed, same picture.", min=0)] = 0,
    guidance: Annotated[
        float | None, typer.Option(metavar="NUMBER", help="Guidance scale; default: the bundle's.")
    ] = None,
    decoder: Annotated[str | None, typer.Option(metavar="NAME", help="Picture decoder, such as full or tiny.")] = None,
    all_steps: Annotated[
        bool, typer.Option("--all-steps", help="One picture for each number of steps, side by side.")
    ] = False,
    at: Annotated[
        float, typer.Option(metavar="S", help="Use what the files held at this moment, in seconds.", min=0)
    ] = 1.0,
    scale: Annotated[
        int, typer.Option(metavar="COUNT", help="Enlarge the picture by this whole number.", min=1, max=16)
    ] = 4,
    backend: BackendOption = "auto",
    precision: PrecisionOption = "auto",
    threads: ThreadsOption = None,
    fusion: FusionOption = None,
) -> None:
    """Make the picture that the given senses describe.

    Give each modality of the bundle as --NAME VALUE. The reference has --text WORDS, --audio FILE.wav (or a video with
    sound), --radar FILE.npz and --image FILE.

    Example: chiasm generate reference --text "An ambulance ahead in the rain." --out picture.png
    """
    from ..runtime.pipeline import load
    from ..runtime.sinks import check_output, write_file

    _must_be_png(out)
    check_output(out)
    options = option_names(ctx)
    word, values = split_modalities([bundle, *ctx.args], options)
    with load(bundle_path(word), backend, precision, threads, fusion=fusion) as pipeline:
        chosen = known_modalities(values, pipeline.manifest.modalities, options)
        packets = {modality.name: _together(freshest(modality, values[modality.name], at)) for modality in chosen}
        counts = _counts(pipeline, steps, all_steps)
        pictures = [_picture(pipeline, packets, count, seed, guidance, decoder) for count in counts]
    write_file(out, png_bytes(_side_by_side(pictures, scale)))
    words = " and ".join(packets)
    stderr().print(f"{out}: from {words}, {'/'.join(map(str, counts))} steps, seed {seed}", soft_wrap=True)


def _must_be_png(out: Path) -> None:
    from ..runtime.errors import SinkError

    if out.suffix.lower() != ".png":
        raise SinkError("the picture cannot be written", found=f"--out {out}", expected="a name ending in .png")


def _together(packet: Packet) -> Packet:
    """Captured now, like all the others: a picture of the morning may be joined with words of the evening."""
    from msgspec.structs import replace

    return replace(packet, time_s=0.0)


def _counts(pipeline: Pipeline, steps: int | None, all_steps: bool) -> list[int]:
    from ..runtime.errors import InputError

    decoder = pipeline.manifest.decoder
    if decoder is None:
        raise InputError("this bundle generates no pictures", expected="a bundle with a decoder")
    known = sorted(int(count) for count in decoder.timesteps)
    if all_steps:
        return known
    return [known[-1] if steps is None else steps]


def _picture(
    pipeline: Pipeline, packets: dict[str, Any], steps: int, seed: int, guidance: float | None, decoder: str | None
) -> Array:
    """The last step's picture, uint8 (H, W, 3)."""
    picture: Array | None = None
    with progress(f"{steps} steps") as advance:
        made = pipeline.generate(steps=steps, seed=seed, guidance=guidance, decoder=decoder, **packets)
        for generation in made:
            advance(f"step {generation.step} of {generation.steps}", generation.step / generation.steps)
            picture = generation.picture
    if picture is None:
        raise AssertionError("the last step of a generation carries the picture")
    return picture


def _side_by_side(pictures: list[Array], scale: int) -> Array:
    import numpy as np

    row = np.concatenate(pictures, axis=1)
    return np.ascontiguousarray(row.repeat(scale, axis=0).repeat(scale, axis=1))
