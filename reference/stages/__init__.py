"""The stages of training, one file each, found by listing this folder.

A stage file defines one module-level name, ``STAGE``::

    from ..context import Context, Stage

    def run(ctx: Context) -> None:
        scenes = ctx.data("train")                       # Scenes: rendered arrays, read-only
        net = Thing(**numbers).to(ctx.device)
        adam = torch.optim.AdamW(net.parameters())
        state = ctx.resume({"net": net}, {"adam": adam})  # picks up where a killed run stopped
        for step in ctx.steps(state, ctx.pick(4000, quick=3), "thing"):
            rows = ctx.rng("batch", step).integers(0, len(scenes), 64)
            ...
            ctx.note(loss=float(loss))                   # progress bar, and log.json
        ctx.result(accuracy=0.97)                        # log.json, the numbers of this stage
        ctx.publish("thing", net)                        # a part of the checkpoint (fp16 there)
        ctx.configure({"modules": {"thing": {"kind": "thing", **numbers}}})  # merged into config.json

    STAGE = Stage("thing", needs=("data", "encoders"), run=run)

The runner (``chiasm.reference.train``) orders the stages by ``needs``, skips those whose ``done`` marker exists, and
at the end writes every published part into the checkpoint. A stage writes only inside ``ctx.folder``; it reads
another stage's files through ``ctx.stage_folder(name)`` or ``ctx.weights(part)``. Nothing is pickled: tensors are
safetensors, the rest JSON.
"""

from __future__ import annotations

import importlib
import pkgutil

from ..context import Stage

__all__ = ["find_stages", "in_order"]


def find_stages() -> dict[str, Stage]:
    """Import every file of this folder; return its ``STAGE`` by name (files without one are shared code)."""
    found: dict[str, Stage] = {}
    for entry in pkgutil.iter_modules(__path__):
        module = importlib.import_module(f"{__name__}.{entry.name}")
        stage = getattr(module, "STAGE", None)
        if isinstance(stage, Stage):
            found[stage.name] = stage
    return found


def in_order(stages: dict[str, Stage]) -> list[Stage]:
    """Stages so that each comes after all it needs; a missing or circular need raises ``ValueError``."""
    ordered: list[Stage] = []
    waiting = dict(sorted(stages.items()))
    while waiting:
        placed = {stage.name for stage in ordered}
        ready = [stage for stage in waiting.values() if placed.issuperset(stage.needs)]
        if not ready:
            raise ValueError(f"stages {sorted(waiting)} need each other, or a stage that does not exist")
        ordered += ready
        for stage in ready:
            del waiting[stage.name]
    return ordered
