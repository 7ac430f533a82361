"""One whole training of a network that tells sources apart: from images and labels to weights."""

from __future__ import annotations

import hashlib
import logging
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from matplotlib.figure import Figure
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.loggers import TensorBoardLogger
from torch import Tensor
from torch.utils.data import DataLoader

from artfp.data.journal import Manifest
from artfp.data.writing import write_atomic
from artfp.errors import UserError, one_line
from artfp.models.attributor import AttributorNetwork, Design
from artfp.trainer import new_trainer
from artfp.training.attributor import (
    IMMUNITIES,
    RECIPES,
    AttributorModule,
    Balanced,
    Immunisation,
    InOrder,
    Recipe,
)
from artfp.training.callbacks import StepProgress
from artfp.training.checkpoints import TimedCheckpoint

PRECISIONS = ("32-true", "bf16-mixed")
LAST = "last.ckpt"
RUN = "attributor"

_log = logging.getLogger("artfp")


@dataclass
class AttributorTraining:
    """What decides a training; see `artfp attribute train --help` for each.

    `rate` and `max_steps` are the recipe's of the network where they are None. `immunise` has names
    from IMMUNITIES. `init` is a network for the same sources that the training goes on from, and
    `origin` what the card tells of it. `trainer` holds further arguments of Lightning's Trainer,
    `callbacks` come to those that there are.

    Raises UserError: a number that cannot be, or an `init` of another design.
    """

    output_dir: Path
    design: Design
    max_steps: int | None = None
    batch_size: int = 32
    rate: float | None = None
    mirror: bool = True
    immunise: Sequence[str] = ()
    init: AttributorNetwork | None = None
    origin: str | None = None
    seed: int = 0
    look_every: int = 100
    checkpoint_minutes: float = 10.0
    resume: bool = False
    progress: bool = True
    trainer: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        recipe = RECIPES[self.design.network]
        self.max_steps = recipe.steps if self.max_steps is None else self.max_steps
        self.rate = recipe.rate if self.rate is None else self.rate
        for what in ("max_steps", "batch_size", "rate", "look_every", "checkpoint_minutes"):
            if not 0 < getattr(self, what) < math.inf:
                raise UserError(f"{what} is {getattr(self, what)}; it must be above 0")
        if self.seed < 0:
            raise UserError(f"seed is {self.seed}; it must be 0 or more")
        precision = self.trainer.get("precision", PRECISIONS[0])
        if precision not in PRECISIONS:
            raise UserError(f"precision is {precision}; choose from {', '.join(PRECISIONS)}")
        if self.immunise:
            Immunisation(self.immunise)
        self.immunise = tuple(name for name in IMMUNITIES if name in self.immunise)
        if self.init is not None and self.init.design != self.design:
            raise UserError(f"init holds the network {self.init.design}, not {self.design}")

    def immunity(self) -> Immunisation | None:
        """What perturbs images in training."""
        return Immunisation(self.immunise) if self.immunise else None

    def recipe(self) -> Recipe:
        """The network's recipe at the rate that was asked for."""
        assert self.rate is not None
        return replace(RECIPES[self.design.network], rate=self.rate)

    def told(self) -> dict[str, Any]:
        """What two trainings have in common that come to the same, for the card."""
        return {
            "design": self.design.card(),
            "batch_size": self.batch_size,
            "rate": self.rate,
            "mirror": self.mirror,
            "immunise": list(self.immunise),
            "init": self.origin,
            "seed": self.seed,
            "precision": self.trainer.get("precision", PRECISIONS[0]),
        }


@dataclass(frozen=True)
class Labelled:
    """8-bit images (N, 3, R, R) and the numbers (N,), int64, of their sources, 0 to K - 1."""

    pixels: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class TrainedNetwork:
    """The mean of a network's weights after so many steps, on the CPU, in evaluation mode."""

    network: AttributorNetwork
    steps: int


