"""Generators that need one pass: a picture in, a picture out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from time import perf_counter
from typing import Any

import numpy as np

from .. import kernels
from .backends import Session
from .canvas import prepared_picture
from .errors import BackendError, InputError
from .manifest import OnePassDecoder, Part
from .values import Array, Asked, Generation

__all__ = ["OnePass"]


class OnePass:
    """The one-pass decoder of a manifest. Its session comes from `session(part)`, opened when first needed."""

    def __init__(self, decoder: OnePassDecoder, parts: Mapping[str, Part], session: Callable[[str], Session]) -> None:
        self.runs: dict[str, int] = {}
        self._decoder, self._session = decoder, session
        self._noise = {spec.name: spec.shape for spec in parts[decoder.part].inputs if spec.name == "noise"}

    def start(self, image: Any, asked: Asked) -> Iterator[Generation]:
        """Check and prepare everything; the iterator gives the one step. Raises InputError."""
        if asked.steps not in (None, 1):
            raise InputError("This bundle draws in one pass", found=f"{asked.steps} steps", expected="1 step")
        picture = prepared_picture(image, self._decoder.source)
        feeds: dict[str, Array] = {"source": picture}
        try:
            feeds |= {name: kernels.normal_noise(asked.seed, 0, shape) for name, shape in self._noise.items()}
        except kernels.KernelError as error:
            raise InputError("Not a seed", found=repr(asked.seed), expected=error.expected) from error
        return self._run(feeds)

    def _run(self, feeds: dict[str, Array]) -> Iterator[Generation]:
        start = perf_counter()
        answer = np.array(self._session(self._decoder.part).run(feeds)["picture"])
        self.runs[self._decoder.part] = self.runs.get(self._decoder.part, 0) + 1
        if not np.isfinite(answer).all():
            raise BackendError("The generator gave numbers that are not finite", fix="Try precision='fp32'")
        picture = kernels.latent_to_image(answer[0])
        yield Generation(1, 1, answer[0], picture, {"total": perf_counter() - start})
