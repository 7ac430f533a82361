"""The Lightning module that trains a network to tell sources apart, and the batches it learns from.

Everything random depends on the seed, the step and the process alone, so that a training that was
stopped goes on to the same result.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from artfp.core.errors import UserError
from artfp.data.pixels import to_8bit, to_unit
from artfp.nn.ema import ema_copy, update_ema
from artfp.nn.random_inputs import derive_seed
from artfp.passive.networks.classifier import SourceClassifier
from artfp.passive.training.labelled import Batch, HeldOutValidation
from artfp.perturbations.chains import Combination

EMA_DECAY = 0.999
"""Decay a step of the running mean of the weights."""

IMMUNITIES = {
    "relight": "relight",
    "crop": "random_crop",
    "blur": "blur",
    "jpeg": "jpeg",
    "noise": "noise",
}
"""What a network can be immunised against, in the published order, and the perturbations' names."""


class Immunisation(Combination):
    """Some of the steps of the published combination, in its order, each with probability one half.

    Of strengths from the published ranges; the result is rounded to 8 bits, as files are. What
    relights is `artfp.perturbations.local.Relight`, in the place of a network that nobody has.
    """

    def __init__(self, names: Sequence[str]) -> None:
        """Take names from IMMUNITIES. Raises UserError: another one, or none."""
        for name in names:
            if name not in IMMUNITIES:
                raise UserError(
                    f"immunise: found {name!r}; choose from {', '.join(IMMUNITIES)}, or all"
                )
        if not names:
            raise UserError(f"immunise: found no name; choose from {', '.join(IMMUNITIES)}, or all")
        wanted = {IMMUNITIES[name] for name in names}
        self.STEPS = tuple(step for step in Combination.STEPS if step[0].name in wanted)

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Perturbed images (N, 3, R, R) in [0, 1], multiples of 1/255; a generator on the CPU."""
        return to_unit(to_8bit(self.soft(x, torch.ones(len(x)), generator)))


@dataclass(frozen=True)
class TrainingRecipe:
    """How a network learns: `rate`, `betas` and `decay` of the weights of AdamW.

    Without decay that is Adam.
    """

    rate: float
    betas: tuple[float, float]
    decay: float
    steps: int


RECIPES = {
    "published": TrainingRecipe(1e-3, (0.0, 0.99), 0.0, 20_000),
    "compact": TrainingRecipe(3e-3, (0.9, 0.99), 0.01, 2_000),
}
"""By network. Rate, betas and no decay are as published; steps are not told there."""


class ClassifierModule(HeldOutValidation):
    """A network in training; `average` is the running mean of its weights, which is what is kept.

    The mean follows faster at the start, lest it holds on to what the weights began with.

    Args: `recipe`; `mirror` half of the images at random; `immunity`, what perturbs them; `seed`.
    """

    average: SourceClassifier

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
        self.average = ema_copy(network).train()  # Lightning warns of the other mode
        self.recipe, self.mirror, self.immunity, self.seed = recipe, mirror, immunity, seed

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam, with decay of the weights if the recipe wants it."""
        return torch.optim.AdamW(
            self.network.parameters(),
            self.recipe.rate,
            self.recipe.betas,
            weight_decay=self.recipe.decay,
            fused=self.device.type in ("cpu", "cuda"),
        )

    def varied(self, x: Tensor) -> Tensor:
        """Images (N, 3, R, R) in [0, 1], mirrored and perturbed as this step wants it."""
        draws = torch.Generator().manual_seed(
            derive_seed(self.seed, self.global_step, 0, self.global_rank)
        )
        if self.mirror:
            turned = torch.rand(len(x), generator=draws) < 0.5
            x = torch.where(turned.view(-1, 1, 1, 1).to(x.device), x.flip(-1), x)
        return x if self.immunity is None else self.immunity(x, draws)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Cross entropy of a balanced batch."""
        pixels, labels = batch
        with torch.no_grad(), torch.autocast(self.device.type, enabled=False):
            x = self.varied(to_unit(pixels))
        logits = self.network(x.contiguous(memory_format=torch.channels_last)).float()
        loss = F.cross_entropy(logits, labels)
        look = self.device.type == "cpu" or self.global_step % 50 == 0  # it makes a GPU wait
        if look and not torch.isfinite(loss):
            raise UserError(
                f"step {self.global_step}: the loss is {float(loss.detach())}; take a lower --rate"
            )
        self.log("train/loss", loss.detach(), prog_bar=True)
        self.log("train/accuracy", (logits.argmax(1) == labels).float().mean(), prog_bar=True)
        return loss

    def on_train_batch_end(self, outputs: object, batch: Batch, batch_idx: int) -> None:
        """Take the step's weights into the mean."""
        step = self.global_step
        update_ema(self.average, self.network, min(EMA_DECAY, step / (step + 9.0)))
