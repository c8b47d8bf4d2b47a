"""What the commands share: where a bundle is, options spelt once, where words go."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import typer

from ..runtime.errors import InputError
from ..runtime.hints import did_you_mean

if TYPE_CHECKING:
    from rich.console import Console

    from ..runtime.manifest import Modality
    from ..runtime.values import Packet

__all__ = [
    "EXTRAS",
    "BackendOption",
    "BundleArgument",
    "FusionOption",
    "JsonOption",
    "PrecisionOption",
    "ThreadsOption",
    "bundle_path",
    "capture",
    "emit_json",
    "freshest",
    "hint",
    "keep_inputs",
    "known_modalities",
    "progress",
    "source_uri",
    "split_modalities",
    "split_search",
    "stderr",
    "stdout",
]

EXTRAS = {
    "camera": {"cv2": "cameras, windows and drawing", "av": "video files with sound"},
    "microphone": {"sounddevice": "the microphone"},
    "report": {"matplotlib": "plots of bench"},
    "search": {"usearch": "searching folders"},
    "export": {
        "torch": "exporting checkpoints",
        "onnx": "exporting checkpoints",
        "onnxscript": "exporting checkpoints",
    },
}
"""extra → its modules and what they are for."""

BundleArgument = Annotated[str, typer.Argument(help="A bundle's folder, or the word 'reference'.", metavar="BUNDLE")]
BackendOption = Annotated[
    str,
    typer.Option(
        "--backend",
        metavar="NAME",
        help="auto, ort, ort:cuda, openvino, rtx, trt, or null (runs nothing).",
    ),
]
PrecisionOption = Annotated[
    str, typer.Option("--precision", metavar="NAME", help="auto (what measured best), fp32, fp16 or int8.")
]
ThreadsOption = Annotated[
    int | None,
    typer.Option("--threads", metavar="COUNT", help="CPU threads; default: all this process may use.", min=1, max=256),
]
FusionOption = Annotated[
    str | None, typer.Option("--fusion", metavar="KIND", help="Fusion kind; default: the bundle's own.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="JSON on standard output, for programs.")]


@cache
def stdout() -> Console:
    """Where answers go."""
    from rich.console import Console

    return Console(highlight=False)


@cache
def stderr() -> Console:
    """Where progress, summaries and errors go, so that answers can be piped."""
    from rich.console import Console

    return Console(stderr=True, highlight=False)


def emit_json(value: object) -> None:
    """Readable JSON on standard output."""
    import msgspec

    try:
        raw = msgspec.json.encode(value)
    except UnicodeEncodeError:  # a file name that is not UTF-8
        raw = msgspec.json.encode(_speakable(msgspec.to_builtins(value)))
    sys.stdout.write(msgspec.json.format(raw, indent=1).decode() + "\n")


def _speakable(value: Any) -> Any:
    """The same with what is not Unicode escaped."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {_speakable(key): _speakable(item) for key, item in value.items()}
    return [_speakable(item) for item in value] if isinstance(value, list | tuple) else value


def bundle_path(word: str) -> Path:
    """The folder that a BUNDLE argument names; the word `reference` is the bundle that ships with chiasm."""
    from ..runtime.bundle import resolve_bundle

    return resolve_bundle(word)


class Advance(Protocol):
    """Move a progress bar: `fraction` of the whole, and what is being done."""

    def __call__(self, title: str, fraction: float) -> None: ...


@contextmanager
def progress(title: str, *, quiet: bool = False) -> Iterator[Advance]:
    """A progress bar on standard error; nothing when that is not a terminal, or `quiet`."""
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=stderr(), transient=True, disable=quiet or not stderr().is_terminal) as bars:
        task = bars.add_task(title, total=1.0)
        yield lambda words, fraction: bars.update(task, description=words, completed=fraction)


def split_modalities(words: Sequence[str], options: Sequence[str]) -> tuple[str, dict[str, str]]:
    """The bundle and the `--MODALITY VALUE` pairs of a command line whose own options are already taken out.

    `options` are the command's own option names, for the hint of a misspelt one.
    """
    bundles, values = _split(words, options)
    if len(bundles) != 1:
        raise InputError(
            "one bundle is needed", found=", ".join(bundles) or "none", expected="BUNDLE --MODALITY VALUE ...",
            fix="The word 'reference' names the bundle that ships with chiasm; quote words that belong together.",
        )  # fmt: skip
    return bundles[0], values


