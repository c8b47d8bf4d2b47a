"""Every sampler against diffusers' scheduler of that name: timesteps, scales, x0 and x', with the same noise."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest
from chiasm.kernels import KernelError, Plan, Schedule, Step, check_schedule, denoise_step, plan_steps
from hypothesis import assume, given, settings
from hypothesis import strategies as st

Array = np.ndarray[Any, Any]
CLASSES = {
    "ddim": "ddim:DDIMScheduler",
    "euler": "euler_discrete:EulerDiscreteScheduler",
    "euler-ancestral": "euler_ancestral_discrete:EulerAncestralDiscreteScheduler",
    "lcm": "lcm:LCMScheduler",
    "tcd": "tcd:TCDScheduler",
    "flow-match": "flow_match_euler_discrete:FlowMatchEulerDiscreteScheduler",
}
OURS_ALONE = ("eta", "strength", "times")
BETAS = st.fixed_dictionaries(
    {
        "beta_schedule": st.sampled_from(["linear", "scaled_linear", "squaredcos_cap_v2"]),
        "beta_start": st.floats(1e-4, 2e-3),
        "beta_end": st.floats(5e-3, 0.03),
        "num_train_timesteps": st.sampled_from([1000, 1000, 500]),
        "rescale_betas_zero_snr": st.booleans(),
    }
)
SPACED = {
    "timestep_spacing": st.sampled_from(["leading", "trailing", "linspace"]),
    "steps_offset": st.sampled_from([0, 1]),
}
OWN: dict[str, dict[str, Any]] = {
    "ddim": {**SPACED, "set_alpha_to_one": st.booleans(), "eta": st.sampled_from([0.0, 0.3, 0.9])},
    "euler": {**SPACED, "final_sigmas_type": st.sampled_from(["zero", "sigma_min"])},
    "euler-ancestral": SPACED,
    "lcm": {
        "original_inference_steps": st.sampled_from([50, 100]),
        "timestep_scaling": st.sampled_from([10.0, 1.0]),
        "strength": st.sampled_from(["skip", "squeeze"]),
    },
    "tcd": {
        "original_inference_steps": st.sampled_from([50, 100]),
        "eta": st.sampled_from([0.0, 0.2, 0.3, 0.9, 1.0]),
        "strength": st.sampled_from(["skip", "squeeze"]),
    },
}
FLOW = st.fixed_dictionaries(
    {"shift": st.floats(0.5, 8.0), "stochastic_sampling": st.booleans(), "num_train_timesteps": st.just(1000)}
)


@st.composite
def diffusions(draw: Any, kind: str) -> Schedule:
    if kind == "flow-match":
        return Schedule(kind="flow-match", prediction_type="flow", **draw(FLOW))
    known = ["epsilon", "v_prediction"] + ([] if kind == "euler-ancestral" else ["sample"])
    betas = draw(BETAS)
    # The cosine's first sigma is 20,000: diffusers' float32 then takes the root of a number below zero.
    assume(kind != "euler-ancestral" or betas["beta_schedule"] != "squaredcos_cap_v2")
    own = draw(st.fixed_dictionaries(OWN[kind]))
    return Schedule(kind=kind, prediction_type=draw(st.sampled_from(known)), **betas, **own)


@pytest.fixture(scope="module")
def modules() -> dict[str, Any]:
    pytest.importorskip("diffusers", reason="diffusers' schedulers are what ours are compared with")
    return {kind: importlib.import_module(f"diffusers.schedulers.scheduling_{name.split(':')[0]}")
            for kind, name in CLASSES.items()}  # fmt: skip


def _theirs(modules: dict[str, Any], schedule: Schedule) -> Any:
    values = {field: getattr(schedule, field) for field in Schedule.__struct_fields__ if field not in OURS_ALONE}
    values["clip_sample"] = False
    made = getattr(modules[schedule.kind], CLASSES[schedule.kind].split(":")[1])
    known = set(made.__init__.__wrapped__.__code__.co_varnames)
    with pytest.MonkeyPatch.context() as patch:
        # torch's square root of float32 differs between machines; rescaled to zero SNR, and where there is hardly
        # any noise, its last bit is a thousandth of sigma.
        patch.setattr("torch.Tensor.sqrt", lambda tensor: tensor.double().pow(0.5).float())
        return made(**{field: value for field, value in values.items() if field in known})


def _start(scheduler: Any, schedule: Schedule, steps: int, strength: float) -> Any:
    """The timesteps that are left, as the pipelines of Stable Diffusion and of SD 3 choose them, or LCM's own."""
    if schedule.strength == "squeeze":
        scheduler.set_timesteps(steps, strength=strength)
        skipped = 0
    else:
        scheduler.set_timesteps(steps)
        flow = schedule.kind == "flow-match"
        kept = min(steps * strength, steps) if flow else min(int(steps * strength), steps)
        skipped = int(max(steps - kept, 0))
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(skipped)
    return scheduler.timesteps[skipped:]


