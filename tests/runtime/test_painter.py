"""Prompted diffusion: text, guidance, starting from a picture, filling in; against loops over diffusers' schedulers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from chiasm.kernels import latent_to_image, normal_noise
from chiasm.runtime.canvas import mask_tensors, start_picture
from chiasm.runtime.errors import BackendError, InputError
from chiasm.runtime.pipeline import Pipeline, load
from drawing_bundles import LATENT, PICTURE, prompt_bundle

Array = np.ndarray[Any, Any]
SHAPE = (1, *LATENT)
PHOTO = np.random.default_rng(5).integers(0, 256, (*PICTURE, 3), dtype=np.uint8)
MASK = np.zeros(PICTURE, bool)
MASK[8:32, 16:40] = True
TURBO = {"kind": "euler-ancestral", "prediction_type": "epsilon", "timestep_spacing": "trailing"}
FLOW = {"kind": "flow-match", "prediction_type": "flow", "shift": 3.0}
DDIM = {"kind": "ddim", "prediction_type": "v_prediction", "steps_offset": 1, "set_alpha_to_one": False}


@pytest.fixture
def bundle(tmp_path: Path) -> Callable[..., Path]:
    return lambda **options: prompt_bundle(tmp_path, **options)


@pytest.fixture
def pipeline(tmp_path: Path) -> Iterator[Pipeline]:
    with load(prompt_bundle(tmp_path)) as pipeline:
        yield pipeline


class _Parts:
    """The graphs of a bundle in bare sessions."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.open: dict[str, Any] = {}

    def __call__(self, part: str, **feeds: Array) -> Array:
        if part not in self.open:
            file = self.path / f"parts/{part}.fp32.onnx"
            self.open[part] = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
        answer: Array = self.open[part].run(None, feeds)[0]
        return answer


def _conditions(pipeline: Pipeline, *texts: str) -> list[dict[str, Array]]:
    assert pipeline._painter is not None
    return [dict(pipeline._painter._prompts(text)) for text in texts]


