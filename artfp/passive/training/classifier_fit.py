"""One whole training of a network that tells sources apart: from images and labels to weights."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from matplotlib.figure import Figure
from torch import Tensor

from artfp.core.errors import UserError, one_line
from artfp.core.lightning import (
    check_above,
    check_not_below,
    lightning_options,
    new_trainer,
    precision_of,
    resumed,
)
from artfp.data.files import write_atomic
from artfp.passive.networks.classifier import ClassifierDesign, SourceClassifier
from artfp.passive.training.classifier import (
    IMMUNITIES,
    RECIPES,
    ClassifierModule,
    Immunisation,
    TrainingRecipe,
)
from artfp.passive.training.labelled import (
    LabelledData,
    LabelledImages,
    claim_training,
    run_training,
)

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
    design: ClassifierDesign
    max_steps: int | None = None
    batch_size: int = 32
    rate: float | None = None
    mirror: bool = True
    immunise: Sequence[str] = ()
    init: SourceClassifier | None = None
    origin: str | None = None
    seed: int = 0
    look_every: int = 100
    checkpoint_minutes: float = 10.0
    resume: bool = False
    trainer: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        recipe = RECIPES[self.design.network]
        self.max_steps = recipe.steps if self.max_steps is None else self.max_steps
        self.rate = recipe.rate if self.rate is None else self.rate
        above = ("max_steps", "batch_size", "rate", "look_every", "checkpoint_minutes")
        check_above(vars(self), *above)
        check_not_below(vars(self), "seed")
        precision_of(self.trainer)
        if self.immunise:
            Immunisation(self.immunise)
        self.immunise = tuple(name for name in IMMUNITIES if name in self.immunise)
        if self.init is not None and self.init.design != self.design:
            raise UserError(f"init holds the network {self.init.design}, not {self.design}")

    def immunity(self) -> Immunisation | None:
        """What perturbs images in training."""
        return Immunisation(self.immunise) if self.immunise else None

    def recipe(self) -> TrainingRecipe:
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
            "precision": precision_of(self.trainer),
        }


@dataclass(frozen=True)
class TrainedClassifier:
    """The mean of a network's weights after so many steps, on the CPU, in evaluation mode."""

    network: SourceClassifier
    steps: int


def train_network(
    settings: AttributorTraining,
    sources: Sequence[str],
    training: LabelledImages,
    held_out: LabelledImages,
    config: str = "",
) -> TrainedClassifier | None:
    """Train on some images of each source, looking at others; keep checkpoints on the way.

    Goes on from `<output_dir>/checkpoints/last.ckpt` when `resume` is set and there is one, to the
    same result as without an interruption; `max_steps` may be raised. `config`, text, goes into
    `<output_dir>/config.yaml`. Returns None on all processes but the first. Raises UserError:
    settings that cannot work, or a training of something else in the folder.
    """
    resume = resumed(settings)
    module = ClassifierModule(
        _network(settings, len(sources)),
        settings.recipe(),
        settings.mirror,
        settings.immunity(),
        settings.seed,
    )
    trainer = _trainer(settings, sources)
    claim_training(settings.output_dir, RUN, settings.told(), sources, training)
    if trainer.is_global_zero:
        if config:
            write_atomic(settings.output_dir / "config.yaml", config)
        _say(settings, module, training, held_out)
    data = LabelledData(training, held_out, settings.batch_size, settings.seed)
    run_training(trainer, module, data, resume)
    if not trainer.is_global_zero:
        return None
    return TrainedClassifier(module.average.cpu().eval(), module.global_step)


class ConfusionCallback(pl.Callback):
    """Shows in TensorBoard which held out images are taken for which source, at each look."""

    def __init__(self, sources: Sequence[str]) -> None:
        self.sources = tuple(sources)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Draw what the module has counted."""
        assert isinstance(pl_module, ClassifierModule)
        board = getattr(trainer.logger, "experiment", None)
        if trainer.is_global_zero and board is not None and hasattr(board, "add_figure"):
            picture = plot_confusion_counts(pl_module.confusion, self.sources)
            board.add_figure("held_out/confusion", picture, trainer.global_step)


def plot_confusion_counts(counts: Tensor, sources: Sequence[str]) -> Figure:
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


def _network(settings: AttributorTraining, sources: int) -> SourceClassifier:
    """New weights, or those that the training goes on from."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        network = settings.design.build(sources)
    if settings.init is not None:
        network.load_state_dict(settings.init.state_dict())
    return network


def _trainer(settings: AttributorTraining, sources: Sequence[str]) -> pl.Trainer:
    pictures = ConfusionCallback(sources)
    return new_trainer(
        **lightning_options(settings, settings.max_steps, [pictures], settings.look_every)
    )


def _say(
    settings: AttributorTraining,
    module: ClassifierModule,
    training: LabelledImages,
    held_out: LabelledImages,
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
