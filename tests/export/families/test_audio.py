"""The sound families: checkpoint folder → tower → ONNX graph, against the models and extractors of transformers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="a checkpoint is read with torch")
pytest.importorskip("transformers", reason="the models are those of transformers")

import torch
import transformers
from chiasm.bench.zoo import audio, pairs_audio
from chiasm.export import interfaces
from chiasm.export.families import Ask, Tower, family_of
from chiasm.export.graphs import serialise
from chiasm.export.hub import HubFolder
from chiasm.export.sessions import Runner
from chiasm.export.to_onnx import to_onnx
from chiasm.runtime.errors import CheckpointError, ExportError
from chiasm.runtime.preprocess.audio import waveform_tensor
from chiasm.runtime.preprocess.features import mel_tensor
from chiasm.runtime.values import Array

ZOO = audio.MODELS | pairs_audio.MODELS
SURPRISES = {"If", "Loop", "Scan", "NonZero", "ScatterND", "Einsum", "GridSample", "Resize", "IsNaN", "Where", "CumSum"}
"""Operators that a backend may refuse, or that come of control flow."""
PREPROCESSOR = "preprocessor_config.json"


def sounds(samples: int) -> list[Array]:
    """Noise of the whole window, a tone of half of it, a chirp of a third."""
    time = np.arange(samples, dtype=np.float32)
    noise = np.random.default_rng(4).uniform(-0.5, 0.5, samples).astype(np.float32)
    return [noise, 0.4 * np.sin(time[: samples // 2 + 1] * 0.3), 0.5 * np.sin(time[: samples // 3] ** 2 * 1e-4)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A tiny checkpoint by the name of its model, made once."""
    root, made = tmp_path_factory.mktemp("zoo"), set()

    def find(name: str) -> Path:
        if name not in made:
            ZOO[name].make(root / name, "tiny")
            made.add(name)
        return root / name

    return find


def load(path: Path, **ask: Any) -> Tower:
    hub = HubFolder(path)
    return family_of(hub)[1].load(hub, Ask("sound", ask.pop("kind", "audio"), **ask))


def feeds(modality: Any, sound: Array) -> dict[str, Array]:
    """What the runtime's preprocessing makes of a sound."""
    if modality.mel is not None:
        return {"features": mel_tensor(sound, None, modality)}
    mask = np.zeros((1, modality.samples), np.int64)
    made = {"waveform": waveform_tensor(sound, None, modality, mask=mask)}
    return made | ({"mask": mask} if modality.mask else {})


class Original:
    """The model of transformers on its own extractor's features, as a user calls it."""

    def __init__(self, path: Path, modality: Any, kind: Any = None) -> None:
        self.extractor = transformers.AutoFeatureExtractor.from_pretrained(path)
        self.model = (kind or transformers.AutoModel).from_pretrained(path).eval()
        self.settings: dict[str, Any] = {"sampling_rate": modality.sample_rate, "return_tensors": "pt"}
        if modality.mel is None:
            self.settings |= {"padding": "max_length", "max_length": modality.samples, "truncation": True}
        self.tower = {"clap": "audio_model", "whisper": "encoder"}.get(self.model.config.model_type)

    def features(self, sound: Array) -> list[torch.Tensor]:
        """The tensors that the tower takes."""
        made = self.extractor(sound, **self.settings)
        return [made[name] for name in ("input_values", "input_features", "attention_mask") if name in made]

    def __call__(self, sound: Array) -> Any:
        inputs = self.extractor(sound, **self.settings)
        model = self.model if self.tower is None else getattr(self.model, self.tower)
        with torch.inference_mode():
            return model(**inputs)


def difference(made: torch.Tensor | Array, wanted: torch.Tensor) -> float:
    """Largest relative error."""
    made, expected = torch.as_tensor(made).numpy(), wanted.numpy()
    assert made.shape == expected.shape
    return float(np.abs(made - expected).max() / np.abs(expected).max())


def towers_agree(tower: Tower, wanted: Callable[[Array], torch.Tensor], run: Original | None = None) -> None:
    """Tokens on three sounds, from the features of the original, or where there is none from the runtime's own."""
    for sound in sounds(tower.modality.samples):  # type: ignore[union-attr]
        own = [torch.from_numpy(each) for each in feeds(tower.modality, sound).values()]
        with torch.inference_mode():
            tokens, embedding = tower.module(*(run.features(sound) if run else own))
        assert tokens.shape[1:] == tower.modality.tokens
        assert difference(tokens, wanted(sound)) <= 1e-5
        assert embedding.shape == (1, tokens.shape[2])


