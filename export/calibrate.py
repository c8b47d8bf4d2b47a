"""Named sets of raw captures → feeds of every part, through the runtime's preprocessing and the parts' FP32 graphs.

Encoders are fed with what the runtime would make of each capture. Every later part is fed with what the parts before it
make of those: fusion with tokens in all sets of present modalities, heads with states, the denoiser with the latents
of real sampling from states without a picture, the decoder with the latents that come out of it, a captioner with the
captions that it gives (`caption_feeds.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np

from ..kernels import denoise_step, plan_steps
from ..runtime.errors import ExportError
from ..runtime.manifest import DiffusionDecoder, ImageModality, Manifest
from ..runtime.preprocess import Preparer
from ..runtime.values import Array, OnnxGraph, Packet
from .caption_feeds import CaptionFeeds, Run
from .drawing_feeds import DrawingFeeds, drawing_parts
from .sessions import Runner

__all__ = [
    "Calibration", "Feeds", "PartFeeds", "Sample", "Tokens", "feeds_of", "fuse_feeds", "part_feeds", "parts_in_order",
    "prepare", "subsets",
]  # fmt: skip

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
    """`sets`: captures per modality that set the INT8 ranges; `samples`: other moments, for verification.

    `real`: false for made-up captures, on which variants can be compared, but which set no ranges.
    """

    sets: Mapping[str, Sequence[Packet]]
    samples: Sequence[Sample] = ()
    real: bool = True

    @property
    def notes(self) -> tuple[str, ...]:
        """What a report must say of it."""
        if self.real:
            return ()
        count = max((len(packets) for packets in self.sets.values()), default=0)
        return (f"No captures were given: variants were compared on {count} made-up ones of each modality",)


def subsets(names: Sequence[str]) -> list[tuple[str, ...]]:
    """Every non-empty set of modalities, small ones first: 15 for four."""
    return [chosen for size in range(1, len(names) + 1) for chosen in combinations(names, size)]


def prepare(manifest: Manifest, read: Callable[[str], bytes], packets: Sequence[Packet]) -> list[Feeds]:
    """Packets → named tensors, each with memory of its own."""
    preparer = Preparer(manifest, read)
    return [{name: np.array(value) for name, value in preparer(packet).items()} for packet in packets]


def feeds_of(
    manifest: Manifest, read: Callable[[str], bytes], sets: Mapping[str, Sequence[Packet]], count: int, seed: int = 0
) -> PartFeeds:
    """The feeds of every part from up to `count` captures of each kind."""
    chosen = {name: list(packets)[:count] for name, packets in sets.items()}
    prepared = {each.name: prepare(manifest, read, chosen.get(each.name, ())) for each in manifest.modalities}
    drawing = DrawingFeeds(manifest, read, chosen, count, seed) if drawing_parts(manifest.decoder) else None
    return PartFeeds(manifest, prepared, seed, drawing)


def fuse_feeds(manifest: Manifest, tokens: Tokens, present: Sequence[str], ages: Mapping[str, float]) -> Feeds:
    """Inputs of a fusion part as the runtime feeds them: zeros for absent tokens, presence 0 or 1, ages in seconds."""
    shapes = {each.name: each.tokens for each in manifest.modalities}
    order = manifest.fused.order
    feeds: Feeds = {
        name: tokens[name] if name in present else np.zeros((1, *shapes[name]), np.float32) for name in order
    }
    feeds["presence"] = np.array([[float(name in present) for name in order]], np.float32)
    feeds["age"] = np.array([[ages.get(name, 0.0) if name in present else 0.0 for name in order]], np.float32)
    return feeds


class PartFeeds:
    """Feeds of one part after another, each asked for with its FP32 graph; remembers what later parts are fed with.

    Parts come in the order in which data meet them: encoders, fusion, heads, denoiser, picture decoders, captioner.
    `encoders[modality]` are prepared captures, `drawing` feeds what draws from prompts or pictures. Raises
    `ExportError` without captures of a modality.
    """

    def __init__(
        self,
        manifest: Manifest,
        encoders: Mapping[str, Sequence[Feeds]],
        seed: int = 0,
        drawing: DrawingFeeds | None = None,
    ) -> None:
        for each in manifest.modalities:
            if not encoders.get(each.name):
                raise ExportError(
                    f"No calibration captures for {each.name!r}", fix=f"Give some: --calibration {each.name}=FOLDER"
                )
        self._manifest, self._encoders, self._drawing = manifest, encoders, drawing
        self._random = np.random.default_rng(seed)
        self._tokens: dict[str, list[Array]] = {}
        self._fused: list[Feeds] = []
        self._states: list[Array] = []
        self._conditions: list[Array] = []
        self._known: dict[str, list[Feeds]] = {}
        self._captions = None if manifest.captioner is None else CaptionFeeds(manifest.captioner, self._random)

    def take(self, part: str, run: Run, count: int, trajectories: int | None = None) -> list[Feeds]:
        """Up to `count` feeds of `part`; `run` is its FP32 graph. `trajectories`: generations that feed it."""
        manifest = self._manifest
        if self._drawing is not None and part in self._drawing.parts:
            return self._drawing.take(part, run, count, trajectories)
        if any(each.part == part for each in manifest.modalities):
            return self._encode(part, run, count)
        if manifest.fusion is not None and part in manifest.fusion.kinds.values():
            self._fused = self._fused or list(_fusion(manifest, self._tokens, count, self._random))
            if part == manifest.fusion.kinds[manifest.fusion.default]:
                self._decide(run, count)
            return self._fused[:count]
        if part in {head.part for head in manifest.heads.values()}:
            return [{"state": state} for state in self._states[:count]]
        if isinstance(manifest.decoder, DiffusionDecoder) and part == manifest.decoder.denoiser:
            self._known = _decoder(manifest.decoder, run, self._conditions, count, self._random, trajectories)
        told = manifest.captioner
        if told is not None and self._captions is not None and part in (told.prefill, told.step):
            return self._captions.take(part, run, count, self._tokens[told.modality])
        if part not in self._known:
            raise ExportError(f"Nothing feeds the part {part!r}", fix="Order parts as data meet them.")
        return self._known[part][:count]

    def _encode(self, part: str, run: Run, count: int) -> list[Feeds]:
        feeds: list[Feeds] = []
        for each in self._manifest.modalities:
            if each.part == part:
                feeds = list(self._encoders[each.name])[:count]
                self._tokens[each.name] = [run(feed)["tokens"].copy() for feed in feeds]
        return feeds

    def _decide(self, run: Run, count: int) -> None:
        self._states = [run(each)["state"].copy() for each in self._fused]
        if isinstance(self._manifest.decoder, DiffusionDecoder):
            asked = _conditions(self._manifest, self._tokens, count)
            self._conditions = [run(each)["state"].copy() for each in asked]


def parts_in_order(manifest: Manifest) -> list[str]:
    """The parts in the order in which data meet them."""
    names = [each.part for each in manifest.modalities]
    names += [*(manifest.fusion.kinds.values() if manifest.fusion else ())]
    names += [head.part for head in manifest.heads.values()]
    names += drawing_parts(manifest.decoder)
    if isinstance(manifest.decoder, DiffusionDecoder):
        names += [manifest.decoder.denoiser, *manifest.decoder.pictures.values()]
    if manifest.captioner is not None:
        names += [manifest.captioner.prefill, manifest.captioner.step]
    return list(dict.fromkeys(names))


def part_feeds(
    manifest: Manifest,
    graphs: Mapping[str, OnnxGraph],
    encoders: Mapping[str, Sequence[Feeds]],
    count: int,
    seed: int = 0,
) -> dict[str, list[Feeds]]:
    """Up to `count` feeds for every part of the manifest; `graphs` are the FP32 graphs by part. See `PartFeeds`."""
    source = PartFeeds(manifest, encoders, seed)
    return {part: source.take(part, Runner(graphs[part]), count) for part in parts_in_order(manifest)}


def _fusion(
    manifest: Manifest, tokens: Mapping[str, Sequence[Array]], count: int, random: np.random.Generator
) -> Iterator[Feeds]:
    """Every set of present modalities in turn, with ages drawn from an exponential distribution."""
    sets = subsets(manifest.fused.order)
    for index in range(count):
        now = {name: each[index % len(each)] for name, each in tokens.items()}
        ages = {name: float(random.exponential(_AGE_S)) for name in now}
        yield fuse_feeds(manifest, now, sets[index % len(sets)], ages)


def _conditions(manifest: Manifest, tokens: Mapping[str, Sequence[Array]], count: int) -> Iterator[Feeds]:
    """What a picture is made from: fresh packets of every set of the other modalities, without the picture itself."""
    images = {each.name for each in manifest.modalities if isinstance(each, ImageModality)}
    every = subsets(manifest.fused.order)
    sets = [each for each in every if not images.intersection(each)] or every
    for index in range(count):
        now = {name: each[index % len(each)] for name, each in tokens.items()}
        yield fuse_feeds(manifest, now, sets[index % len(sets)], {})


def _decoder(
    decoder: DiffusionDecoder,
    denoiser: Run,
    states: Sequence[Array],
    count: int,
    random: np.random.Generator,
    trajectories: int | None = None,
) -> dict[str, list[Feeds]]:
    """Sample as the runtime does, with every number of steps in turn; keep what denoiser and decoders were fed."""
    plans = [plan_steps(decoder.schedule, steps) for steps in decoder.steps]
    seen: list[Feeds] = []
    ends: list[Feeds] = []
    low, high = decoder.guidance_range
    for index in range(trajectories or count):
        guidance = np.array([random.uniform(low, high)], np.float32)
        latents = random.standard_normal((1, *decoder.latent)).astype(np.float32)
        plan = plans[index % len(plans)]
        latents *= np.float32(plan.start)
        for step in plan.steps:
            feed = {
                "latents": np.float32(step.input_scale) * latents,
                "timestep": np.array([step.time], np.float32),
                "state": states[index % len(states)],
                "guidance": guidance,
            }
            seen.append(feed)
            noise = random.standard_normal(latents.shape).astype(np.float32)
            latents = denoise_step(latents, denoiser(feed)["prediction"], noise, step)
        ends.append({"latents": latents})
    order = random.permutation(len(seen))[:count]
    feeds = {decoder.denoiser: [seen[index] for index in order]}
    return feeds | dict.fromkeys(decoder.pictures.values(), ends)
