"""Lightning, as all trainings use it: the Trainer, its arguments, checkpoints by the clock."""

from __future__ import annotations

import io
import logging
import math
import os
import pickle
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins import TorchCheckpointIO
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning.callbacks import Callback, Checkpoint, ProgressBar, Timer
from pytorch_lightning.loggers import TensorBoardLogger
from torch import Tensor

from artfp.core.device import LAST_CHECKPOINT, RunSettings
from artfp.core.errors import UserError
from artfp.core.processes import Terminated, first_process
from artfp.core.progress import Progress

PRECISIONS = ("32-true", "bf16-mixed")
"""Half precision with scaled losses is none: one scale does not fit several networks."""

_SHOW_EVERY = 10  # steps

_log = logging.getLogger("artfp")

_STOPPING = b"\nstopping after this step; Ctrl-C again stops at once, without saving\n"


def last_checkpoint(folder: Path) -> Path:
    """Return the path of the last checkpoint of a training in a folder."""
    return folder / LAST_CHECKPOINT


# What torch and Lightning raise for bytes that are no checkpoint, or one of something else.
_UNREADABLE = (pickle.UnpicklingError, EOFError, OSError, RuntimeError, LookupError, ValueError,
               TypeError, AttributeError, AssertionError)  # fmt: skip


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
    except _UNREADABLE as error:
        raise UserError(
            f"{path} is not a readable checkpoint ({_in_short(error)}); delete it, or put a "
            "whole copy there"
        ) from error
    return whole


def _in_short(error: Exception) -> str:
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


class TimedCheckpoint(Checkpoint):
    """Keeps the last checkpoint at `path`: every so many minutes, at the end, and when stopped.

    Lightning's own ModelCheckpoint knows no clock where a module steps its optimisers itself. It is
    written between steps only: after the validation, where one follows the step. What goes on from
    it is what would have gone on.
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
        """Save when it is time, unless a validation belongs to this step."""
        if not _validates_next(trainer):
            self._save_when_due(trainer)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save when it is time."""
        self._save_when_due(trainer)

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

    def _save_when_due(self, trainer: pl.Trainer) -> None:
        due = time.monotonic() - self.written >= self.seconds
        if trainer.strategy.reduce_boolean_decision(due, all=False):
            self.save(trainer)


class _TimeLimit(Timer):
    """Ends a run of a training after some time; the runs before it do not count."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Begin anew."""

    def describe(self, trainer: pl.Trainer) -> str | None:
        """Return where the time ended the training; None: it came to its end."""
        left = self.time_remaining()
        if left is None or left > 0 or trainer.global_step >= trainer.max_steps:
            return None
        return f"by max_time at step {trainer.global_step:,} of {trainer.max_steps:,}"