def _diffusers_loop(
    pipeline: Pipeline, schedule: dict[str, Any], conditions: list[dict[str, Array]], *, steps: int, guidance: float,
    seed: int, strength: float = 1.0, image: Array | None = None, mask: Array | None = None,
) -> list[Array]:  # fmt: skip
    """What diffusers' text, image and inpainting pipelines do between text encoder and VAE, batch by batch of one."""
    import torch
    from diffusers.schedulers import (
        DDIMScheduler,
        EulerAncestralDiscreteScheduler,
        FlowMatchEulerDiscreteScheduler,
        LCMScheduler,
    )

    kinds: dict[str, Any] = {
        "lcm": LCMScheduler, "euler-ancestral": EulerAncestralDiscreteScheduler, "ddim": DDIMScheduler,
        "flow-match": FlowMatchEulerDiscreteScheduler,
    }  # fmt: skip
    flow = schedule["kind"] == "flow-match"
    betas = {} if flow else {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
    options = {key: value for key, value in schedule.items() if key != "kind" and not (flow and key[0] == "p")}
    if schedule["kind"] == "ddim":
        options["clip_sample"] = False
    scheduler = kinds[schedule["kind"]](**betas, **options)
    scheduler.set_timesteps(steps)
    skipped = int(max(steps - min(steps * strength, steps), 0)) if flow else steps - min(int(steps * strength), steps)
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(skipped)
    times = scheduler.timesteps[skipped:]
    parts = _Parts(pipeline.bundle.path)
    noise = torch.from_numpy(normal_noise(seed, 0, SHAPE))
    blend = None
    if image is not None:
        latents = torch.from_numpy(parts("encoder", picture=start_picture(image, PICTURE)))
        blend = None if mask is None else torch.from_numpy(mask_tensors(mask, PICTURE, LATENT[1:])[1])

    def noisy(time: Any) -> Any:
        return (
            scheduler.scale_noise(latents, time[None], noise)
            if flow
            else scheduler.add_noise(latents, noise, time[None])
        )

    fresh = image is None or (mask is not None and strength == 1.0)
    x = noise * getattr(scheduler, "init_noise_sigma", 1.0) if fresh else noisy(times[0])
    made = []
    for index, time in enumerate(times):
        scaled = x if flow else scheduler.scale_model_input(x, time)
        feeds = {"latents": scaled.numpy(), "timestep": np.array([float(time)], np.float32)}
        answers = [parts("denoiser", **feeds, **condition) for condition in conditions]
        guided = answers[0] if len(answers) == 1 else answers[1] + guidance * (answers[0] - answers[1])
        renoise = torch.from_numpy(normal_noise(seed, index + 1, SHAPE))
        module = type(scheduler).__module__
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(f"{module}.randn_tensor", lambda *_, noise=renoise, **__: noise)
            x = scheduler.step(torch.from_numpy(guided.astype(np.float32)), time, x, return_dict=False)[0]
        if blend is not None:
            known = noisy(times[index + 1]) if index + 1 < len(times) else latents
            x = (1 - blend) * known + blend * x
        made.append(x.numpy()[0])
    return made


@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning")
@pytest.mark.parametrize("schedule", [{"kind": "lcm", "prediction_type": "epsilon"}, TURBO, FLOW, DDIM],
                         ids=["lcm", "turbo", "flow", "ddim"])  # fmt: skip
@pytest.mark.parametrize("task", ["text", "guided", "image", "mask", "mask-all", "mask-guided"])
def test_is_what_diffusers_makes(bundle: Callable[..., Path], schedule: dict[str, Any], task: str) -> None:
    pytest.importorskip("diffusers", reason="diffusers' schedulers are what the loop is compared with")
    guidance = 3.0 if "guided" in task else 1.0
    asked: dict[str, Any] = {"steps": 4, "seed": 11, "guidance": guidance}
    if task != "text" and task != "guided":
        asked |= {"image": PHOTO, "strength": 1.0 if task == "mask-all" else 0.6}
    if task.startswith("mask"):
        asked["mask"] = MASK
    texts = ("a red bus", "rain") if guidance != 1.0 else ("a red bus",)
    with load(bundle(schedule=schedule)) as pipeline:
        found = list(pipeline.generate(text=texts[0], negative="rain" if guidance != 1.0 else None, **asked))
        rest = {key: value for key, value in asked.items() if key not in ("steps", "seed", "guidance")}
        expected = _diffusers_loop(
            pipeline, schedule, _conditions(pipeline, *texts), steps=4, seed=11, guidance=guidance, **rest
        )
        picture = _Parts(pipeline.bundle.path)("picture", latents=expected[-1][None])[0]
    assert [(step.step, step.steps) for step in found] == [(i + 1, len(expected)) for i in range(len(expected))]
    np.testing.assert_allclose(found[-1].latents, expected[-1], atol=1e-4)
    assert found[-1].picture is not None
    assert np.abs(found[-1].picture.astype(int) - latent_to_image(picture)).max() <= 1
    assert all(step.picture is None for step in found[:-1])


def test_guidance_1_runs_the_denoiser_once_a_step(pipeline: Pipeline) -> None:
    list(pipeline.generate(text="a bus", guidance=1.0))
    assert pipeline.runs == {"clip": 1, "t5": 1, "denoiser": 4, "picture": 1}
    list(pipeline.generate(text="a bus", guidance=2.0))
    assert (pipeline.runs["denoiser"], pipeline.runs["clip"]) == (12, 2)
    list(pipeline.generate(text="a car", guidance=2.0))  # the empty prompt was kept
    assert pipeline.runs["clip"] == 3


def test_the_missing_negative_prompt_is_the_empty_text_or_zeros(bundle: Callable[..., Path]) -> None:
    with load(bundle(name="empty")) as pipeline:
        empty = _last(pipeline, text="a bus")
        np.testing.assert_array_equal(empty, _last(pipeline, text="a bus", negative=""))
        assert not np.array_equal(empty, _last(pipeline, text="a bus", negative="rain"))
    with load(bundle(name="zeros", unprompted="zeros")) as pipeline:
        zeros = _last(pipeline, text="a bus")
        assert not np.array_equal(zeros, empty)
        np.testing.assert_array_equal(empty, _last(pipeline, text="a bus", negative=""))


def _last(pipeline: Pipeline, **asked: Any) -> Array:
    *_, last = pipeline.generate(**asked)
    return np.asarray(last.latents)


def test_guidance_that_is_built_in(bundle: Callable[..., Path]) -> None:
    with load(bundle(told=True)) as pipeline:
        weak, strong = (_last(pipeline, text="a bus", guidance=scale) for scale in (1.0, 8.0))
        assert pipeline.runs["denoiser"] == 8
        assert not np.array_equal(weak, strong)
        with pytest.raises(InputError, match="built in"):
            pipeline.generate(text="a bus", negative="rain")


def test_noise_that_is_handed_in_takes_the_place_of_the_seeds(pipeline: Pipeline) -> None:
    expected = _last(pipeline, text="a bus", seed=9)
    noise = normal_noise(9, 0, SHAPE)
    for given in (noise, noise[0], noise.astype(np.float64)):
        np.testing.assert_array_equal(expected, _last(pipeline, text="a bus", seed=9, noise=given))
    assert not np.array_equal(expected, _last(pipeline, text="a bus", seed=9, noise=noise * 2))


def test_every_step_tells_its_clean_estimate_and_previews(pipeline: Pipeline) -> None:
    steps = list(pipeline.generate(text="a bus", preview=True))
    assert all(step.picture is not None and step.picture.shape == (*PICTURE, 3) for step in steps)
    assert all(step.latents.shape == LATENT for step in steps)
    np.testing.assert_array_equal(steps[-1].latents, _last(pipeline, text="a bus"))


def test_what_may_not_change_stays(pipeline: Pipeline) -> None:
    cells = mask_tensors(MASK, PICTURE, LATENT[1:])[1][0].astype(bool)
    kept = _Parts(pipeline.bundle.path)("encoder", picture=start_picture(PHOTO, PICTURE))[0]
    for step in pipeline.generate(text="a bus", image=PHOTO, mask=MASK):
        assert (step.latents[:, ~cells[0]] == kept[:, ~cells[0]]).all()
        assert not np.array_equal(step.latents[:, cells[0]], kept[:, cells[0]])


def test_a_denoiser_that_fills_in_is_given_mask_and_masked_picture(bundle: Callable[..., Path]) -> None:
    with load(bundle(fills=True)) as pipeline:
        found = list(pipeline.generate(text="a bus", image=PHOTO, mask=MASK, guidance=1.0, steps=1, seed=3))
        parts, (condition,) = _Parts(pipeline.bundle.path), _conditions(pipeline, "a bus")
        pixels, cells = mask_tensors(MASK, PICTURE, LATENT[1:])
        masked = parts("encoder", picture=start_picture(PHOTO, PICTURE) * (1 - pixels))
        noise = normal_noise(3, 0, SHAPE)
        feeds = {"latents": noise, "timestep": np.array([999.0], np.float32), "mask": cells, "masked": masked}
        prediction = parts("denoiser", **feeds, **condition)
        assert pipeline.runs["encoder"] == 2
        for asked, complaint in (({}, "no image"), ({"image": PHOTO}, "no mask")):
            with pytest.raises(InputError, match=complaint):
                pipeline.generate(text="a bus", **asked)
    alpha = np.sqrt(0.0046600951)  # of LCM's last training timestep
    x0 = (noise - np.sqrt(1 - alpha**2) * prediction) / alpha
    np.testing.assert_allclose(found[0].latents, x0[0], rtol=1e-3, atol=1e-3)


def test_strength_leaves_fewer_steps(pipeline: Pipeline) -> None:
    counts = {s: len(list(pipeline.generate(text="a bus", image=PHOTO, strength=s))) for s in (0.3, 0.5, 0.8, 1.0)}
    assert counts == {0.3: 1, 0.5: 2, 0.8: 3, 1.0: 4}
    assert len(list(pipeline.generate(text="a bus", image=PHOTO))) == 3
    assert len(list(pipeline.generate(text="a bus", image=PHOTO, mask=MASK))) == 4


def test_a_bundle_that_only_generates_says_so(pipeline: Pipeline) -> None:
    for call in (lambda: pipeline(text="a bus"), lambda: pipeline(), lambda: pipeline.step(None)):  # type: ignore[arg-type]
        with pytest.raises(InputError, match=r"does not decide.*use generate"):
            call()
    with pytest.raises(InputError, match="no such modality"):
        pipeline.encode(text="a bus")
    assert (pipeline.fusion, pipeline.modalities) == (None, ())
    with pytest.raises(InputError, match="does not decide"):
        load(pipeline.bundle.path, fusion="gated")


@pytest.mark.parametrize(
    ("asked", "complaint"),
    [
        ({"text": None}, "No text is given"),
        ({"text": 5}, "text is not text"),
        ({"txt": "a bus"}, "Did you mean text"),
        ({"radar": 1}, "does not draw from that"),
        ({"steps": 3}, "one of 1, 2, 4"),
        ({"steps": True}, "one of 1, 2, 4"),
        ({"seed": 2**128}, "seed"),
        ({"guidance": 9.0}, "1 to 8"),
        ({"guidance": 1.0, "negative": "rain"}, "no effect"),
        ({"negative": 5}, "text is not text"),
        ({"decoder": "huge"}, "full, tiny"),
        ({"mask": MASK}, "mask without a picture"),
        ({"strength": 0.5}, "strength without a picture"),
        ({"image": PHOTO, "strength": 0.0}, "Not a strength"),
        ({"image": PHOTO, "strength": 0.2}, "No steps are left at this strength"),
        ({"image": PHOTO[0]}, "image is not a colour picture"),
        ({"image": PHOTO, "mask": PHOTO[:, :, 0] * 1.0}, "black-and-white"),
        ({"noise": np.zeros((4, 6, 6))}, "noise does not fit"),
        ({"noise": np.zeros(LATENT, int)}, "noise does not fit"),
        ({"noise": np.full(LATENT, np.nan)}, "noise does not fit"),
        ({"time_s": 1.0}, "no time_s"),
    ],
    ids=lambda value: str(value) if isinstance(value, str) else "-".join(value),
)
def test_what_cannot_be_asked_is_said_at_once(pipeline: Pipeline, asked: dict[str, Any], complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        pipeline.generate(**({"text": "a bus"} | asked))
    assert "denoiser" not in pipeline.runs


def test_a_bundle_without_an_encoder_starts_from_no_picture(bundle: Callable[..., Path]) -> None:
    with load(bundle(encoder=None)) as pipeline, pytest.raises(InputError, match="it has no encoder"):
        pipeline.generate(text="a bus", image=PHOTO)


def test_the_decoder_that_was_chosen_at_load_draws(bundle: Callable[..., Path]) -> None:
    path = bundle()
    with load(path, decoder="tiny") as pipeline:
        list(pipeline.generate(text="a bus"))
        list(pipeline.generate(text="a bus", decoder="full"))
        assert (pipeline.runs["picture.tiny"], pipeline.runs["picture"]) == (1, 1)
    with pytest.raises(InputError, match="no such picture decoder"):
        load(path, decoder="huge")


def test_a_closed_pipeline_does_not_draw(pipeline: Pipeline) -> None:
    steps = pipeline.generate(text="a bus")
    pipeline.close()
    for call in (lambda: pipeline.generate(text="a car"), lambda: next(steps)):
        with pytest.raises(BackendError, match="closed"):
            call()
