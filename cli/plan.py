"""`chiasm plan`: does a bundle fit on a device, and how fast could it be at best?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from .common import BundleArgument, FusionOption, JsonOption, bundle_path, emit_json

if TYPE_CHECKING:
    from ..runtime.planning.plan import Plan
    from ..targets import Target


def command(
    bundle: BundleArgument,
    target: Annotated[
        str, typer.Option("--target", metavar="NAME", help="A target, or 'here'; see chiasm targets.")
    ] = "here",
    precision: Annotated[
        str, typer.Option("--precision", metavar="NAME", help="auto (what the device runs best), fp32, fp16 or int8.")
    ] = "auto",
    steps: Annotated[
        int | None, typer.Option("--steps", metavar="COUNT", help="Steps of the decoder; default: the bundle's own.")
    ] = None,
    fusion: FusionOption = None,
    memory: Annotated[
        float | None, typer.Option("--memory", metavar="MIB", help="MiB that are free there, if you know.", min=1)
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Say whether a bundle fits on a device, with the sum shown, and which variant of each part it would run.

    Nothing is run and no weights are read: graphs are counted. The times are bounds, not measurements: no device is
    faster. Exit code 0 when it fits, 1 when it does not.

    Example: chiasm plan reference --target jetson-orin-nano-4gb
    """
    from ..runtime.bundle import open_bundle
    from ..runtime.planning.plan import plan

    chosen, measured = _target(target)
    made = plan(
        open_bundle(bundle_path(bundle)), chosen, steps=steps, fusion=fusion, precision=precision,
        available_mib=memory if memory is not None else measured,
    )  # fmt: skip
    if as_json:
        emit_json(_facts(made))
    else:
        from .plan_tables import print_plan

        print_plan(made)
    if made.verdict in ("does not fit", "tight"):
        raise typer.Exit(1)


def _target(word: str) -> tuple[Target, float | None]:
    """The target, and the memory that is free on it now, if it is this machine and has no memory of its own."""
    from ..runtime.errors import InputError
    from ..runtime.planning.plan import target_named
    from ..targets.detect import detect

    found = detect()
    if word == "here" and found.target is None:
        raise InputError("No target describes this machine", found=found.why, fix="Name one: chiasm targets")
    target = found.target if word == "here" and found.target is not None else target_named(word)
    same = found.target is not None and found.target.name == target.name
    return target, found.host.available_mib if same and target.memory.shared else None


def _facts(made: Plan) -> dict[str, Any]:
    """Plain types: MiB, and seconds that are bounds."""
    return {
        "bundle": made.bundle,
        "target": made.target.name,
        "verdict": made.verdict,
        "have_mib": made.have_mib,
        "need_mib": made.need_mib,
        "spare_mib": made.spare_mib,
        "have": None if made.have is None else [_line(line) for line in made.have],
        "need": [_line(line) for line in made.need],
        "parts": [_part(part) for part in made.parts],
        "tasks": {task.task: {"about": task.about, **_bound(task.bound)} for task in made.tasks},
        "alternatives": [
            {"precision": each.precision, "lacking": each.lacking, "need_mib": each.need_mib, "verdict": each.verdict,
             "smallest": each.smallest}
            for each in made.alternatives
        ],
        "idle": made.idle,
        "notes": made.notes,
    }  # fmt: skip


def _line(line: Any) -> dict[str, Any]:
    return {"what": line.what, "mib": line.mib, "source": line.source}


def _bound(bound: Any) -> dict[str, Any]:
    times = {"arithmetic_s": bound.arithmetic, "memory_s": bound.memory}
    return {"bound_s": bound.seconds, "limit": bound.limit, **times}


def _part(part: Any) -> dict[str, Any]:
    count = part.count
    return {
        "part": part.part, "precision": part.precision, "why": part.why, "runs": part.runs, "how": part.how,
        "operations": count.operations, "weights": count.weights, "inputs": count.inputs, "outputs": count.outputs,
        "activations": count.activations, "unknown": count.unknown, **_bound(part.bound),
    }  # fmt: skip