def graph_agrees(tower: Tower, wanted: Callable[[Array], torch.Tensor]) -> Any:
    """The FP32 graph on ONNX Runtime against the original, and no operator that surprises a backend."""
    model = to_onnx(tower.module, interfaces.encoder(tower.modality), "sound")
    assert {node.op_type for node in model.graph.node}.isdisjoint(SURPRISES)
    runner = Runner(serialise(model))
    for sound in sounds(tower.modality.samples):  # type: ignore[union-attr]
        assert difference(runner(feeds(tower.modality, sound))["tokens"], wanted(sound)) <= 1e-4
    return model


# wav2vec 2.0 and HuBERT


def mean_over_sound(run: Any, mask: bool) -> Callable[[Array], torch.Tensor]:
    """The mean of the last hidden states over the tokens that have sound in them."""

    def wanted(sound: Array) -> torch.Tensor:
        hidden = run(sound).last_hidden_state
        if not mask:
            return hidden.mean(dim=1, keepdim=True)
        count = run.model._get_feat_extract_output_lengths(torch.tensor(len(sound)))
        return hidden[:, : int(count)].mean(dim=1, keepdim=True)

    return wanted


@pytest.mark.parametrize("name", ["wav2vec2-base", "wav2vec2-large-lv60", "hubert-base-ls960"])
def test_speech(folder: Callable[[str], Path], name: str) -> None:
    path = folder(name)
    large = "large" in name
    tower = load(path)
    modality: Any = tower.modality
    assert (modality.sample_rate, modality.samples, modality.pad, modality.mask) == (16000, 16000, "after", large)
    assert modality.normalise == ("sound" if large else "length")
    run = Original(path, modality)
    wanted = mean_over_sound(run, large)
    towers_agree(tower, wanted, run)
    if name != "hubert-base-ls960":
        model = graph_agrees(tower, wanted)
        convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
        assert len(convolutions) == 8
        assert all(node.input[1] in model.weights for node in convolutions)
    tokens = load(path, output="tokens")
    assert tokens.modality.tokens == (49, 32)
    if not large:
        towers_agree(tokens, lambda sound: run(sound).last_hidden_state, run)


def test_tokens_of_silence_behind_a_sound_are_zero(folder: Callable[[str], Path]) -> None:
    path = folder("wav2vec2-large-lv60")
    tower = load(path, output="tokens")
    sound = sounds(16000)[1]
    with torch.inference_mode():
        tokens, _ = tower.module(*map(torch.from_numpy, feeds(tower.modality, sound).values()))
    hidden = Original(path, tower.modality)(sound).last_hidden_state
    assert difference(tokens[:, :24], hidden[:, :24]) <= 1e-5
    assert not tokens[:, 25:].any()


def test_a_sound_shorter_than_a_token_still_has_an_answer(folder: Callable[[str], Path]) -> None:
    tower = load(folder("wav2vec2-large-lv60"))
    with torch.inference_mode():
        tokens, _ = tower.module(*map(torch.from_numpy, feeds(tower.modality, sounds(16000)[0][:50]).values()))
    assert tokens.isfinite().all()


def test_seconds_set_the_window(folder: Callable[[str], Path]) -> None:
    tower = load(folder("wav2vec2-base"), seconds=0.5, output="tokens")
    assert tower.modality.samples == 8000  # type: ignore[union-attr]
    assert tower.modality.tokens == (24, 32)
    with pytest.raises(
        ExportError, match=r"window of 'sound' is too short for .*found 160 samples, expected at least 720"
    ):
        load(folder("wav2vec2-base"), seconds=0.01)


def test_weights_under_their_old_names(folder: Callable[[str], Path], tmp_path: Path) -> None:
    """Hubs are full of files whose weight norm is called weight_g and weight_v, without the mask's vector."""
    from safetensors.torch import load_file, save_file

    path = folder("wav2vec2-base")
    tensors = load_file(path / "model.safetensors")
    old = {"original0": "weight_g", "original1": "weight_v"}
    renamed = {}
    for name, tensor in tensors.items():
        stem, dot, last = name.rpartition(".parametrizations.weight.")
        if not name.endswith("masked_spec_embed"):
            renamed[f"{stem}.{old[last]}" if dot else name] = tensor
    assert len(renamed) == len(tensors) - 1
    for file in ("config.json", "preprocessor_config.json"):
        (tmp_path / file).write_bytes((path / file).read_bytes())
    save_file(renamed, tmp_path / "model.safetensors", metadata={"format": "pt"})
    wave = torch.from_numpy(sounds(16000)[0])[None]
    with torch.inference_mode():
        assert torch.equal(load(tmp_path).module(wave)[0], load(path).module(wave)[0])


