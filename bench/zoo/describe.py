"""What a caption costs beside transformers, at full size: python -m chiasm.bench.zoo.describe --work FOLDER

Makes a BLIP of the published layout with random weights in FOLDER, exports it there (both are kept for the next time),
and lets transformers' `generate`, the FP32 graphs and the precisions that the export prefers take turns on made-up
pictures. One thread each, processor time: what else the machine does counts little.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...runtime.values import Array

__all__ = ["main"]

TOKENS = 20
Way = Callable[[Array, int], tuple[int, ...]]


def main(words: Sequence[str] | None = None) -> None:
    """Print seconds and shares for greedy search and three beams."""
    parser = argparse.ArgumentParser(prog="python -m chiasm.bench.zoo.describe", description=__doc__)
    parser.add_argument("--work", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--pictures", type=int, default=6, metavar="COUNT")
    parser.add_argument("--size", choices=("real", "tiny"), default="real")
    asked = parser.parse_args(words)
    checkpoint, bundle = _made(asked.work, asked.size)
    from ...runtime.pipeline import load

    pictures = [_picture(index) for index in range(asked.pictures)]
    with load(bundle, precision="fp32", threads=1) as whole, load(bundle, threads=1) as auto:
        ways = {"transformers": _original(checkpoint), "fp32": _ours(whole), "preferred": _ours(auto)}
        print("preferred:", ", ".join(f"{part} {name}" for part, name in auto.precisions.items()))
        for beams in (1, 3):
            _compare(ways, pictures, beams)


def _made(work: Path, size: Any) -> tuple[Path, Path]:
    """The checkpoint and its bundle, made unless they are there."""
    from ...export import export
    from .captions import blip

    checkpoint, bundle = work / "blip-base", work / "blip.chiasm"
    if not (checkpoint / "preprocessor_config.json").is_file():
        blip(checkpoint, size)
    if not (bundle / "manifest.json").is_file():
        start = time.monotonic()
        export(checkpoint, bundle, progress=lambda words, share: print(f"{100 * share:3.0f} %  {words}", flush=True))
        print(f"exported in {time.monotonic() - start:.0f} s")
    return checkpoint, bundle


def _picture(index: int) -> Array:
    """Squares of random colours, 360 × 480."""
    small = np.random.default_rng(index).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    return np.ascontiguousarray(small.repeat(30, axis=0).repeat(30, axis=1))


def _original(checkpoint: Path) -> Way:
    import torch
    from transformers import AutoImageProcessor, BlipForConditionalGeneration

    torch.set_num_threads(1)
    model = BlipForConditionalGeneration.from_pretrained(checkpoint).eval()
    processor = AutoImageProcessor.from_pretrained(checkpoint)

    def describe(picture: Array, beams: int) -> tuple[int, ...]:
        pixels = processor(picture, return_tensors="pt")["pixel_values"]
        with torch.inference_mode():
            return tuple(model.generate(pixel_values=pixels, max_new_tokens=TOKENS, num_beams=beams)[0].tolist())

    return describe


def _ours(pipeline: Any) -> Way:
    pipeline.cache = False
    return lambda picture, beams: pipeline.caption(image=picture, max_tokens=TOKENS, beams=beams).tokens


def _compare(ways: dict[str, Way], pictures: Sequence[Array], beams: int) -> None:
    """Each picture by every way, in an order that turns; medians, and the range of the shares of the first way."""
    for way in ways.values():
        way(pictures[0], beams)
    names = list(ways)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    told: dict[str, list[tuple[int, ...]]] = {name: [] for name in names}
    for index, picture in enumerate(pictures):
        turn = index % len(names)
        for name in names[turn:] + names[:turn]:
            start = time.process_time()
            told[name].append(ways[name](picture, beams))
            seconds[name].append(time.process_time() - start)
    first = names[0]
    print(
        f"\n{beams} beams, {len(pictures)} pictures, captions of {sorted({len(each) for each in told[first]})} tokens"
    )
    for name in names:
        shares = np.array(seconds[name]) / np.array(seconds[first])
        equal = sum(one == other for one, other in zip(told[name], told[first], strict=True))
        print(
            f"{name:>12}: {np.median(seconds[name]):7.3f} s, {shares.min():.2f} to {shares.max():.2f} of {first},"
            f" {equal} of {len(pictures)} captions the same"
        )


if __name__ == "__main__":
    main()
