"""A diffusers scheduler's constants (`scheduler_config.json`) → the manifest's schedule.

A setting that our samplers do not reproduce is refused. One that the scheduler does not read is passed over, as
diffusers itself does: such files are full of what another scheduler once wrote.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from ..kernels import KernelError, Schedule, check_schedule
from ..kernels.schedules import FIELDS
from ..runtime.errors import CheckpointError

__all__ = ["CLASSES", "schedule_from_config"]

CLASSES = {
    "DDIMScheduler": "ddim",
    "EulerDiscreteScheduler": "euler",
    "EulerAncestralDiscreteScheduler": "euler-ancestral",
    "LCMScheduler": "lcm",
    "TCDScheduler": "tcd",
    "FlowMatchEulerDiscreteScheduler": "flow-match",
}
"""diffusers' class → our kind."""

_OLD_BETAS = {"beta_start": 0.0001, "beta_end": 0.02, "beta_schedule": "linear"}
_DEFAULTS: dict[str, dict[str, Any]] = {
    "ddim": {**_OLD_BETAS, "timestep_spacing": "leading", "clip_sample": True},
    "euler": {**_OLD_BETAS, "timestep_spacing": "linspace"},
    "euler-ancestral": {**_OLD_BETAS, "timestep_spacing": "linspace"},
    "lcm": {},
    "tcd": {},
    "flow-match": {},
}
"""What diffusers takes where a file says nothing, and where that is not what `Schedule` takes."""

_CLIPPING = {"clip_sample": False, "thresholding": False}
_SIGMAS = {"use_karras_sigmas": False, "use_exponential_sigmas": False, "use_beta_sigmas": False}
_ONLY: dict[str, dict[str, Any]] = {
    "ddim": {**_CLIPPING, "trained_betas": None},
    "euler": {**_SIGMAS, "trained_betas": None, "interpolation_type": "linear", "timestep_type": "discrete"},
    "euler-ancestral": {"trained_betas": None},
    "lcm": {**_CLIPPING, "trained_betas": None},
    "tcd": {**_CLIPPING, "trained_betas": None},
    "flow-match": {**_SIGMAS, "use_dynamic_shifting": False, "shift_terminal": None, "invert_sigmas": False},
}
"""kind → settings that it reads and of which we have one value only."""


def schedule_from_config(config: Mapping[str, Any], kind: str | None = None, **changes: Any) -> Schedule:
    """The schedule of a scheduler's configuration. `kind`: another sampler on the same constants, as by `from_config`.

    `changes` are fields of `Schedule` that such a file does not have: `eta`, `strength`.

    Raises:
        CheckpointError: a scheduler that is none of ours, a setting that we do not reproduce, constants out of range.
    """
    name = str(config.get("_class_name", ""))
    kind = CLASSES.get(name) if kind is None else kind
    if kind not in _DEFAULTS:
        raise CheckpointError(
            "Not a sampler of ours",
            found=kind or name or "no _class_name in scheduler_config.json",
            expected=", ".join(CLASSES),
            fix=f"Ask for another schedule on its constants: {', '.join(_DEFAULTS)}.",
        )
    given = {**_DEFAULTS[kind], **config}
    for setting, only in _ONLY[kind].items():
        if (given.get(setting, only) or None) != (only or None):
            raise CheckpointError(
                f"A setting of the scheduler is not reproduced: {setting}",
                found=given[setting],
                expected=only,
                fix="Ask for another schedule on the same constants, or change scheduler_config.json.",
            )
    fields = {field: given[field] for field in FIELDS[kind] if given.get(field) is not None}
    if kind == "flow-match":
        fields["prediction_type"] = "flow"
    else:
        prediction = given.get("prediction_type") or "epsilon"
        fields["prediction_type"] = "sample" if prediction == "original_sample" else prediction
    try:
        schedule = msgspec.convert({"kind": kind, **fields, **changes}, Schedule)
        check_schedule(schedule)
    except (msgspec.ValidationError, KernelError) as error:
        raise CheckpointError(f"The constants of {name or kind} cannot be used", found=str(error)) from error
    return schedule
