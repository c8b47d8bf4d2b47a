"""Words → token numbers and mask, by the tokenizer file that ships in the bundle."""

from __future__ import annotations

from typing import Any, Literal, Protocol

import numpy as np

from ..errors import BundleError, InputError
from ..values import Array

__all__ = ["TextConstants", "TextPreparer"]


class TextConstants(Protocol):
    """What the preparer needs to know of a text modality, or of a prompt."""

    @property
    def name(self) -> str: ...
    @property
    def tokenizer(self) -> str: ...
    @property
    def length(self) -> int: ...
    @property
    def pad_id(self) -> int: ...
    @property
    def padding(self) -> Literal["left", "right"]: ...
    @property
    def truncation(self) -> Literal["left", "right"]: ...


class TextPreparer:
    """A tokenizer with its two reused output buffers.

    `tokenizer`: the bytes of a `tokenizer.json` (Hugging Face tokenizers format). Cutting and padding in that file are
    ignored; the manifest's fields hold. Special tokens that the file adds stay when the text is cut. `empty`: a text
    without words is one too, as the prompt that guides nowhere is.

    Raises:
        BundleError: the bytes are no tokenizer.
    """

    def __init__(self, tokenizer: bytes, modality: TextConstants, *, empty: bool = False) -> None:
        from tokenizers import Tokenizer  # 50 ms to import: only where there is text

        self._modality, self._empty = modality, empty
        try:
            self._tokenizer = Tokenizer.from_str(tokenizer.decode("utf-8"))
            self._tokenizer.no_padding()
            self._tokenizer.enable_truncation(max_length=modality.length, direction=modality.truncation)
        except Exception as error:  # the library raises bare Exception
            raise BundleError(
                f"{modality.tokenizer} cannot be used as a tokenizer",
                found=str(error)[:200],
                expected=f"a tokenizer.json that gives at most {modality.length} tokens",
                fix="Export the bundle again",
            ) from error
        self.ids: Array = np.empty((1, modality.length), np.int64)
        self.mask: Array = np.empty((1, modality.length), np.int64)

    def __call__(self, text: Any) -> tuple[Array, Array]:
        """str → ids and mask, int64 (1, length): 1 where there is a token. Both are overwritten by the next call.

        A longer text is cut: only its first tokens are read (its last ones, where the manifest cuts on the left).

        Raises:
            InputError: not a str, empty, only white space, not valid Unicode, or without a single known token.
        """
        name = self._modality.name
        if not isinstance(text, str):
            raise InputError(f"{name} is not text", found=type(text).__name__, expected="str")
        if not self._empty and (not text or text.isspace()):
            raise InputError(
                f"{name} is empty", found=repr(text[:40]), expected="words", fix="Leave it out when there is none"
            )
        try:
            tokens = self._tokenizer.encode(text).ids
        except Exception as error:  # lone surrogates: the library cannot take them as UTF-8
            raise InputError(f"{name} cannot be tokenised", found=ascii(text[:40]), expected="valid Unicode") from error
        if not tokens and not self._empty:
            raise InputError(
                f"{name} has no token that the bundle's tokenizer knows",
                found=repr(text[:40]),
                expected="words",
                fix="Leave it out",
            )
        start = self._modality.length - len(tokens) if self._modality.padding == "left" else 0
        here = slice(start, start + len(tokens))
        self.ids.fill(self._modality.pad_id)
        self.mask.fill(0)
        self.ids[0, here] = tokens
        self.mask[0, here] = 1
        return self.ids, self.mask
