"""Notices a training that does not leave bit accuracy 0.5, acts, and says what it did."""

from __future__ import annotations

import logging
from typing import Any

import pytorch_lightning as pl
import torch

from artfp.watermark.training.module import FingerprintAutoencoder
from artfp.watermark.training.schedules import FeedbackSchedule

STALLED = 0.6
"""Running bit accuracy under which a training counts as stalled."""

_log = logging.getLogger("artfp")


class StallGuard(pl.Callback):
    """Every `patience` steps looks at the running bit accuracy until it passes 0.6.

    While it has not, the guard takes the next of its measures: it makes the residual 6 dB stronger
    (where the schedule allows), trains on one fixed batch for `patience` // 2 steps, then starts
    again from a new seed; three rounds at most. Each is logged and written to TensorBoard.

    Args: `patience` in steps; `act` False only reports.
    """

    def __init__(self, patience: int = 300, act: bool = True) -> None:
        self.patience, self.act = patience, act
        self.since, self.taken, self.free_at = 0, 0, -1
        self.left_plateau = False

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Watch one step."""
        assert isinstance(pl_module, FingerprintAutoencoder)
        step = trainer.global_step
        if pl_module.hold_batch is not None and step >= self.free_at:
            pl_module.hold_batch = None
        if self.left_plateau or step - self.since < self.patience:
            return
        self.since = step
        accuracy = float(pl_module.schedule.accuracy)
        if accuracy >= STALLED:
            self.left_plateau = True
        else:
            done = self._measure(pl_module, batch, step) if self.act else "nothing (only watching)"
            self._say(trainer, f"step {step}: bit accuracy is still {accuracy:.3f}; did: {done}")

    def _measure(self, module: FingerprintAutoencoder, batch: Any, step: int) -> str:
        """Take the next measure; what it was."""
        measures = ["hold", "restart"]
        if isinstance(module.schedule, FeedbackSchedule):
            measures.insert(0, "ease")
        turn, which = divmod(self.taken, len(measures))
        self.taken += 1
        if turn >= 3:
            return "nothing more; try more images, fewer bits or a lower --target_psnr"
        if measures[which] == "ease":
            assert isinstance(module.schedule, FeedbackSchedule)
            module.schedule.ease(6.0)
            return "made the residual 6 dB stronger"
        if measures[which] == "hold":
            module.hold_batch = batch.clone() if isinstance(batch, torch.Tensor) else batch
            self.free_at = step + self.patience // 2
            return f"holding one batch for {self.patience // 2} steps"
        seed = module.seed + 1000 * (turn + 1)
        module.restart(seed)
        return f"started again from seed {seed}"

    def _say(self, trainer: pl.Trainer, text: str) -> None:
        if trainer.is_global_zero:
            _log.warning(text)
            board = getattr(trainer.logger, "experiment", None)
            if board is not None and hasattr(board, "add_text"):
                board.add_text("stall", text, trainer.global_step)

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps; a held batch is let go by an interruption."""
        return {"since": self.since, "taken": self.taken, "left_plateau": self.left_plateau}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on where the checkpoint was."""
        self.since, self.taken = state_dict["since"], state_dict["taken"]
        self.left_plateau = state_dict["left_plateau"]
