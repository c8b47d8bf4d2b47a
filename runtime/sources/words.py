"""Text: words given directly, or a file of lines."""

from __future__ import annotations

import math
from collections.abc import Iterator

from ..errors import SourceError
from ..values import Packet
from .base import FileSource, existing_file

__all__ = ["TextFile", "Words", "parse_lines"]


class Words(FileSource):
    """One text at 0 s."""

    def __init__(self, modality: str, words: str) -> None:
        super().__init__(modality)
        if not words.strip():
            raise SourceError(
                "the text is empty", expected="at least one word", fix="Write text:WORDS, or give a file."
            )
        self._words = words.strip()

    def packets(self) -> Iterator[Packet]:
        """The one packet."""
        yield Packet(self.modality, self._words, 0.0)


class TextFile(FileSource):
    """The lines of a UTF-8 file, each at its own time (`12.5<TAB>words`), or one every 1/`rate_hz` seconds."""

    def __init__(self, modality: str, path: str, *, rate_hz: float) -> None:
        super().__init__(modality)
        file = existing_file(path, "the text file")
        try:
            content = file.read_text(encoding="utf-8-sig")
        except (UnicodeDecodeError, OSError) as error:
            raise SourceError(f"the text file {path} cannot be read", found=error, expected="UTF-8 text") from error
        self._lines = parse_lines(content, path, 1.0 / rate_hz if rate_hz > 0 else 1.0)

    def packets(self) -> Iterator[Packet]:
        """One packet a line."""
        for time_s, words in self._lines:
            yield Packet(self.modality, words, time_s)


def parse_lines(content: str, name: str, spacing_s: float) -> list[tuple[float, str]]:
    """(time, words) of each line that is not empty: all lines with a time, or none.

    Raises `SourceError` naming the line: a time that is no number, is negative or runs backwards, or no words.
    """
    if "\0" in content:
        raise SourceError(f"the text file {name} cannot be read", found="binary data", expected="UTF-8 text")
    rows = [(number, line) for number, line in enumerate(content.splitlines(), 1) if line.strip()]
    if not rows:
        raise SourceError(f"the text file {name} is empty", expected="at least one line of words")
    timed = ["\t" in line for _, line in rows]
    if not any(timed):
        return [(index * spacing_s, line.strip()) for index, (_, line) in enumerate(rows)]
    lines: list[tuple[float, str]] = []
    for number, line in rows:
        head, _, words = line.partition("\t")
        time_s = _seconds(head)
        earliest = lines[-1][0] if lines else 0.0
        if time_s is None or time_s < earliest or not words.strip():
            raise SourceError(
                f"line {number} of {name} cannot be read",
                found=repr(line[:60]),
                expected="seconds, a tab and words, with times that never run backwards",
                fix="Give every line a time, or none.",
            )
        lines.append((time_s, words.strip()))
    return lines


def _seconds(field: str) -> float | None:
    try:
        value = float(field)
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None
