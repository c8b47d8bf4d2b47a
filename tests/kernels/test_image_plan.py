"""What the compiled kernels check again, because it could touch foreign memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from kernel_twins import instruction_sets, using

GOOD: dict[str, Any] = {
    "source_height": 3,
    "source_width": 3,
    "kind": "across",
    "row_start": [0, 1],
    "row_count": [1, 1],
    "row_weight": [[1 << 22, 0], [1 << 22, 0]],
    "column_start": [0, 1],
    "column_count": [1, 1],
    "column_weight": [[1 << 22, 0], [1 << 22, 0]],
    "height": 2,
    "width": 2,
    "top": 0,
    "left": 0,
    "bgr": False,
    "hwc": False,
    "table": np.zeros((3, 256), np.float32),
    "margin": None,
}
SAMPLED = GOOD | {
    "kind": "sampled",
    "row_count": [1, 2],
    "column_count": [1, 2],
    "row_weight": [[2048, 0], [0, 2048]],
    "column_weight": [[2048, 0], [0, 2048]],
}
NAMES = instruction_sets()[:1]


def plan(compiled: Any, values: dict[str, Any]) -> Any:
    arrays = {key: np.asarray(value, np.int32) if isinstance(value, list) else value for key, value in values.items()}
    return compiled.ImagePlan(**arrays)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "changes",
    [
        {"row_start": [-1, 0]},
        {"row_start": [3, 0]},
        {"row_start": [0]},
        {"row_start": [0, 1, 2]},
        {"row_count": [0, 1]},
        {"row_count": [1, 3]},
        {"row_count": [3, 1]},
        {"column_start": [0, 1 << 30]},
        {"column_count": [-1, 1]},
        {"column_weight": [[1 << 24, 0], [1 << 22, 0]]},
        {"column_weight": [[1 << 22, 0]]},
        {"row_count": [2, 1], "row_weight": [[6 << 20, 6 << 20], [1 << 22, 0]]},
        {"height": 1},
        {"width": 3},
        {"top": 1},
        {"left": 1 << 40},
        {"source_height": 0},
        {"table": np.zeros((3, 255), np.float32)},
        {"table": np.zeros((3, 256), np.float64)},
        {"margin": np.zeros(2, np.float32)},
        {"margin": np.zeros(3, np.uint8)},
        {"kind": "sideways"},
    ],
)
def test_a_plan_that_leaves_the_frame_or_the_target(name: str, changes: dict[str, Any]) -> None:
    with using(name) as compiled:
        plan(compiled, GOOD)
        with pytest.raises(ValueError, match=r"plan|margin|kind"):
            plan(compiled, GOOD | changes)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "changes",
    [
        {"row_start": [0, 3]},
        {"row_count": [-1, 0]},
        {"column_count": [0, 3]},
        {"column_weight": [[2048, 1], [0, 2048]]},
        {"column_weight": [[4096, -2048], [0, 2048]]},
        {"column_weight": [[2048], [0]]},
    ],
)
def test_samples_that_leave_the_frame(name: str, changes: dict[str, Any]) -> None:
    with using(name) as compiled:
        plan(compiled, SAMPLED)
        with pytest.raises(ValueError, match="plan"):
            plan(compiled, SAMPLED | changes)


FRAME = (np.zeros((3, 3, 3), np.uint8),)
OUT = np.zeros((3, 2, 2), np.float32)
LUMA = np.zeros((3, 4), np.uint8)
MATRIX = (0, 1, 1, 1, 1, 1)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("planes", "matrix", "outs"),
    [
        ((), None, [OUT]),
        ((np.zeros((4, 3, 3), np.uint8),), None, [OUT]),
        ((np.zeros((0, 3, 3), np.uint8),), None, [OUT]),
        (FRAME, None, []),
        (FRAME, None, [np.zeros((3, 2, 3), np.float32)]),
        (FRAME, None, [np.zeros((3, 2, 2), np.float64)]),
        ((LUMA, LUMA[:, :2], LUMA[:, :2]), MATRIX, [OUT]),
        ((LUMA, LUMA[:, :2], LUMA[:, :1]), MATRIX, [OUT]),
        ((LUMA, LUMA[:2, :2], LUMA[:2, :2]), MATRIX, [OUT]),
        ((LUMA[:2], LUMA[:2, :2], LUMA[:2, :2]), (1 << 20, 1, 1, 1, 1, 1), [OUT]),
        ((LUMA,), MATRIX, [OUT]),
    ],
)
def test_frames_and_tensors_that_do_not_go_with_the_plan(name: str, planes: Any, matrix: Any, outs: Any) -> None:
    with using(name) as compiled:
        good = plan(compiled, GOOD)
        compiled.image_to_tensors(FRAME, None, [good], [OUT], 1)
        with pytest.raises(ValueError, match=r"planes|plans|outs|matrix"):
            compiled.image_to_tensors(planes, matrix, [good], outs, 1)


@pytest.mark.parametrize("name", NAMES)
def test_tensors_that_overlap_or_cannot_be_written(name: str) -> None:
    memory = np.zeros(100, np.uint8)
    image, out = memory[:27].reshape(3, 3, 3), memory[20:68].view(np.float32).reshape(3, 2, 2)
    locked = OUT.copy()
    locked.flags.writeable = False
    with using(name) as compiled:
        good = plan(compiled, GOOD)
        with pytest.raises(ValueError, match="memory of its own"):
            compiled.image_to_tensors((image,), None, [good], [out], 1)
        with pytest.raises(ValueError, match="memory of its own"):
            compiled.image_to_tensors((image[::-1, ::-1],), None, [good], [out], 1)
        with pytest.raises(ValueError, match="memory of its own"):
            compiled.image_to_tensors(FRAME, None, [good, good], [OUT, OUT], 1)
        for wrong in (locked, np.zeros((3, 2, 4), np.float32)[:, :, ::2]):
            with pytest.raises(TypeError):
                compiled.image_to_tensors(FRAME, None, [good], [wrong], 1)
