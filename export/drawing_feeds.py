"""Feeds of the parts that draw from prompts or pictures: texts and pictures through the runtime's own preparation.

Text encoders are fed with the texts and with the empty one, the way to latents with the pictures, the denoiser with the
latents of real sampling from those, with guidance and without, the picture decoders with what comes out of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal

import numpy as np

from ..kernels import Plan, denoise_step, plan_steps
from ..runtime.canvas import prepared_picture, start_picture
from ..runtime.errors import ExportError
from ..runtime.manifest import (
    Decoder,
    DiffusionDecoder,
    ImageModality,
    Manifest,
    Modality,
    OnePassDecoder,
    TextModality,
)
from ..runtime.preprocess.text import TextPreparer
from ..runtime.values import Array, Packet

__all__ = ["PICTURE", "PROMPT", "DrawingFeeds", "captured", "drawing_parts"]

Feeds = dict[str, Array]
Run = Callable[[Feeds], dict[str, Array]]
PROMPT, PICTURE = "prompt", "picture"
"""What the captures of a decoder are called where those of a modality have its name."""
_SLOW_STEPS = 4
"""A denoiser that is slow to run is sampled with about so many steps."""
_ENDS = 8
"""Generations that feed the picture decoders, at least, where the denoiser is fast."""


def captured(modalities: Sequence[Modality], decoder: Decoder | None) -> tuple[Modality, ...]:
    """The modalities, and what else captures are needed of, described as if it were one."""
    own: list[Modality] = []
    image = None
    if isinstance(decoder, OnePassDecoder):
        image = (decoder.source.height, decoder.source.width)
    elif decoder is not None and decoder.prompts:
        own.append(TextModality(name=PROMPT, part=PROMPT, rate_hz=1.0, max_age_s=None, tokens=(1, 1),
                                tokenizer="", length=1, pad_id=0))  # fmt: skip
        image = decoder.picture if decoder.encoder is not None else None
    if image is not None:
        half = (0.5, 0.5, 0.5)
        own.append(ImageModality(name=PICTURE, part=PICTURE, rate_hz=1.0, max_age_s=None, tokens=(1, 1),
                                 height=image[0], width=image[1], resize="exact", filter="lanczos", crop="none",
                                 scale=1 / 255, mean=half, std=half))  # fmt: skip
    return (*modalities, *own)


def drawing_parts(decoder: Decoder | None) -> list[str]:
    """The parts of a decoder that draws from what it is handed, in the order in which data meet them."""
    if isinstance(decoder, OnePassDecoder):
        return [decoder.part]
    if decoder is None or not decoder.prompts:
        return []
    back = [] if decoder.encoder is None else [decoder.encoder]
    return [*(each.part for each in decoder.prompts.values()), *back, decoder.denoiser, *decoder.pictures.values()]


class DrawingFeeds:
    """Feeds of one part after another, each asked for with its FP32 graph, in the order of `drawing_parts`."""

    def __init__(
        self,
        manifest: Manifest,
        read: Callable[[str], bytes],
        captures: Mapping[str, Sequence[Packet]],
        count: int,
        seed: int = 0,
    ) -> None:
        for each in captured((), manifest.decoder):
            if not captures.get(each.name):
                raise ExportError(
                    f"No calibration captures for {each.name!r}", fix=f"Give some: --calibration {each.name}=PATH"
                )
        self._decoder, self._read = manifest.decoder, read
        self._inputs = {name: part.inputs for name, part in manifest.parts.items()}
        self._texts = ["", *(str(each.data) for each in captures.get(PROMPT, ())[:count])]
        self._pictures = [each.data for each in captures.get(PICTURE, ())[:count]]
        self._random = np.random.default_rng(seed)
        self._conditions: list[Feeds] = [{} for _ in self._texts]
        self._origins: list[Array] = []
        self._ends: list[Feeds] = []
        self.parts = frozenset(drawing_parts(self._decoder))

    def take(self, part: str, run: Run, count: int, trajectories: int | None = None) -> list[Feeds]:
        """Up to `count` feeds of `part`; `run` is its FP32 graph. `trajectories`: generations that feed it."""
        decoder = self._decoder
        if isinstance(decoder, OnePassDecoder):
            return list(self._sources(decoder, part))[:count]
        assert isinstance(decoder, DiffusionDecoder)
        for name, prompt in decoder.prompts.items():
            if part == prompt.part:
                return self._encode(decoder, name, run, count)
        if part == decoder.encoder:
            feeds = [{"picture": np.array(start_picture(each, decoder.picture))} for each in self._pictures[:count]]
            self._origins = [run(each)["latents"].copy() for each in feeds]
            return feeds
        if part == decoder.denoiser:
            return self._sample(decoder, run, count, trajectories)
        return self._ends[:count]

    def _sources(self, decoder: OnePassDecoder, part: str) -> Iterator[Feeds]:
        noise = [spec for spec in self._inputs[part] if spec.name == "noise"]
        for picture in self._pictures:
            feed = {"source": np.array(prepared_picture(picture, decoder.source))}
            yield feed | {each.name: self._normal(each.shape) for each in noise}

    def _encode(self, decoder: DiffusionDecoder, name: str, run: Run, count: int) -> list[Feeds]:
        """All texts are encoded, for the denoiser; the feeds are those of the first, the empty one among them."""
        prompt = decoder.prompts[name]
        words = _Words(prompt.tokenizer, prompt.length, prompt.pad_id)
        prepare = TextPreparer(self._read(prompt.tokenizer), words, empty=True)
        feeds: list[Feeds] = []
        for text, condition in zip(self._texts, self._conditions, strict=True):
            ids, mask = prepare(text)
            feed = {each.name: np.array(mask if each.name.endswith("mask") else ids)
                    for each in self._inputs[prompt.part]}  # fmt: skip
            condition |= {f"{name}.{output}": value.copy() for output, value in run(feed).items()}
            feeds.append(feed)
        return feeds[:count]

    def _sample(self, decoder: DiffusionDecoder, run: Run, count: int, trajectories: int | None) -> list[Feeds]:
        """What the denoiser is fed with on the way, each number of steps in turn; every second way is guided."""
        wanted = {spec.name for spec in self._inputs[decoder.denoiser]}
        conditions = [{name: value for name, value in each.items() if name in wanted} for each in self._conditions]
        plans = [plan_steps(decoder.schedule, steps) for steps in _steps(decoder, slow=trajectories is not None)]
        seen: list[Feeds] = []
        self._ends = []
        index = 0
        while index < (trajectories or max(count, _ENDS)):
            if trajectories is None and len(seen) >= 2 * count and index >= _ENDS:
                break
            guided = index % 2 == 0 and "guidance" not in wanted and decoder.guidance_range[1] > 1.0
            plan, condition = plans[index % len(plans)], conditions[1 + index % max(len(conditions) - 1, 1)]
            extra = self._extra(decoder, wanted, index)
            self._ends.append(self._way(decoder, run, plan, {**condition, **extra}, {**self._away(decoder, conditions),
                              **extra} if guided else None, seen))  # fmt: skip
            index += 1
        order = self._random.permutation(len(seen))[:count]
        return [seen[place] for place in order]

    def _away(self, decoder: DiffusionDecoder, conditions: Sequence[Feeds]) -> Feeds:
        zeros = decoder.unprompted == "zeros"
        return {name: np.zeros_like(value) if zeros else value for name, value in conditions[0].items()}

    def _extra(self, decoder: DiffusionDecoder, wanted: set[str], index: int) -> Feeds:
        """Guidance where the denoiser is told of it; a box that may change, and the latents of a picture around it."""
        extra: Feeds = {}
        if "guidance" in wanted:
            low, high = decoder.guidance_range
            extra["guidance"] = np.array([self._random.uniform(low, high)], np.float32)
        if "mask" in wanted:
            _, rows, columns = decoder.latent
            mask = np.zeros((1, 1, rows, columns), np.float32)
            top, left = self._random.integers(0, max(rows // 2, 1)), self._random.integers(0, max(columns // 2, 1))
            mask[:, :, top : top + (rows + 1) // 2, left : left + (columns + 1) // 2] = 1.0
            origin = self._origins[index % len(self._origins)]
            extra |= {"mask": mask, "masked": np.asarray(origin * (1.0 - mask), np.float32)}
        return extra

    def _way(
        self, decoder: DiffusionDecoder, run: Run, plan: Plan, feeds: Feeds, away: Feeds | None, seen: list[Feeds]
    ) -> Feeds:
        """One generation, as the runtime makes it; its last latents."""
        guidance = decoder.guidance if decoder.guidance > 1.0 else min(2.0, decoder.guidance_range[1])
        latents = np.float32(plan.start) * self._normal((1, *decoder.latent))
        for step in plan.steps:
            moment = {"latents": np.float32(step.input_scale) * latents, "timestep": np.array([step.time], np.float32)}
            seen.append({**feeds, **moment})
            prediction, other = run(seen[-1])["prediction"].copy(), None
            if away is not None:
                seen.append({**away, **moment})
                other = run(seen[-1])["prediction"].copy()
            latents = denoise_step(
                latents, prediction, self._normal(latents.shape), step,
                unconditional=other, guidance=guidance if other is not None else 1.0,
            )  # fmt: skip
        return {"latents": latents}

    def _normal(self, shape: tuple[int, ...]) -> Array:
        return self._random.standard_normal(shape).astype(np.float32)


class _Words:
    """A prompt's constants, as the preparer of texts takes them."""

    name = PROMPT
    padding: Literal["left", "right"] = "right"
    truncation: Literal["left", "right"] = "right"

    def __init__(self, tokenizer: str, length: int, pad_id: int) -> None:
        self.tokenizer, self.length, self.pad_id = tokenizer, length, pad_id


def _steps(decoder: DiffusionDecoder, *, slow: bool) -> list[int]:
    if not slow:
        return list(decoder.steps)
    return [min(decoder.steps, key=lambda steps: (abs(steps - _SLOW_STEPS), steps))]
