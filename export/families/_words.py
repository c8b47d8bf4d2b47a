"""What the text towers of the pairs share: the tokenizer as transformers builds it, the modality, and masks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...runtime.errors import CheckpointError, ExportError
from ...runtime.manifest import TextModality
from . import Ask

if TYPE_CHECKING:
    from ..hub import HubFolder

__all__ = ["Words", "modality", "read_words", "text_length"]


@dataclass(frozen=True)
class Words:
    """A tokenizer as transformers builds it from a folder. `limit`: the most tokens it was made for, None: not said."""

    file: bytes
    pad_id: int
    padding: str
    truncation: str
    limit: int | None


def read_words(folder: HubFolder) -> Words:
    """The tokenizer of a folder, with what tokenizer_config.json says of it."""
    folder.tokenizer()  # the complaint of a folder without one
    from transformers import AutoTokenizer

    try:
        built = AutoTokenizer.from_pretrained(folder.path, local_files_only=True, trust_remote_code=False)
        file = built.backend_tokenizer.to_str()
    except Exception as error:  # the tokenizers library raises bare Exception
        found = str(error).split("\n")[0]
        raise CheckpointError(f"The tokenizer of {folder.path} cannot be read", found=found) from error
    fill = built.pad_token_id if built.pad_token_id is not None else built.eos_token_id
    limit = built.model_max_length
    return Words(file.encode(), fill or 0, built.padding_side, built.truncation_side, limit if limit < 2**20 else None)


def text_length(folder: HubFolder, ask: Ask, limit: int) -> int:
    """How many tokens: those asked for, at most `limit`, which is also the default."""
    length = limit if ask.length is None else ask.length
    if not 2 <= length <= limit:
        raise ExportError(
            f"{folder.path} cannot take texts of that length", found=f"length {length}", expected=f"2 to {limit} tokens"
        )
    return length


def modality(ask: Ask, words: Words, length: int, tokens: tuple[int, int]) -> TextModality:
    """The manifest's entry; its tokenizer is the file `<name>.tokenizer.json`."""
    return TextModality(
        name=ask.name, part=ask.name, rate_hz=ask.rate_hz or 1.0, max_age_s=ask.max_age_s, tokens=tokens,
        tokenizer=f"{ask.name}.tokenizer.json", length=length, pad_id=words.pad_id,
    )  # fmt: skip
