"""Word vectors in text, as word2vec, GloVe and fastText write them: a table, and the mean over the words of a text.

A line is a word and its numbers; word2vec and fastText begin with a line "count size". chiasm makes the tokenizer:
text is split at white space and between words and marks, and made small if no word of the file has a capital. A word
that is not in the file counts as the file's own <unk> or [UNK], if it has one, and not at all otherwise; a text of
unknown words only has the zero vector.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ...runtime.errors import CheckpointError
from . import Ask, Kind, Tower

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn

    from ...runtime.values import Array
    from ..hub import HubFolder

MODEL_TYPES = ("word-vectors",)
KINDS: tuple[Kind, ...] = ("text",)
OUTPUTS = ("mean", "tokens")

_PAD, _UNKNOWN = "[PAD]", "[UNK]"
_OWN_UNKNOWN = ("<unk>", "[UNK]", "UNK", "<UNK>")


def load(folder: HubFolder, ask: Ask) -> Tower:
    """A table of the vectors, behind a zero row for what fills up and one for unknown words."""
    from ._text import LENGTH
    from ._words import Words, modality, text_length

    each = ask.chosen(OUTPUTS) == "tokens"
    assert folder.vectors is not None
    words, table = _read(folder.vectors)
    own = next((word for word in _OWN_UNKNOWN if word in words), None)
    file = _tokenizer(words, own or _UNKNOWN)
    length = text_length(folder, ask, None, LENGTH)
    made = modality(ask, Words(file, 0, "right", "right", None), length, (length if each else 1, table.shape[1]))
    return Tower(_encoder(table, each), made, {made.tokenizer: file})


def _read(path: Path) -> tuple[dict[str, int], Array]:
    """Words with their rows, and the rows (V + 2, D), the first two zero. Of equal words the first counts."""
    import numpy as np

    words: dict[str, int] = {_PAD: 0}
    rows: list[Array] = []
    with open(path, "rb") as file:
        first = file.readline().split()
        size = int(first[1]) if len(first) == 2 and first[1].isdigit() else 0
        if not size:
            file.seek(0)
        for number, line in enumerate(file, 2 if size else 1):
            word, row = _line(path, number, line, size)
            size = size or len(row)
            if word not in words:
                words[word] = len(rows) + 2
                rows.append(row)
    if not rows:
        raise CheckpointError(f"{path} holds no word vectors", expected="lines of a word and its numbers")
    table = np.concatenate([np.zeros((2, size), np.float32), np.stack(rows)])
    if not np.isfinite(table).all():
        raise CheckpointError(f"{path} holds numbers that are not finite")
    return words, table


def _line(path: Path, number: int, line: bytes, size: int) -> tuple[str, Array]:
    """One word, which may hold spaces, and its `size` numbers (0: the first line says how many)."""
    import numpy as np

    parts = line.rstrip().split(b" ")
    count = size or len(parts) - 1
    try:
        if count < 1 or len(parts) <= count:
            raise ValueError(f"{len(parts) - 1} numbers")
        return b" ".join(parts[:-count]).decode("utf-8"), np.array(parts[-count:], np.float32)
    except ValueError as error:
        raise CheckpointError(
            f"Line {number} of {path} is no word vector", found=str(error)[:100],
            expected=f"a word and {count} numbers", fix="Binary word2vec files must be saved as text first",
        ) from error  # fmt: skip


def _tokenizer(words: dict[str, int], unknown: str) -> bytes:
    """tokenizer.json of whole words. `words` is given the unknown word, row 1, unless it has it."""
    words.setdefault(unknown, 1)
    small = all(word == word.lower() for word in words if word not in (_PAD, *_OWN_UNKNOWN))
    document: dict[str, Any] = {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": [],
        "normalizer": {"type": "Lowercase"} if small else None,
        "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": None, "decoder": None,
        "model": {"type": "WordLevel", "vocab": words, "unk_token": unknown},
    }  # fmt: skip
    return json.dumps(document, ensure_ascii=False).encode()


def _encoder(table: Array, each: bool) -> nn.Module:
    import torch
    from torch import nn

    class WordVectors(nn.Module):
        """ids and mask → the words' vectors and their mean; rows 0 and 1 of the table do not count."""

        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding(table.shape[0], table.shape[1], _weight=torch.from_numpy(table))

        def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            known = (mask * (ids > 1)).to(torch.float32)[:, :, None]
            vectors = self.table(ids) * known
            mean = vectors.sum(dim=1) / known.sum(dim=1).clamp(min=1.0)
            return vectors if each else mean[:, None], mean

    return WordVectors().eval()
