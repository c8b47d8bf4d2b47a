"""Named sets of raw captures → feeds of every part, through the runtime's preprocessing and the parts' FP32 graphs.

Encoders are fed with what the runtime would make of each capture. Every later part is fed with what the parts before it
make of those: fusion with tokens in all sets of present modalities, heads with states, the denoiser with the latents
of real sampling from states without a picture, the decoder with the latents that come out of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np

from ..runtime.errors import ExportError
from ..runtime.manifest import Decoder, ImageModality, Manifest
from ..runtime.preprocess import Preparer
from ..runtime.values import Array, Packet
from .sessions import Runner

__all__ = ["Calibration", "Feeds", "Sample", "Tokens", "fuse_feeds", "part_feeds", "prepare", "subsets"]

Feeds = dict[str, Array]
Tokens = Mapping[str, Array]
_AGE_S = 0.5
"""Mean age in the feeds of the fusion; the runtime's packets are mostly fresher."""


@dataclass(frozen=True)
class Sample:
    """One moment: a packet per modality, and the right label of each head that is checked."""

    packets: Mapping[str, Packet]
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Calibration:
    """`sets`: captures per modality that set the INT8 ranges; `samples`: other moments, for verification."""

    sets: Mapping[str, Sequence[Packet]]
    samples: Sequence[Sample] = ()


def subsets(names: Sequence[str]) -> list[tuple[str, ...]]:
    """Every non-empty set of modalities, small ones first: 15 for four."""
    return [chosen for size in range(1, len(names) + 1) for chosen in combinations(names, size)]


def prepare(manifest: Manifest, read: Callable[[str], bytes], packets: Sequence[Packet]) -> list[Feeds]:
    """Packets → named tensors, each with memory of its own."""
    preparer = Preparer(manifest, read)
    return [{name: np.array(value) for name, value in preparer(packet).items()} for packet in packets]


def fuse_feeds(manifest: Manifest, tokens: Tokens, present: Sequence[str], ages: Mapping[str, float]) -> Feeds:
    """Inputs of a fusion part as the runtime feeds them: zeros for absent tokens, presence 0 or 1, ages in seconds."""
    shapes = {each.name: each.tokens for each in manifest.modalities}
    order = manifest.fusion.order
    feeds: Feeds = {
        name: tokens[name] if name in present else np.zeros((1, *shapes[name]), np.float32) for name in order
    }
    feeds["presence"] = np.array([[float(name in present) for name in order]], np.float32)
    feeds["age"] = np.array([[ages.get(name, 0.0) if name in present else 0.0 for name in order]], np.float32)
    return feeds


def part_feeds(
    manifest: Manifest,
    graphs: Mapping[str, bytes],
    encoders: Mapping[str, Sequence[Feeds]],
    count: int,
    seed: int = 0,
) -> dict[str, list[Feeds]]:
    """Up to `count` feeds for every part of the manifest.

    `graphs` are the FP32 graphs by part; `encoders[modality]` are prepared captures. Raises `ExportError` without any.
    """
    for each in manifest.modalities:
        if not encoders.get(each.name):
            raise ExportError(
                f"No calibration captures for {each.name!r}", fix=f"Give some: --calibration {each.name}=FOLDER"
            )
    random = np.random.default_rng(seed)
    feeds = {each.part: list(encoders[each.name])[:count] for each in manifest.modalities}
    tokens = {each.name: _tokens(graphs[each.part], feeds[each.part]) for each in manifest.modalities}
    fused = list(_fusion(manifest, tokens, count, random))
    for part in manifest.fusion.kinds.values():
        feeds[part] = fused
    fusion = Runner(graphs[manifest.fusion.kinds[manifest.fusion.default]])
    states = [fusion(each)["state"].copy() for each in fused]
    for part in {head.part for head in manifest.heads.values()}:
        feeds[part] = [{"state": state} for state in states]
    if manifest.decoder is not None:
        conditions = [fusion(each)["state"].copy() for each in _conditions(manifest, tokens, count)]
        feeds |= _decoder(manifest.decoder, Runner(graphs[manifest.decoder.denoiser]), conditions, count, random)
    return feeds


def _tokens(graph: bytes, feeds: Sequence[Feeds]) -> list[Array]:
    runner = Runner(graph)
    return [runner(each)["tokens"].copy() for each in feeds]


def _fusion(
    manifest: Manifest, tokens: Mapping[str, Sequence[Array]], count: int, random: np.random.Generator
) -> Iterator[Feeds]:
    """Every set of present modalities in turn, with ages drawn from an exponential distribution."""
    sets = subsets(manifest.fusion.order)
    for index in range(count):
        now = {name: each[index % len(each)] for name, each in tokens.items()}
        ages = {name: float(random.exponential(_AGE_S)) for name in now}
        yield fuse_feeds(manifest, now, sets[index % len(sets)], ages)


def _conditions(manifest: Manifest, tokens: Mapping[str, Sequence[Array]], count: int) -> Iterator[Feeds]:
    """What a picture is made from: fresh packets of every set of the other modalities, without the picture itself."""
    images = {each.name for each in manifest.modalities if isinstance(each, ImageModality)}
    every = subsets(manifest.fusion.order)
    sets = [each for each in every if not images.intersection(each)] or every
    for index in range(count):
        now = {name: each[index % len(each)] for name, each in tokens.items()}
        yield fuse_feeds(manifest, now, sets[index % len(sets)], {})


def _decoder(
    decoder: Decoder, denoiser: Runner, states: Sequence[Array], count: int, random: np.random.Generator
) -> dict[str, list[Feeds]]:
    """Sample as the runtime does, with every number of steps in turn; keep what denoiser and decoders were fed."""
    plans = list(decoder.timesteps.values())
    seen: list[Feeds] = []
    ends: list[Feeds] = []
    low, high = decoder.guidance_range
    for index in range(count):
        guidance = np.array([random.uniform(low, high)], np.float32)
        latents = random.standard_normal((1, *decoder.latent)).astype(np.float32)
        times = plans[index % len(plans)]
        for step, time in enumerate(times):
            feed = {
                "latents": latents,
                "timestep": np.array([time], np.float32),
                "state": states[index % len(states)],
                "guidance": guidance,
            }
            seen.append(feed)
            clean = latents - np.float32(time) * denoiser(feed)["prediction"]
            after = np.float32(times[step + 1] if step + 1 < len(times) else 0.0)
            latents = (1 - after) * clean + after * random.standard_normal(clean.shape).astype(np.float32)
        ends.append({"latents": latents})
    order = random.permutation(len(seen))[:count]
    feeds = {decoder.denoiser: [seen[index] for index in order]}
    return feeds | dict.fromkeys(decoder.pictures.values(), ends)
