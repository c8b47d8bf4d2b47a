"""One place that knows how every modality of a bundle is prepared, with buffers that are used again and again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import numpy as np

from ..errors import InputError, ManifestError
from ..hints import did_you_mean
from ..manifest import AudioModality, ImageModality, Manifest, Modality, SeriesModality, TextModality
from ..mel import mel_spec, sound_shape
from ..modality_rules import is_mask
from ..values import Array, Packet, TensorSpec
from .audio import waveform_tensor
from .features import mel_tensor
from .image import Pictures, image_tensor
from .series import series_tensor
from .text import TextPreparer

__all__ = ["Preparer"]

Prepare = Callable[[Packet], "Mapping[str, Array]"]


class Preparer:
    """Packets → feeds of the encoders of one bundle.

    `read(file)` gives the checked bytes of a file of the bundle; the tokenizer is read at the first text, or by `warm`.
    `threads`: at most so many prepare a large picture. Arrays are reused: they hold until the next call for the same
    modality. One thread at a time.

    Raises:
        ManifestError: a modality whose part does not take what the preprocessing makes.
    """

    def __init__(self, manifest: Manifest, read: Callable[[str], bytes], threads: int = 1) -> None:
        self._read = read
        self._threads = threads
        self._texts: dict[str, TextPreparer] = {}
        self._modalities = {modality.name: modality for modality in manifest.modalities}
        self._pictures: dict[str, _Picture] = {}
        self._several: dict[tuple[str, ...], Pictures] = {}
        self._prepare = {modality.name: self._bind(modality, manifest) for modality in manifest.modalities}

    def __call__(self, packet: Packet) -> Mapping[str, Array]:
        """The input names of the modality's part → arrays, checked and ready to run; the same mapping each time.

        Raises:
            InputError: an unknown modality, or data that cannot be used (dtype, shape, sample rate, NaN, empty).
        """
        prepare = self._prepare.get(packet.modality)
        if prepare is None:
            raise InputError(
                "no such modality in this bundle",
                found=repr(packet.modality),
                expected="one of " + ", ".join(self._prepare),
                fix=did_you_mean(packet.modality, self._prepare),
            )
        return prepare(packet)

    @property
    def cameras(self) -> frozenset[str]:
        """Modalities that can be prepared `together` from one picture."""
        return frozenset(self._pictures)

    def together(self, names: Sequence[str], image: object) -> list[Mapping[str, Array]]:
        """Several of `cameras` from the one picture that they see: for each what a call would give.

        Raises:
            InputError: as a call does.
        """
        pictures, key = [self._pictures[name] for name in names], tuple(names)
        fill = self._several.get(key)
        if fill is None:
            buffers = [picture.buffer for picture in pictures]
            fill = Pictures([picture.modality for picture in pictures], buffers, threads=self._threads)
            self._several[key] = fill
        fill(image)
        return [picture.feeds for picture in pictures]

    def warm(self) -> None:
        """Load what is loaded on first use: the tokenizers."""
        for modality in self._modalities.values():
            if isinstance(modality, TextModality):
                self._text(modality)

    def _bind(self, modality: Modality, manifest: Manifest) -> Prepare:
        part = manifest.parts[modality.part]
        if isinstance(modality, ImageModality):
            picture = _Picture(modality, part.inputs, self._threads)
            if modality.channels == 3:
                self._pictures[modality.name] = picture
            return picture.prepare
        if isinstance(modality, AudioModality):
            return _audio(modality, part.inputs)
        if isinstance(modality, SeriesModality):
            return _series(modality, part.inputs)
        return self._bind_text(modality, part.inputs)

    def _text(self, modality: TextModality) -> TextPreparer:
        preparer = self._texts.get(modality.name)
        if preparer is None:
            preparer = self._texts[modality.name] = TextPreparer(self._read(modality.tokenizer), modality)
        return preparer

    def _bind_text(self, modality: TextModality, inputs: Sequence[TensorSpec]) -> Prepare:
        ids, mask = _text_names(modality, inputs)

        feeds: Mapping[str, Array] = {}

        def prepare(packet: Packet) -> Mapping[str, Array]:
            nonlocal feeds
            tokens, ones = self._text(modality)(packet.data)
            if not feeds:
                feeds = MappingProxyType({ids: tokens} if mask is None else {ids: tokens, mask: ones})
            return feeds

        return prepare


class _Picture:
    """The tensor of one image modality."""

    __slots__ = ("_fill", "buffer", "feeds", "modality")

    def __init__(self, modality: ImageModality, inputs: Sequence[TensorSpec], threads: int) -> None:
        shape = (1, modality.channels, modality.height, modality.width)
        name = _single(modality, inputs, shape)
        self.modality, self.buffer = modality, np.zeros(shape, np.float32)
        self.feeds: Mapping[str, Array] = MappingProxyType({name: self.buffer})
        self._fill: Callable[[object], object] = (
            Pictures([modality], [self.buffer], threads=threads)
            if modality.channels == 3
            else lambda image: image_tensor(image, modality, out=self.buffer)
        )

    def prepare(self, packet: Packet) -> Mapping[str, Array]:
        """The feeds of a packet."""
        self._fill(packet.data)
        return self.feeds


def _audio(modality: AudioModality, inputs: Sequence[TensorSpec]) -> Prepare:
    shape = sound_shape(modality)
    buffer, spec = np.zeros(shape, np.float32), mel_spec(modality)
    if modality.mask:
        return _masked_audio(modality, inputs, buffer)
    name = _single(modality, inputs, shape)
    if spec is None:
        return _into(
            name, buffer, lambda packet: waveform_tensor(packet.data, packet.sample_rate, modality, out=buffer)
        )
    return _into(
        name, buffer, lambda packet: mel_tensor(packet.data, packet.sample_rate, modality, spec=spec, out=buffer)
    )


def _masked_audio(modality: AudioModality, inputs: Sequence[TensorSpec], buffer: Array) -> Prepare:
    """Waveform and mask; an encoder that does not ask for the mask gets none."""
    masks = [spec for spec in inputs if is_mask(spec.name)]
    name = _single(modality, [spec for spec in inputs if spec not in masks], buffer.shape)
    if any((spec.dtype, spec.shape) != ("int64", buffer.shape) for spec in masks) or len(masks) > 1:
        raise _mismatch(modality, inputs, f"a waveform and a mask, float32 and int64 of shape {buffer.shape}")
    mask = np.zeros(buffer.shape, np.int64)

    feeds = MappingProxyType({name: buffer} | {spec.name: mask for spec in masks})

    def prepare(packet: Packet) -> Mapping[str, Array]:
        waveform_tensor(packet.data, packet.sample_rate, modality, out=buffer, mask=mask)
        return feeds

    return prepare


def _series(modality: SeriesModality, inputs: Sequence[TensorSpec]) -> Prepare:
    shape = (1, modality.frames, modality.channels)
    name, buffer = _single(modality, inputs, shape), np.zeros(shape, np.float32)
    return _into(
        name, buffer, lambda packet: series_tensor(packet.data, modality, sample_rate=packet.sample_rate, out=buffer)
    )


def _into(name: str, buffer: Array, fill: Callable[[Packet], object]) -> Prepare:
    """What fills the only buffer, as what gives the feeds: always the same mapping, which sessions then know."""
    feeds = MappingProxyType({name: buffer})

    def prepare(packet: Packet) -> Mapping[str, Array]:
        fill(packet)
        return feeds

    return prepare


def _single(modality: Modality, inputs: Sequence[TensorSpec], shape: tuple[int, ...]) -> str:
    """The name of the only input, which must be float32 of `shape`."""
    if len(inputs) != 1 or inputs[0].dtype != "float32" or inputs[0].shape != shape:
        raise _mismatch(modality, inputs, f"one float32 of shape {shape}")
    return inputs[0].name


def _text_names(modality: TextModality, inputs: Sequence[TensorSpec]) -> tuple[str, str | None]:
    """The names of the ids and, where there is one, of the mask."""
    masks = [spec.name for spec in inputs if is_mask(spec.name)]
    others = [spec.name for spec in inputs if spec.name not in masks]
    shape = (1, modality.length)
    fits = all(spec.dtype == "int64" and spec.shape == shape for spec in inputs)
    if not fits or len(others) != 1 or len(masks) > 1:
        raise _mismatch(modality, inputs, f"int64 ids and perhaps a mask, both of shape {shape}")
    return others[0], masks[0] if masks else None


def _mismatch(modality: Modality, inputs: Sequence[TensorSpec], expected: str) -> ManifestError:
    found = ", ".join(f"{spec.name} {spec.dtype} {spec.shape}" for spec in inputs) or "no input"
    return ManifestError(
        f"part {modality.part} does not take what modality {modality.name} makes",
        found=found,
        expected=expected,
        fix="Export the bundle again",
    )
