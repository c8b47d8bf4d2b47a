"""Zero-shot classification: labels in words, told apart in a space that two encoders of a bundle share.

A label is put into templates ("a photo of a {}."), each sentence is encoded, and the mean of their unit vectors,
brought to unit length again, stands for the label (prompt ensembling, Radford et al. 2021). Those vectors are computed
once and kept in a file. A capture's probabilities come from its cosines with them, by the checkpoint's own scale and
bias.

    with load("clip.chiasm") as pipeline:
        sort = ZeroShot(pipeline, ["cat", "dog", "bus"], "openai80")
        print(sort(image=frame).ranked(3))
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from .errors import ChiasmError, InputError
from .sinks import write_file
from .spaces import digest, probabilities, space_of, text_of, unit

if TYPE_CHECKING:
    from .pipeline import Pipeline

__all__ = ["TEMPLATES", "Classification", "ZeroShot", "cache_folder", "read_templates"]

_FOLDER = Path(__file__).parent / "templates"
TEMPLATES = {"openai80": None, "photo": ("a photo of a {}.",), "sound": ("This is a sound of {}.",), "plain": ("{}",)}
"""Sets of templates by name; None: a file of `runtime/templates`. `sound` is CLAP's (Elizalde et al. 2023)."""


@dataclass(frozen=True)
class Classification:
    """One capture: `probabilities` and `cosines` with each of `labels`, in their order."""

    modality: str
    labels: tuple[str, ...]
    probabilities: NDArray[np.float64]
    cosines: NDArray[np.float32]

    def ranked(self, top: int | None = None) -> list[tuple[str, float]]:
        """(label, probability), the likeliest first."""
        order = np.argsort(-self.probabilities, kind="stable")[:top]
        return [(self.labels[index], float(self.probabilities[index])) for index in order]


