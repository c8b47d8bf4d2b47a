"""Reads a checkpoint folder as a model hub serves it: config.json, safetensors, processor and tokenizer files.

Nothing is unpickled, nothing is downloaded, and no code of the folder is run.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..runtime.errors import CheckpointError, MissingExtraError

if TYPE_CHECKING:
    import torch

__all__ = ["HubFolder", "check_weights", "quiet", "read_tensors"]

_LIMIT = 64 * 2**20
"""Bytes of a JSON file; a tokenizer.json of 250,000 tokens has 20 MB."""
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.h5", "*.msgpack")
_CONVERT = (
    'Convert it where you trust it: python -c "import torch, safetensors.torch as s; '
    "s.save_file(torch.load('{file}', weights_only=True), '{folder}/model.safetensors')\""
)


class HubFolder:
    """One checkpoint folder. `config` is its config.json; raises `CheckpointError` for what cannot be read.

    Two kinds are told by other files: a chain of sentence-transformers by its modules.json (`plain` overlooks it), word
    vectors by a file of text, `vectors`, which may also be named itself.
    """

    def __init__(self, path: str | Path, *, plain: bool = False) -> None:
        self.path = Path(path)
        self.vectors = _vectors(self.path)
        if self.vectors == self.path:
            self.path = self.path.parent
        if not self.path.is_dir():
            raise CheckpointError(
                f"{self.path} is not a checkpoint", found="a file" if self.path.exists() else "no such folder",
                expected="a folder with config.json and model.safetensors",
            )  # fmt: skip
        self._chain = not plain and self.vectors is None and self.has("modules.json")
        other = self.vectors is not None or (self._chain and not self.has("config.json"))
        self.config: dict[str, Any] = {} if other else self.json("config.json")
        if "auto_map" in self.config:
            raise CheckpointError(
                f"{self.path} asks for code of its own to be run",
                found="auto_map in config.json",
                expected="a model of a known family",
                fix="Such code is never run; use module = 'file:factory' with code that you have read",
            )

    @property
    def model_type(self) -> str:
        """The family's word in config.json, or for what is told by other files."""
        if self.vectors is not None:
            return "word-vectors"
        return "sentence-transformers" if self._chain else str(self.config.get("model_type", ""))

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels of a classification head, in order; empty where the checkpoint names none."""
        named = self.config.get("id2label") or {}
        return tuple(str(named[key]) for key in sorted(named, key=int))

    def has(self, name: str) -> bool:
        """Whether the folder has that file."""
        return (self.path / name).is_file()

    def read(self, name: str) -> bytes:
        """The bytes of a file of the folder."""
        path = self.path / name
        try:
            if path.stat().st_size > _LIMIT:
                raise CheckpointError(f"{path} is too large", expected=f"at most {_LIMIT} bytes")
            return path.read_bytes()
        except OSError as error:
            raise CheckpointError(
                f"{self.path} is not a checkpoint, or not all of it", found=f"no {name} ({error.strerror or error})"
            ) from error

    def json(self, name: str) -> dict[str, Any]:
        """A JSON object of the folder."""
        try:
            found = json.loads(self.read(name))
        except ValueError as error:
            raise CheckpointError(f"{self.path / name} is not JSON", found=str(error)) from error
        if not isinstance(found, dict):
            raise CheckpointError(f"{self.path / name} is not a JSON object", found=type(found).__name__)
        return found

    def check_weights(self) -> None:
        """`CheckpointError` unless there are safetensors; a folder of pickles is told how to convert them."""
        check_weights(self.path)

    def load(self, model: Any, *, unused: tuple[str, ...] = (), absent: tuple[str, ...] = ()) -> torch.nn.Module:
        """An instance of a transformers model class with the folder's weights, FP32, in eval mode.

        `unused`: prefixes of tensors in the file that this model has no place for (the head of a pre-training task);
        `absent`: prefixes of tensors of the model that the file may lack because nothing here reads them. Every other
        missing or unexpected tensor is an error that names it.
        """
        self.check_weights()
        with quiet():
            import torch

            try:
                loaded, info = model.from_pretrained(
                    self.path, local_files_only=True, use_safetensors=True, trust_remote_code=False,
                    dtype=torch.float32, output_loading_info=True, ignore_mismatched_sizes=True,
                )  # fmt: skip
            except (OSError, ValueError, RuntimeError, KeyError, TypeError) as error:
                raise CheckpointError(f"{self.path} cannot be loaded", found=str(error).splitlines()[0]) from error
        self._complain(info, unused, absent)
        return loaded.float().eval()  # type: ignore[no-any-return]

    def _complain(self, info: Mapping[str, Any], unused: tuple[str, ...], absent: tuple[str, ...]) -> None:
        missing = sorted(name for name in info["missing_keys"] if not name.startswith(absent or ("\0",)))
        unexpected = sorted(name for name in info["unexpected_keys"] if not name.startswith(unused or ("\0",)))
        shapes = sorted(str(each[0]) for each in info.get("mismatched_keys", ()))
        for words, names in (("lacks weights", missing), ("has weights of an unusable shape", shapes)):
            if names:
                raise CheckpointError(
                    f"{self.path} {words}", found=f"{len(names)}: {', '.join(names[:3])}",
                    expected=f"every tensor of {self.config.get('architectures', [self.model_type])[0]}",
                    fix="Copy the checkpoint again, or fine-tune it before exporting",
                )  # fmt: skip
        if unexpected:
            raise CheckpointError(
                f"{self.path} has weights that its model has no place for",
                found=f"{len(unexpected)}: {', '.join(unexpected[:3])}",
                expected=f"those of model_type {self.model_type!r}",
                fix="config.json and the weights must belong together",
            )

    def tokenizer(self) -> bytes:
        """tokenizer.json; a folder without one is told how to make it."""
        if self.has("tokenizer.json"):
            return self.read("tokenizer.json")
        raise CheckpointError(
            f"{self.path} has no tokenizer.json",
            expected="the fast tokenizer, in one file",
            fix=f'Make it: python -c "from transformers import AutoTokenizer as t; '
            f"t.from_pretrained('{self.path}', use_fast=True).save_pretrained('{self.path}')\"",
        )


@contextmanager
def quiet(library: str = "transformers") -> Iterator[None]:
    """transformers, or diffusers, without advice and progress bars; `MissingExtraError` where there is none."""
    try:
        logging = import_module(f"{library}.utils").logging
    except ModuleNotFoundError as error:
        raise MissingExtraError(error.name or "torch", "export", "Reading a checkpoint") from error
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)


def read_tensors(folder: Path) -> dict[str, torch.Tensor]:
    """The tensors of a folder's model.safetensors, which belongs to no model class."""
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ModuleNotFoundError as error:
        raise MissingExtraError(error.name or "safetensors", "export", "Reading a checkpoint") from error
    check_weights(folder)
    try:
        tensors: dict[str, torch.Tensor] = load_file(folder / "model.safetensors")
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{folder / 'model.safetensors'} cannot be read", found=str(error)) from error
    return tensors


