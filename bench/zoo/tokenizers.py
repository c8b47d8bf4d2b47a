"""Tokenizers of the kinds that the published models use, trained in place on sentences in many scripts.

Each function gives a transformers tokenizer, special tokens at their usual places; `save_pretrained` writes what a hub
would serve. Training is by the algorithms of the published ones: WordPiece, byte-level BPE, Unigram.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from .words import sentences

__all__ = ["bert", "clip", "distilbert", "gpt2", "mpnet", "roberta", "t5", "xlm_roberta"]

_CORPUS = 600
_UNUSED = [f"[unused{index}]" for index in range(99)]


@cache
def _wordpiece(vocabulary: int, special: tuple[str, ...], unknown: str) -> dict[str, int]:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.WordPiece(unk_token=unknown))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocabulary, special_tokens=list(special), limit_alphabet=700, show_progress=False
    )
    tokenizer.train_from_iterator(sentences(_CORPUS), trainer)
    return dict(sorted(tokenizer.get_vocab().items(), key=lambda item: item[1]))


@cache
def _bytes(vocabulary: int, first: tuple[str, ...], suffix: str) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Vocabulary and merges of a byte-level BPE."""
    import json

    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE(end_of_word_suffix=suffix))
    if suffix:
        tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary, special_tokens=list(first), initial_alphabet=alphabet, end_of_word_suffix=suffix,
        show_progress=False,
    )  # fmt: skip
    tokenizer.train_from_iterator(sentences(_CORPUS), trainer)
    model = json.loads(tokenizer.to_str())["model"]
    vocab: dict[str, int] = model["vocab"]
    if suffix:  # CLIP has every byte twice: inside a word, and at its end
        missing = [letter + suffix for letter in alphabet if letter + suffix not in vocab]
        vocab |= {letter: len(vocab) + index for index, letter in enumerate(missing)}
    return vocab, [tuple(each) if isinstance(each, list) else tuple(each.split(" ")) for each in model["merges"]]


@cache
def _unigram(vocabulary: int, special: tuple[str, ...]) -> list[tuple[str, float]]:
    import json

    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(prepend_scheme="always")]
    )
    trainer = trainers.UnigramTrainer(
        vocab_size=vocabulary, special_tokens=list(special), unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator(sentences(_CORPUS), trainer)
    return [(piece, score) for piece, score in json.loads(tokenizer.to_str())["model"]["vocab"]]


def bert(vocabulary: int = 900, **settings: Any) -> Any:
    """Lower-cased WordPiece: [PAD] 0, [unused…], [UNK] 100, [CLS] 101, [SEP] 102, [MASK] 103."""
    from transformers import BertTokenizer

    special = ("[PAD]", *_UNUSED, "[UNK]", "[CLS]", "[SEP]", "[MASK]")
    return BertTokenizer(vocab=_wordpiece(vocabulary, special, "[UNK]"), model_max_length=512, **settings)


def distilbert(vocabulary: int = 900) -> Any:
    """As BERT's."""
    from transformers import DistilBertTokenizer

    special = ("[PAD]", *_UNUSED, "[UNK]", "[CLS]", "[SEP]", "[MASK]")
    return DistilBertTokenizer(vocab=_wordpiece(vocabulary, special, "[UNK]"), model_max_length=512)


def mpnet(vocabulary: int = 900) -> Any:
    """WordPiece with the special tokens of RoBERTa: <s> 0, <pad> 1, </s> 2, [UNK] 104, <mask> last."""
    from transformers import MPNetTokenizer

    special = ("<s>", "<pad>", "</s>", "<unk>", *_UNUSED, "[CLS]", "[UNK]")
    vocab = dict(_wordpiece(vocabulary - 1, special, "[UNK]"))
    return MPNetTokenizer(vocab={**vocab, "<mask>": len(vocab)}, model_max_length=512)


def gpt2(vocabulary: int = 900) -> Any:
    """Byte-level BPE without padding token; <|endoftext|> last."""
    from transformers import GPT2Tokenizer

    vocab, merges = _bytes(vocabulary - 1, (), "")
    vocab = {**vocab, "<|endoftext|>": len(vocab)}
    return GPT2Tokenizer(vocab=vocab, merges=list(merges), model_max_length=1024)


def roberta(vocabulary: int = 900) -> Any:
    """Byte-level BPE: <s> 0, <pad> 1, </s> 2, <unk> 3, <mask> last."""
    from transformers import RobertaTokenizer

    vocab, merges = _bytes(vocabulary - 1, ("<s>", "<pad>", "</s>", "<unk>"), "")
    return RobertaTokenizer(vocab={**vocab, "<mask>": len(vocab)}, merges=list(merges), model_max_length=512)


def clip(vocabulary: int = 900) -> Any:
    """Lower-cased BPE whose words end in </w>; <|startoftext|> and <|endoftext|> last, the latter fills up too."""
    from transformers import CLIPTokenizer

    vocab, merges = _bytes(vocabulary - 2, (), "</w>")
    vocab = {**vocab, "<|startoftext|>": len(vocab), "<|endoftext|>": len(vocab) + 1}
    return CLIPTokenizer(vocab=vocab, merges=list(merges), model_max_length=77)


def t5(vocabulary: int = 900) -> Any:
    """Unigram: <pad> 0, </s> 1, <unk> 2, a hundred <extra_id_…> last; </s> ends every text."""
    from transformers import T5Tokenizer

    vocab = _unigram(vocabulary - 100, ("<pad>", "</s>", "<unk>"))
    extra = [(f"<extra_id_{index}>", 0.0) for index in range(99, -1, -1)]
    return T5Tokenizer(vocab=[*vocab, *extra], model_max_length=512)


def xlm_roberta(vocabulary: int = 900) -> Any:
    """Unigram: <s> 0, <pad> 1, </s> 2, <unk> 3, <mask> last."""
    from transformers import XLMRobertaTokenizer

    vocab = _unigram(vocabulary - 1, ("<s>", "<pad>", "</s>", "<unk>"))
    return XLMRobertaTokenizer(vocab=[*vocab, ("<mask>", 0.0)], model_max_length=512)
