"""What a training stage is given: folders, seeds, data, progress, and saving that survives a kill.

Everything is written beside its final name and then renamed, so a killed run leaves whole files only.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zlib import crc32

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from safetensors.torch import load_file, save
from torch import Tensor, nn

from ..runtime.errors import ChiasmError

if TYPE_CHECKING:
    from .dataset import Scenes

__all__ = ["Context", "Resumable", "Stage", "save_tensors", "write_json"]

_AUTOSAVE_SECONDS = 60.0
_LOG_SECONDS = 15.0


@dataclass(frozen=True)
class Stage:
    """One stage of training: its name, the stages it needs finished, and what it does."""

    name: str
    needs: tuple[str, ...]
    run: Callable[[Context], None]


@dataclass
class Resumable:
    """Modules and optimisers whose state is saved together, and the next step to do."""

    modules: Mapping[str, nn.Module]
    optimisers: Mapping[str, torch.optim.Optimizer]
    step: int = 0


def write_json(path: Path, value: object) -> None:
    """Write ``value`` as readable JSON, atomically."""
    beside = path.with_name(path.name + ".part")
    beside.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(beside, path)


def save_tensors(path: Path, tensors: Mapping[str, Tensor], *, half: bool = False) -> None:
    """Write tensors as safetensors, atomically; ``half`` stores floating-point ones as fp16."""
    plain: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        kept = tensor.detach().cpu()
        plain[name] = (kept.half() if half and kept.is_floating_point() else kept).contiguous().clone()
    beside = path.with_name(path.name + ".part")
    beside.write_bytes(save(plain))
    os.replace(beside, path)


@dataclass
class Context:
    """One run of one stage. ``work`` is shared by all stages, ``folder`` belongs to this one."""

    work: Path
    stage: str
    seed: int = 0
    threads: int = 1
    device: str = "cpu"
    quick: bool = False
    console: Console = field(default_factory=Console)
    _notes: dict[str, list[float]] = field(default_factory=dict)
    _log: dict[str, Any] = field(default_factory=dict)
    _started: float = field(default_factory=time.monotonic)

    # Folders and sizes

    @property
    def folder(self) -> Path:
        """The folder of this stage, made on first use."""
        path = self.work / self.stage
        path.mkdir(parents=True, exist_ok=True)
        return path

    def stage_folder(self, name: str) -> Path:
        """The folder of another stage that this one needs."""
        path = self.work / name
        if not (path / "done").exists():
            raise ChiasmError(f"stage {name!r} has not finished in {self.work}: run it first (--stage {name})")
        return path

    def pick(self, real: int, *, quick: int) -> int:
        """A size: ``real`` in a real run, ``quick`` with --quick."""
        return quick if self.quick else real

    # Randomness

    def _salt(self, *words: object) -> list[int]:
        return [self.seed, crc32(self.stage.encode()), *(crc32(str(word).encode()) for word in words)]

    def rng(self, *words: object) -> np.random.Generator:
        """A generator that depends only on the seed, the stage and the words."""
        return np.random.default_rng(self._salt(*words))

    def seed_torch(self, *words: object) -> None:
        """Seed torch from the seed, the stage and the words."""
        torch.manual_seed(int(np.random.SeedSequence(self._salt(*words)).generate_state(1)[0]))

    # Data and weights

    def data(self, split: str = "train") -> Scenes:
        """The rendered scenes of one split: train, validation (needs the ``data`` stage)."""
        from .dataset import open_scenes

        return open_scenes(self.stage_folder("data") / split)

    def weights(self, part: str, stage: str = "*") -> dict[str, Tensor]:
        """The tensors (fp32, on the CPU) that a finished stage published under ``part``; the first, if several did."""
        for path in sorted(self.work.glob(f"{stage}/parts/{part}.safetensors")):
            return dict(load_file(path))
        raise ChiasmError(f"no stage in {self.work} has published the part {part!r} yet: run the stage that trains it")

    def publish(self, part: str, module: nn.Module | Mapping[str, Tensor]) -> None:
        """Offer weights to later stages, and to the checkpoint as ``<part>.safetensors``."""
        tensors = module.state_dict() if isinstance(module, nn.Module) else module
        target = self.folder / "parts" / f"{part}.safetensors"
        target.parent.mkdir(exist_ok=True)
        save_tensors(target, tensors)

    def configure(self, fragment: Mapping[str, Any]) -> None:
        """A piece of the checkpoint's config.json; the pieces of all stages are merged, key by key."""
        write_json(self.folder / "config.json", dict(fragment))

    def config(self, stage: str) -> dict[str, Any]:
        """The piece that a finished stage wrote with ``configure``."""
        loaded: dict[str, Any] = json.loads((self.stage_folder(stage) / "config.json").read_text(encoding="utf-8"))
        return loaded

    # Steps that survive a kill

    def resume(
        self, modules: Mapping[str, nn.Module], optimisers: Mapping[str, torch.optim.Optimizer], name: str = "state"
    ) -> Resumable:
        """Load the saved state ``name`` into the modules and optimisers, if there is one."""
        state = Resumable(modules, optimisers)
        path = self.folder / f"{name}.safetensors"
        if not path.exists():
            return state
        tensors = load_file(path)
        for key, module in modules.items():
            module.load_state_dict(_under(tensors, f"module/{key}/"))
        for key, optimiser in optimisers.items():
            _load_optimiser(optimiser, _under(tensors, f"optimiser/{key}/"))
        state.step = int(tensors["step"])
        return state

    def save(self, state: Resumable, name: str = "state") -> None:
        """Save a state for ``resume``."""
        tensors: dict[str, Tensor] = {"step": torch.tensor(state.step)}
        for key, module in state.modules.items():
            tensors |= {f"module/{key}/{word}": value for word, value in module.state_dict().items()}
        for key, optimiser in state.optimisers.items():
            for index, slots in optimiser.state_dict()["state"].items():
                tensors |= {f"optimiser/{key}/{index}/{slot}": torch.as_tensor(value) for slot, value in slots.items()}
        save_tensors(self.folder / f"{name}.safetensors", tensors)

    def steps(self, state: Resumable, total: int, title: str, name: str = "state") -> Iterator[int]:
        """Yield the steps still to do, with torch seeded for each; saves every minute and at the end."""
        saved = said = time.monotonic()
        with self.progress(title, total) as advance:
            advance(state.step)
            while state.step < total:
                self.seed_torch(title, state.step)
                yield state.step
                state.step += 1
                advance(1)
                now = time.monotonic()
                if now - said > _LOG_SECONDS or state.step == total:
                    said = now
                    self._flush(title, state.step, total)
                if now - saved > _AUTOSAVE_SECONDS:
                    saved = now
                    self.save(state, name)
        self.save(state, name)

    @contextmanager
    def progress(self, title: str, total: int) -> Iterator[Callable[[int], None]]:
        """A progress bar; yields ``advance(count)``."""
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=self.console, disable=not self.console.is_terminal) as bars:
            task = bars.add_task(f"{self.stage}: {title}", total=total)
            yield lambda count: bars.update(task, advance=count)

    # Numbers

    def note(self, **metrics: float) -> None:
        """Numbers of one step; their means go into the log every few seconds."""
        for name, value in metrics.items():
            self._notes.setdefault(name, []).append(float(value))

    def result(self, **metrics: Any) -> None:
        """Final numbers of this stage, kept in its log.json."""
        self._log.setdefault("result", {}).update(metrics)
        self.write_log()
        self.console.print(f"{self.stage}: " + ", ".join(f"{name} {_short(value)}" for name, value in metrics.items()))

    def write_log(self) -> None:
        """Write log.json: stage, seconds, device, threads, seed, history and results."""
        head = {
            "stage": self.stage,
            "seconds": round(time.monotonic() - self._started, 1),
            "device": self.device,
            "threads": self.threads,
            "seed": self.seed,
            "quick": self.quick,
        }
        write_json(self.folder / "log.json", head | self._log)

    def _flush(self, title: str, step: int, total: int) -> None:
        means = {name: round(float(np.mean(values)), 5) for name, values in self._notes.items()}
        self._notes.clear()
        seconds = round(time.monotonic() - self._started, 1)
        self._log.setdefault("history", []).append({"title": title, "step": step, "seconds": seconds, **means})
        self.write_log()
        if not self.console.is_terminal:
            words = " ".join(f"{name} {value:.4g}" for name, value in means.items())
            self.console.print(f"{self.stage}: {title} {step}/{total} {seconds:.0f}s {words}", soft_wrap=True)


def _short(value: object) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def _under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)}


def _load_optimiser(optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put saved slots back; the parameter groups (learning rates …) stay as the stage made them."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        index, slot = name.split("/", 1)
        state.setdefault(int(index), {})[slot] = value
    whole = optimiser.state_dict()
    whole["state"] = state
    optimiser.load_state_dict(whole)
