"""StarGAN: one translator to any class, and a discriminator that also tells the class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from artfp.generators.base import (
    Batch,
    Config,
    Figures,
    GenerativeModel,
    Generator,
    Moment,
    Player,
    to_signed,
)
from artfp.generators.models.translators import ResNetTranslator
from artfp.nn.adversarial_losses import between, gradient_penalty
from artfp.nn.random_draws import Draws


@dataclass(frozen=True)
class StarGANConfig(Config):
    """`width` and `critic` are the translator's and the discriminator's channels at their begin.

    `cycle`, `classify` and `penalty` weigh these losses; `turns` is the discriminator's a step.
    """

    batch: int = 16
    steps: int = 40_000
    decay_from: float = 0.5
    width: int = 64
    critic: int = 64
    blocks: int = 6
    turns: int = 5
    cycle: float = 10.0
    classify: float = 1.0
    penalty: float = 10.0
    rate: float = 1e-4
    betas: tuple[float, float] = (0.5, 0.999)


class StarGANGenerator(Generator):
    """A translator that sees the class to make as constant planes beside the image."""

    config: StarGANConfig

    def __init__(self, resolution: int, config: StarGANConfig, classes: int = 0) -> None:
        super().__init__(resolution, config, classes)
        self.targets = tuple(range(classes))
        self.translator = ResNetTranslator(
            config.width, config.blocks, "zeros", inputs=3 + classes, kernel=4, affine=True
        )

    def forward(self, y: Tensor, labels: Tensor) -> Tensor:
        """Images (N, 3, R, R) in [-1, 1] to such images of the classes `labels` (N,) int64."""
        planes = F.one_hot(labels, self.classes).to(y)[:, :, None, None]
        planes = planes.expand(-1, -1, *y.shape[2:])
        made: Tensor = self.translator(torch.cat([y, planes], dim=1))
        return made

    def _translate(self, y: Tensor, target: int) -> Tensor:
        return self(y, torch.full((len(y),), target, device=y.device))


class StarGANDiscriminator(nn.Module):
    """Images (N, 3, R, R) in [-1, 1] to scores (N,), higher for real ones, and logits (N, classes).

    Convolutions of 4 pixels halve the side, six times or down to 1 pixel, without norms; the score
    is the mean over those of all places that are left.
    """

    def __init__(self, resolution: int, config: StarGANConfig, classes: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels, side = 3, resolution
        for number in range(min(6, resolution.bit_length() - 1)):
            wider = config.critic * 2**number
            layers += [nn.Conv2d(channels, wider, 4, stride=2, padding=1), nn.LeakyReLU(0.01)]
            channels, side = wider, side // 2
        self.layers = nn.Sequential(*layers)
        self.score = nn.Conv2d(channels, 1, 3, padding=1, bias=False)
        self.classify = nn.Conv2d(channels, classes, side, bias=False)

    def forward(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Scores (N,) and logits (N, classes)."""
        h = self.layers(y)
        return self.score(h).mean(dim=(1, 2, 3)), self.classify(h).flatten(1)


class StarGAN(GenerativeModel):
    """Two players; the discriminator has `turns` of them a step."""

    name = "stargan"
    source = "Choi, Choi, Kim, Ha, Kim, Choo, CVPR 2018, arXiv 1711.09020"
    departures = (
        "one class an image, by softmax, as the paper has it for expressions; one set of labels; "
        "smaller images are halved less often by the discriminator; small has 16 channels, 4 "
        "residual blocks, two turns of the discriminator a step, batches of 8, a higher rate and "
        "averaged weights"
    )
    resolutions = (32, 64, 128, 256)
    sizes: ClassVar[dict[str, Config]] = {
        "paper": StarGANConfig(),
        "small": StarGANConfig(
            batch=8, steps=1200, average=0.99, width=16, critic=16, blocks=4, turns=2, rate=2e-4
        ),
    }
    generator_type = StarGANGenerator
    labelled = True
    translates = True
    generator: StarGANGenerator

    def __init__(self, resolution: int, config: StarGANConfig, classes: int = 0) -> None:
        super().__init__(resolution, config, classes)
        self.discriminator = StarGANDiscriminator(resolution, config, classes)

    def players(self) -> list[Player]:
        """The discriminator, then the translator; rates fall from the middle on."""
        rate, betas, turns = self.config.rate, self.config.betas, self.config.turns
        judges, makers = (self.discriminator,), (self.generator,)
        return [
            Player(
                "discriminator",
                judges,
                self._tell_apart,
                rate,
                betas,
                repeats=turns,
            ),
            Player("translator", makers, self._deceive, rate, betas),
        ]

    def _tell_apart(self, batch: Batch, draws: Draws, moment: Moment) -> tuple[Tensor, Figures]:
        """Equation 5, with the penalty of equation 8."""
        assert batch.labels is not None
        y = to_signed(batch.x)
        with torch.no_grad():
            made = self.generator(y, draws.integers(self.classes))
        scores, logits = self.discriminator(torch.cat([y, made]))
        real, fake = scores.chunk(2)
        classes = F.cross_entropy(logits[: len(y)], batch.labels)
        penalty = self.penalty(y, made, draws)
        loss = fake.mean() - real.mean()
        loss = loss + self.config.classify * classes + self.config.penalty * penalty
        figures = {"classes": classes, "penalty": penalty}
        return loss, {"real": real.mean(), "fake": fake.mean(), **figures}

    def penalty(self, real: Tensor, fake: Tensor, draws: Draws) -> Tensor:
        """Gradient penalty of the discriminator's scores between images (N, 3, R, R) in [-1, 1]."""
        at = between(real, fake, draws).requires_grad_()
        scores, _ = self.discriminator(at)
        return gradient_penalty(scores, at)

    def _deceive(self, batch: Batch, draws: Draws, moment: Moment) -> tuple[Tensor, Figures]:
        """Equation 6."""
        assert batch.labels is not None
        y, wanted = to_signed(batch.x), draws.integers(self.classes)
        made = self.generator(y, wanted)
        scores, logits = self.discriminator(made)
        deceit, classes = -scores.mean(), F.cross_entropy(logits, wanted)
        cycle = F.l1_loss(self.generator(made, batch.labels), y)
        loss = deceit + self.config.classify * classes + self.config.cycle * cycle
        return loss, {"deceit": deceit, "classes": classes, "cycle": cycle}
