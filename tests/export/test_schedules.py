"""scheduler_config.json → the manifest's schedule: what diffusers itself would make of it, or a refusal."""

from __future__ import annotations

import importlib
from typing import Any

import pytest
from chiasm.export.schedules import CLASSES, schedule_from_config
from chiasm.kernels import plan_steps
from chiasm.runtime.errors import CheckpointError

SD_15 = {  # what Stable Diffusion 1.5 ships with, whose own scheduler keeps what it saw before
    "_class_name": "PNDMScheduler", "_diffusers_version": "0.6.0", "beta_end": 0.012, "beta_schedule": "scaled_linear",
    "beta_start": 0.00085, "num_train_timesteps": 1000, "set_alpha_to_one": False, "skip_prk_steps": True,
    "steps_offset": 1, "trained_betas": None, "clip_sample": False,
}  # fmt: skip
SDXL_TURBO = {
    "_class_name": "EulerAncestralDiscreteScheduler", "beta_end": 0.012, "beta_schedule": "scaled_linear",
    "beta_start": 0.00085, "clip_sample": False, "interpolation_type": "linear", "num_train_timesteps": 1000,
    "prediction_type": "epsilon", "sample_max_value": 1.0, "set_alpha_to_one": False, "skip_prk_steps": True,
    "steps_offset": 1, "timestep_spacing": "trailing", "trained_betas": None, "use_karras_sigmas": False,
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning")
@pytest.mark.parametrize("name", CLASSES)
def test_an_empty_file_means_what_it_means_to_diffusers(name: str) -> None:
    diffusers = pytest.importorskip("diffusers", reason="diffusers' own defaults are what is compared with")
    del diffusers
    module = importlib.import_module("diffusers.schedulers")
    config = dict(getattr(module, name)().config)
    if config.get("clip_sample"):
        config["clip_sample"] = False
    empty = {"_class_name": name, **({"clip_sample": False} if "clip_sample" in config else {})}
    assert schedule_from_config(config | {"_class_name": name}) == schedule_from_config(empty)


def test_the_constants_of_public_checkpoints() -> None:
    turbo = schedule_from_config(SDXL_TURBO)
    assert (turbo.kind, turbo.timestep_spacing, turbo.beta_start) == ("euler-ancestral", "trailing", 0.00085)
    assert [step.time for step in plan_steps(turbo, 4).steps] == [999.0, 749.0, 499.0, 249.0]
    flow = schedule_from_config(
        {"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 3, "num_train_timesteps": 1000}
    )
    assert (flow.kind, flow.prediction_type, flow.shift) == ("flow-match", "flow", 3.0)


def test_another_sampler_on_the_same_constants() -> None:
    lcm = schedule_from_config(SD_15, "lcm", strength="squeeze")
    assert (lcm.kind, lcm.beta_schedule, lcm.strength) == ("lcm", "scaled_linear", "squeeze")
    assert [step.time for step in plan_steps(lcm, 4).steps] == [999.0, 759.0, 499.0, 259.0]
    ddim = schedule_from_config(SD_15, "ddim", eta=0.5)
    assert (ddim.set_alpha_to_one, ddim.steps_offset, ddim.eta) == (False, 1, 0.5)


@pytest.mark.parametrize(
    ("config", "kind", "complaint"),
    [
        ({}, None, "no _class_name"),
        (SD_15, None, "found PNDMScheduler"),
        (SD_15, "pndm", "found pndm"),
        (SD_15 | {"clip_sample": True}, "ddim", "clip_sample"),
        (SD_15 | {"thresholding": True}, "lcm", "thresholding"),
        (SD_15 | {"trained_betas": [0.1, 0.2]}, "euler", "trained_betas"),
        (SDXL_TURBO | {"use_karras_sigmas": True}, "euler", "use_karras_sigmas"),
        (SDXL_TURBO | {"interpolation_type": "log_linear"}, "euler", "interpolation_type"),
        ({"_class_name": "DDIMScheduler"}, None, "clip_sample"),
        (
            {"_class_name": "FlowMatchEulerDiscreteScheduler", "use_dynamic_shifting": True},
            None,
            "use_dynamic_shifting",
        ),
        (SDXL_TURBO | {"prediction_type": "sample"}, None, "prediction_type"),
        (SDXL_TURBO | {"beta_schedule": "sigmoid"}, None, "sigmoid"),
        (SDXL_TURBO | {"beta_end": "large"}, None, "beta_end"),
        (SDXL_TURBO | {"beta_end": 3.0}, None, "beta_end"),
    ],
)
def test_what_is_not_reproduced_is_refused(config: dict[str, Any], kind: str | None, complaint: str) -> None:
    with pytest.raises(CheckpointError, match=complaint) as caught:
        schedule_from_config(config, kind)
    assert len(str(caught.value).splitlines()) == 1
