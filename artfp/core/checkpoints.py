"""Checkpoints of trainings: read without executing anything, written whole, by the clock."""

from __future__ import annotations

import io
import os
import pickle
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins import TorchCheckpointIO
from pytorch_lightning.callbacks import Checkpoint

from artfp.core.device import LAST_CHECKPOINT
from artfp.core.errors import UserError

UNREADABLE = (pickle.UnpicklingError, EOFError, OSError, RuntimeError, LookupError, ValueError,
               TypeError, AttributeError, AssertionError)  # fmt: skip
"""Errors of torch and Lightning for bytes that are no checkpoint, or one of something else."""


def last_checkpoint(folder: Path) -> Path:
    """Return the path of the last checkpoint of a training in a folder."""
    return folder / LAST_CHECKPOINT


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Return the content of a checkpoint of a training; nothing in it is executed.

    Args:
        path: File of a training.

    Returns:
        `state_dict`, `global_step` and what else Lightning keeps, on the CPU.

    Raises:
        UserError: it is damaged, or something else.
    """
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
        whole = {**found, "state_dict": dict(found["state_dict"])}
        whole["global_step"] = int(found["global_step"])
    except UNREADABLE as error:
        raise UserError(
            f"{path} is not a readable checkpoint ({describe_error(error)}); delete it, or put a "
            "whole copy there"
        ) from error
    return whole


def describe_error(error: Exception) -> str:
    """Return the kind of an error and the beginning of its message, in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:100]


def check_checkpoint(path: Path, module: pl.LightningModule) -> None:
    """Refuse a checkpoint that cannot go on as this module.

    Raises:
        UserError: it is damaged, or of a module with other weights.
    """
    found, wanted = read_checkpoint(path)["state_dict"], module.state_dict()
    for name in [*wanted, *found]:
        shapes = [tuple(getattr(s[name], "shape", ())) if name in s else None
                  for s in (found, wanted)]  # fmt: skip
        if shapes[0] != shapes[1]:
            there, here = ("absent" if shape is None else shape for shape in shapes)
            raise UserError(
                f"{path} is of a training with other settings ({name} is {there} there and {here} "
                "now); give those of before, or another --output_dir"
            )


class BetweenSteps(Checkpoint):
    """Base of callbacks that act between two steps: after the validation, where one follows."""

    def after_step(self, trainer: pl.Trainer) -> None:
        """Act; called once after each step, in all processes."""
        raise NotImplementedError

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Act, unless a validation belongs to this step."""
        if not _validates_next(trainer):
            self.after_step(trainer)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Act."""
        self.after_step(trainer)


class TimedCheckpoint(BetweenSteps):
    """Keeps the last checkpoint at `path`: every so many minutes, at the end, and when stopped.

    Lightning's own ModelCheckpoint knows no clock where a module steps its optimisers itself. What
    goes on from a checkpoint is what would have gone on.
    """

    def __init__(self, path: Path, minutes: float = 10.0) -> None:
        self.path, self.seconds = path, 60.0 * minutes
        self.written = 0.0
        self.step = -1

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock."""
        self.written, self.step = time.monotonic(), trainer.global_step

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save the end."""
        self.save(trainer)

    def save(self, trainer: pl.Trainer) -> None:
        """Write unless this step is written; all processes come here."""
        self.written = time.monotonic()
        if trainer.global_step == self.step:
            return
        self.step = trainer.global_step
        trainer.save_checkpoint(self.path, weights_only=False)

    def after_step(self, trainer: pl.Trainer) -> None:
        """Save when it is time."""
        due = time.monotonic() - self.written >= self.seconds
        if trainer.strategy.reduce_boolean_decision(due, all=False):
            self.save(trainer)


def _validates_next(trainer: pl.Trainer) -> bool:
    """Return True in `on_train_batch_end` if a validation follows before the next step."""
    if not trainer.enable_validation or trainer.sanity_checking:
        return False
    if trainer.should_stop:
        return True
    every = trainer.val_check_batch
    assert every is not None and trainer.check_val_every_n_epoch is None
    return (trainer.fit_loop.epoch_loop.total_batch_idx + 1) % every == 0


class WholeCheckpoints(TorchCheckpointIO):
    """Writes each checkpoint beside its place, which it takes when it is whole and on the disk."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Write a checkpoint. Raises UserError: it cannot be written."""
        place, content = Path(path), io.BytesIO()
        part = place.with_suffix(".part")
        torch.save(checkpoint, content)
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            with open(part, "wb") as file:
                file.write(content.getbuffer())
                file.flush()
                os.fsync(file.fileno())
            part.replace(place)
        except OSError as error:
            with suppress(OSError):
                part.unlink(missing_ok=True)
            raise UserError(
                f"{place}: cannot be written: {error.strerror or error}; mend that and go on with "
                "--resume"
            ) from error
