"""Holds the variants to the fused answers, and mends what falls short.

A part can keep every tensor close and still tip decisions. Where the fused accuracy of a precision falls too far behind
FP32 on any set of present modalities, the part that costs most is quantised again with half its error allowed; if that
does not help, its variant is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..runtime.errors import ToleranceError
from ..runtime.values import OnnxGraph
from . import fused
from .report import FusedReport
from .sessions import runnable
from .verify import fused_accuracy, prepare_samples
from .workshop import Workshop

__all__ = ["verify_fused"]

_RETRIES = 4


def verify_fused(work: Workshop) -> FusedReport | None:
    """Accuracy for every set of present modalities, with variants mended or refused; None without labelled samples."""
    if not work.calibration.samples:
        return None
    work.progress("preparing samples", 0.7)
    samples = prepare_samples(work.draft, work.assembly.files.__getitem__, work.calibration.samples)
    labels = [sample.labels for sample in work.calibration.samples]
    present = [each for each in work.settings.precisions if any(each in own for own in work.variants.values())]
    made = fused_accuracy(
        work.draft,
        work.graphs(),
        present,
        samples,
        labels,
        lambda words, share: work.progress(words, 0.7 + 0.2 * share),
    )
    known = made[work.draft.fused.default]
    mender = _Mender(work, samples, labels, known["fp32"])
    for precision in present:
        if precision != "fp32":
            known[precision] = mender.mend(precision, known[precision])
    return FusedReport(samples=len(samples), accuracy=made)


@dataclass
class _Mender:
    work: Workshop
    samples: fused.Prepared
    labels: Sequence[Mapping[str, str]]
    whole: fused.Accuracy

    def mend(self, precision: str, now: fused.Accuracy) -> fused.Accuracy:
        """The accuracy of `precision` once it is inside the tolerance."""
        limit = self.work.settings.tolerances.accuracy_drop
        tries: dict[str, int] = {}
        while True:
            drop, present, head = fused.largest_drop(self.whole, now)
            if drop <= limit + 1e-9:
                return now
            part = self._culprit(precision, present, head)
            tries[part] = tries.get(part, 0) + 1
            if not (precision.startswith("int8") and tries[part] <= _RETRIES and self._closer(part, precision)):
                self.work.variants[part].pop(precision, None)
                self.work.refuse(part, precision, f"{head} with {present}", drop, limit)
            now = self._accuracy(precision, self.work.graphs())

    def _closer(self, part: str, precision: str) -> bool:
        """Quantise a part again with half the error; False where that cannot be done."""
        lowest = min(each.cosine for each in self.work.variants[part][precision].differences.values())
        refused = list(self.work.refused)
        done = self.work.quantise(part, 1 - (1 - lowest) / 2, precision=precision)
        self.work.refused[:] = refused
        return done

    def _accuracy(self, precision: str, graphs: Mapping[str, Mapping[str, OnnxGraph]]) -> fused.Accuracy:
        draft = self.work.draft
        default = draft.fused.kinds[draft.fused.default]
        self.work.progress(f"fused accuracy again: {precision}", 0.9)
        chosen = {
            part: runnable(own[precision], precision) if precision in own else own["fp32"]
            for part, own in graphs.items()
            if part == default or part not in draft.fused.kinds.values()
        }
        tokens = fused.encode(draft, chosen, self.samples)
        return fused.accuracy(draft, chosen, draft.fused.default, tokens, self.labels)

    def _culprit(self, precision: str, present: str, head: str) -> str:
        """The part whose variant alone costs most accuracy on that set of modalities and head."""
        graphs, fusion = self.work.graphs(), self.work.draft.fused
        used = {each.part for each in self.work.draft.modalities if each.name in present.split("+")}
        used |= {fusion.kinds[fusion.default], *(each.part for each in self.work.draft.heads.values())}
        shares = {}
        for part in sorted(used):
            if precision in graphs[part]:
                alone = {name: own if name == part else {"fp32": own["fp32"]} for name, own in graphs.items()}
                shares[part] = self._accuracy(precision, alone)[present][head]
        if not shares:
            raise ToleranceError(f"The fused accuracy of {precision} differs from FP32 though no part has {precision}")
        return min(shares, key=lambda part: shares[part])
