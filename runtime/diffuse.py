"""Few-step diffusion: a condition → latents, step by step → a picture.

With the coefficients of a plan (kernels/steps.py) and noise ε_i = normal_noise(seed, i) (Philox, see kernels):

    x ← start·ε_0,  or from a picture z  alpha·z + sigma·ε_0
    p  = denoiser(input_scale·x, time, condition);   guided: p ← u + guidance·(p − u), u with the other condition
    x0 = clean_x·x + clean_p·p;   x ← next_x·x + next_clean·x0 + noise·ε_i

A denoiser with an input `guidance` has it built in and runs once a step. With a mask, what may not change is put back
after each step, as noisy as the rest is then (Lugmayr et al., 2022, without resampling; as diffusers' inpainting does).
A denoiser that was trained to fill in is given mask and masked picture instead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import kernels
from .backends import Session
from .errors import BackendError, InputError
from .manifest import DiffusionDecoder, Part
from .values import Array, Asked, Generation

__all__ = ["Origin", "Sampler", "Settings"]

Floats = NDArray[np.float32]
Condition = Mapping[str, Array]


@dataclass(frozen=True)
class Settings:
    """What was asked for, checked. `picture`: the part that decodes; `noise`: ε_0 where it was handed in."""

    plan: kernels.Plan
    seed: int
    guidance: float
    picture: str
    preview: bool
    noise: Floats | None


@dataclass(frozen=True)
class Origin:
    """A picture to start from: its latents z; where it may change: 1 in `mask` (1, 1, h, w).

    `masked`: latents of the picture with nothing where it may change, for a denoiser that takes them. `strength` 1 with
    a mask starts from nothing but noise.
    """

    latents: Floats
    strength: float
    mask: Floats | None = None
    masked: Floats | None = None


class Sampler:
    """The diffusion decoder of a manifest. Sessions come from `session(part)`, opened when first needed."""

    def __init__(
        self,
        decoder: DiffusionDecoder,
        parts: Mapping[str, Part],
        session: Callable[[str], Session],
        picture: str | None,
    ) -> None:
        self.runs: dict[str, int] = {}
        self.inputs = {spec.name for spec in parts[decoder.denoiser].inputs}
        self.told = "guidance" in self.inputs
        self.fills = "mask" in self.inputs
        self._decoder = decoder
        self._session = session
        self._default = self._part_of(decoder.default if picture is None else picture)

    def check(self, asked: Asked, strength: float = 1.0) -> Settings:
        """What was asked for, with the manifest's defaults. InputError lists what the bundle has."""
        spec, seed = self._decoder, asked.seed
        steps = spec.default_steps if asked.steps is None else asked.steps
        if not isinstance(steps, int) or isinstance(steps, bool) or steps not in spec.steps:
            raise InputError("This bundle has no such number of steps", found=repr(steps), expected=_any(spec.steps))
        if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed < 2**128:
            raise InputError("Not a seed", found=repr(seed), expected="a whole number from 0 to 2^128 − 1")
        low, high = spec.guidance_range
        scale = spec.guidance if asked.guidance is None else asked.guidance
        if not isinstance(scale, (int, float)) or not low <= scale <= high:
            raise InputError("Guidance is out of range", found=repr(scale), expected=f"{low:g} to {high:g}")
        try:
            plan = kernels.plan_steps(spec.schedule, steps, strength)
        except kernels.KernelError as error:
            raise InputError(
                f"No steps are left at this {error.argument}", found=error.found, expected=error.expected
            ) from error
        picture = self._default if asked.decoder is None else self._part_of(asked.decoder)
        return Settings(plan, seed, float(scale), picture, asked.preview, self._noise(asked.noise))

    def guides(self, settings: Settings) -> bool:
        """Whether the denoiser has to run with another condition too."""
        return not self.told and settings.guidance != 1.0

    def encode(self, picture: Floats) -> Floats:
        """(1, 3, H, W) in [-1, 1] → latents (1, C, h, w)."""
        assert self._decoder.encoder is not None  # who calls this has asked
        latents = self._count(self._decoder.encoder, {"picture": picture})["latents"]
        return np.array(latents, np.float32)

    def run(
        self, condition: Condition, other: Condition | None, settings: Settings, origin: Origin | None = None
    ) -> Iterator[Generation]:
        """One Generation a step. The conditions must not change meanwhile; `other`: what is guided away from."""
        steps = settings.plan.steps
        shape = (1, *self._decoder.latent)
        first = kernels.normal_noise(settings.seed, 0, shape) if settings.noise is None else settings.noise
        x = _begin(settings.plan, first, origin)
        feeds = self._feeds(condition, settings.guidance, origin)
        away = None if other is None else self._feeds(other, settings.guidance, origin)
        for i, step in enumerate(steps):
            start = perf_counter()
            prediction, unconditional = self._predict(x, step, feeds, away)
            denoised = perf_counter()
            x0, last = np.empty(shape, np.float32), i + 1 == len(steps)
            x = kernels.denoise_step(
                x, prediction, (settings.seed, i + 1), step,
                unconditional=unconditional, guidance=settings.guidance, clean_out=x0,
            )  # fmt: skip
            if origin is not None and origin.mask is not None and not self.fills:
                x0 = _blend(origin, origin.latents, x0)
                known = origin.latents if last else _noisy(origin.latents, first, steps[i + 1])
                x = _blend(origin, known, x)
            latents = x if last else x0
            if not np.isfinite(latents).all():
                raise BackendError("The denoiser gave numbers that are not finite", fix="Try precision='fp32'")
            timings, image = {"denoise": denoised - start}, None
            if last or settings.preview:
                begin = perf_counter()
                image = self._picture(latents, settings.picture)
                timings["picture"] = perf_counter() - begin
            timings["total"] = perf_counter() - start
            yield Generation(i + 1, len(steps), latents.reshape(shape[1:]), image, timings)

    def _feeds(self, condition: Condition, guidance: float, origin: Origin | None) -> dict[str, Array]:
        """The inputs that are the same in every step."""
        feeds = dict(condition)
        if self.told:
            feeds["guidance"] = np.array([guidance], np.float32)
        if self.fills and origin is not None and origin.mask is not None and origin.masked is not None:
            feeds |= {"mask": origin.mask, "masked": origin.masked}
        return feeds

    def _predict(
        self, x: Floats, step: kernels.Step, feeds: Condition, away: Condition | None
    ) -> tuple[Floats, Floats | None]:
        """(prediction, the one to guide away from); the first is copied because a second run may overwrite it."""
        scaled = x if step.input_scale == 1.0 else np.float32(step.input_scale) * x
        moment = {"latents": scaled, "timestep": np.array([step.time], np.float32)}
        part = self._decoder.denoiser
        prediction = self._count(part, {**feeds, **moment})["prediction"]
        if away is None:
            return np.ascontiguousarray(prediction), None
        prediction = np.array(prediction)
        return prediction, np.ascontiguousarray(self._count(part, {**away, **moment})["prediction"])

    def _picture(self, latents: Floats, part: str) -> NDArray[np.uint8]:
        answer = self._count(part, {"latents": latents})["picture"]
        if not np.isfinite(answer).all():
            raise BackendError("The picture decoder gave numbers that are not finite", fix="Try precision='fp32'")
        return kernels.latent_to_image(answer[0])

    def _count(self, part: str, feeds: dict[str, Array]) -> Mapping[str, Array]:
        answer = self._session(part).run(feeds)
        self.runs[part] = self.runs.get(part, 0) + 1
        return answer

    def _part_of(self, name: str) -> str:
        pictures = self._decoder.pictures
        if name not in pictures:
            raise InputError("This bundle has no such picture decoder", found=repr(name), expected=_any(pictures))
        return pictures[name]

    def _noise(self, noise: Any) -> Floats | None:
        """ε_0 as the caller gave it: float (C, h, w) or (1, C, h, w)."""
        if noise is None:
            return None
        shape, array = self._decoder.latent, np.asarray(noise)
        if array.dtype.kind != "f" or array.shape not in (shape, (1, *shape)) or not np.isfinite(array).all():
            raise InputError(
                "noise does not fit the latents",
                found=f"{array.dtype} of shape {array.shape}",
                expected=f"finite floats of shape {shape}",
            )
        first: Floats = np.ascontiguousarray(array.reshape(1, *shape), np.float32)
        return first


def _begin(plan: kernels.Plan, noise: Floats, origin: Origin | None) -> Floats:
    """The latents before the first step that is left."""
    if origin is None or (origin.mask is not None and origin.strength == 1.0):
        return noise if plan.start == 1.0 else np.float32(plan.start) * noise
    return _noisy(origin.latents, noise, plan.steps[0])


def _noisy(latents: Floats, noise: Floats, step: kernels.Step) -> Floats:
    return np.asarray(np.float32(step.alpha) * latents + np.float32(step.sigma) * noise, np.float32)


def _blend(origin: Origin, kept: Floats, changed: Floats) -> Floats:
    assert origin.mask is not None  # who calls this has asked
    return np.asarray((np.float32(1.0) - origin.mask) * kept + origin.mask * changed, np.float32)


def _any(names: Iterable[object]) -> str:
    return f"one of {', '.join(map(str, names))}"