class _StopBetweenSteps(Checkpoint):
    """Ends a training after the step in which SIGINT or SIGTERM came, with a checkpoint.

    It is the last of the callbacks. A second SIGINT ends the training at once, without one.
    """

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self.started = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> _StopBetweenSteps:
        if threading.current_thread() is threading.main_thread():
            before = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)}
            self._before = {n: each for n, each in before.items() if each != signal.SIG_IGN}
            self._listen()
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Listen again: Lightning has put handlers of its own in between."""
        self.started = True
        self._listen()

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Stop, unless a validation belongs to this step."""
        if not _validates_next(trainer):
            self._stop_if_told(trainer)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop."""
        self._stop_if_told(trainer)

    def _listen(self) -> None:
        for number in self._before:
            signal.signal(number, self._note)

    def _note(self, number: int, _: object) -> None:
        if number == signal.SIGINT and self.signal is not None:
            raise KeyboardInterrupt
        self.signal = signal.Signals(number)
        if first_process() and os.isatty(2):
            os.write(2, _STOPPING)  # no print: it may be at work already

    def _stop_if_told(self, trainer: pl.Trainer) -> None:
        told = self.signal is not None
        if not trainer.strategy.reduce_boolean_decision(told, all=False):
            return
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, TimedCheckpoint):
                callback.save(trainer)
                if trainer.is_global_zero:
                    step = trainer.global_step
                    _log.info("stopped at step %d; --resume goes on from there", step)
        trainer.strategy.barrier("stopped")
        # Lightning kills the first process if another ends with an error.
        raise _Stopped if trainer.is_global_zero else SystemExit(0)


class _Stopped(BaseException):
    """The training was stopped between two steps."""


def _validates_next(trainer: pl.Trainer) -> bool:
    """Return True in `on_train_batch_end` if a validation follows before the next step."""
    if not trainer.enable_validation or trainer.sanity_checking:
        return False
    if trainer.should_stop:
        return True
    every = trainer.val_check_batch
    assert every is not None and trainer.check_val_every_n_epoch is None
    return (trainer.fit_loop.epoch_loop.total_batch_idx + 1) % every == 0


def fit(
    trainer: pl.Trainer,
    module: pl.LightningModule,
    data: Any,
    validation: Any = None,
    checkpoint: Path | None = None,
) -> str | None:
    """Train to the end, from a checkpoint on if there is one.

    Ctrl-C and SIGTERM take effect at the end of the step, after the last checkpoint is written; a
    second Ctrl-C at once.

    Args:
        trainer: Made by `new_trainer`.
        module: What is trained.
        data: Data module, or loader of the training batches.
        validation: Loader of the validation batches, with a loader.
        checkpoint: File that the training goes on from.

    Returns:
        What stopped it before its last step, such as "by max_time at step 130 of 4,000"; None: it
        came to its end.

    Raises:
        UserError: the checkpoint cannot be gone on from.
        KeyboardInterrupt: the training was interrupted.
        Terminated: it was asked to end.
    """
    if checkpoint is not None:
        check_checkpoint(checkpoint, module)
    stop = _StopBetweenSteps()
    trainer.callbacks.append(stop)  # type: ignore[attr-defined]
    try:
        with stop:
            weights_only = checkpoint is not None
            trainer.fit(module, data, validation, ckpt_path=checkpoint, weights_only=weights_only)
    except _Stopped:
        raise (Terminated if stop.signal == signal.SIGTERM else KeyboardInterrupt) from None
    except SystemExit as error:  # how Lightning ends an interrupted training
        if isinstance(error.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from None
        raise
    except _UNREADABLE as error:
        if checkpoint is None or stop.started or isinstance(error, UserError):
            raise
        raise UserError(
            f"{checkpoint} cannot be gone on from ({_in_short(error)}); delete it, or put a "
            "whole copy there"
        ) from error
    finally:
        trainer.callbacks.remove(stop)  # type: ignore[attr-defined]
    limits = (c for c in trainer.callbacks if isinstance(c, _TimeLimit))  # type: ignore[attr-defined]
    stopped = next((limit.describe(trainer) for limit in limits), None)
    if stopped is not None and trainer.is_global_zero:
        _log.warning("stopped %s; --resume goes on from there", stopped)
    return stopped


class _WholeCheckpoints(TorchCheckpointIO):
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


def check_loss(
    module: pl.LightningModule,
    loss: Tensor,
    what: str = "the loss",
    remedy: str = "take a lower --lr",
) -> None:
    """Refuse to train on with a loss that is no finite number; on a GPU at every 50th step.

    Args:
        module: Module in training.
        loss: Loss of its step.
        what: What the loss is called in the error.
        remedy: What to do.

    Raises:
        UserError: the loss is NaN or infinite.
    """
    step = module.global_step
    looks = module.device.type == "cpu" or step % 50 == 0  # it makes a GPU wait
    if looks and not torch.isfinite(loss):
        raise UserError(f"step {step}: {what} is {float(loss.detach())}; {remedy}")


def new_trainer(**options: Any) -> pl.Trainer:
    """Return a Trainer with these options.

    Raises:
        UserError: Lightning refuses them.
    """
    plugins: Any = [] if options.get("enable_checkpointing") is False else [_WholeCheckpoints()]
    try:
        return pl.Trainer(**options, plugins=plugins)
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
    settings.check_folder()
    last = settings.last_checkpoint
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
    if settings.max_time is not None:
        every.append(_TimeLimit(settings.max_time, verbose=False))
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
        "logger": _Board(settings.output_dir),
        **settings.trainer_options(),
        "callbacks": every,
    }


class _Board(TensorBoardLogger):
    """Figures for TensorBoard, in `tensorboard/NAME/` of a training whose folder is called NAME.

    TensorBoard calls a run by its folder, and opens on what comes first: neither Lightning's number
    of the epoch nor its placeholder of a metric is there.
    """

    def __init__(self, folder: Path) -> None:
        name = folder.resolve().name or "training"
        super().__init__(folder, "tensorboard", version=name, default_hp_metric=False)

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Write figures, but for the number of the epoch."""
        shown = {name: value for name, value in metrics.items() if name != "epoch"}
        super().log_metrics(shown, step)


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