class _Noise:
    """Stands in for diffusers' randn_tensor, and remembers what it gave."""

    def __init__(self, seed: int, shape: tuple[int, ...]) -> None:
        self.random, self.shape = np.random.default_rng(seed), shape
        self.last: Array | None = None

    def __call__(self, *_: Any, **__: Any) -> Any:
        import torch

        self.last = self.random.standard_normal(self.shape).astype(np.float32)
        return torch.from_numpy(self.last)


def _near(ours: Array, theirs: Any, terms: Array, what: str) -> None:
    """1e-5, of the terms where those are large: cancellation makes a result small beside its terms."""
    np.testing.assert_array_less(np.abs(ours - theirs.numpy()), 1e-5 * np.maximum(terms, 1.0), err_msg=what)


def _compare(scheduler: Any, schedule: Schedule, plan: Plan, times: Any, noise: _Noise) -> None:
    import torch

    random = np.random.default_rng(1)
    first, clean = random.standard_normal((2, *noise.shape)).astype(np.float32)
    x = np.float32(plan.start) * first
    for step, time in zip(plan.steps, times, strict=True):
        assert step.time == pytest.approx(float(time), rel=1e-6, abs=1e-4)
        add = scheduler.scale_noise if schedule.kind == "flow-match" else scheduler.add_noise
        samples = {"sample": torch.from_numpy(clean)} if schedule.kind == "flow-match" else {
            "original_samples": torch.from_numpy(clean)}  # fmt: skip
        moment = {"timestep" if schedule.kind == "flow-match" else "timesteps": time[None]}
        noisy = add(**samples, noise=torch.from_numpy(first), **moment)
        mixed = np.float32(step.alpha) * clean + np.float32(step.sigma) * first
        _near(mixed, noisy, step.alpha * np.abs(clean) + step.sigma * np.abs(first), "added noise")
        x = _one_step(scheduler, schedule, step, time, x, random.standard_normal(noise.shape).astype(np.float32), noise)


def _one_step(
    scheduler: Any, schedule: Schedule, step: Step, time: Any, x: Array, prediction: Array, noise: _Noise
) -> Array:
    import torch

    sample = torch.from_numpy(x)
    if schedule.kind.startswith("euler"):
        _near(np.float32(step.input_scale) * x, scheduler.scale_model_input(sample, time), np.abs(x), "model input")
    noise.last = None
    options = {"eta": schedule.eta} if schedule.kind in ("ddim", "tcd") else {}
    answer = scheduler.step(torch.from_numpy(prediction), time, sample, **options, return_dict=False)
    x0 = np.empty_like(x)
    drawn = noise.last if noise.last is not None else np.full_like(x, np.nan)
    after = denoise_step(x, prediction, drawn, step, clean_out=x0)
    terms = np.abs(step.clean_x * x) + np.abs(step.clean_p * prediction)
    if schedule.kind not in ("tcd", "flow-match"):  # these do not tell
        _near(x0, answer[1], terms, "x0")
    along = np.abs(x) if schedule.kind.startswith("euler") else np.abs(step.next_x * x)  # they go by way of x itself
    fresh = np.abs(step.noise * np.nan_to_num(drawn))
    # diffusers takes 1 − ᾱ in float32: where hardly any noise is left, little more than rounding remains of it.
    rounded = 1.0 + 6e-8 / (1e-5 * step.sigma**2) if schedule.kind in ("ddim", "tcd") and step.sigma > 0.0 else 1.0
    _near(after, answer[0], (along + abs(step.next_clean) * terms + fresh) * rounded, "x'")
    return np.asarray(answer[0].numpy())


def _plan(schedule: Schedule, steps: int, strength: float) -> Plan:
    """The plan, if there is one: a strength may leave nothing, and at pure noise ε says nothing."""
    try:
        return plan_steps(schedule, steps, strength)
    except KernelError as error:
        expected = {"strength", "steps"} | ({"prediction_type"} if schedule.rescale_betas_zero_snr else set())
        assume(error.argument not in expected)
        raise