def train_network(
    settings: AttributorTraining,
    sources: Sequence[str],
    training: Labelled,
    held_out: Labelled,
    config: str = "",
) -> TrainedNetwork | None:
    """Train on some images of each source, looking at others; keep checkpoints on the way.

    Goes on from `<output_dir>/checkpoints/last.ckpt` when `resume` is set and there is one, to the
    same result as without an interruption; `max_steps` may be raised. `config`, text, goes into
    `<output_dir>/config.yaml`. Returns None on all processes but the first. Raises UserError:
    settings that cannot work, or a training of something else in the folder.
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
    module = AttributorModule(
        _network(settings, len(sources)),
        settings.recipe(),
        settings.mirror,
        settings.immunity(),
        settings.seed,
    )
    trainer = _trainer(settings, sources)
    deciding = {**settings.told(), "sources": list(sources), "images_sha256": _digest(training)}
    Manifest.claim(output, deciding, RUN)
    if trainer.is_global_zero:
        if config:
            write_atomic(output / "config.yaml", config)
        _say(settings, module, training, held_out)
    data = _Data(training, held_out, settings.batch_size, settings.seed)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r".*does not have many workers")
        trainer.fit(module, datamodule=data, ckpt_path=resume, weights_only=resume is not None)
    if trainer.interrupted:
        raise KeyboardInterrupt
    if not trainer.is_global_zero:
        return None
    return TrainedNetwork(module.average.cpu().eval(), module.global_step)


class _Data(pl.LightningDataModule):
    """Training batches from the trainer's step on; held out images in their order."""

    def __init__(self, training: Labelled, held_out: Labelled, batch_size: int, seed: int) -> None:
        super().__init__()
        self.training, self.held_out = training, held_out
        self.batch_size, self.seed = batch_size, seed

    def train_dataloader(self) -> DataLoader[Any]:
        assert self.trainer is not None
        place = self.trainer.global_step, self.trainer.global_rank, self.trainer.world_size
        images, labels = self.training.pixels, self.training.labels
        stream = Balanced(images, labels, self.batch_size, self.seed, *place)
        return DataLoader(stream, batch_size=None)

    def val_dataloader(self) -> DataLoader[Any]:
        return DataLoader(InOrder(self.held_out.pixels, self.held_out.labels), batch_size=None)


class ConfusionPicture(pl.Callback):
    """Shows in TensorBoard which held out images are taken for which source, at each look."""

    def __init__(self, sources: Sequence[str]) -> None:
        self.sources = tuple(sources)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Draw what the module has counted."""
        assert isinstance(pl_module, AttributorModule)
        board = getattr(trainer.logger, "experiment", None)
        if trainer.is_global_zero and board is not None and hasattr(board, "add_figure"):
            picture = confusion_picture(pl_module.confusion, self.sources)
            board.add_figure("held_out/confusion", picture, trainer.global_step)


def confusion_picture(counts: Tensor, sources: Sequence[str]) -> Figure:
    """Shares of each source's images (rows) by the source with the largest logit (columns)."""
    names = [name if len(name) <= 20 else f"{name[:19]}…" for name in map(one_line, sources)]
    shares = (counts / counts.sum(1, keepdim=True).clamp_min(1.0)).numpy()
    side = 1.8 + 0.42 * len(names)
    picture = Figure(figsize=(side + 0.6, side), dpi=100, layout="constrained")
    panel = picture.subplots()
    panel.imshow(shares, cmap="Blues", vmin=0.0, vmax=1.0)
    panel.set_xticks(range(len(names)), names, rotation=45, ha="right", rotation_mode="anchor")
    panel.set_yticks(range(len(names)), names)
    panel.tick_params(labelsize=8, length=2)
    panel.set_xlabel("largest logit", fontsize=8)
    panel.set_ylabel("held out images of", fontsize=8)
    for row, line in enumerate(shares if len(names) <= 12 else []):
        for column, share in enumerate(line):
            if share >= 0.005:
                colour = "white" if share > 0.6 else "black"
                panel.text(column, row, f"{share:.2f}", ha="center", va="center", fontsize=7,
                           color=colour)  # fmt: skip
    return picture


def _network(settings: AttributorTraining, sources: int) -> AttributorNetwork:
    """New weights, or those that the training goes on from."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        network = settings.design.build(sources)
    if settings.init is not None:
        network.load_state_dict(settings.init.state_dict())
    return network


def _trainer(settings: AttributorTraining, sources: Sequence[str]) -> pl.Trainer:
    assert settings.max_steps is not None
    callbacks: list[Callback] = [
        TimedCheckpoint(settings.output_dir / "checkpoints" / LAST, settings.checkpoint_minutes),
        ConfusionPicture(sources),
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


def _say(
    settings: AttributorTraining, module: AttributorModule, training: Labelled, held_out: Labelled
) -> None:
    against = f", perturbed by {', '.join(settings.immunise)}" if settings.immunise else ""
    _log.info(
        "%d images to train on%s, %d held out; %s network at %d px, %d parameters, "
        "%d steps of %d images",
        len(training),
        against,
        len(held_out),
        settings.design.network,
        settings.design.resolution,
        sum(p.numel() for p in module.network.parameters()),
        settings.max_steps,
        settings.batch_size,
    )
