"""Training of a classifier of sources, from labelled images to weights."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytorch_lightning as pl
import torch
from matplotlib.figure import Figure
from torch import Tensor

from artfp.core.errors import UserError
from artfp.core.lightning import new_trainer, resume_from, trainer_arguments
from artfp.core.run_folder import exclusive
from artfp.data.files import write_atomic
from artfp.passive.networks.classifier import ClassifierDesign, SourceClassifier
from artfp.passive.settings import ClassifierSettings
from artfp.passive.training.classifier import (
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
from artfp.reporting.figure import figure_style, shown_name

_RUN = "attributor"

_log = logging.getLogger("artfp")


@dataclass(frozen=True)
class InitialNetwork:
    """Network whose weights a training begins with; `name` stands for it in the card."""

    network: SourceClassifier
    name: str


@dataclass(frozen=True)
class TrainedClassifier:
    """Averaged weights of a network after `steps` steps, on the CPU, in evaluation mode.

    `stopped` says what stopped the training before its last step, if something did.
    """

    network: SourceClassifier
    steps: int
    stopped: str | None = None


def classifier_design(
    settings: ClassifierSettings, side: int, init: InitialNetwork | None = None
) -> ClassifierDesign:
    """Return the design of the network for squares of `side` pixels.

    What the settings leave open is as in `init`, or else the design's default. Raises UserError:
    settings that exclude each other.
    """
    given = {
        "network": settings.network,
        "low_pass": settings.low_pass,
        "residual": settings.high_pass,
        "convolve_from": settings.convolve_from,
    }
    base = {} if init is None else init.network.design.card()
    chosen: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    return ClassifierDesign(**{**base, "resolution": side, **chosen})


def training_recipe(settings: ClassifierSettings, design: ClassifierDesign) -> TrainingRecipe:
    """Return the recipe of the network, with the learning rate and steps of the settings."""
    recipe = RECIPES[design.network]
    return replace(recipe, lr=settings.lr or recipe.lr, steps=settings.max_steps or recipe.steps)


def training_card(
    settings: ClassifierSettings, design: ClassifierDesign, init: InitialNetwork | None = None
) -> dict[str, Any]:
    """Return the settings that decide the result of a training, for the card."""
    return {
        "design": design.card(),
        "batch_size": settings.batch_size,
        "lr": training_recipe(settings, design).lr,
        "mirror": settings.mirror,
        "immunise": list(settings.immunise),
        "init": None if init is None else init.name,
        "seed": settings.seed,
        "precision": settings.precision,
    }


@exclusive
def train_source_classifier(
    settings: ClassifierSettings,
    sources: Sequence[str],
    training: LabelledImages,
    held_out: LabelledImages,
    init: InitialNetwork | None = None,
    callbacks: Sequence[pl.Callback] = (),
) -> TrainedClassifier | None:
    """Train a network on labelled images, validating it on others; keep checkpoints.

    With `resume` a training goes on from `<output_dir>/checkpoints/last.ckpt`, to the same result
    as without an interruption; `max_steps` may be raised.

    Args:
        settings: Network, optimisation, folder and device.
        sources: Names of the sources.
        training: Images to train on, squares of the network's side.
        held_out: Images to validate on.
        init: Network whose weights the training begins with.
        callbacks: Further callbacks of Lightning's Trainer.

    Returns:
        The network; None on all processes but the first.

    Raises:
        UserError: settings that cannot work, or another training in the folder.
    """
    design = classifier_design(settings, training.pixels.shape[-1], init)
    if init is not None and init.network.design != design:
        raise UserError(f"init holds the network {init.network.design}, not {design}")
    resume = resume_from(settings)
    recipe = training_recipe(settings, design)
    immunity = Immunisation(settings.immunise) if settings.immunise else None
    module = ClassifierModule(
        _network(design, len(sources), settings.seed, init),
        recipe,
        settings.mirror,
        immunity,
        settings.seed,
    )
    callbacks = [ConfusionCallback(sources), *callbacks]
    options = trainer_arguments(settings, recipe.steps, callbacks, settings.validate_every)
    trainer = new_trainer(**options)
    card = training_card(settings, design, init)
    claim_training(settings.output_dir, _RUN, card, sources, training)
    if trainer.is_global_zero:
        write_atomic(settings.output_dir / "config.yaml", settings.to_yaml())
        _log.info(
            "%d images to train on%s, %d held out; %s network at %d px, %d parameters, %d steps "
            "of %d images",
            len(training),
            f", perturbed by {', '.join(settings.immunise)}" if settings.immunise else "",
            len(held_out),
            design.network,
            design.resolution,
            sum(p.numel() for p in module.network.parameters()),
            recipe.steps,
            settings.batch_size,
        )
    data = LabelledData(training, held_out, settings.batch_size, settings.seed)
    stopped = run_training(trainer, module, data, resume)
    if not trainer.is_global_zero:
        return None
    return TrainedClassifier(module.ema.cpu().eval(), module.global_step, stopped)


def _network(
    design: ClassifierDesign, sources: int, seed: int, init: InitialNetwork | None
) -> SourceClassifier:
    """Return new weights, or those that the training begins with."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = design.build(sources)
    if init is not None:
        network.load_state_dict(init.network.state_dict())
    return network


class ConfusionCallback(pl.Callback):
    """Confusion matrix of the held-out images in TensorBoard, at each validation."""

    def __init__(self, sources: Sequence[str]) -> None:
        self.sources = tuple(sources)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Plot what the module has counted."""
        assert isinstance(pl_module, ClassifierModule)
        board = getattr(trainer.logger, "experiment", None)
        if trainer.is_global_zero and board is not None and hasattr(board, "add_figure"):
            figure = plot_confusion_counts(pl_module.confusion, self.sources)
            board.add_figure("held_out/confusion", figure, trainer.global_step)


@figure_style
def plot_confusion_counts(counts: Tensor, sources: Sequence[str]) -> Figure:
    """Plot fractions of each source's images (rows) by largest logit (columns)."""
    names = [shown_name(name, 20) for name in sources]
    fractions = (counts / counts.sum(1, keepdim=True).clamp_min(1.0)).numpy()
    side = 1.8 + 0.42 * len(names)
    figure = Figure(figsize=(side + 0.6, side), layout="constrained")
    panel = figure.subplots()
    panel.imshow(fractions, cmap="Blues", vmin=0.0, vmax=1.0)
    panel.set_xticks(range(len(names)), names, rotation=45, ha="right", rotation_mode="anchor")
    panel.set_yticks(range(len(names)), names)
    panel.set_xlabel("largest logit")
    panel.set_ylabel("held-out images of")
    for row, line in enumerate(fractions if len(names) <= 12 else []):
        for column, fraction in enumerate(line):
            if fraction >= 0.005:
                colour = "white" if fraction > 0.6 else "black"
                panel.text(column, row, f"{fraction:.2f}", ha="center", va="center", fontsize=7,
                           color=colour)  # fmt: skip
    return figure