@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning")
@pytest.mark.parametrize("kind", CLASSES)
@settings(max_examples=80, deadline=None)
@given(data=st.data(), steps=st.sampled_from([1, 2, 3, 4, 8, 20]), strength=st.sampled_from([1.0, 0.95, 0.6, 0.5, 0.3]))
def test_is_diffusers(kind: str, modules: dict[str, Any], data: Any, steps: int, strength: float) -> None:
    schedule = data.draw(diffusions(kind))
    scheduler, noise = _theirs(modules, schedule), _Noise(steps, (1, 4, 6, 5))
    plan = _plan(schedule, steps, strength)
    with pytest.MonkeyPatch.context() as patch:
        if hasattr(modules[kind], "randn_tensor"):
            patch.setattr(modules[kind], "randn_tensor", noise)
        times = _start(scheduler, schedule, steps, strength)
        assert len(times) == len(plan.steps)
        assert plan.start == pytest.approx(float(getattr(scheduler, "init_noise_sigma", 1.0)), rel=1e-5, abs=1e-5)
        _compare(scheduler, schedule, plan, times, noise)


def _consistency(times: tuple[float, ...]) -> Schedule:
    return Schedule(kind="flow-consistency", prediction_type="flow", times=(times,))


@given(st.lists(st.floats(2**-7, 1 - 2**-7, width=32), max_size=6, unique=True))
def test_flow_consistency_renoises_the_estimate(later: list[float]) -> None:
    times = (1.0, *sorted(later, reverse=True))
    plan = plan_steps(_consistency(times), len(times))
    assert plan.start == 1.0
    for step, now, after in zip(plan.steps, times, (*times[1:], 0.0), strict=True):
        found = (step.time, step.clean_x, step.clean_p, step.next_x, step.noise, step.input_scale)
        assert found == (now, 1.0, -now, 0.0, np.float32(after), 1.0)
        assert step.next_clean == pytest.approx(1.0 - after, rel=1e-6)
        assert (step.alpha, step.sigma) == (pytest.approx(1.0 - now, abs=1e-7), now)


@given(st.sampled_from(sorted(CLASSES)), st.data(), st.integers(1, 50))
def test_coefficients_are_float32_and_moderate(kind: str, data: Any, steps: int) -> None:
    schedule = data.draw(diffusions(kind))
    assume(not schedule.rescale_betas_zero_snr)
    for step in plan_steps(schedule, steps).steps:
        values = (step.clean_x, step.clean_p, step.next_x, step.next_clean, step.noise, step.input_scale, step.time)
        assert all(float(np.float32(value)) == value for value in values)
        assert 0.0 <= step.next_x <= 1.1
        assert -0.1 <= step.next_clean <= 1.1
        assert step.noise >= 0.0


@given(st.integers(1, 50), BETAS)
def test_ddim_with_eta_1_is_ancestral_sampling(steps: int, betas: dict[str, Any]) -> None:
    # Against Ho et al. (2020), equation 7, in float64. (diffusers takes the root of a difference in float32 here.)
    schedule = Schedule(kind="ddim", prediction_type="v_prediction", eta=1.0, **betas)
    levels = [(step.alpha, step.sigma) for step in plan_steps(schedule, steps).steps]
    for step, (alpha, sigma), (after, after_sigma) in zip(
        plan_steps(schedule, steps).steps, levels, levels[1:], strict=False
    ):
        share = (alpha / after) ** 2
        assert step.next_x == pytest.approx(alpha / after * (after_sigma / sigma) ** 2, rel=1e-3, abs=1e-4)
        assert step.next_clean == pytest.approx(after * (1.0 - share) / sigma**2, rel=1e-3, abs=1e-4)
        assert step.noise == pytest.approx(after_sigma / sigma * np.sqrt(1.0 - share), rel=1e-3, abs=1e-4)


def test_the_last_step_of_a_zero_end_is_the_estimate() -> None:
    for kind in ("ddim", "euler", "euler-ancestral", "lcm"):
        last = plan_steps(Schedule(kind=kind, prediction_type="epsilon"), 4).steps[-1]
        assert (last.next_x, last.next_clean, last.noise) == (0.0, 1.0, 0.0)