def check_weights(folder: Path) -> None:
    """`CheckpointError` unless there are safetensors; a folder of pickles is told how to convert them."""
    if any((folder / name).is_file() for name in ("model.safetensors", "model.safetensors.index.json")):
        return
    pickles = sorted(path for pattern in _PICKLES for path in folder.glob(pattern))
    if pickles:
        raise CheckpointError(
            f"{folder} has its weights in a format that can run code, which chiasm never opens",
            found=pickles[0].name, expected="model.safetensors", fix=_CONVERT.format(file=pickles[0], folder=folder),
        )  # fmt: skip
    raise CheckpointError(f"{folder} has no weights", expected="model.safetensors")


def _vectors(path: Path) -> Path | None:
    """The file of word vectors that a path is, or that a folder without config.json holds: one *.vec or *.txt."""
    if path.is_file():
        return path if path.suffix in (".vec", ".txt") else None
    if not path.is_dir() or any((path / name).exists() for name in ("config.json", "modules.json", "model_index.json")):
        return None
    found = [each for pattern in ("*.vec", "*.txt") for each in sorted(path.glob(pattern)) if _holds_vectors(each)]
    return found[0] if len(found) == 1 else None


def _holds_vectors(path: Path) -> bool:
    """Whether the second line is a word and numbers."""
    with open(path, "rb") as file:
        words = [file.readline(2**16), file.readline(2**16)][1].split()
    try:
        return len(words) > 2 and [float(word) for word in words[-2:]] != []
    except ValueError:
        return False
