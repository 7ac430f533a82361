"""Checkpoints by the clock, for trainings of either kind of optimisation."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Checkpoint
from pytorch_lightning.utilities.exceptions import SIGTERMException

LAST = "last.ckpt"


def last_checkpoint(folder: Path) -> Path:
    """Where a training in a folder keeps its last checkpoint."""
    return folder / "checkpoints" / LAST


class TimedCheckpoint(Checkpoint):
    """Keeps the last checkpoint at `path`: every so many minutes, at the end, and when stopped.

    Lightning's own ModelCheckpoint knows no clock where a module steps its optimisers itself. A
    checkpoint takes the place of the one before only when it is whole. Ctrl-C and SIGTERM leave
    one if there is a single process: several are rarely stopped in the same step, and would wait
    for each other.
    """

    def __init__(self, path: Path, minutes: float = 10.0) -> None:
        self.path, self.seconds = path, 60.0 * minutes
        self.written = 0.0
        self.step = -1

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock."""
        self.written, self.step = time.monotonic(), trainer.global_step

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Save when it is time, by the first process's clock."""
        due = time.monotonic() - self.written >= self.seconds
        if trainer.strategy.broadcast(due):
            self._save(trainer)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save the end."""
        self._save(trainer)

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Save, if somebody stopped the training."""
        stopped = isinstance(exception, KeyboardInterrupt | SIGTERMException)
        if stopped and trainer.world_size == 1 and self.step >= 0:
            self._save(trainer)

    def _save(self, trainer: pl.Trainer) -> None:
        """Write unless this step is written; all processes come here."""
        self.written = time.monotonic()
        if trainer.global_step == self.step:
            return
        self.step = trainer.global_step
        fresh = self.path.with_suffix(".part")
        trainer.save_checkpoint(fresh, weights_only=False)
        if trainer.is_global_zero:
            fresh.replace(self.path)
        trainer.strategy.barrier("checkpoint")