def split_search(words: Sequence[str], options: Sequence[str]) -> tuple[str, str, dict[str, str]]:
    """As `split_modalities`, for a command that takes a bundle and an index."""
    places, values = _split(words, options)
    if len(places) != 2:
        raise InputError(
            "a bundle and an index are needed", found=", ".join(places) or "none",
            expected="BUNDLE INDEX --MODALITY VALUE", fix="Quote words that belong together.",
        )  # fmt: skip
    return places[0], places[1], values


def _split(words: Sequence[str], options: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    bundles: list[str] = []
    values: dict[str, str] = {}
    rest = iter(words)
    for word in rest:
        if not word.startswith("-") or word == "-":
            bundles.append(word)
            continue
        name, equals, value = word.lstrip("-").partition("=")
        if not word.startswith("--") or not name:
            raise InputError("unknown option", found=word, expected="--MODALITY VALUE", fix="See --help.")
        value = value if equals else next(rest, "")
        if not value or (not equals and value.startswith("--")):
            raise InputError(f"--{name} needs a value", found=value or "nothing", fix=hint(name, options))
        if name in values:
            raise InputError(f"--{name} is given twice", expected="each modality once")
        values[name] = value
    return bundles, values


def known_modalities(
    values: Mapping[str, str], modalities: Sequence[Modality], options: Sequence[str]
) -> list[Modality]:
    """The manifest's modalities that `values` names; an unknown name is an error with the nearest known one."""
    by_name = {modality.name: modality for modality in modalities}
    expected = ", ".join(f"--{name}" for name in by_name)
    for name in values:
        if name not in by_name:
            fix = hint(name, [*by_name, *options])
            raise InputError("the bundle has no such modality", found=f"--{name}", expected=expected, fix=fix)
    if not values:
        raise InputError("no modality is given", expected=f"at least one of {expected}")
    return [by_name[name] for name in values]


def hint(name: str, names: Sequence[str]) -> str | None:
    """The option that a misspelt one was perhaps meant to be, as a sentence."""
    return did_you_mean(name, [known.lstrip("-") for known in names], "--")


def source_uri(modality: Modality, value: str) -> str:
    """What a person types for a modality, as a source: words are text as they are, unless they name a file."""
    from ..runtime.manifest import TextModality

    if not isinstance(modality, TextModality) or value.startswith("text:") or value.lower().endswith(".txt"):
        return value
    return value if len(value) < 256 and Path(value).is_file() else f"text:{value}"


def keep_inputs(outputs: Iterable[str | Path], inputs: Iterable[str | Path]) -> None:
    """Raise SinkError where an output is, by this or another name, a file that is read: it would be lost."""
    from ..runtime.errors import SinkError

    read = [str(file) for file in inputs if os.path.isfile(file)]
    for output in outputs:
        if os.path.isfile(output) and any(os.path.samefile(output, file) for file in read):
            raise SinkError(
                f"{output} cannot be written", found="a file that is read", expected="another name",
                fix="Choose another name: this file would be replaced by the result",
            )  # fmt: skip


def freshest(modality: Modality, value: str, at_s: float) -> Packet:
    """The freshest packet at or before `at_s` of what `value` names; the first one of a live source."""
    from ..runtime.sources import open_source

    source = open_source(modality, source_uri(modality, value))
    last: Packet | None = None
    try:
        for packet in source:
            if last is not None and packet.time_s > at_s:
                break
            last = packet
            if source.live:
                break
    finally:
        source.close()
    if last is None:
        raise InputError(f"{value} holds nothing for --{modality.name}", expected="at least one capture")
    return last


def capture(modality: Modality, value: str) -> Packet:
    """The first capture of what `value` names; of a sound the first whole window. It counts as captured now."""
    from msgspec.structs import replace

    from ..runtime.manifest import AudioModality

    at_s = modality.samples / modality.sample_rate if isinstance(modality, AudioModality) else 0.0
    return replace(freshest(modality, value, at_s), time_s=0.0)


def option_names(ctx: typer.Context) -> list[str]:
    """The long names of the running command's own options."""
    names: list[Any] = [opt for parameter in ctx.command.params for opt in parameter.opts]
    return [name for name in names if isinstance(name, str) and name.startswith("--")]
