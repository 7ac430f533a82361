"""One whole training of a VisNet: from images and labels to weights."""

from __future__ import annotations

import hashlib
import logging
import math
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.loggers import TensorBoardLogger
from torch import Tensor
from torch.utils.data import DataLoader
from torchvision.utils import make_grid

from artfp.data.journal import Manifest
from artfp.data.pixels import to_unit
from artfp.errors import UserError
from artfp.models.visnet import VisNet
from artfp.trainer import new_trainer
from artfp.training.attributor import Balanced, InOrder
from artfp.training.attributor_fit import Labelled
from artfp.training.callbacks import StepProgress
from artfp.training.checkpoints import TimedCheckpoint
from artfp.training.visnet import VisNetModule, VisNetRecipe

PRECISIONS = ("32-true", "bf16-mixed")
LAST = "last.ckpt"
RUN = "visnet"

_SHOWN = 8
_SPREAD = 3.0

_log = logging.getLogger("artfp")


@dataclass
class VisNetTraining:
    """What decides a training; see `artfp attribute visnet --help` for each.

    `trainer` holds further arguments of Lightning's Trainer. Raises UserError: a number that cannot
    be.
    """

    output_dir: Path
    recipe: VisNetRecipe = field(default_factory=VisNetRecipe)
    width: int = 16
    max_steps: int = 1500
    batch_size: int = 32
    seed: int = 0
    look_every: int = 250
    checkpoint_minutes: float = 10.0
    resume: bool = False
    progress: bool = True
    trainer: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        whole = {**asdict(self.recipe), **vars(self)}
        for what in (
            "width",
            "max_steps",
            "batch_size",
            "rate",
            "look_every",
            "checkpoint_minutes",
        ):
            if not 0 < whole[what] < math.inf:
                raise UserError(f"{what} is {whole[what]}; it must be above 0")
        if self.seed < 0:
            raise UserError(f"seed is {self.seed}; it must be 0 or more")
        precision = self.trainer.get("precision", PRECISIONS[0])
        if precision not in PRECISIONS:
            raise UserError(f"precision is {precision}; choose from {', '.join(PRECISIONS)}")

    def told(self) -> dict[str, Any]:
        """What two trainings have in common that come to the same, for the card."""
        recipe = asdict(self.recipe)
        return {
            **recipe,
            "betas": list(self.recipe.betas),
            "width": self.width,
            "batch_size": self.batch_size,
            "seed": self.seed,
            "precision": self.trainer.get("precision", PRECISIONS[0]),
        }


def train_visnet(
    settings: VisNetTraining, sources: Sequence[str], training: Labelled, held_out: Labelled
) -> tuple[VisNet, int]:
    """The mean of a VisNet's weights, on the CPU in evaluation mode, and the steps it has made.

    It is trained on some images of each source, looking at others, and goes on from
    `<output_dir>/checkpoints/last.ckpt` when `resume` is set and there is one, to the same result
    as without an interruption; `max_steps` may be raised. Raises UserError: settings that cannot
    work, or a training of something else in the folder.
    """
    output = settings.output_dir
    last = output / "checkpoints" / LAST
    if not settings.resume and last.exists():
        raise UserError(
            f"{output} already holds a training; add --resume to go on, or take another folder"
        )
    resume = last if settings.resume and last.is_file() else None
    if settings.resume and resume is None:
        _log.warning("no checkpoint at %s yet: starting from the beginning", last)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        network = VisNet(len(sources), training.pixels.shape[-1], settings.width)
        module = VisNetModule(network, settings.recipe, settings.seed)
    trainer = _trainer(settings, held_out)
    deciding = {**settings.told(), "sources": list(sources), "images_sha256": _digest(training)}
    Manifest.claim(output, deciding, RUN)
    _log.info(
        "%d images to train on, %d held out; a VisNet at %d px, %d parameters, %d steps of %d "
        "images",
        len(training),
        len(held_out),
        network.resolution,
        sum(p.numel() for p in network.parameters()),
        settings.max_steps,
        settings.batch_size,
    )
    data = _Data(training, held_out, settings)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r".*does not have many workers")
        trainer.fit(module, datamodule=data, ckpt_path=resume, weights_only=resume is not None)
    if trainer.interrupted:
        raise KeyboardInterrupt
    return module.average.cpu().eval(), module.global_step


