"""`chiasm caption`: what pictures show, in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .common import (
    BackendOption,
    BundleArgument,
    JsonOption,
    PrecisionOption,
    ThreadsOption,
    bundle_path,
    capture,
    emit_json,
    progress,
    stdout,
)

if TYPE_CHECKING:
    from ..runtime.pipeline import Pipeline


def command(
    bundle: BundleArgument,
    pictures: Annotated[
        list[str] | None, typer.Argument(help="More pictures, or folders of them.", metavar="PICTURE...")
    ] = None,
    image: Annotated[
        list[str] | None, typer.Option(metavar="PICTURE", help="A picture, or a folder of them; may be repeated.")
    ] = None,
    beams: Annotated[
        int | None,
        typer.Option(
            metavar="COUNT",
            help="Texts followed at once, 1: the likeliest word each time; default: the bundle's.",
            min=1,
        ),
    ] = None,
    max_tokens: Annotated[
        int | None,
        typer.Option(metavar="COUNT", help="The most tokens after the prompt; default: the bundle's.", min=1),
    ] = None,
    prompt: Annotated[
        str | None, typer.Option(metavar="WORDS", help='How captions begin, such as "a picture of".')
    ] = None,
    length_penalty: Annotated[
        float | None,
        typer.Option(metavar="NUMBER", help="With --beams: above 0 favours long captions, below 0 short ones."),
    ] = None,
    backend: BackendOption = "auto",
    precision: PrecisionOption = "auto",
    threads: ThreadsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Describe pictures in words, by a bundle that was made from a captioning checkpoint such as BLIP.

    One picture gives its caption, several a line each with the file's name in front.

    Example: chiasm caption blip.chiasm --image holiday/ --beams 3 --prompt "a picture of"
    """
    from ..runtime.errors import InputError
    from ..runtime.pipeline import load

    files = list(_files([*(image or ()), *(pictures or ())]))
    asked: dict[str, Any] = {
        "beams": beams, "max_tokens": max_tokens, "prompt": prompt, "length_penalty": length_penalty
    }  # fmt: skip
    told: list[dict[str, Any]] = []
    with load(bundle_path(bundle), backend, precision, threads) as pipeline:
        if pipeline.manifest.captioner is None:
            raise InputError(
                "this bundle does not describe pictures", expected="a bundle with a captioner",
                fix="Export a BLIP checkpoint, or add [captions] to the recipe",
            )  # fmt: skip
        with progress("captions", quiet=as_json or len(files) == 1) as advance:
            for index, file in enumerate(files):
                advance(file, index / len(files))
                made = _caption(pipeline, file, asked)
                told.append({"file": file, **made})
                if not as_json:
                    words = made["text"] if len(files) == 1 else f"{file}: {made['text']}"
                    stdout().print(words, markup=False, soft_wrap=True)
        name = pipeline.manifest.model.name
    if as_json:
        emit_json({"bundle": name, "captions": told})


def _caption(pipeline: Pipeline, file: str, asked: dict[str, Any]) -> dict[str, Any]:
    captioner = pipeline.manifest.captioner
    assert captioner is not None
    packets: dict[str, Any] = {captioner.modality: capture(pipeline.bundle.modality(captioner.modality), file)}
    return pipeline.caption(**asked, **packets).to_dict()


def _files(places: Sequence[str]) -> Iterator[str]:
    """Pictures as they are named, and those of a folder in the order of their names."""
    from ..runtime.errors import InputError
    from ..runtime.sources.pictures import SUFFIXES, pictures_in

    if not places:
        raise InputError("no picture is given", expected="--image PICTURE, once or more")
    for place in places:
        folder = Path(place)
        if not folder.is_dir():
            yield place
            continue
        found = pictures_in(folder)
        if not found:
            raise InputError(f"{place} holds no picture", expected=f"files of {', '.join(sorted(SUFFIXES))}")
        yield from map(str, found)
