"""Helpers of the tests of trainings: run one, read what it wrote, compare two."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from safetensors.torch import load_file
from torch import Tensor

from artfp.core.checkpoints import last_checkpoint, read_checkpoint
from artfp.generators.settings import TrainGeneratorSettings
from artfp.generators.training import fit as generator_fit
from artfp.generators.training.fit import train_generator
from artfp.generators.weights import load_generator


def text(value: Any) -> str:
    """A number of a configuration, or several, as `--set` takes them."""
    return ":".join(map(str, value)) if isinstance(value, tuple) else str(value)


def train(job: TrainGeneratorSettings) -> Path | None:
    """Train; the generator's file."""
    trained = train_generator(job)
    return None if trained is None else trained.path


def content(path: Path) -> tuple[Any, dict[str, bytes]]:
    """The card of a generator's file but for the command, and its weights."""
    card = load_generator(path)[1]
    del card["training"]["command"]
    return card, {name: value.numpy().tobytes() for name, value in load_file(path).items()}


def checkpoint(folder: Path) -> dict[str, Any]:
    """Return the last checkpoint of a training in a folder."""
    return read_checkpoint(last_checkpoint(folder))


def stop_at(monkeypatch: pytest.MonkeyPatch, steps: int) -> None:
    """Make the next trainings of whatever length end after so many steps."""

    class Stop(pl.Callback):
        def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
            trainer.should_stop = trainer.global_step >= steps

    make = generator_fit._make_trainer

    def stopping(*args: Any) -> pl.Trainer:
        trainer = make(*args)
        trainer.callbacks.append(Stop())  # type: ignore[attr-defined]
        return trainer

    monkeypatch.setattr(generator_fit, "_make_trainer", stopping)


def equal(one: Any, two: Any) -> bool:
    if isinstance(one, dict):
        return one.keys() == two.keys() and all(equal(one[key], two[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(two) and all(map(equal, one, two))
    return torch.equal(one, two) if isinstance(one, Tensor) else one == two


def differences(one: dict[str, Tensor], two: dict[str, Tensor], start: str) -> float:
    """Largest difference of the weights, not the statistics, whose name starts so."""
    names = [n for n in one if n.startswith(start) and "running" not in n and one[n].ndim]
    assert names
    return max(float((one[name] - two[name]).abs().max()) for name in names)


LR = 2e-4
"""Adam moves no weight by much more in its first step."""