class ZeroShot:
    """The labels of one pipeline, ready to be compared with.

    `templates`: the name of a set, a file with one a line, or the templates themselves. `space`: the name of the space,
    needed only where a bundle has several. `cache`: the folder to keep the vectors in, True: the user's
    (`cache_folder`), False: none. `progress` is told what is done and which fraction. Raises InputError.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        labels: Sequence[str],
        templates: str | Path | Sequence[str] = "plain",
        *,
        space: str | None = None,
        cache: Path | bool = True,
        progress: Callable[[str, float], object] = lambda words, fraction: None,
    ) -> None:
        self.pipeline = pipeline
        self.space, self._space = self._find(space)
        self.text = text_of(pipeline.manifest, self._space)
        self.labels = _checked(labels, at_least=2 if self._space.link == "softmax" else 1)
        self.templates = read_templates(templates) if isinstance(templates, str | Path) else _all_right(templates, "")
        self.kept: Path | None = None
        self.vectors = self._vectors(cache, progress)

    def _find(self, name: str | None) -> tuple[str, Any]:
        spaces = self.pipeline.manifest.spaces
        if name is None:
            return space_of(self.pipeline.manifest)
        if name not in spaces:
            raise InputError("This bundle has no such space", found=name, expected=", ".join(spaces) or "none")
        return name, spaces[name]

    def __call__(self, *, time_s: float | None = None, **packet: Any) -> Classification:
        """Probabilities for one capture of one modality of the space, given by name as to a pipeline."""
        given = [name for name, value in packet.items() if value is not None]
        if len(given) != 1 or given[0] not in self._space.modalities:
            raise InputError(
                "Zero-shot classification takes one capture", found=", ".join(given) or "none",
                expected=f"one of {', '.join(self._space.modalities)}",
            )  # fmt: skip
        vector = unit(self.pipeline.encode(time_s=time_s, **packet)[given[0]])
        cosines = self.vectors @ vector
        return Classification(given[0], self.labels, probabilities(self._space, cosines), cosines)

    def _vectors(self, cache: Path | bool, progress: Callable[[str, float], object]) -> NDArray[np.float32]:
        """(L, E) of unit length: from the cache, or encoded now and kept there if that can be."""
        folder = cache_folder() if cache is True else cache
        file = Path(folder) / f"{self._key()}.npy" if folder else None
        if file is not None and (found := self._read(file)) is not None:
            self.kept = file
            return found
        made = np.stack([self._vector(label, index, progress) for index, label in enumerate(self.labels)])
        if file is not None:
            self.kept = _keep(file, made)
        return made

    def _vector(self, label: str, index: int, progress: Callable[[str, float], object]) -> NDArray[np.float32]:
        rows = []
        for count, template in enumerate(self.templates):
            progress(f"encoding {label}", (index + count / len(self.templates)) / len(self.labels))
            words: dict[str, Any] = {self.text: template.replace("{}", label)}
            rows.append(self.pipeline.encode(**words)[self.text])
        return unit(unit(np.stack(rows)).mean(axis=0))

    def _key(self) -> str:
        """Everything that the vectors depend on: bundle, precision, space, labels, templates."""
        part = self.pipeline.bundle.modality(self.text).part
        facts = (
            1, digest(self.pipeline.manifest), self.pipeline.backend, self.pipeline.precisions[part], self.text,
            self.labels, self.templates,
        )  # fmt: skip
        return hashlib.sha256(msgspec.json.encode(facts)).hexdigest()

    def _read(self, file: Path) -> NDArray[np.float32] | None:
        """The kept vectors; None where there are none that can be used."""
        try:
            found = np.load(file, allow_pickle=False)
        except (OSError, ValueError, EOFError):
            return None
        width = next(
            spec.shape[-1]
            for spec in self.pipeline.manifest.parts[self.pipeline.bundle.modality(self.text).part].outputs
            if spec.name == "embedding"
        )
        right = found.dtype == np.float32 and found.shape == (len(self.labels), width)
        if not right or not np.allclose(np.linalg.norm(found, axis=1), 1.0, atol=1e-3):
            return None
        return np.asarray(found)


def _keep(file: Path, vectors: NDArray[np.float32]) -> Path | None:
    """Write the vectors; None where that fails: a full disk takes nothing from the answer."""
    try:
        write_file(file, lambda out: np.save(out, vectors, allow_pickle=False))
    except ChiasmError:
        return None
    return file


def cache_folder() -> Path:
    """Where the user's caches are, by the system's habit: $XDG_CACHE_HOME, %LOCALAPPDATA%, else ~/.cache."""
    base = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA")
    return (Path(base) if base else Path.home() / ".cache") / "chiasm" / "zero-shot"


def read_templates(name: str | Path) -> tuple[str, ...]:
    """The templates of a set by name, or of a file with one a line; empty lines and those beginning with # are left
    out.
    """
    if isinstance(name, str) and name in TEMPLATES:
        known = TEMPLATES[name]
        if known is not None:
            return known
        path = _FOLDER / f"{name}.txt"
    else:
        path = Path(name)
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = (isinstance(error, OSError) and error.strerror) or str(error)
        raise InputError(
            "No such set of templates", found=f"{name} ({reason})",
            expected=f"{', '.join(TEMPLATES)}, or a text file with one template a line",
        ) from None  # fmt: skip
    return _all_right([line.strip() for line in lines if line.strip() and not line.startswith("#")], str(path))


def _all_right(templates: Sequence[str], where: str) -> tuple[str, ...]:
    for template in templates:
        if template.count("{}") != 1:
            raise InputError(f"A template {where and f'of {where} '}has no place for the label", found=repr(template),
                             expected="{} once")  # fmt: skip
    if not templates:
        raise InputError(f"There is no template{where and f' in {where}'}", expected="at least one, with {}")
    return tuple(templates)


def _checked(labels: Sequence[str], at_least: int) -> tuple[str, ...]:
    names = tuple(str(label).strip() for label in labels)
    twice = sorted({name for name in names if names.count(name) > 1})
    if len(names) < at_least or "" in names or twice:
        found = f"{', '.join(twice)} twice" if twice else "an empty label" if "" in names else f"{len(names)} labels"
        expected = f"at least {at_least}, all different"
        raise InputError("These labels cannot be told apart", found=found, expected=expected)
    return names
