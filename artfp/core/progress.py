"""A progress bar over steps."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import TQDMProgressBar


class StepProgress(TQDMProgressBar):
    """A progress bar over steps, since the stream of batches has no end of its own."""

    @property
    def total_train_batches(self) -> int | float:
        """Steps of the whole training."""
        return self.trainer.max_steps if self.trainer.max_steps > 0 else float("inf")

    def on_train_epoch_start(self, trainer: pl.Trainer, *args: Any) -> None:
        """Show the bar; what Lightning counts as an epoch is the whole training here."""
        super().on_train_epoch_start(trainer, *args)
        self.train_progress_bar.set_description("Training")