@pytest.mark.parametrize("name", ["wav2vec2-base-superb", "hubert-large-superb"])
def test_speech_classifiers(folder: Callable[[str], Path], name: str) -> None:
    path = folder(name)
    tower = load(path)
    assert tower.classifier is not None
    assert tower.classifier.labels == audio.LABELS
    run = Original(path, tower.modality, transformers.AutoModelForAudioClassification)
    for sound in sounds(16000):
        with torch.inference_mode():
            tokens, embedding = tower.module(*run.features(sound))
            assert difference(tower.classifier.module(embedding), run(sound).logits) <= 1e-5
        assert torch.equal(tokens[:, 0], embedding)
    if name == "hubert-large-superb":
        model = to_onnx(tower.module, interfaces.encoder(tower.modality), "sound")
        assert {node.op_type for node in model.graph.node}.isdisjoint(SURPRISES)
        runner, logits = Runner(serialise(model)), run(sounds(16000)[1]).logits
        made = torch.from_numpy(runner(feeds(tower.modality, sounds(16000)[1]))["embedding"])
        with torch.inference_mode():
            assert difference(tower.classifier.module(made), logits) <= 1e-4


# AST, Whisper, mel CNN


def test_ast(folder: Callable[[str], Path]) -> None:
    path = folder("ast-audioset")
    tower = load(path)
    run = Original(path, tower.modality, transformers.ASTForAudioClassification)
    base = Original(path, tower.modality, transformers.ASTModel)
    graph_agrees(tower, lambda sound: base(sound).pooler_output[:, None])
    assert tower.classifier is not None
    with torch.inference_mode():
        for sound in sounds(16000):
            embedding = tower.module(*run.features(sound))[1]
            assert difference(tower.classifier.module(embedding), run(sound).logits) <= 1e-5
    towers_agree(load(path, output="tokens"), lambda sound: base(sound).last_hidden_state[:, 2:], base)
    mean = load(path, output="mean")
    towers_agree(mean, lambda sound: base(sound).last_hidden_state[:, 2:].mean(dim=1, keepdim=True), base)
    assert mean.classifier is None


@pytest.mark.parametrize("name", ["whisper-tiny", "whisper-tiny-classes"])
def test_whisper(folder: Callable[[str], Path], name: str) -> None:
    path, classes = folder(name), name.endswith("classes")
    tower = load(path)
    assert (tower.modality.length, tower.modality.samples) == (32000, 32000)  # type: ignore[union-attr]
    run = Original(path, tower.modality, transformers.WhisperForAudioClassification if classes else None)
    if not classes:
        graph_agrees(tower, lambda sound: run(sound).last_hidden_state.mean(dim=1, keepdim=True))
        towers_agree(tower, lambda sound: run(sound).last_hidden_state.mean(dim=1, keepdim=True), run)
        towers_agree(load(path, output="tokens"), lambda sound: run(sound).last_hidden_state, run)
        return
    run.tower = None
    assert tower.classifier is not None
    for sound in sounds(32000):
        with torch.inference_mode():
            embedding = tower.module(*run.features(sound))[1]
            assert difference(tower.classifier.module(embedding), run(sound).logits) <= 1e-5


def test_a_shorter_look_with_whisper_keeps_the_models_length(folder: Callable[[str], Path]) -> None:
    modality: Any = load(folder("whisper-tiny"), seconds=0.5).modality
    assert (modality.samples, modality.length) == (8000, 32000)
    with pytest.raises(ExportError, match=r"does not fit: found 3 s, expected up to 2 s"):
        load(folder("whisper-tiny"), seconds=3.0)