BAD: list[tuple[dict[str, Any], str]] = [
    ({"shift": 3.0}, "shift"),
    ({"eta": 0.5, "kind": "lcm"}, "eta"),
    ({"times": ((1.0,),)}, "times"),
    ({"kind": "flow-consistency", "prediction_type": "flow"}, "times"),
    ({"kind": "flow-consistency", "prediction_type": "flow", "times": ((1.0, 1.0),)}, "times"),
    ({"kind": "flow-consistency", "prediction_type": "flow", "times": ((0.5,),)}, "times"),
    ({"kind": "flow-consistency", "prediction_type": "flow", "times": ((1.0, 0.5), (1.0, 0.2))}, "times"),
    ({"kind": "flow-consistency", "prediction_type": "flow", "times": ((1.0, float("nan")),)}, "times"),
    ({"kind": "flow-match"}, "prediction_type"),
    ({"prediction_type": "flow"}, "prediction_type"),
    ({"kind": "euler-ancestral", "prediction_type": "sample"}, "prediction_type"),
    ({"eta": 1.5}, "eta"),
    ({"eta": float("nan")}, "eta"),
    ({"num_train_timesteps": 0}, "num_train_timesteps"),
    ({"beta_end": 2.0}, "beta_end"),
    ({"beta_start": 0.5}, "beta_end"),
    ({"steps_offset": -1}, "steps_offset"),
    ({"kind": "lcm", "original_inference_steps": 2000}, "original_inference_steps"),
    ({"kind": "flow-match", "prediction_type": "flow", "shift": 0.0}, "shift"),
]


@pytest.mark.parametrize(("changes", "argument"), BAD, ids=lambda value: str(value)[:60])
def test_constants_that_cannot_be(changes: dict[str, Any], argument: str) -> None:
    schedule = Schedule(**({"kind": "ddim", "prediction_type": "epsilon"} | changes))
    with pytest.raises(KernelError) as caught:
        check_schedule(schedule)
    assert caught.value.argument == argument


@pytest.mark.parametrize(
    ("changes", "steps", "strength", "argument"),
    [
        ({}, 0, 1.0, "steps"),
        ({}, 1001, 1.0, "steps"),
        ({}, 2.0, 1.0, "steps"),
        ({}, 4, 0.0, "strength"),
        ({}, 4, 1.1, "strength"),
        ({}, 4, 0.2, "strength"),
        ({"kind": "lcm"}, 51, 1.0, "steps"),
        ({"kind": "lcm", "strength": "squeeze"}, 8, 0.1, "steps"),
        ({"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}, 4, 1.0, "prediction_type"),
        ({"steps_offset": 999}, 4, 1.0, "steps_offset"),
        ({"kind": "euler", "steps_offset": 999}, 4, 1.0, "steps_offset"),
    ],
    ids=str,
)
def test_plans_that_cannot_be(changes: dict[str, Any], steps: Any, strength: float, argument: str) -> None:
    schedule = Schedule(**({"kind": "ddim", "prediction_type": "epsilon"} | changes))
    with pytest.raises(KernelError) as caught:
        plan_steps(schedule, steps, strength)
    assert caught.value.argument == argument


def test_a_consistency_model_has_the_steps_it_was_trained_for() -> None:
    with pytest.raises(KernelError, match="one of 2"):
        plan_steps(_consistency((1.0, 0.5)), 3)


def test_what_is_known_to_say_nothing_may_be_skipped() -> None:
    schedule = Schedule(
        kind="ddim", prediction_type="epsilon", rescale_betas_zero_snr=True, timestep_spacing="trailing"
    )
    assert len(plan_steps(schedule, 4, 0.5).steps) == 2


@settings(deadline=None)
@given(
    st.sampled_from(["ddim", "euler", "euler-ancestral", "lcm", "tcd", "flow-match"]),
    st.dictionaries(
        st.sampled_from(Schedule.__struct_fields__[2:]),
        st.one_of(
            st.floats(), st.integers(-3, 2000), st.booleans(), st.sampled_from([1e-9, 1e-7, 0.999, 1e308, 1e-320])
        ),
        max_size=4,
    ),
    st.integers(1, 60),
)
def test_whatever_the_constants_are_there_is_a_plan_or_our_error(
    kind: str, changes: dict[str, Any], steps: int
) -> None:
    import msgspec

    flow = kind.startswith("flow")
    given_values = {"kind": kind, "prediction_type": "flow" if flow else "v_prediction", **changes}
    try:
        schedule = msgspec.convert(given_values, Schedule)
    except msgspec.ValidationError:
        assume(False)
        raise
    try:
        plan = plan_steps(schedule, steps)
    except KernelError as error:
        assert error.argument in (*Schedule.__struct_fields__, "steps")  # noqa: PT017
    else:
        for step in plan.steps:
            assert np.isfinite([step.clean_x, step.clean_p, step.next_x, step.next_clean, step.noise]).all()
