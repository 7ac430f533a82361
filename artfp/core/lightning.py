"""Lightning's Trainer as all trainings use it: its arguments, its log, the check of losses."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.loggers import TensorBoardLogger
from torch import Tensor

from artfp.core.checkpoints import TimedCheckpoint, WholeCheckpoints, last_checkpoint
from artfp.core.device import RunSettings
from artfp.core.errors import UserError
from artfp.core.fitting import TimeLimit
from artfp.core.lightning_progress import LightningProgress

PRECISIONS = ("32-true", "bf16-mixed")
"""Half precision with scaled losses is none: one scale does not fit several networks."""

_log = logging.getLogger("artfp")


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
    plugins: Any = [] if options.get("enable_checkpointing") is False else [WholeCheckpoints()]
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
        TimeLimit(settings.max_time),
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
