"""`chiasm generate`: a picture of what the other senses, or words, describe."""

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
    hint,
    keep_inputs,
    known_modalities,
    option_names,
    progress,
    split_modalities,
    stderr,
)
from .png import png_bytes

if TYPE_CHECKING:
    from ..runtime.manifest import Decoder
    from ..runtime.pipeline import Pipeline
    from ..runtime.values import Array, Packet

OPEN = True


def command(
    ctx: typer.Context,
    bundle: BundleArgument,
    out: Annotated[Path, typer.Option(metavar="FILE", help="The PNG to write.")] = Path("picture.png"),
    negative: Annotated[
        str | None, typer.Option(metavar="WORDS", help="What the picture is guided away from, beside --text.")
    ] = None,
    init: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The picture to start from; of a one-pass bundle, to turn.")
    ] = None,
    mask: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where --init may change: a picture, white where it may.")
    ] = None,
    strength: Annotated[
        float | None,
        typer.Option(metavar="NUMBER", help="How much --init may change, up to 1; default: 0.8, with --mask 1."),
    ] = None,
    steps: Annotated[
        int | None, typer.Option(metavar="COUNT", help="Denoising steps; default: the bundle's.", min=1)
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
        int | None,
        typer.Option(
            metavar="COUNT", help="Enlarge by this whole number; default: small pictures by 4.", min=1, max=16
        ),
    ] = None,
    backend: BackendOption = "auto",
    precision: PrecisionOption = "auto",
    threads: ThreadsOption = None,
    fusion: FusionOption = None,
) -> None:
    """Make the picture that the given senses, or words, describe.

    Give each modality of the bundle as --NAME VALUE. The reference has --text WORDS, --audio FILE.wav (or a video with
    sound), --radar FILE.npz and --image FILE. A bundle with prompts takes --text WORDS (--prompt means the same), and
    may take --init and --mask.

    Example: chiasm generate reference --text "An ambulance ahead in the rain." --out picture.png
    """
    from ..runtime.pipeline import load
    from ..runtime.sinks import check_output, write_file

    _must_be_png(out)
    check_output(out)
    options = option_names(ctx)
    word, values = split_modalities([bundle, *ctx.args], options)
    keep_inputs([out], [*values.values(), *(file for file in (init, mask) if file is not None)])
    with load(bundle_path(word), backend, precision, threads, fusion=fusion) as pipeline:
        drawing = _decoder(pipeline)
        asked: dict[str, Any] = {
            "seed": seed,
            "guidance": guidance,
            "decoder": decoder,
            "negative": negative,
            "strength": strength,
        }
        given = _given(pipeline, values, init, at, options)
        if mask is not None:
            asked["mask"] = _read(mask)
        counts = _counts(drawing, steps, all_steps)
        pictures = [_picture(pipeline, count, {**asked, **given}) for count in counts]
    write_file(out, png_bytes(_side_by_side(pictures, scale)))
    words = " and ".join(given)
    stderr().print(f"{out}: from {words}, {'/'.join(map(str, counts))} steps, seed {seed}", soft_wrap=True)


def _must_be_png(out: Path) -> None:
    from ..runtime.errors import SinkError

    if out.suffix.lower() != ".png":
        raise SinkError("the picture cannot be written", found=f"--out {out}", expected="a name ending in .png")


def _decoder(pipeline: Pipeline) -> Decoder:
    from ..runtime.errors import InputError

    decoder = pipeline.manifest.decoder
    if decoder is None:
        raise InputError("this bundle generates no pictures", expected="a bundle with a decoder")
    return decoder


def _given(
    pipeline: Pipeline, values: dict[str, str], init: Path | None, at: float, options: list[str]
) -> dict[str, Any]:
    """What the picture is made from: packets of modalities, or words and a picture."""
    from ..runtime.errors import InputError
    from ..runtime.manifest import OnePassDecoder

    decoder = _decoder(pipeline)
    one_pass = isinstance(decoder, OnePassDecoder)
    if not isinstance(decoder, OnePassDecoder) and not decoder.prompts:
        if init is not None:
            raise InputError("this bundle starts from no picture", found=f"--init {init}", expected="its modalities")
        chosen = known_modalities(values, pipeline.manifest.modalities, options)
        return {modality.name: _together(freshest(modality, values[modality.name], at)) for modality in chosen}
    known = [] if one_pass else ["text"]
    if known and "prompt" in values and "text" not in values:
        values = {"text" if name == "prompt" else name: value for name, value in values.items()}
    for name in values:
        if name not in known:
            expected = "--init FILE" if one_pass else "--text WORDS, --init FILE"
            raise InputError("the bundle has no such input", found=f"--{name}", expected=expected,
                             fix=hint(name, [*known, *options]))  # fmt: skip
    if one_pass and init is None:
        raise InputError("no picture is given", expected="--init FILE")
    return dict(values) if init is None else {**values, "image": _read(init)}


def _read(path: Path) -> Array:
    from ..runtime.sources.pictures import read_picture

    return read_picture(path)


def _together(packet: Packet) -> Packet:
    """Captured now, like all the others: a picture of the morning may be joined with words of the evening."""
    from msgspec.structs import replace

    return replace(packet, time_s=0.0)


def _counts(decoder: Decoder, steps: int | None, all_steps: bool) -> list[int]:
    from ..runtime.manifest import OnePassDecoder

    offered, usual = ((1,), 1) if isinstance(decoder, OnePassDecoder) else (decoder.steps, decoder.default_steps)
    return list(offered) if all_steps else [usual if steps is None else steps]


def _picture(pipeline: Pipeline, steps: int, asked: dict[str, Any]) -> Array:
    """The last step's picture, uint8 (H, W, 3)."""
    picture: Array | None = None
    with progress(f"{steps} steps") as advance:
        for generation in pipeline.generate(steps=steps, **asked):
            advance(f"step {generation.step} of {generation.steps}", generation.step / generation.steps)
            picture = generation.picture
    if picture is None:
        raise AssertionError("the last step of a generation carries the picture")
    return picture


def _side_by_side(pictures: list[Array], scale: int | None) -> Array:
    import numpy as np

    row = np.concatenate(pictures, axis=1)
    times = scale if scale is not None else (4 if pictures[0].shape[1] <= 128 else 1)
    return np.ascontiguousarray(row.repeat(times, axis=0).repeat(times, axis=1))
