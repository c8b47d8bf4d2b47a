"""What makes the pictures of a bundle, whatever its decoder is: what is asked for → checked, conditioned, started."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from .backends import Session
from .canvas import mask_tensors, start_picture
from .diffuse import Origin, Sampler, Settings
from .errors import InputError
from .hints import did_you_mean
from .manifest import Manifest, OnePassDecoder
from .one_pass import OnePass
from .prompts import Condition, Prompts
from .values import Array, Asked, Generation

__all__ = ["Painter"]


class Painter:
    """The decoder of a manifest. `picture`: name of the picture decoder that is used unless another is asked for."""

    def __init__(
        self, manifest: Manifest, session: Callable[[str], Session], read: Callable[[str], bytes], picture: str | None
    ) -> None:
        decoder, parts = manifest.decoder, manifest.parts
        assert decoder is not None  # who makes a painter has asked
        self.decoder = decoder
        if isinstance(decoder, OnePassDecoder):
            if picture is not None:
                raise InputError("This bundle has no choice of picture decoders", found=repr(picture), expected="none")
            self._one_pass = OnePass(decoder, parts, session)
            return
        self._sampler = Sampler(decoder, parts, session, picture)
        self._prompts = Prompts(decoder.prompts, parts, self._sampler.inputs, read, session)

    @property
    def fused(self) -> bool:
        """Whether it draws from the fused state, and not from what it is handed."""
        return not isinstance(self.decoder, OnePassDecoder) and not self.decoder.prompts

    @property
    def runs(self) -> dict[str, int]:
        """part → how often it ran."""
        if isinstance(self.decoder, OnePassDecoder):
            return self._one_pass.runs
        return self._prompts.runs | self._sampler.runs

    def check(self, asked: Asked) -> Settings:
        """Of a fused decoder: the settings. Raises InputError, before anything is encoded."""
        _refuse(asked, "draws what the senses perceive", "negative", "mask", "strength")
        return self._sampler.check(asked)

    def from_state(self, state: Array, settings: Settings) -> Iterator[Generation]:
        """Of a fused decoder: the steps from a state (1, S), which must not change meanwhile."""
        return self._sampler.run({"state": state}, None, settings)

    def start(self, given: Mapping[str, Any], asked: Asked) -> Iterator[Generation]:
        """Of any other decoder: the steps, after everything was checked and encoded. Raises InputError."""
        given = {name: value for name, value in given.items() if value is not None}
        if isinstance(self.decoder, OnePassDecoder):
            _known(given, "image")
            _refuse(asked, "draws in one pass", "guidance", "decoder", "negative", "mask", "strength", "noise")
            return self._one_pass.start(_needed(given, "image", "a picture, uint8 RGB (H, W, 3)"), asked)
        _known(given, "text", "image")
        strength = self._strength(given, asked)
        settings = self._sampler.check(asked, strength)
        condition = self._prompts(_needed(given, "text", "words"))
        other = self._other(asked, settings)
        origin = self._origin(given["image"], asked.mask, strength) if "image" in given else None
        return self._sampler.run(condition, other, settings, origin)

    def _strength(self, given: Mapping[str, Any], asked: Asked) -> float:
        """How much a picture may change: 0.8 by default, 1 (start from noise alone) where a mask keeps the rest."""
        assert not isinstance(self.decoder, OnePassDecoder)
        if "image" not in given:
            for name in ("mask", "strength"):
                if getattr(asked, name) is not None:
                    raise InputError(f"{name} without a picture to start from", expected="image and text")
            if self._sampler.fills:
                raise InputError("This bundle fills in pictures", found="no image", expected="text, image and mask")
            return 1.0
        if self.decoder.encoder is None:
            raise InputError(
                "This bundle cannot start from a picture", found="image", expected="text alone: it has no encoder"
            )
        if self._sampler.fills and asked.mask is None:
            raise InputError("This bundle fills in pictures", found="no mask", expected="text, image and mask")
        strength = (1.0 if asked.mask is not None else 0.8) if asked.strength is None else asked.strength
        if not isinstance(strength, (int, float)) or isinstance(strength, bool) or not 0.0 < strength <= 1.0:
            raise InputError("Not a strength", found=repr(strength), expected="a number above 0, at most 1")
        return float(strength)

    def _other(self, asked: Asked, settings: Settings) -> Condition | None:
        """What is guided away from; None when nothing is."""
        assert not isinstance(self.decoder, OnePassDecoder)
        if not self._sampler.guides(settings):
            if asked.negative is not None:
                built_in = "its guidance is built in" if self._sampler.told else "guidance 1 does not look at it"
                raise InputError("A negative prompt has no effect", found=built_in, expected="text alone")
            return None
        if asked.negative is None and self.decoder.unprompted == "zeros":
            return self._prompts.zeros()
        return self._prompts("" if asked.negative is None else asked.negative)

    def _origin(self, image: Any, mask: Any, strength: float) -> Origin:
        assert not isinstance(self.decoder, OnePassDecoder)
        picture = start_picture(image, self.decoder.picture)
        if mask is None:
            return Origin(self._sampler.encode(picture), strength)
        pixels, cells = mask_tensors(mask, self.decoder.picture, self.decoder.latent[1:])
        masked = self._sampler.encode(picture * (np.float32(1.0) - pixels)) if self._sampler.fills else None
        return Origin(self._sampler.encode(picture), strength, cells, masked)


def _known(given: Mapping[str, Any], *names: str) -> None:
    for name in given:
        if name not in names:
            raise InputError(
                "This bundle does not draw from that", found=name, expected=" and ".join(names),
                fix=did_you_mean(name, names),
            )  # fmt: skip


def _needed(given: Mapping[str, Any], name: str, what: str) -> Any:
    if name not in given:
        raise InputError(f"No {name} is given", expected=what)
    return given[name]


def _refuse(asked: Asked, why: str, *names: str) -> None:
    for name in names:
        if getattr(asked, name) is not None:
            raise InputError(f"This bundle {why}", found=name, expected=f"no {name}")
