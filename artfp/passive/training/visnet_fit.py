"""One whole training of a VisNet: from images and labels to weights."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torchvision.utils import make_grid

from artfp.core.lightning import (
    check_above,
    check_not_below,
    lightning_options,
    new_trainer,
    precision_of,
    resumed,
)
from artfp.data.pixels import to_unit
from artfp.passive.networks.visnet import VisNet
from artfp.passive.training.labelled import Labelled, LabelledData, claim, run
from artfp.passive.training.visnet import VisNetModule, VisNetRecipe

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
    trainer: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        whole = {**asdict(self.recipe), **vars(self)}
        above = ("width", "max_steps", "batch_size", "rate", "look_every", "checkpoint_minutes")
        check_above(whole, *above)
        check_not_below(whole, "seed")
        precision_of(self.trainer)

    def told(self) -> dict[str, Any]:
        """What two trainings have in common that come to the same, for the card."""
        recipe = asdict(self.recipe)
        return {
            **recipe,
            "betas": list(self.recipe.betas),
            "width": self.width,
            "batch_size": self.batch_size,
            "seed": self.seed,
            "precision": precision_of(self.trainer),
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
    resume = resumed(settings)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        network = VisNet(len(sources), training.pixels.shape[-1], settings.width)
        module = VisNetModule(network, settings.recipe, settings.seed)
    trainer = _trainer(settings, held_out)
    claim(settings.output_dir, RUN, settings.told(), sources, training)
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
    data = LabelledData(training, held_out, settings.batch_size, settings.seed)
    run(trainer, module, data, resume)
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


def _trainer(settings: VisNetTraining, held_out: Labelled) -> pl.Trainer:
    firsts = [int((held_out.labels == k).nonzero()[0]) for k in held_out.labels.unique()]
    pictures = FingerprintPictures(held_out.pixels[firsts[:_SHOWN]])
    options = lightning_options(settings, settings.max_steps, [pictures], settings.look_every)
    return new_trainer(**{"devices": 1, **options})