class FingerprintPictures(pl.Callback):
    """Shows in TensorBoard at each look the models' fingerprints, and images with theirs."""

    def __init__(self, pixels: Tensor) -> None:
        """Take a few 8-bit images (N, 3, R, R)."""
        self.pixels = pixels

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Draw them."""
        assert isinstance(pl_module, VisNetModule)
        board = getattr(trainer.logger, "experiment", None)
        if not trainer.is_global_zero or board is None or not hasattr(board, "add_image"):
            return
        network, step = pl_module.average, trainer.global_step
        x = to_unit(self.pixels.to(pl_module.device))
        own = network.fingerprint(x).float()
        board.add_image("fingerprints/models", _grid(stretched(network.fingerprints)), step)
        rows = torch.cat([x, x - own / 2.0, stretched(own)])
        board.add_image("fingerprints/images", _grid(rows.clamp(0.0, 1.0), len(x)), step)


def stretched(fingerprints: Tensor) -> Tensor:
    """Each of (N, 3, R, R) about gray, so that three standard deviations reach black and white."""
    x = fingerprints.detach().float()
    x = x - x.mean((1, 2, 3), keepdim=True)
    spread = x.square().mean((1, 2, 3), keepdim=True).sqrt().clamp_min(1e-12)
    return (0.5 + 0.5 * x / (_SPREAD * spread)).clamp(0.0, 1.0)


def _grid(images: Tensor, row: int = _SHOWN) -> Tensor:
    whole: Tensor = make_grid(images.cpu(), nrow=row, padding=2, pad_value=1.0)
    return whole


class _Data(pl.LightningDataModule):
    """Training batches from the trainer's step on; held out images in their order."""

    def __init__(self, training: Labelled, held_out: Labelled, settings: VisNetTraining) -> None:
        super().__init__()
        self.training, self.held_out, self.settings = training, held_out, settings

    def train_dataloader(self) -> DataLoader[Any]:
        assert self.trainer is not None
        stream = Balanced(
            self.training.pixels,
            self.training.labels,
            self.settings.batch_size,
            self.settings.seed,
            self.trainer.global_step,
        )
        return DataLoader(stream, batch_size=None)

    def val_dataloader(self) -> DataLoader[Any]:
        return DataLoader(InOrder(self.held_out.pixels, self.held_out.labels), batch_size=None)


def _trainer(settings: VisNetTraining, held_out: Labelled) -> pl.Trainer:
    firsts = [int((held_out.labels == k).nonzero()[0]) for k in held_out.labels.unique()]
    callbacks: list[Callback] = [
        TimedCheckpoint(settings.output_dir / "checkpoints" / LAST, settings.checkpoint_minutes),
        FingerprintPictures(held_out.pixels[firsts[:_SHOWN]]),
        *settings.trainer.get("callbacks", []),
    ]
    if settings.progress:
        callbacks.append(StepProgress(refresh_rate=10))
    options: dict[str, Any] = {
        "max_epochs": -1,
        "max_steps": settings.max_steps,
        "val_check_interval": min(settings.look_every, settings.max_steps),
        "check_val_every_n_epoch": None,
        "num_sanity_val_steps": 0,
        "log_every_n_steps": 10,
        "devices": 1,
        "use_distributed_sampler": False,
        "enable_model_summary": False,
        "enable_progress_bar": settings.progress,
        "logger": TensorBoardLogger(settings.output_dir, name="tensorboard", version=""),
        **settings.trainer,
        "callbacks": callbacks,
    }
    return new_trainer(**options)


def _digest(training: Labelled) -> str:
    digest = hashlib.sha256(training.labels.numpy().tobytes())
    for part in training.pixels.split(1024):
        digest.update(part.contiguous().numpy().tobytes())
    return digest.hexdigest()
