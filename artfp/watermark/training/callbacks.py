"""Callbacks of a training: pictures, milestones, and recovery from a stall at bit accuracy 0.5."""

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
from artfp.watermark.training.schedules import FeedbackSchedule

_SHOWN = 6
_log = logging.getLogger("artfp")


def fingerprinted_sample(module: FingerprintAutoencoder, batch: Tensor) -> Tensor:
    """Return a picture (3, h, w) of the first images of an 8-bit batch with random messages."""
    x = to_unit(batch[:_SHOWN]).to(module.device)
    rng = torch.Generator().manual_seed(0)
    messages = torch.randint(0, 2, (len(x), module.bits), generator=rng).to(x)
    training = module.encoder.training
    with torch.no_grad():
        marked = module.encoder.eval()(x, messages).nan_to_num()  # of a training that diverges
    module.encoder.train(training)
    return fingerprint_grid(x, marked)


class ImageGrids(pl.Callback):
    """Writes pictures to TensorBoard: every `every` steps and at each validation."""

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
        """Write a picture of training images."""
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
        """Write a picture of the first validation batch."""
        if batch_idx == 0 and not trainer.sanity_checking:
            self._write(trainer, pl_module, batch, "val/images")

    def _write(
        self, trainer: pl.Trainer, module: pl.LightningModule, batch: Tensor, tag: str
    ) -> None:
        assert isinstance(module, FingerprintAutoencoder)
        board = getattr(trainer.logger, "experiment", None)
        if trainer.is_global_zero and board is not None and hasattr(board, "add_image"):
            board.add_image(tag, fingerprinted_sample(module, batch), trainer.global_step)


class Milestones(pl.Callback):
    """Records when the bit accuracy of unperturbed images first reaches a level.

    Args:
        level: Bit accuracy.
        window: Number of steps over which it is averaged.

    Attributes:
        step: Step at which it was reached; None until then.
        seconds: Seconds of training until then, resumed or not; None until then.
    """

    def __init__(self, level: float = 0.99, window: int = 5) -> None:
        self.level, self.started, self.before = level, 0.0, 0.0
        self.recent: deque[float] = deque(maxlen=window)
        self.step: int | None = None
        self.seconds: float | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock."""
        self.started = time.perf_counter() - self.before

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Average the accuracy with that of this step."""
        if self.step is not None:
            return
        accuracy = trainer.callback_metrics.get("train/bit_accuracy_unperturbed")
        if accuracy is not None:
            self.recent.append(float(accuracy))
        full = len(self.recent) == self.recent.maxlen
        if full and sum(self.recent) / len(self.recent) >= self.level:
            self.step = trainer.global_step
            self.seconds = time.perf_counter() - self.started
            if trainer.is_global_zero:
                _log.info(
                    "bit accuracy %.2f at step %d after %.1f s", self.level, self.step, self.seconds
                )

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        spent = time.perf_counter() - self.started
        recent = list(self.recent)
        return {"step": self.step, "seconds": self.seconds, "recent": recent, "spent": spent}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue where the checkpoint was."""
        self.step, self.seconds = state_dict["step"], state_dict["seconds"]
        self.recent.extend(state_dict["recent"])
        self.before = state_dict["spent"]


STALLED = 0.6
"""Running bit accuracy under which a training counts as stalled."""

_log = logging.getLogger("artfp")


class StallRecovery(pl.Callback):
    """Checks the running bit accuracy every `patience` steps until it exceeds 0.6.

    Until then it takes one measure after the other: it makes the residual 6 dB stronger (where the
    schedule allows), trains on one fixed batch for `patience` // 2 steps, then restarts from a new
    seed; three rounds at most. Each is logged and written to TensorBoard.

    Args:
        patience: Steps between checks.
        act: False to report only.
    """

    def __init__(self, patience: int = 300, act: bool = True) -> None:
        self.patience, self.act = patience, act
        self.since, self.taken, self.free_at = 0, 0, -1
        self.left_plateau = False
        self.held: torch.Tensor | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Hold the batch that the checkpoint held."""
        assert isinstance(pl_module, FingerprintAutoencoder)
        if self.held is not None:
            pl_module.held_batch = self.held.to(pl_module.device)

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Check the accuracy after a step."""
        assert isinstance(pl_module, FingerprintAutoencoder)
        step = trainer.global_step
        if pl_module.held_batch is not None and step >= self.free_at:
            pl_module.held_batch = self.held = None
        if self.left_plateau or step - self.since < self.patience:
            return
        self.since = step
        accuracy = float(pl_module.schedule.accuracy)
        if accuracy >= STALLED:
            self.left_plateau = True
        else:
            done = self._measure(pl_module, batch, step) if self.act else "none (only reporting)"
            self._report(
                trainer, f"step {step}: bit accuracy is still {accuracy:.3f}; action: {done}"
            )

    def _measure(self, module: FingerprintAutoencoder, batch: Any, step: int) -> str:
        """Take the next measure, and return what it was."""
        measures = ["hold", "restart"]
        if isinstance(module.schedule, FeedbackSchedule):
            measures.insert(0, "ease")
        turn, which = divmod(self.taken, len(measures))
        self.taken += 1
        if turn >= 3:
            return "none; try more images, fewer bits or a lower --target_psnr"
        if measures[which] == "ease":
            assert isinstance(module.schedule, FeedbackSchedule)
            module.schedule.ease(6.0)
            return "made the residual 6 dB stronger"
        if measures[which] == "hold":
            module.held_batch = self.held = batch.clone()
            self.free_at = step + self.patience // 2
            return f"holding one batch for {self.patience // 2} steps"
        seed = module.seed + 1000 * (turn + 1)
        module.restart(seed)
        return f"restarted from seed {seed}"

    def _report(self, trainer: pl.Trainer, text: str) -> None:
        if trainer.is_global_zero:
            _log.warning(text)
            board = getattr(trainer.logger, "experiment", None)
            if board is not None and hasattr(board, "add_text"):
                board.add_text("stall", text, trainer.global_step)

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint keeps, with a batch that is held."""
        names = ("since", "taken", "free_at", "left_plateau", "held")
        return {name: getattr(self, name) for name in names}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue where the checkpoint was."""
        self.since, self.taken = state_dict["since"], state_dict["taken"]
        self.left_plateau = state_dict["left_plateau"]
        self.free_at, self.held = state_dict.get("free_at", -1), state_dict.get("held")
