"""Words about a picture: the tokens of its encoder → keys and values once, then one token a step.

The caches of the text lie here, (layers, heads, length, size) for each beam; a step reads them in place and gives the
keys and values of its own token, which are written at its position. Beams that fall away leave their cache to a beam
that has two successors.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator, Mapping
from time import perf_counter
from typing import Any, cast

import numpy as np

from .backends import Session
from .beams import Found, Limits, beam_search, greedy_search
from .errors import BackendError, BundleError, InputError
from .manifest import Captioner
from .values import Array, Caption

__all__ = ["Captions"]


class Captions:
    """The captioner of a manifest. Sessions come from `session(part)`, opened when a caption first needs them.

    `read(file)` gives the checked bytes of the tokenizer. One caption at a time: hold `busy` while one is made.
    """

    def __init__(self, captioner: Captioner, session: Callable[[str], Session], read: Callable[[str], bytes]) -> None:
        self.busy = threading.Lock()
        self.runs: dict[str, int] = {}
        self.modality = captioner.modality
        self._captioner = captioner
        self._session = session
        self._read = read
        self._words: Any = None
        self._caches: list[tuple[Array, Array]] = []

    def check(
        self,
        beams: int | None,
        max_tokens: int | None,
        prompt: str | None,
        length_penalty: float | None,
        early_stopping: bool | str | None,
    ) -> tuple[list[int], Limits]:
        """Tokens of the prompt, and the limits of the search; None: the manifest's. Raises InputError."""
        own = self._captioner
        beams = _whole("beams", own.beams if beams is None else beams, own.vocabulary // 2)
        text = own.prompt if prompt is None else prompt
        if not isinstance(text, str):
            raise InputError("The prompt is not text", found=type(text).__name__, expected="str")
        tokens = self._prompt(text)
        room = own.length - len(tokens)
        if room < 1:
            raise InputError("The prompt is too long", found=f"{len(tokens)} tokens", expected=f"below {own.length}")
        wanted = min(own.max_tokens, room) if max_tokens is None else _whole("max_tokens", max_tokens, room)
        penalty = own.length_penalty if length_penalty is None else length_penalty
        if isinstance(penalty, bool) or not isinstance(penalty, (int, float)) or not -100 <= penalty <= 100:
            raise InputError("Not a length penalty", found=repr(penalty), expected="a number from -100 to 100")
        early = own.early_stopping if early_stopping is None else early_stopping
        if early not in (True, False, "never") or not isinstance(early, (bool, str)):
            raise InputError("Not a way of stopping", found=repr(early), expected="True, False or 'never'")
        return tokens, Limits(len(tokens) + wanted, own.eos_id, beams, float(penalty), early)

    def run(self, seen: Array, prompt: list[int], limits: Limits) -> Iterator[Caption | None]:
        """None after every step of the model, and the caption in the end. `seen` (1, N, D): tokens of the encoder."""
        start = perf_counter()
        answer = self._count(self._captioner.prefill, {"tokens": seen})
        past = {name: answer[name] for name in ("seen_keys", "seen_values")}
        filled = perf_counter()
        yield None
        self._caches = self._caches or [self._cache()]
        logits = np.empty((0,))
        for position, token in enumerate(prompt):
            logits = self._step(0, token, position, past)[None]
            yield None
        self._caches += [self._cache() for _ in range(limits.beams - len(self._caches))]
        found = yield from self._search(prompt, logits, limits, past)
        done = perf_counter()
        text = self._tokenizer.decode(list(found.tokens), skip_special_tokens=True)
        yield Caption(text, found.score, found.tokens, {"prefill": filled - start, "steps": done - filled})

    def _search(
        self, prompt: list[int], logits: Array, limits: Limits, past: dict[str, Array]
    ) -> Generator[None, None, Found]:
        search = (greedy_search if limits.beams == 1 else beam_search)(prompt, logits, limits)
        position = len(prompt)
        try:
            asked = next(search)
            while True:
                self._follow([beam for beam, _ in asked], position)
                rows = []
                for beam, (_, token) in enumerate(asked):
                    rows.append(self._step(beam, token, position, past))
                    yield None
                position += 1
                asked = search.send(np.stack(rows))
        except StopIteration as end:
            return cast(Found, end.value)

    def _step(self, beam: int, token: int, position: int, past: dict[str, Array]) -> Array:
        """Logits (V,) after one token; its keys and values go into the beam's cache."""
        keys, values = self._caches[beam]
        answer = self._count(
            self._captioner.step,
            {
                "token": np.array([[token]], np.int64), "position": np.array([[position]], np.int64),
                "keys": keys, "values": values, **past,
            },
        )  # fmt: skip
        keys[:, :, position] = answer["key"][:, :, 0]
        values[:, :, position] = answer["value"][:, :, 0]
        logits: Array = answer["logits"][0].copy()
        if not np.isfinite(logits).all():
            raise BackendError("The captioner gave numbers that are not finite", fix="Try precision='fp32'")
        return logits

    def _follow(self, parents: list[int], filled: int) -> None:
        """Give each beam the cache of its parent, of which the first `filled` positions hold something."""
        free = [self._caches[beam] for beam in range(len(parents)) if beam not in parents]
        taken: set[int] = set()
        caches = []
        for parent in parents:
            cache = self._caches[parent]
            if parent in taken:
                copy = free.pop()
                for old, new in zip(cache, copy, strict=True):
                    new[:, :, :filled] = old[:, :, :filled]
                cache = copy
            taken.add(parent)
            caches.append(cache)
        self._caches[: len(parents)] = caches

    def _cache(self) -> tuple[Array, Array]:
        layers, heads, size = self._captioner.cache
        shape = (layers, heads, self._captioner.length, size)
        return np.zeros(shape, np.float32), np.zeros(shape, np.float32)

    def _count(self, part: str, feeds: dict[str, Array]) -> Mapping[str, Array]:
        answer = self._session(part).run(feeds)
        self.runs[part] = self.runs.get(part, 0) + 1
        return answer

    def _prompt(self, text: str) -> list[int]:
        """The first token, then those of the prompt, without the end that the tokenizer adds."""
        begin = self._captioner.bos_id
        if not text:
            return [begin]
        tokenizer = self._tokenizer
        try:
            tokens = tokenizer.encode(text).ids
        except Exception as error:  # lone surrogates: the library cannot take them as UTF-8
            found = ascii(text[:40])
            raise InputError("The prompt cannot be tokenised", found=found, expected="valid Unicode") from error
        return [begin, *tokens[1:-1]]

    @property
    def _tokenizer(self) -> Any:
        if self._words is None:
            from tokenizers import Tokenizer  # 50 ms to import: only where there are words

            file = self._captioner.tokenizer
            try:
                self._words = Tokenizer.from_str(self._read(file).decode("utf-8"))
                self._words.no_padding()
                self._words.no_truncation()
            except BundleError:
                raise
            except Exception as error:  # the library raises bare Exception
                fix = "Export the bundle again"
                raise BundleError(f"{file} cannot be used as a tokenizer", found=str(error)[:200], fix=fix) from error
        return self._words


def _whole(name: str, value: object, most: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
        raise InputError(f"Not a number of {name}", found=repr(value), expected=f"a whole number from 1 to {most}")
    return value
