"""A pair from its checkpoint to a bundle, classified and searched with: the numbers are those of the original."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chiasm.bench.zoo.pairs import MODELS
from chiasm.cli.png import png_bytes
from chiasm.export import Calibration, Settings, export
from chiasm.export.assemble import open_assembly
from chiasm.runtime import Packet, Pipeline, ZeroShot, load

LABELS = ("cat", "red bus", "house")
TEMPLATES = ("a photo of a {}.", "the {} in the rain")


def pictures() -> list[np.ndarray[Any, Any]]:
    random = np.random.default_rng(0)
    return [random.integers(0, 256, (40 + 3 * index, 50, 3), dtype=np.uint8) for index in range(5)]


@pytest.fixture(scope="module", params=["clip"])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Pipeline]]:
    """The checkpoint's folder and the pipeline of its bundle, FP32 only."""
    folder = tmp_path_factory.mktemp(request.param)
    MODELS[request.param].make(folder / request.param, "tiny")
    assembly, _ = open_assembly(folder / request.param)
    captures = {
        "image": [Packet("image", picture) for picture in pictures()],
        "text": [Packet("text", template.replace("{}", label)) for label in LABELS for template in TEMPLATES],
    }
    out = folder / "pair.chiasm"
    export(assembly, out, calibration=Calibration(sets=captures), settings=Settings(precisions=("fp32",), rounds=1))
    with load(out) as pipeline:
        yield folder / request.param, pipeline


def test_zero_shot_probabilities_are_those_of_the_original(made: tuple[Path, Pipeline]) -> None:
    import torch
    from transformers import AutoImageProcessor, AutoModel

    folder, pipeline = made
    model = AutoModel.from_pretrained(folder).eval()
    sort = ZeroShot(pipeline, LABELS, TEMPLATES, cache=False)
    assert sort.space == folder.name
    prompts = [template.replace("{}", label) for label in LABELS for template in TEMPLATES]
    picture = pictures()[2]
    pixels = AutoImageProcessor.from_pretrained(folder)(picture, return_tensors="pt")["pixel_values"]
    with torch.inference_mode():
        texts = torch.cat([_ids(pipeline, each) for each in prompts])
        read = model.get_text_features(texts).pooler_output
        seen = model.get_image_features(pixels).pooler_output
        read = torch.nn.functional.normalize(read, dim=-1).reshape(len(LABELS), len(TEMPLATES), -1).mean(dim=1)
        cosines = torch.nn.functional.normalize(read, dim=-1) @ torch.nn.functional.normalize(seen, dim=-1)[0]
        logits = cosines * model.logit_scale.exp()
        shares = torch.softmax(logits, dim=0) if folder.name == "clip" else torch.sigmoid(logits + model.logit_bias)
    found = sort(image=picture)
    assert found.cosines == pytest.approx(cosines.numpy(), abs=2e-5)
    assert found.probabilities == pytest.approx(shares.numpy(), rel=2e-3)


def _ids(pipeline: Pipeline, text: str) -> Any:
    """The token ids as the runtime makes them; that they are transformers' is tested with the tokenizers."""
    import torch
    from chiasm.runtime.preprocess import Preparer

    feeds = Preparer(pipeline.manifest, pipeline.bundle.read)(Packet("text", text))
    return torch.from_numpy(feeds["ids"].copy())


def test_a_folder_of_pictures_is_searched(made: tuple[Path, Pipeline], tmp_path: Path) -> None:
    pytest.importorskip("usearch", reason="the extra `search` brings usearch")
    pytest.importorskip("cv2", reason="OpenCV reads the pictures")
    from chiasm.runtime import Index, index_folder

    _, pipeline = made
    (tmp_path / "pictures").mkdir()
    for index, picture in enumerate(pictures()):
        (tmp_path / "pictures" / f"{index}.png").write_bytes(png_bytes(picture))
    index_folder(pipeline, tmp_path / "pictures", tmp_path / "index")
    opened = Index.open(tmp_path / "index", pipeline)
    words = pipeline.encode(text="a red bus")["text"]
    cosines = np.array([pipeline.encode(image=picture)["image"] @ words for picture in pictures()])
    hits = opened.search(pipeline, text="a red bus", top=3)
    assert [hit.file.name for hit in hits] == [f"{index}.png" for index in np.argsort(-cosines)[:3]]
    assert opened.search(pipeline, image=pictures()[4], top=1)[0].file.name == "4.png"
