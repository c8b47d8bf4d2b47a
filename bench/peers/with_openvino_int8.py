"""OpenVINO with INT8 by NNCF (post-training, preset for transformers), and transformers' processors."""

from __future__ import annotations

from pathlib import Path

from .racer import Racer
from .with_openvino import open_models
from .works import Work

NAME, NEEDS, PRECISION = "OpenVINO, NNCF INT8", ("openvino", "transformers"), "int8"


def open_racer(work: Work, folder: Path, threads: int) -> Racer:
    """The racer. NNCF is needed once, where its models are not made yet."""
    return open_models(NAME, "int8", work, folder, threads)
