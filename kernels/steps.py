"""A schedule and a number of steps → the coefficients of each step.

Every sampler here is linear in what it is given. With x the latents, p the (guided) prediction, ε fresh noise:

    the denoiser is fed   input_scale·x  and  time
    x0 = clean_x·x + clean_p·p                          the clean estimate
    x' = next_x·x + next_clean·x0 + noise·ε             the latents of the next step

Inside everything is float64; the coefficients come out rounded to float32. By way of x0, and not of p, none of the
coefficients of x' grows large where alpha is small.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from .errors import KernelError
from .noise_levels import alphas_cumprod, flow_sigmas, lcm_timesteps, spaced_timesteps
from .schedules import Schedule, check_schedule

__all__ = ["Plan", "Step", "plan_steps"]


@dataclass(frozen=True)
class Step:
    """Coefficients of one step (see above); `alpha`, `sigma`: its latents are those of alpha·x0 + sigma·ε."""

    time: float
    input_scale: float
    clean_x: float
    clean_p: float
    next_x: float
    next_clean: float
    noise: float
    alpha: float
    sigma: float


@dataclass(frozen=True)
class Plan:
    """The steps that are left at the asked strength. `start`: the scale of pure noise before the first of all."""

    steps: tuple[Step, ...]
    start: float


class _Level(NamedTuple):
    """A moment: what the denoiser is told, and how much of x0 and of noise there is."""

    time: float
    alpha: float
    sigma: float


def plan_steps(schedule: Schedule, steps: int, strength: float = 1.0) -> Plan:
    """The coefficients of `steps` steps; below `strength` 1 those that are left when a picture is started from.

    Raises:
        KernelError: constants or a number of steps that this kind cannot have, a strength that leaves no step.
    """
    check_schedule(schedule)
    if not isinstance(steps, int) or not 1 <= steps <= schedule.num_train_timesteps:
        raise KernelError("steps", found=steps, expected=f"a whole number from 1 to {schedule.num_train_timesteps}")
    if not 0.0 < strength <= 1.0:
        raise KernelError("strength", found=strength, expected="more than 0, at most 1")
    made, start = _PLANNERS[schedule.kind](schedule, steps, strength if schedule.strength == "squeeze" else 1.0)
    kept = steps if schedule.strength == "squeeze" else _kept(schedule, steps, strength)
    if kept < 1:
        raise KernelError("strength", found=strength, expected=f"at least {1.0 / steps:g} for {steps} steps")
    left = made[steps - kept :]
    for step in left:
        if not all(map(math.isfinite, (step.clean_x, step.clean_p, step.next_x, step.next_clean, step.noise))):
            raise KernelError("prediction_type", found=f"{schedule.prediction_type} at pure noise (time {step.time:g})",
                              expected="v_prediction or sample, which say something there")  # fmt: skip
    return Plan(tuple(left), start)


def _kept(schedule: Schedule, steps: int, strength: float) -> int:
    """SD's pipelines round the number of steps that are kept, SD 3's the number of those that are skipped."""
    if schedule.kind == "flow-match":
        return steps - int(max(steps - min(steps * strength, steps), 0))
    return min(int(steps * strength), steps)


def _clean(prediction: str, now: _Level) -> tuple[float, float]:
    """(clean_x, clean_p): how x and the prediction make x0."""
    alpha, sigma = now.alpha, now.sigma
    if prediction == "sample":
        return 0.0, 1.0
    if prediction == "v_prediction":  # v = alpha·ε − sigma·x0 of the variance-preserving form (Salimans and Ho, 2022)
        power = alpha * alpha + sigma * sigma
        return alpha / power, -sigma / math.sqrt(power)
    if prediction == "flow":  # v = ε − x0 (Liu et al., 2022)
        return 1.0, -sigma
    return (1.0 / alpha, -sigma / alpha) if alpha > 0.0 else (math.inf, -math.inf)


def _step(prediction: str, now: _Level, alpha: float, sigma: float, noise: float) -> Step:
    """To alpha·x0 + sigma·e + noise·ε, where e = (x − alpha_now·x0) / sigma_now is the noise that is in x."""
    clean_x, clean_p = _clean(prediction, now)
    along = sigma / now.sigma
    return _rounded(now, 1.0, clean_x, clean_p, along, alpha - along * now.alpha, noise)


def _rounded(now: _Level, scale: float, *coefficients: float) -> Step:
    clean_x, clean_p, next_x, next_clean, noise = (float(np.float32(value)) for value in coefficients)
    time, scale, alpha, sigma = (float(np.float32(value)) for value in (now.time, scale, now.alpha, now.sigma))
    return Step(time, scale, clean_x, clean_p, next_x, next_clean, noise, alpha, sigma)


def _table(schedule: Schedule) -> Callable[[float], _Level]:
    """timestep → its level, in variance-preserving form."""
    table = alphas_cumprod(schedule.beta_schedule, schedule.beta_start, schedule.beta_end,
                           schedule.num_train_timesteps, schedule.rescale_betas_zero_snr)  # fmt: skip

    def level(time: float) -> _Level:
        if not 0 <= time < len(table):
            raise KernelError("steps_offset", found=f"timestep {time:g}", expected=f"timesteps 0 to {len(table) - 1}")
        return _Level(time, math.sqrt(table[int(time)]), math.sqrt(1.0 - table[int(time)]))

    return level


def _ddim(schedule: Schedule, steps: int, _: float) -> tuple[list[Step], float]:
    level, count = _table(schedule), schedule.num_train_timesteps
    times = np.round(spaced_timesteps(schedule.timestep_spacing, steps, count, schedule.steps_offset)).tolist()
    last = 1.0 if schedule.set_alpha_to_one else level(0).alpha
    made = []
    for time in times:
        now, before = level(time), time - count // steps
        alpha = level(before).alpha if before >= 0 else last
        power = max(1.0 - alpha * alpha, 0.0)
        variance = power / now.sigma**2 * (1.0 - (now.alpha / alpha) ** 2)
        fresh = schedule.eta * math.sqrt(max(variance, 0.0))
        made.append(_step(schedule.prediction_type, now, alpha, math.sqrt(max(power - fresh**2, 0.0)), fresh))
    return made, 1.0


def _euler(schedule: Schedule, steps: int, _: float) -> tuple[list[Step], float]:
    """Between two timesteps sigma is interpolated. The denoiser knows variance-preserving latents: hence the scale."""
    table = alphas_cumprod(schedule.beta_schedule, schedule.beta_start, schedule.beta_end,
                           schedule.num_train_timesteps, schedule.rescale_betas_zero_snr).copy()  # fmt: skip
    if schedule.rescale_betas_zero_snr:
        table[-1] = 2.0**-24  # diffusers' way around an infinite sigma
    every = np.sqrt((1.0 - table) / table).astype(np.float32)
    times = spaced_timesteps(schedule.timestep_spacing, steps, len(table), schedule.steps_offset).astype(np.float32)
    if times[0] > len(table) - 1:
        raise KernelError("steps_offset", found=f"timestep {times[0]:g}", expected=f"at most {len(table) - 1}")
    last = float(every[0]) if schedule.final_sigmas_type == "sigma_min" else 0.0
    sigmas = [*np.interp(times, np.arange(len(every)), every).astype(np.float32).tolist(), last]
    made = []
    for time, sigma, after in zip(times.tolist(), sigmas, sigmas[1:], strict=False):
        fresh, down = 0.0, after
        if schedule.kind == "euler-ancestral":
            fresh = math.sqrt(max(after**2 * (sigma**2 - after**2) / sigma**2, 0.0))
            down = math.sqrt(max(after**2 - fresh**2, 0.0))
        now = _Level(time, 1.0, sigma)
        scale = 1.0 / math.sqrt(sigma**2 + 1.0)
        clean = _clean(schedule.prediction_type, now)
        made.append(_rounded(now, scale, *clean, down / sigma, 1.0 - down / sigma, fresh))
    top = max(sigmas)
    return made, math.sqrt(top**2 + 1.0) if schedule.timestep_spacing == "leading" else top


def _distilled(schedule: Schedule, steps: int, strength: float) -> list[float]:
    count, original = schedule.num_train_timesteps, schedule.original_inference_steps
    times: list[float] = lcm_timesteps(steps, count, original, strength).tolist()
    return times


def _lcm(schedule: Schedule, steps: int, strength: float) -> tuple[list[Step], float]:
    """Consistency with boundary: the estimate is c_out·x0 + c_skip·x, with sigma_data = 0.5."""
    level, times = _table(schedule), _distilled(schedule, steps, strength)
    made = []
    for index, time in enumerate(times):
        now, scaled = level(time), time * schedule.timestep_scaling
        skip, out = 0.25 / (scaled**2 + 0.25), scaled / math.sqrt(scaled**2 + 0.25)
        clean_x, clean_p = _clean(schedule.prediction_type, now)
        after = level(times[index + 1]) if index + 1 < steps else _Level(0.0, 1.0, 0.0)
        made.append(_rounded(now, 1.0, out * clean_x + skip, out * clean_p, 0.0, after.alpha, after.sigma))
    return made, 1.0


def _tcd(schedule: Schedule, steps: int, strength: float) -> tuple[list[Step], float]:
    """To the timestep s = (1 − gamma)·next on the trajectory, then noise up to the next."""
    level, times = _table(schedule), _distilled(schedule, steps, strength)
    made = []
    for index, time in enumerate(times):
        target = times[index + 1] if index + 1 < steps else 0.0
        middle, after = level(float(np.floor(np.float32(1.0 - schedule.eta) * np.float32(target)))), level(target)
        ratio = after.alpha / middle.alpha if schedule.eta > 0 and index + 1 < steps else 1.0
        fresh = math.sqrt(max(1.0 - ratio**2, 0.0))
        made.append(_step(schedule.prediction_type, level(time), ratio * middle.alpha, ratio * middle.sigma, fresh))
    return made, 1.0


def _flow(times: Sequence[float], sigmas: Sequence[float], *, fresh: bool) -> tuple[list[Step], float]:
    made = []
    for time, sigma, after in zip(times, sigmas, (*sigmas[1:], 0.0), strict=True):
        now = _Level(time, 1.0 - sigma, sigma)
        made.append(_step("flow", now, 1.0 - after, 0.0 if fresh else after, after if fresh else 0.0))
    return made, 1.0


def _flow_match(schedule: Schedule, steps: int, _: float) -> tuple[list[Step], float]:
    sigmas = flow_sigmas(steps, schedule.num_train_timesteps, schedule.shift)
    times = (sigmas * schedule.num_train_timesteps).tolist()
    return _flow(times, sigmas.tolist(), fresh=schedule.stochastic_sampling)


def _flow_consistency(schedule: Schedule, steps: int, _: float) -> tuple[list[Step], float]:
    by_count = {len(times): times for times in schedule.times}
    if steps not in by_count:
        raise KernelError("steps", found=steps, expected=f"one of {', '.join(map(str, sorted(by_count)))}")
    return _flow(by_count[steps], by_count[steps], fresh=True)


_PLANNERS: dict[str, Callable[[Schedule, int, float], tuple[list[Step], float]]] = {
    "ddim": _ddim,
    "euler": _euler,
    "euler-ancestral": _euler,
    "lcm": _lcm,
    "tcd": _tcd,
    "flow-match": _flow_match,
    "flow-consistency": _flow_consistency,
}
