"""StarGAN: one translator to any class, and a discriminator that also classifies."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from artfp.generators.base import AdversarialConfig, AdversarialModel, Generator, to_signed
from artfp.generators.models.translators import ResNetTranslator
from artfp.generators.trained_network import DataBatch, Loss, TrainingStep
from artfp.nn.adversarial_losses import gradient_penalty, interpolate_pairs
from artfp.nn.random_inputs import RandomInputs


@dataclass(frozen=True)
class StarGANConfig(AdversarialConfig):
    """Numbers of StarGAN."""

    batch_size: int = 16
    steps: int = 40_000
    lr_decay_start: float = 0.5
    width: int = 64  # channels of the translator's first layer
    discriminator_width: int = 64  # channels of the discriminator's first layer
    residual_blocks: int = 6  # residual blocks of the translator
    discriminator_steps: int = 5
    cycle_weight: float = 10.0  # weight of the cycle consistency (reconstruction) loss
    classification_weight: float = 1.0  # weight of the classification loss
    penalty_weight: float = 10.0  # weight of the gradient penalty
    lr: float = 1e-4


class StarGANGenerator(Generator):
    """Translator whose input is the image and constant planes of the target class."""

    config: StarGANConfig

    def __init__(self, resolution: int, config: StarGANConfig, classes: int = 0) -> None:
        super().__init__(resolution, config, classes)
        self.targets = tuple(range(classes))
        self.translator = ResNetTranslator(
            config.width, config.residual_blocks, "zeros", inputs=3 + classes, kernel=4, affine=True
        )

    def forward(self, y: Tensor, labels: Tensor) -> Tensor:
        """Translate images (N, 3, R, R) in [-1, 1] to the classes `labels` (N,) int64."""
        planes = F.one_hot(labels, self.classes).to(y)[:, :, None, None]
        planes = planes.expand(-1, -1, *y.shape[2:])
        generated: Tensor = self.translator(torch.cat([y, planes], dim=1))
        return generated

    def _translate(self, y: Tensor, target: int) -> Tensor:
        return self.forward(y, torch.full((len(y),), target, device=y.device))


class StarGANDiscriminator(nn.Module):
    """Discriminator of patches, and classifier.

    Convolutions of 4 pixels halve the side, six times or down to 1 pixel, without norms; the score
    of an image is the mean over its patches.
    """

    def __init__(self, resolution: int, config: StarGANConfig, classes: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels, side = 3, resolution
        for number in range(min(6, resolution.bit_length() - 1)):
            wider = config.discriminator_width * 2**number
            layers += [nn.Conv2d(channels, wider, 4, stride=2, padding=1), nn.LeakyReLU(0.01)]
            channels, side = wider, side // 2
        self.layers = nn.Sequential(*layers)
        self.score = nn.Conv2d(channels, 1, 3, padding=1, bias=False)
        self.classify = nn.Conv2d(channels, classes, side, bias=False)

    def forward(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Map images (N, 3, R, R) in [-1, 1] to scores (N,) and logits (N, classes)."""
        h = self.layers(y)
        return self.score(h).mean(dim=(1, 2, 3)), self.classify(h).flatten(1)


class StarGAN(AdversarialModel):
    """StarGAN, with one attribute: the class."""

    name = "stargan"
    reference = "Choi, Choi, Kim, Ha, Kim, Choo, CVPR 2018, arXiv 1711.09020"
    departures = (
        "one class an image, by softmax, as the paper has it for expressions; one set of labels; "
        "smaller images are halved less often by the discriminator; small has 16 channels, 4 "
        "residual blocks, two discriminator updates a step, batches of 8, a higher learning rate "
        "and averaged weights"
    )
    resolutions = (32, 64, 128, 256)
    paper = StarGANConfig()
    small = StarGANConfig(
        batch_size=8,
        steps=1200,
        ema_decay=0.99,
        width=16,
        discriminator_width=16,
        residual_blocks=4,
        discriminator_steps=2,
        lr=2e-4,
    )
    generator_type = StarGANGenerator
    labelled = True
    translates = True
    generator: StarGANGenerator
    discriminator: StarGANDiscriminator

    def __init__(self, resolution: int, config: StarGANConfig, classes: int = 0) -> None:
        super().__init__(resolution, config, classes)
        self.discriminator = StarGANDiscriminator(resolution, config, classes)

    def discriminator_loss(self, batch: DataBatch, rng: RandomInputs, step: TrainingStep) -> Loss:
        """Return the loss of equation 5, with the gradient penalty of equation 8."""
        assert batch.labels is not None
        y = to_signed(batch.x)
        with torch.no_grad():
            generated = self.generator(y, rng.integers(self.classes))
        scores, logits = self.discriminator(torch.cat([y, generated]))
        real, fake = scores.chunk(2)
        classes = F.cross_entropy(logits[: len(y)], batch.labels)
        penalty = self.penalty(y, generated, rng)
        loss = fake.mean() - real.mean()
        loss = (
            loss
            + self.config.classification_weight * classes
            + self.config.penalty_weight * penalty
        )
        scalars = {"classes": classes, "penalty": penalty}
        return loss, {"real": real.mean(), "fake": fake.mean(), **scalars}

    def penalty(self, real: Tensor, fake: Tensor, rng: RandomInputs) -> Tensor:
        """Return the gradient penalty of the scores between images (N, 3, R, R) in [-1, 1]."""
        at = interpolate_pairs(real, fake, rng).requires_grad_()
        scores, _ = self.discriminator(at)
        return gradient_penalty(scores, at)

    def generator_loss(self, batch: DataBatch, rng: RandomInputs, step: TrainingStep) -> Loss:
        """Return the loss of equation 6."""
        assert batch.labels is not None
        y, target = to_signed(batch.x), rng.integers(self.classes)
        generated = self.generator(y, target)
        scores, logits = self.discriminator(generated)
        adversarial, classes = -scores.mean(), F.cross_entropy(logits, target)
        cycle = F.l1_loss(self.generator(generated, batch.labels), y)
        loss = (
            adversarial
            + self.config.classification_weight * classes
            + self.config.cycle_weight * cycle
        )
        return loss, {"adversarial": adversarial, "classes": classes, "cycle": cycle}
