"""Running of trainings by Lightning, and their end: by a signal, by the clock, by the last step."""

from __future__ import annotations

import logging
import os
import signal
import threading
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Timer

from artfp.core.checkpoints import (
    UNREADABLE,
    BetweenSteps,
    TimedCheckpoint,
    check_checkpoint,
    describe_error,
)
from artfp.core.errors import UserError
from artfp.core.processes import Terminated, first_process

_log = logging.getLogger("artfp")

_STOPPING = b"\nstopping after this step; Ctrl-C again stops at once, without saving\n"


class TimeLimit(Timer):
    """Clock of a training, which ends a run after some time; the runs before it do not count.

    Args:
        duration: Time of this run as DD:HH:MM:SS; None for no limit.
    """

    def __init__(self, duration: str | None = None) -> None:
        super().__init__(duration, verbose=False)
        self.before = 0.0

    def state_dict(self) -> dict[str, Any]:
        """Return the seconds of the training, in this run and those before."""
        return {"spent": self.before + self.time_elapsed()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over the seconds of the runs before; this run's own time begins anew."""
        self.before = float(state_dict.get("spent", 0.0))

    def fraction(self) -> float | None:
        """Return how much of the time of the whole training is gone, in [0, 1]; None: no limit.

        That time is what the runs before took and what this one may take, so that it is 1 when
        this run ends, and a run that goes on with new time begins where its part of the whole does.
        """
        left = self.time_remaining()
        if left is None:
            return None
        spent = self.before + self.time_elapsed()
        return spent / (spent + max(0.0, left)) if spent > 0.0 else 0.0

    def describe(self, trainer: pl.Trainer) -> str | None:
        """Return where the time ended the training; None: it came to its end."""
        left = self.time_remaining()
        if left is None or left > 0 or trainer.global_step >= trainer.max_steps:
            return None
        return f"by max_time at step {trainer.global_step:,} of {trainer.max_steps:,}"


def time_fraction(trainer: pl.Trainer) -> float | None:
    """Return how much of the time of a training is gone, equal in all processes; None: no limit."""
    limits = (c for c in trainer.callbacks if isinstance(c, TimeLimit))  # type: ignore[attr-defined]
    found = next((limit.fraction() for limit in limits), None)
    return None if found is None else float(trainer.strategy.broadcast(found))


class _StopBetweenSteps(BetweenSteps):
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

    def _listen(self) -> None:
        for number in self._before:
            signal.signal(number, self._note)

    def _note(self, number: int, _: object) -> None:
        if number == signal.SIGINT and self.signal is not None:
            raise KeyboardInterrupt
        self.signal = signal.Signals(number)
        if first_process() and os.isatty(2):
            os.write(2, _STOPPING)  # no print: it may be at work already

    def after_step(self, trainer: pl.Trainer) -> None:
        """Stop, with a checkpoint, if a signal came to one of the processes."""
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
    except UNREADABLE as error:
        if checkpoint is None or stop.started or isinstance(error, UserError):
            raise
        raise UserError(
            f"{checkpoint} cannot be gone on from ({describe_error(error)}); delete it, or put a "
            "whole copy there"
        ) from error
    finally:
        trainer.callbacks.remove(stop)  # type: ignore[attr-defined]
    limits = (c for c in trainer.callbacks if isinstance(c, TimeLimit))  # type: ignore[attr-defined]
    stopped = next((limit.describe(trainer) for limit in limits), None)
    if stopped is not None and trainer.is_global_zero:
        _log.warning("stopped %s; --resume goes on from there", stopped)
    return stopped
