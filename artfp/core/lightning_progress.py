"""Progress of Lightning's fit and predict, in the form of `artfp.core.progress`."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import ProgressBar

from artfp.core.progress import Progress

_SHOW_EVERY = 10  # steps


class LightningProgress(ProgressBar):
    """Progress of Lightning's fit and predict, in the form of `artfp.core.progress`.

    Args:
        caption: What is done.
        total: How many there are to do in all processes; None: of a training, its steps.
        unit: What is counted.
        size: How much a batch counts; trainings count steps.
    """

    def __init__(
        self,
        caption: str = "Training",
        total: int | None = None,
        unit: str = "steps",
        size: Callable[[Any], int] = lambda batch: 1,
    ) -> None:
        super().__init__()
        self.caption, self.total, self.unit, self.size = caption, total, unit, size
        self._enabled = True
        self._progress: Progress | None = None

    def enable(self) -> None:
        """Show the progress of what begins now."""
        self._enabled = True

    def disable(self) -> None:
        """Show nothing."""
        self._enabled = False

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Show the line."""
        total = self.total
        if total is None and trainer.max_steps > 0:
            total = trainer.max_steps
        elif total is None and math.isfinite(trainer.num_training_batches):
            total = int(trainer.num_training_batches)
        self._start(total, trainer.global_step)

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Count the step, and show the figures that the module logs for it."""
        if self._progress is None:
            return
        caption = None
        if batch_idx % _SHOW_EVERY == 0:  # reading figures from a GPU waits for it
            shown = (f"{name} {float(v):.3g}" for name, v in trainer.progress_bar_metrics.items())
            caption = ", ".join([self.caption, *shown])
        done = trainer.global_step if trainer.max_steps > 0 else self._progress.done + 1
        self._progress.move_to(done, caption)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take the line away."""
        self._stop()

    def on_predict_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Show the line."""
        self._start(self.total, 0)

    def on_predict_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Count the batch, and as much for each of the other processes."""
        if self._progress is not None:
            done = self._progress.done + self.size(batch) * trainer.world_size
            self._progress.move_to(done if self.total is None else min(done, self.total))

    def on_predict_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take the line away."""
        self._stop()

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Take the line away."""
        self._stop()

    def _start(self, total: int | None, done: int) -> None:
        if self._enabled:
            self._progress = Progress(self.caption, total, self.unit, done).__enter__()

    def _stop(self) -> None:
        if self._progress is not None:
            self._progress.__exit__(None, None, None)
            self._progress = None
