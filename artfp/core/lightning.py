"""What trainings of every kind share: numbers that can be, the last checkpoint, the Trainer."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from pytorch_lightning.callbacks import Callback
from pytorch_lightning.loggers import TensorBoardLogger

from artfp.core.checkpoints import TimedCheckpoint, last_checkpoint
from artfp.core.errors import UserError
from artfp.core.progress import (
    StepProgress,
)

PRECISIONS = ("32-true", "bf16-mixed")
"""Half precision with scaled losses is none: one scale does not fit several players."""

_log = logging.getLogger("artfp")


class Run(Protocol):
    """What the settings of every training have; `trainer`: further arguments of the Trainer."""

    output_dir: Path
    checkpoint_minutes: float
    resume: bool
    progress: bool
    trainer: dict[str, Any]


def check_above(settings: Mapping[str, Any], *names: str) -> None:
    """Raises UserError: one of these settings is not finite, or not above 0; None is passed by."""
    for name in names:
        value = settings[name]
        if value is not None and not 0 < value < math.inf:
            raise UserError(f"{name} is {value}; it must be above 0")


def check_not_below(settings: Mapping[str, Any], *names: str) -> None:
    """Raises UserError: one of these settings is not finite, or below 0; None is passed by."""
    for name in names:
        value = settings[name]
        if value is not None and not 0 <= value < math.inf:
            raise UserError(f"{name} is {value}; it must be 0 or more")


def precision_of(trainer: Mapping[str, Any]) -> str:
    """The precision that arguments of the Trainer ask for. Raises UserError: none of PRECISIONS."""
    precision = trainer.get("precision", PRECISIONS[0])
    if precision not in PRECISIONS:
        raise UserError(f"precision is {precision}; choose from {', '.join(PRECISIONS)}")
    return str(precision)


def resumed(settings: Run) -> Path | None:
    """The checkpoint that a training goes on from; None: it starts from the beginning.

    Raises UserError: there is one, and nobody asked to go on.
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


def lightning_options(
    settings: Run,
    max_steps: int | None,
    callbacks: Sequence[Callback],
    look_every: int | None = None,
) -> dict[str, Any]:
    """Arguments of the Trainer; those of the settings come last, their callbacks to the others.

    `look_every`: steps between looks at what is held out; None: there are no looks.
    """
    every: list[Callback] = [
        *callbacks,
        TimedCheckpoint(last_checkpoint(settings.output_dir), settings.checkpoint_minutes),
        *settings.trainer.get("callbacks", []),
    ]
    if settings.progress:
        every.append(StepProgress(refresh_rate=10))
    looks: dict[str, Any] = {"limit_val_batches": 0}
    if look_every is not None and max_steps is not None:
        looks = {
            "val_check_interval": min(look_every, max_steps),
            "check_val_every_n_epoch": None,
            "num_sanity_val_steps": 0,
        }
    return {
        "max_epochs": -1,
        "max_steps": max_steps,
        **looks,
        "log_every_n_steps": 10,
        "use_distributed_sampler": False,
        "enable_model_summary": False,
        "enable_progress_bar": settings.progress,
        "logger": TensorBoardLogger(settings.output_dir, name="tensorboard", version=""),
        **settings.trainer,
        "callbacks": every,
    }
