"""What text towers share: the tokenizer as transformers builds it, how many tokens, and the modality."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...runtime.errors import CheckpointError, ExportError
from ...runtime.manifest import TextModality
from ..hub import quiet
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
    """The tokenizer of a folder.

    transformers builds it from the vocabulary of tokenizer.json and its own code, and tokenizer_config.json has a say;
    what comes out of that is exported, not the file. Without a padding token (GPT-2) the end token fills up.
    """
    folder.tokenizer()  # the complaint of a folder without one
    if folder.has("tokenizer_config.json") and "auto_map" in folder.json("tokenizer_config.json"):
        raise CheckpointError(
            f"The tokenizer of {folder.path} asks for code of its own to be run",
            found="auto_map in tokenizer_config.json", expected="a tokenizer of a known kind",
            fix="Such code is never run",
        )  # fmt: skip
    with quiet():
        from transformers import AutoTokenizer

        try:
            built = AutoTokenizer.from_pretrained(folder.path, local_files_only=True, trust_remote_code=False)
            file = built.backend_tokenizer.to_str()
        except Exception as error:  # the tokenizers library raises bare Exception
            reason = str(error).split("\n")[0]
            raise CheckpointError(f"The tokenizer of {folder.path} cannot be read", found=reason) from error
    fill = built.pad_token_id if built.pad_token_id is not None else built.eos_token_id
    limit = built.model_max_length
    return Words(file.encode(), fill or 0, built.padding_side, built.truncation_side, limit if limit < 2**20 else None)


def text_length(folder: HubFolder, ask: Ask, limit: int | None, usual: int | None = None) -> int:
    """How many tokens: those asked for, at most `limit`; else `usual`, or the limit where that is less or alone."""
    if ask.length is None:
        known = [each for each in (usual, limit) if each is not None]
        assert known
        return min(known)
    if not 2 <= ask.length <= (limit or ask.length):
        raise ExportError(
            f"{folder.path} cannot take texts of that length", found=f"length {ask.length}",
            expected=f"2 to {limit} tokens" if limit else "at least 2 tokens",
        )  # fmt: skip
    return ask.length


def modality(ask: Ask, words: Words, length: int, tokens: tuple[int, int]) -> TextModality:
    """The manifest's entry; its tokenizer is the file `<name>.tokenizer.json`."""
    return TextModality(
        name=ask.name, part=ask.name, rate_hz=ask.rate_hz or 1.0, max_age_s=ask.max_age_s, tokens=tokens,
        tokenizer=f"{ask.name}.tokenizer.json", length=length, pad_id=words.pad_id,
        padding="left" if words.padding == "left" else "right",
        truncation="left" if words.truncation == "left" else "right",
    )  # fmt: skip