def test_mel_cnn_is_the_encoder_with_its_front_end_inside(folder: Callable[[str], Path]) -> None:
    """The same weights in the module that computes its own mel from the waveform, as the reference model does."""
    from chiasm.export.modules.encoders import AudioEncoder
    from safetensors.torch import load_file

    path = folder("mel-cnn")
    whole = AudioEncoder((8, 8, 8)).eval()
    whole.load_state_dict(load_file(path / "model.safetensors"))

    def answers(sound: Array) -> Any:
        padded = np.zeros((1, 16000), np.float32)
        padded[0, 16000 - len(sound) :] = sound
        with torch.inference_mode():
            return whole(torch.from_numpy(padded))

    tower = load(path)
    towers_agree(tower, lambda sound: answers(sound)[0])
    graph_agrees(tower, lambda sound: answers(sound)[0])
    towers_agree(load(path, output="pooled"), lambda sound: answers(sound)[1][:, None])


def test_a_mel_cnn_with_labels(folder: Callable[[str], Path], tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    path = folder("mel-cnn")
    config = json.loads((path / "config.json").read_text()) | {"id2label": {"0": "silence", "1": "siren"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "preprocessor_config.json").write_bytes((path / "preprocessor_config.json").read_bytes())
    head = {"classifier.weight": torch.randn(2, 128), "classifier.bias": torch.zeros(2)}
    save_file(load_file(path / "model.safetensors") | head, tmp_path / "model.safetensors")
    tower = load(tmp_path)
    assert tower.classifier is not None
    assert tower.classifier.labels == ("silence", "siren")
    assert torch.equal(tower.classifier.module.weight, head["classifier.weight"])
    (tmp_path / "config.json").write_bytes((path / "config.json").read_bytes())
    with pytest.raises(CheckpointError, match=r"classifier"):
        load(tmp_path)


# CLAP


@pytest.mark.parametrize("name", ["clap-htsat-unfused", "clap-htsat-fused"])
def test_clap_sound(folder: Callable[[str], Path], name: str) -> None:
    path = folder(name)
    tower = load(path)
    modality: Any = tower.modality
    assert (modality.crops, modality.pad) == (4 if "-fused" in name else 1, "repeat-whole")
    run = Original(path, modality)

    def wanted(sound: Array) -> torch.Tensor:
        with torch.inference_mode():
            return run.model.audio_projection(run(sound).pooler_output)[:, None]

    towers_agree(tower, wanted, run)
    graph_agrees(tower, wanted)
    towers_agree(load(path, output="mean"), lambda sound: run(sound).pooler_output[:, None], run)
    tokens = load(path, output="tokens")
    towers_agree(tokens, lambda sound: run(sound).last_hidden_state.flatten(2).transpose(1, 2), run)
    assert tower.shared == "clap"
    assert tower.similarity is not None
    assert tower.similarity.scale == pytest.approx(1 / 0.07, rel=1e-5)
    assert tokens.shared is None


def test_clap_looks_at_more_than_its_length_with_fusion_only(
    folder: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The extractor draws its crops; the runtime takes the middle of each third."""
    monkeypatch.setattr(np.random, "choice", lambda starts: starts[len(starts) // 2])
    path = folder("clap-htsat-fused")
    tower = load(path, seconds=2.5)
    assert tower.modality.samples == 120000  # type: ignore[union-attr]
    run = Original(path, tower.modality)
    with torch.inference_mode():
        towers_agree(tower, lambda sound: run.model.audio_projection(run(sound).pooler_output)[:, None], run)
    with pytest.raises(ExportError, match=r"found 2\.5 s, expected up to 1 s"):
        load(folder("clap-htsat-unfused"), seconds=2.5)


def test_clap_text(folder: Callable[[str], Path]) -> None:
    path = folder("clap-htsat-unfused")
    tower = load(path, kind="text")
    modality: Any = tower.modality
    assert (modality.length, tower.shared) == (77, "clap")
    tokenizer = transformers.AutoTokenizer.from_pretrained(path)
    model = transformers.ClapModel.from_pretrained(path).eval()
    runner = Runner(serialise(to_onnx(tower.module, interfaces.encoder(modality), "text")))
    for text in ("a siren is near", "дождь сегодня", "dogs bark. " * 40):
        usual = tokenizer([text], return_tensors="pt", truncation=True, max_length=77)
        filled = tokenizer([text], return_tensors="pt", truncation=True, padding="max_length", max_length=77)
        with torch.inference_mode():
            wanted = model.text_projection(model.text_model(**usual).pooler_output)
            made = tower.module(filled["input_ids"], filled["attention_mask"])[0]
        assert difference(made[:, 0], wanted) <= 1e-5
        ids, mask = filled["input_ids"].numpy(), filled["attention_mask"].numpy()
        assert difference(runner({"ids": ids, "mask": mask})["tokens"][:, 0], wanted) <= 1e-4


def test_similarities_are_those_of_the_model(folder: Callable[[str], Path]) -> None:
    path = folder("clap-htsat-unfused")
    sound, text = load(path), load(path, kind="text")
    processor = transformers.ClapProcessor.from_pretrained(path)
    model = transformers.ClapModel.from_pretrained(path).eval()
    wave, words = sounds(48000)[0], ["a siren is near", "rain today"]
    inputs = processor(text=words, audio=wave, sampling_rate=48000, return_tensors="pt", padding=True)
    with torch.inference_mode():
        wanted = model(**inputs).logits_per_audio
        heard = sound.module(torch.from_numpy(feeds(sound.modality, wave)["features"]))[1]
        padded = processor.tokenizer(words, return_tensors="pt", padding="max_length", max_length=77)
        pairs = zip(padded["input_ids"], padded["attention_mask"], strict=True)
        read = torch.cat([text.module(ids[None], mask[None])[1] for ids, mask in pairs])
    assert sound.similarity is not None
    cosines = torch.nn.functional.cosine_similarity(heard, read)
    assert difference((sound.similarity.scale * cosines)[None], wanted) <= 1e-5


# What cannot be read


def edit(path: Path, target: Path, file: str, **changes: Any) -> Path:
    """A copy of a checkpoint with other values in one of its JSON files; None removes a key."""
    target.mkdir(exist_ok=True)
    for each in path.iterdir():
        (target / each.name).write_bytes(each.read_bytes())
    values = json.loads((path / file).read_text()) | changes
    (target / file).write_text(json.dumps({key: value for key, value in values.items() if value is not None}))
    return target


@pytest.mark.parametrize(
    ("name", "file", "changes", "words"),
    [
        ("ast-audioset", PREPROCESSOR, {"max_length": 100},
         r"does not fit its model: found features of shape \(1, 100, 64\), expected features of shape \(1, 128, 64\), "
         r"by max_length and num_mel_bins in config\.json"),
        ("whisper-tiny", PREPROCESSOR, {"chunk_length": 30}, r"\(1, 80, 3000\), expected .* \(1, 80, 200\)"),
        ("clap-htsat-unfused", PREPROCESSOR, {"truncation": "fusion"}, r"\(1, 4, 101, 64\), expected .* \(1, 1, "),
        ("clap-htsat-unfused", PREPROCESSOR, {"hop_length": 100}, r"found 481 frames, expected at most 256, by spec"),
        ("wav2vec2-base", PREPROCESSOR, {"feature_extractor_type": "WhisperFeatureExtractor"},
         r"one that makes a mel spectrogram, expected Wav2Vec2FeatureExtractor"),
        ("wav2vec2-base", PREPROCESSOR, {"padding_value": 0.5}, r"padding_value = 0\.5, expected 0"),
        ("wav2vec2-large-lv60", "config.json", {"add_adapter": True}, r"lacks weights: found .*adapter"),
        ("mel-cnn", "config.json", {"channels": [8, 8]}, r"cannot be built from config\.json: found IndexError"),
        ("mel-cnn", "config.json", {"width": 64}, r"readout"),
        ("mel-cnn", "config.json", {"mels": 64}, r"\(1, 40, 61\), expected features of shape \(1, 64, 61\), by mels"),
    ],
    ids=lambda value: value if isinstance(value, str) and len(value) < 24 else "",
)  # fmt: skip
def test_a_folder_that_cannot_be_read(
    folder: Callable[[str], Path], tmp_path: Path, name: str, file: str, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(CheckpointError, match=words):
        load(edit(folder(name), tmp_path / "copy", file, **changes))


def test_an_output_that_the_family_does_not_have(folder: Callable[[str], Path]) -> None:
    with pytest.raises(ExportError, match=r"no such output: found patches, expected one of mean, tokens"):
        load(folder("wav2vec2-base"), output="patches")
    with pytest.raises(ExportError, match=r"found class, expected one of pooled, mean, tokens"):
        load(folder("clap-htsat-unfused"), output="class")


def test_a_missing_weight_is_named(folder: Callable[[str], Path], tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    path = edit(folder("whisper-tiny"), tmp_path / "copy", "config.json")
    tensors = load_file(path / "model.safetensors")
    del tensors["model.encoder.conv1.weight"]
    save_file(tensors, path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"lacks weights: found 1: encoder\.conv1\.weight"):
        load(path)
