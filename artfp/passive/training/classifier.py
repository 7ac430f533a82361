"""Lightning module that trains a network to classify images by source.

Everything random depends on the seed, the step and the process alone, so that a training that was
stopped goes on to the same result.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from artfp.core.lightning import check_loss
from artfp.data.pixels import to_8bit, to_unit
from artfp.nn.ema import ema_copy, update_ema
from artfp.nn.random_inputs import derive_seed
from artfp.passive.networks.classifier import SourceClassifier
from artfp.passive.settings import IMMUNITIES, immunisations
from artfp.passive.training.labelled import Batch, HeldOutValidation
from artfp.perturbations.chains import Combination

EMA_DECAY = 0.999
"""Decay per step of the exponential moving average of the weights."""


class Immunisation(Combination):
    """Some of the published perturbations, in their order, each with probability one half.

    Strengths are drawn from the published ranges; the result is rounded to 8 bits, as files are.
    `artfp.perturbations.local.Relight` replaces the relighting network, which is not published.
    """

    def __init__(self, names: Sequence[str]) -> None:
        """Take names from IMMUNITIES. Raises UserError: another one."""
        wanted = {IMMUNITIES[name] for name in immunisations(tuple(names))}
        self.STEPS = tuple(step for step in Combination.STEPS if step[0].name in wanted)

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Perturbed images (N, 3, R, R) in [0, 1], multiples of 1/255; a generator on the CPU."""
        return to_unit(to_8bit(self.differentiable(x, torch.ones(len(x)), generator)))


@dataclass(frozen=True)
class TrainingRecipe:
    """Settings of AdamW (Adam where the weight decay is 0), and the number of steps."""

    lr: float
    betas: tuple[float, float]
    weight_decay: float
    steps: int


RECIPES = {
    "published": TrainingRecipe(1e-3, (0.0, 0.99), 0.0, 20_000),
    "compact": TrainingRecipe(3e-3, (0.9, 0.99), 0.01, 2_000),
}
"""By network. Learning rate, betas and no weight decay of `published` are as published; the paper
states no number of steps."""


class ClassifierModule(HeldOutValidation):
    """Network in training; `ema`, the moving average of its weights, is what is kept.

    The decay is smaller in the first steps, so that the average forgets the initial weights.

    Args:
        network: Network to train.
        recipe: Settings of the optimiser.
        mirror: Whether half of the images are mirrored, at random.
        immunity: Perturbation of the images.
        seed: Seed of mirroring and perturbations.
    """

    ema: SourceClassifier

    def __init__(
        self,
        network: SourceClassifier,
        recipe: TrainingRecipe,
        mirror: bool = True,
        immunity: Immunisation | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(network.sources)
        self.network = network.requires_grad_(True)
        # Convolutions on CPUs are a tenth to a quarter faster in this layout.
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.ema = ema_copy(network).train()  # Lightning warns of the other mode
        self.recipe, self.mirror, self.immunity, self.seed = recipe, mirror, immunity, seed

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return AdamW with the settings of the recipe."""
        return torch.optim.AdamW(
            self.network.parameters(),
            self.recipe.lr,
            self.recipe.betas,
            weight_decay=self.recipe.weight_decay,
            fused=self.device.type in ("cpu", "cuda"),
        )

    def augment(self, x: Tensor) -> Tensor:
        """Return images (N, 3, R, R) in [0, 1], mirrored and perturbed with this step's draws."""
        rng = torch.Generator().manual_seed(
            derive_seed(self.seed, self.global_step, 0, self.global_rank)
        )
        if self.mirror:
            mirrored = torch.rand(len(x), generator=rng) < 0.5
            x = torch.where(mirrored.view(-1, 1, 1, 1).to(x.device), x.flip(-1), x)
        return x if self.immunity is None else self.immunity(x, rng)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the cross entropy of a balanced batch."""
        pixels, labels = batch
        with torch.no_grad(), torch.autocast(self.device.type, enabled=False):
            x = self.augment(to_unit(pixels))
        logits = self.network(x.contiguous(memory_format=torch.channels_last)).float()
        loss = F.cross_entropy(logits, labels)
        check_loss(self, loss)
        self.log("train/loss", loss.detach(), prog_bar=True)
        self.log("train/accuracy", (logits.argmax(1) == labels).float().mean(), prog_bar=True)
        return loss

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Update the weights, then their average: callbacks save the two after the step."""
        super().optimizer_step(*args, **kwargs)
        step = self.global_step + 1
        update_ema(self.ema, self.network, min(EMA_DECAY, step / (step + 9.0)))
