"""`chiasm classify`: what a capture is, by labels in words or by the bundle's own classes."""

from __future__ import annotations

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
    known_modalities,
    option_names,
    progress,
    split_modalities,
    stderr,
    stdout,
)

if TYPE_CHECKING:
    from ..runtime.manifest import Modality
    from ..runtime.pipeline import Pipeline

OPEN = True


def command(
    ctx: typer.Context,
    bundle: BundleArgument,
    labels: Annotated[
        str | None,
        typer.Option(metavar="A,B,C", help="Labels in words, separated by commas; or a text file with one a line."),
    ] = None,
    templates: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Sentences around a label: openai80, photo, sound, plain, or a file; auto: by the kind.",
        ),
    ] = "auto",
    top: Annotated[int, typer.Option(metavar="COUNT", help="How many labels to show.", min=1)] = 5,
    no_cache: Annotated[
        bool, typer.Option("--no-cache", help="Encode the labels again, and keep nothing for the next time.")
    ] = False,
    backend: BackendOption = "auto",
    precision: PrecisionOption = "auto",
    threads: ThreadsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say what a picture, a sound or a text is.

    With --labels: by words, for a bundle whose encoders share a space, such as CLIP, SigLIP or CLAP. What is encoded of
    the labels is kept in the user's cache. Without: by the classes that the bundle's own heads know.

    Example: chiasm classify clip.chiasm --image cat.jpg --labels cat,dog,bus --templates openai80
    """
    from ..runtime.pipeline import load

    options = option_names(ctx)
    word, values = split_modalities([bundle, *ctx.args], options)
    with load(bundle_path(word), backend, precision, threads) as pipeline:
        chosen = known_modalities(values, pipeline.manifest.modalities, options)
        packets = {modality.name: capture(modality, values[modality.name]) for modality in chosen}
        if labels is None:
            answer = _by_heads(pipeline, packets, top)
        else:
            answer = _by_words(pipeline, chosen, packets, read_labels(labels), templates, top, not no_cache)
    if as_json:
        emit_json(answer)
        return
    for head, ranked in answer["heads"].items():
        if len(answer["heads"]) > 1:
            stdout().print(f"{head}:", markup=False)
        for each in ranked:
            stdout().print(f"{100 * each['probability']:6.2f} %  {each['label']}", markup=False, soft_wrap=True)


def read_labels(words: str) -> list[str]:
    """Labels from `a,b,c`, or from the lines of a text file of that name."""
    from ..runtime.errors import InputError

    if len(words) < 256 and Path(words).is_file():
        try:
            words = Path(words).read_text("utf-8-sig").replace("\n", "\0")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError("the labels cannot be read", found=str(error), expected="UTF-8 text") from error
        return [each.strip() for each in words.split("\0") if each.strip()]
    return [each.strip() for each in words.split(",")]


def _by_words(
    pipeline: Pipeline, chosen: list[Modality], packets: dict[str, Any], labels: list[str], templates: str, top: int,
    cache: bool,
) -> dict[str, Any]:  # fmt: skip
    from ..runtime.manifest import AudioModality, ImageModality
    from ..runtime.zero_shot import ZeroShot

    usual = {ImageModality: "photo", AudioModality: "sound"}.get(type(chosen[0]), "plain")
    chosen_templates = usual if templates == "auto" else templates
    with progress("encoding the labels") as advance:
        sort = ZeroShot(pipeline, labels, chosen_templates, cache=cache, progress=advance)
    if cache and sort.kept is None:
        stderr().print("The labels could not be kept in the user's cache; next time they are encoded again.")
    found = sort(**packets)
    cosines = dict(zip(found.labels, found.cosines.tolist(), strict=True))
    ranked = [{"label": name, "probability": value, "cosine": cosines[name]} for name, value in found.ranked(top)]
    return {
        "bundle": pipeline.manifest.model.name, "modality": found.modality, "space": sort.space,
        "templates": chosen_templates, "heads": {"labels": ranked},
    }  # fmt: skip


def _by_heads(pipeline: Pipeline, packets: dict[str, Any], top: int) -> dict[str, Any]:
    from ..runtime.errors import InputError

    if not any(head.kind == "classes" for head in pipeline.manifest.heads.values()):
        fix = "Give --labels" if pipeline.manifest.spaces else None
        raise InputError("this bundle has no classes of its own", expected="a head of kind classes", fix=fix)
    result = pipeline(**packets)
    heads = {
        head: [
            {"label": name, "probability": value}
            for name, value in sorted(scores.items(), key=lambda item: -item[1])[:top]
        ]
        for head, scores in result.scores.items()
    }
    return {"bundle": pipeline.manifest.model.name, "modality": "+".join(result.present), "heads": heads}
