"""What is shown and kept while a training runs."""

from __future__ import annotations

import logging
import time
from collections import deque
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from artfp.data.pixels import to_unit
from artfp.reporting.image_grid import fingerprint_grid
from artfp.watermark.training.module import FingerprintAutoencoder

_SHOWN = 6
_log = logging.getLogger("artfp")


def picture(module: FingerprintAutoencoder, batch: Tensor) -> Tensor:
    """Grid (3, h, w) of the first images of an 8-bit batch, fingerprinted with random bits."""
    x = to_unit(batch[:_SHOWN]).to(module.device)
    draws = torch.Generator().manual_seed(0)
    bits = torch.randint(0, 2, (len(x), module.bits), generator=draws).to(x)
    training = module.encoder.training
    with torch.no_grad():
        marked = module.encoder.eval()(x, bits)
    module.encoder.train(training)
    return fingerprint_grid(x, marked)


class ImageGrids(pl.Callback):
    """Writes a grid of training images every `every` steps, and one at each validation."""

    def __init__(self, every: int = 500) -> None:
        self.every = every

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Training grid."""
        if trainer.global_step % self.every == 1 or self.every == 1:
            self._write(trainer, pl_module, batch, "train/images")

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Validation grid, of the first batch."""
        if batch_idx == 0 and not trainer.sanity_checking:
            self._write(trainer, pl_module, batch, "val/images")

    def _write(
        self, trainer: pl.Trainer, module: pl.LightningModule, batch: Tensor, tag: str
    ) -> None:
        assert isinstance(module, FingerprintAutoencoder)
        board = getattr(trainer.logger, "experiment", None)
        if trainer.is_global_zero and board is not None and hasattr(board, "add_image"):
            board.add_image(tag, picture(module, batch), trainer.global_step)


class Milestones(pl.Callback):
    """Notes the step and the seconds at which unperturbed images were read at `level` or better.

    Args: `level`, a bit accuracy; `window`, over how many steps in a row it is averaged.
    Attributes: `step`, `seconds` (of training until then, resumed or not); None until then.
    """

    def __init__(self, level: float = 0.99, window: int = 5) -> None:
        self.level, self.begun, self.before = level, 0.0, 0.0
        self.recent: deque[float] = deque(maxlen=window)
        self.step: int | None = None
        self.seconds: float | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock."""
        self.begun = time.perf_counter() - self.before

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Look at the accuracy of this step."""
        if self.step is not None:
            return
        accuracy = trainer.callback_metrics.get("train/bit_accuracy_unperturbed")
        if accuracy is not None:
            self.recent.append(float(accuracy))
        full = len(self.recent) == self.recent.maxlen
        if full and sum(self.recent) / len(self.recent) >= self.level:
            self.step = trainer.global_step
            self.seconds = time.perf_counter() - self.begun
            _log.info(
                "bit accuracy %.2f at step %d after %.1f s", self.level, self.step, self.seconds
            )

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        spent = time.perf_counter() - self.begun
        recent = list(self.recent)
        return {"step": self.step, "seconds": self.seconds, "recent": recent, "spent": spent}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on where the checkpoint was."""
        self.step, self.seconds = state_dict["step"], state_dict["seconds"]
        self.recent.extend(state_dict["recent"])
        self.before = state_dict["spent"]
