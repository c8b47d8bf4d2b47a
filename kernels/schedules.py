"""The constants of a diffusion sampler, and which of them belong together. steps.py makes coefficients of them.

The kinds: `ddim` (Song et al., 2021, eta 0 to 1), `euler` and `euler-ancestral` (Karras et al., 2022; k-diffusion),
`lcm` (Luo et al., 2023), `tcd` (Zheng et al., 2024; `eta` is the paper's gamma), `flow-match` (rectified flow by Euler;
Esser et al., 2024), `flow-consistency` (multistep consistency sampling, Song et al., 2023, on the paths of a rectified
flow).
"""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import msgspec

from .errors import KernelError

__all__ = ["FIELDS", "Schedule", "check_schedule"]

_BETAS = ("num_train_timesteps", "beta_schedule", "beta_start", "beta_end", "rescale_betas_zero_snr")
_SPACED = (*_BETAS, "timestep_spacing", "steps_offset")
_DISTILLED = (*_BETAS, "original_inference_steps", "strength")
FIELDS: dict[str, tuple[str, ...]] = {
    "ddim": (*_SPACED, "set_alpha_to_one", "eta"),
    "euler": (*_SPACED, "final_sigmas_type"),
    "euler-ancestral": _SPACED,
    "lcm": (*_DISTILLED, "timestep_scaling"),
    "tcd": (*_DISTILLED, "eta"),
    "flow-match": ("num_train_timesteps", "shift", "stochastic_sampling"),
    "flow-consistency": ("times",),
}
"""kind → the fields that it reads, besides `kind` and `prediction_type`. Any other field must keep its default."""


class Schedule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """The constants of one sampler, spelt as diffusers spells them where it has them; see FIELDS for who reads what.

    `eta`: share of fresh noise (DDIM), or gamma (TCD). `times`: one falling tuple, 1 first, for each number of steps.
    `strength`: what a strength below 1 does to a picture that is started from: "skip" the first steps, as Stable
    Diffusion's pipelines do, or "squeeze" all steps into what is left, as the pipelines of LCM do.
    """

    kind: Literal["ddim", "euler", "euler-ancestral", "lcm", "tcd", "flow-match", "flow-consistency"]
    prediction_type: Literal["epsilon", "v_prediction", "sample", "flow"]
    num_train_timesteps: int = 1000
    beta_schedule: Literal["linear", "scaled_linear", "squaredcos_cap_v2"] = "scaled_linear"
    beta_start: float = 0.00085
    beta_end: float = 0.012
    rescale_betas_zero_snr: bool = False
    timestep_spacing: Literal["leading", "trailing", "linspace"] = "leading"
    steps_offset: int = 0
    set_alpha_to_one: bool = True
    final_sigmas_type: Literal["zero", "sigma_min"] = "zero"
    original_inference_steps: int = 50
    timestep_scaling: float = 10.0
    shift: float = 1.0
    stochastic_sampling: bool = False
    eta: float = 0.0
    strength: Literal["skip", "squeeze"] = "skip"
    times: tuple[tuple[float, ...], ...] = ()


def check_schedule(schedule: Schedule) -> None:
    """Raise KernelError for constants that no sampler has, or that this kind does not read."""
    known = FIELDS.get(schedule.kind)
    if known is None:
        raise KernelError("kind", found=schedule.kind, expected=", ".join(FIELDS))
    default = Schedule(kind=schedule.kind, prediction_type=schedule.prediction_type)
    for field in Schedule.__struct_fields__:
        if field not in ("kind", "prediction_type", *known) and getattr(schedule, field) != getattr(default, field):
            found = getattr(schedule, field)
            raise KernelError(field, found=found, expected=f"nothing: {schedule.kind} does not read it")
    _check_prediction(schedule)
    for field, low, high in (
        ("num_train_timesteps", 2, 100_000), ("steps_offset", 0, schedule.num_train_timesteps - 1), ("eta", 0, 1),
        ("original_inference_steps", 1, schedule.num_train_timesteps), ("timestep_scaling", 0, 1e6),
        ("shift", 1e-3, 1e3), ("beta_start", 1e-9, 0.999), ("beta_end", schedule.beta_start, 0.999),
    ):  # fmt: skip
        if field in known and not low <= getattr(schedule, field) <= high:
            raise KernelError(field, found=getattr(schedule, field), expected=f"{low:g} to {high:g}")
    _check_times(schedule)


def _check_prediction(schedule: Schedule) -> None:
    flow = schedule.kind.startswith("flow")
    known: tuple[str, ...] = ("flow",) if flow else ("epsilon", "v_prediction", "sample")
    if schedule.kind == "euler-ancestral":
        known = ("epsilon", "v_prediction")  # diffusers has no other, so there would be nothing to be equal to
    if schedule.prediction_type not in known:
        raise KernelError("prediction_type", found=schedule.prediction_type, expected=" or ".join(known))


def _check_times(schedule: Schedule) -> None:
    if schedule.kind == "flow-consistency" and not schedule.times:
        raise KernelError("times", found="none", expected="the times of at least one number of steps")
    counts = [len(times) for times in schedule.times]
    if len(set(counts)) != len(counts):
        raise KernelError("times", found=f"{counts} times", expected="each number of steps once")
    for times in schedule.times:
        falling = all(before > after > 0.0 for before, after in pairwise(times))
        if not times or times[0] != 1.0 or not falling:
            raise KernelError("times", found=list(times), expected="1.0 first, then falling, above zero")
