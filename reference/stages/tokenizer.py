"""Stage ``tokenizer``: byte-pair encoding on the words of the training scenes (Sennrich et al. 2016)."""

from __future__ import annotations

import os

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

from ..context import Context, Stage

__all__ = ["LENGTH", "SPECIAL", "VOCABULARY", "run"]

VOCABULARY, LENGTH = 512, 32
SPECIAL = ("[PAD]", "[UNK]", "[CLS]")
_ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789.,:;!?'-/%&()+\""


def run(ctx: Context) -> None:
    """Train, save ``tokenizer.json`` (padding and truncation to `LENGTH` inside), note the longest text."""
    scenes = ctx.data()
    lines = [line for group in (scenes.captions, scenes.notes) for several in group for line in several]
    tokenizer = Tokenizer(models.BPE(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFKC(), normalizers.Lowercase(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Strip()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(SPECIAL),
        initial_alphabet=list(_ALPHABET),
        end_of_word_suffix="</w>",
        show_progress=False,
    )
    tokenizer.train_from_iterator(lines, trainer)
    start = tokenizer.token_to_id("[CLS]")
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A", special_tokens=[("[CLS]", start)])
    lengths = [len(encoding.ids) for encoding in tokenizer.encode_batch(sorted(set(lines)))]
    tokenizer.enable_truncation(LENGTH)
    tokenizer.enable_padding(pad_id=0, pad_token="[PAD]", length=LENGTH)
    beside = ctx.folder / "tokenizer.json.part"
    tokenizer.save(str(beside))
    os.replace(beside, ctx.folder / "tokenizer.json")
    ctx.configure({"tokenizer": {"vocabulary": tokenizer.get_vocab_size(), "length": LENGTH}})
    cut = sum(length > LENGTH for length in lengths) / len(lengths)
    ctx.result(vocabulary=tokenizer.get_vocab_size(), longest=max(lengths), cut=cut, lines=len(lengths))


STAGE = Stage("tokenizer", needs=("data",), run=run)
