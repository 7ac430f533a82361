"""Lightning, as all trainings use it: the Trainer, its arguments, checkpoints by the clock."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning.callbacks import Callback, Checkpoint, ProgressBar
from pytorch_lightning.loggers import TensorBoardLogger
from pytorch_lightning.utilities.exceptions import SIGTERMException

from artfp.core.device import RunSettings
from artfp.core.errors import UserError
from artfp.core.progress import Progress

PRECISIONS = ("32-true", "bf16-mixed")
"""Half precision with scaled losses is none: one scale does not fit several networks."""

_SHOW_EVERY = 10  # steps

_log = logging.getLogger("artfp")

_LAST = "last.ckpt"


def last_checkpoint(folder: Path) -> Path:
    """Return the path of the last checkpoint of a training in a folder."""
    return folder / "checkpoints" / _LAST


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


def new_trainer(**options: Any) -> pl.Trainer:
    """Return a Trainer with these options.

    Raises:
        UserError: Lightning refuses them.
    """
    try:
        return pl.Trainer(**options)
    except (
        ValueError,
        TypeError,
        RuntimeError,
        ImportError,  # what an accelerator or a precision needs and is not installed
        MisconfigurationException,
    ) as error:
        raise UserError(f"Lightning's Trainer refused its settings: {error}") from error


def precision_of(trainer: Mapping[str, Any]) -> str:
    """The precision that arguments of the Trainer ask for. Raises UserError: none of PRECISIONS."""
    precision = trainer.get("precision", PRECISIONS[0])
    if precision not in PRECISIONS:
        raise UserError(f"precision is {precision}; choose from {', '.join(PRECISIONS)}")
    return str(precision)


def resume_from(settings: RunSettings) -> Path | None:
    """Return the checkpoint that a training goes on from, or None to start from the beginning.

    Raises:
        UserError: there is one, and `settings.resume` is False.
    """
    last = last_checkpoint(settings.output_dir)
    if not settings.resume and last.exists():
        raise UserError(
            f"{settings.output_dir} already holds a training; add --resume to go on, or take "
            "another folder"
        )
    if settings.resume and not last.is_file():
        _log.warning("no checkpoint at %s yet: starting from the beginning", last)
    return last if settings.resume and last.is_file() else None


def trainer_arguments(
    settings: RunSettings,
    max_steps: int | None,
    callbacks: Sequence[Callback],
    validate_every: int | None = None,
) -> dict[str, Any]:
    """Return the arguments of the Trainer of a training that counts steps.

    Args:
        settings: Folder, checkpoints and device of the training.
        max_steps: Steps of the whole training.
        callbacks: Callbacks beside the timed checkpoint and the progress bar.
        validate_every: Steps between validations; None for no validation.
    """
    every: list[Callback] = [
        *callbacks,
        TimedCheckpoint(last_checkpoint(settings.output_dir), settings.checkpoint_minutes),
        LightningProgress(),
    ]
    validation: dict[str, Any] = {"limit_val_batches": 0}
    if validate_every is not None and max_steps is not None:
        validation = {
            "val_check_interval": min(validate_every, max_steps),
            "check_val_every_n_epoch": None,
            "num_sanity_val_steps": 0,
        }
    return {
        "max_epochs": -1,
        "max_steps": max_steps,
        **validation,
        "log_every_n_steps": 10,
        "use_distributed_sampler": False,
        "enable_model_summary": False,
        "logger": TensorBoardLogger(settings.output_dir, name="tensorboard", version=""),
        **settings.trainer_options(),
        "callbacks": every,
    }


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
