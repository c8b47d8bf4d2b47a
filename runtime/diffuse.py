"""Few-step flow sampler: a state → latents, step by step → a picture.

With times t_1 = 1 > t_2 > … > t_n from the manifest and noise ε_i = normal_noise(seed, i) (Philox, see kernels):

    x ← ε_0
    v = denoiser(x, t_i, state, guidance);  x0 = x − t_i·v;  x ← (1 − t_{i+1})·x0 + t_{i+1}·ε_i     (last: x ← x0)

This is multistep sampling of a consistency model (Song et al., 2023, algorithm 1; Luo et al., 2023) on the straight
paths of rectified flow (Liu et al., 2022), x_t = (1 − t)·x0 + t·ε, v = ε − x0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from .. import kernels
from .backends import Session
from .errors import BackendError, InputError
from .manifest import Decoder
from .values import Array, Generation

__all__ = ["Sampler"]


class Sampler:
    """The decoder of a manifest. Sessions come from `session(part)`, opened when a generation first needs them."""

    def __init__(self, decoder: Decoder, session: Callable[[str], Session]) -> None:
        self.runs: dict[str, int] = {}
        self._decoder = decoder
        self._session = session

    def check(self, steps: int, seed: int, guidance: float | None, decoder: str | None) -> tuple[float, str]:
        """(guidance, part of the picture decoder). InputError lists what the bundle has."""
        spec = self._decoder
        if not isinstance(steps, int) or str(steps) not in spec.timesteps:
            raise InputError("This bundle has no such number of steps", found=steps, expected=_any(spec.timesteps))
        if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed < 2**128:
            raise InputError("Not a seed", found=repr(seed), expected="a whole number from 0 to 2^128 − 1")
        low, high = spec.guidance_range
        scale = spec.guidance if guidance is None else guidance
        if not isinstance(scale, (int, float)) or not low <= scale <= high:
            raise InputError("Guidance is out of range", found=repr(scale), expected=f"{low:g} to {high:g}")
        name = spec.default if decoder is None else decoder
        if name not in spec.pictures:
            raise InputError("This bundle has no such picture decoder", found=repr(name), expected=_any(spec.pictures))
        return float(scale), spec.pictures[name]

    def run(
        self, state: Array, steps: int, seed: int, guidance: float, picture: str, *, preview: bool
    ) -> Iterator[Generation]:
        """One Generation a step. `state` (1, S) must not change meanwhile; `picture`: part that decodes latents."""
        times = (*self._decoder.timesteps[str(steps)], 0.0)
        latent, shape = self._decoder.latent, (1, *self._decoder.latent)
        scale = np.array([guidance], np.float32)
        x = kernels.normal_noise(seed, 0, shape)
        for i in range(steps):
            start = perf_counter()
            v = self._denoise(x, times[i], state, scale)
            denoised = perf_counter()
            x0 = kernels.denoise_step(x, v, None, times[i], 0.0)
            if not np.isfinite(x0).all():
                raise BackendError("The denoiser gave numbers that are not finite", fix="Try precision='fp32'")
            last = i + 1 == steps
            if not last:
                x = kernels.denoise_step(x, v, kernels.normal_noise(seed, i + 1, shape), times[i], times[i + 1])
            timings, image = {"denoise": denoised - start}, None
            if last or preview:
                begin = perf_counter()
                image = self._picture(x0, picture)
                timings["picture"] = perf_counter() - begin
            timings["total"] = perf_counter() - start
            yield Generation(i + 1, steps, x0.reshape(latent), image, timings)

    def _denoise(self, x: Array, t: float, state: Array, guidance: Array) -> NDArray[np.float32]:
        part = self._decoder.denoiser
        feeds = {"latents": x, "timestep": np.array([t], np.float32), "state": state, "guidance": guidance}
        return self._count(part, feeds)["prediction"]

    def _picture(self, x0: Array, part: str) -> NDArray[np.uint8]:
        answer = self._count(part, {"latents": x0})["picture"]
        if not np.isfinite(answer).all():
            raise BackendError("The picture decoder gave numbers that are not finite", fix="Try precision='fp32'")
        return kernels.latent_to_image(answer[0])

    def _count(self, part: str, feeds: dict[str, Array]) -> dict[str, Array]:
        answer = self._session(part).run(feeds)
        self.runs[part] = self.runs.get(part, 0) + 1
        return answer


def _any(names: Iterable[str]) -> str:
    return f"one of {', '.join(names)}"
