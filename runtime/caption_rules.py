"""The promises of a manifest's captioner."""

from __future__ import annotations

from .promises import Promises, has_only, has_tensors, must, part_of, positive
from .schema import Captioner, Manifest

__all__ = ["caption_shapes", "check_captioner"]


def caption_shapes(captioner: Captioner, tokens: tuple[int, int]) -> dict[str, tuple[int, ...]]:
    """Tensor → shape, for both parts; `tokens`: (N, D) of the encoder that is described."""
    layers, heads, size = captioner.cache
    own, seen, new = ((layers, heads, count, size) for count in (captioner.length, tokens[0], 1))
    return {
        "tokens": (1, *tokens), "token": (1, 1), "position": (1, 1), "keys": own, "values": own, "seen_keys": seen,
        "seen_values": seen, "logits": (1, captioner.vocabulary), "key": new, "value": new,
    }  # fmt: skip


def check_captioner(captioner: Captioner, manifest: Manifest) -> None:
    """Raise ManifestError unless both parts take and give what the runtime hands them, and the numbers make sense."""
    where = "captioner"
    known = {modality.name: modality for modality in manifest.modalities}
    must(captioner.modality in known, f"{where}.modality", captioner.modality, f"one of {', '.join(known)}")
    must(captioner.tokenizer in manifest.files, f"{where}.tokenizer", captioner.tokenizer, "a file listed in files")
    layers, heads, size = captioner.cache
    positive(where, vocabulary=captioner.vocabulary, length=captioner.length, max_tokens=captioner.max_tokens,
             beams=captioner.beams, layers=layers, heads=heads, head_size=size)  # fmt: skip
    for field in ("bos_id", "eos_id", "pad_id"):
        value = getattr(captioner, field)
        must(0 <= value < captioner.vocabulary, f"{where}.{field}", value, "a token of the vocabulary")
    must(captioner.length > 1, f"{where}.length", captioner.length, "at least two tokens")
    must(2 * captioner.beams <= captioner.vocabulary, f"{where}.beams", captioner.beams, "at most half the vocabulary")
    shapes = caption_shapes(captioner, known[captioner.modality].tokens)

    def named(*names: str) -> Promises:
        return {name: ("int64" if name in ("token", "position") else "float32", shapes[name]) for name in names}

    prefill = part_of(captioner.prefill, f"{where}.prefill", manifest)
    has_only(f"{where}.prefill, inputs", prefill.inputs, named("tokens"))
    has_tensors(f"{where}.prefill, outputs", prefill.outputs, named("seen_keys", "seen_values"))
    step = part_of(captioner.step, f"{where}.step", manifest)
    taken = named("token", "position", "keys", "values", "seen_keys", "seen_values")
    has_only(f"{where}.step, inputs", step.inputs, taken)
    has_tensors(f"{where}.step, outputs", step.outputs, named("logits", "key", "value"))
