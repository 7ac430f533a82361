"""The smallest models of each kind: of classes, and between two domains."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from artfp.generators import (
    DataBatch,
    GenerativeModel,
    Generator,
    ModelConfig,
    TrainedNetwork,
)
from artfp.generators.base import to_signed
from artfp.generators.trained_network import TrainingStep
from artfp.nn.random_inputs import RandomInputs


class ToyConditional(Generator):
    """A colour for each class."""

    def __init__(self, resolution: int, config: ModelConfig, classes: int = 0) -> None:
        super().__init__(resolution, config, classes)
        self.colours = nn.Parameter(torch.zeros(classes, 3))

    def _sample(self, rng: RandomInputs, labels: Tensor | None) -> Tensor:
        assert labels is not None
        side = self.resolution
        return self.colours[labels][:, :, None, None].expand(-1, 3, side, side)


class OneNetwork(GenerativeModel):
    """Base class of models of one network of 16 px, which is trained by `_follow`."""

    resolutions = (16,)
    small = paper = ModelConfig()

    def trained_networks(self) -> list[TrainedNetwork]:
        return [
            TrainedNetwork("generator", (self.generator,), self._follow, 0.05, betas=(0.5, 0.9))
        ]

    def _follow(
        self, batch: DataBatch, rng: RandomInputs, step: TrainingStep
    ) -> tuple[Tensor, dict[str, Any]]:
        raise NotImplementedError


class ToyLabelled(OneNetwork):
    """One network, which follows the mean of each class."""

    name, reference, departures, labelled = "toy-labelled", "arXiv", "none", True
    generator_type = ToyConditional
    generator: ToyConditional

    def _follow(
        self, batch: DataBatch, rng: RandomInputs, step: TrainingStep
    ) -> tuple[Tensor, dict[str, Any]]:
        assert batch.labels is not None
        miss = self.generator.colours[batch.labels] - to_signed(batch.x).mean(dim=(2, 3))
        return miss.square().sum(), {}


class ToyShift(Generator):
    """What is added to the colours of one domain for the other."""

    targets = (1, 0)

    def __init__(self, resolution: int, config: ModelConfig, classes: int = 0) -> None:
        super().__init__(resolution, config, classes)
        self.shift = nn.Parameter(torch.zeros(3))

    def _translate(self, y: Tensor, target: int) -> Tensor:
        return y + (2 * target - 1) * self.shift[:, None, None]


class ToyTranslator(OneNetwork):
    """One network, which follows the difference of the domains' means."""

    name, reference, departures, translates, domains = "toy-translator", "arXiv", "none", True, 2
    generator_type = ToyShift
    generator: ToyShift

    def _follow(
        self, batch: DataBatch, rng: RandomInputs, step: TrainingStep
    ) -> tuple[Tensor, dict[str, Any]]:
        one, two = (to_signed(x).mean(dim=(0, 2, 3)) for x in batch.images)
        return (self.generator.shift - (two - one)).square().sum(), {}
