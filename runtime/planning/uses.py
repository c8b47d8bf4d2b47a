"""Which parts of a bundle run, for what, and how often: the manifest says it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ..errors import InputError
from ..manifest import Captioner, DiffusionDecoder, Manifest

__all__ = ["TASKS", "Use", "idle", "uses"]

TASKS = {
    "decide": "a decision, all senses new",
    "encode": "every sense encoded once",
    "draw": "a picture",
    "describe": "a caption of the greatest length",
}
"""task → what one run of it is."""


@dataclass(frozen=True)
class Use:
    """A part in a task. `runs`: how often in one run of the task; `how`: where that number comes from."""

    part: str
    task: str
    runs: int
    how: str = ""


def uses(manifest: Manifest, steps: int | None = None, fusion: str | None = None) -> tuple[Use, ...]:
    """Every use with the bundle's defaults, or with so many steps or another fusion kind.

    Raises InputError for a number of steps or a fusion that the bundle has not.
    """
    found = [Use(modality.part, "decide" if manifest.fusion else "encode", 1) for modality in manifest.modalities]
    if manifest.fusion is not None:
        kind = manifest.fusion.default if fusion is None else fusion
        if kind not in manifest.fusion.kinds:
            raise InputError("No such fusion", found=kind, expected=f"one of {', '.join(manifest.fusion.kinds)}")
        found.append(Use(manifest.fusion.kinds[kind], "decide", 1))
        found += [Use(part, "decide", 1) for part in dict.fromkeys(head.part for head in manifest.heads.values())]
    elif fusion is not None:
        raise InputError("This bundle does not decide", found=f"fusion {fusion}", expected="no fusion")
    found += _drawing(manifest, steps)
    if manifest.captioner is not None:
        found += _describing(manifest.captioner, _encoder(manifest, manifest.captioner.modality))
    return tuple(found)


def _drawing(manifest: Manifest, steps: int | None) -> Iterator[Use]:
    decoder = manifest.decoder
    if isinstance(decoder, DiffusionDecoder):
        yield from _diffusing(manifest, decoder, steps)
        return
    if steps is not None:
        raise InputError("This bundle has no steps", found=f"{steps} steps", expected="a diffusion decoder")
    if decoder is not None:
        yield Use(decoder.part, "draw", 1)


def _diffusing(manifest: Manifest, decoder: DiffusionDecoder, steps: int | None) -> Iterator[Use]:
    """The denoiser runs for every step, and twice where it is guided by a second run with another condition."""
    if steps is not None and steps not in decoder.steps:
        raise InputError(
            "This bundle has no such number of steps", found=steps, expected=", ".join(map(str, decoder.steps))
        )
    count = decoder.default_steps if steps is None else steps
    told = any(spec.name == "guidance" for spec in manifest.parts[decoder.denoiser].inputs)
    twice = not told and decoder.guidance != 1.0
    for prompt in decoder.prompts.values():
        runs = 2 if twice and decoder.unprompted == "empty" else 1
        yield Use(prompt.part, "draw", runs, "the prompt, and the empty one" if runs == 2 else "the prompt")
    words = f"{count} steps" + (f" x 2, guidance {decoder.guidance:g}" if twice else "")
    yield Use(decoder.denoiser, "draw", count * (2 if twice else 1), words)
    yield Use(decoder.pictures[decoder.default], "draw", 1)


def _describing(captioner: Captioner, encoder: str) -> Iterator[Use]:
    yield Use(encoder, "describe", 1)
    yield Use(captioner.prefill, "describe", 1)
    words = f"{captioner.max_tokens} tokens" + (f" x {captioner.beams} beams" if captioner.beams > 1 else "")
    yield Use(captioner.step, "describe", captioner.max_tokens * captioner.beams, words)


def _encoder(manifest: Manifest, name: str) -> str:
    return next(modality.part for modality in manifest.modalities if modality.name == name)


def idle(manifest: Manifest, used: tuple[Use, ...]) -> tuple[str, ...]:
    """Parts that no use names: other fusion kinds, other picture decoders, the way back from pictures."""
    named = {use.part for use in used}
    return tuple(part for part in manifest.parts if part not in named)
