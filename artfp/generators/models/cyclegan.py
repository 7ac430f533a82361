"""CycleGAN: two translators, each the other's inverse, and a discriminator of each domain."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from artfp.generators.base import (
    AdversarialConfig,
    AdversarialModel,
    Generator,
    ModelConfig,
    to_signed,
)
from artfp.generators.models.translators import PatchDiscriminator, ResNetTranslator
from artfp.generators.trained_network import DataBatch, Loss, Scalars, TrainingStep
from artfp.nn.adversarial_losses import (
    least_squares_discriminator_loss,
    least_squares_generator_loss,
)
from artfp.nn.random_inputs import RandomInputs


@dataclass(frozen=True)
class CycleGANConfig(AdversarialConfig):
    """Numbers of CycleGAN."""

    batch_size: int = 1
    steps: int = 250_000
    lr_decay_start: float = 0.5
    width: int = 64  # channels of the translators' first layer
    discriminator_width: int = 64  # channels of the discriminators' first layer
    residual_blocks: int = 9  # residual blocks of a translator
    kernel_size: int = 3  # kernel of the translators' resampling convolutions, 3 or 4 pixels
    padding: str = "reflect"  # or zeros
    cycle_weight: float = 10.0  # weight of the cycle consistency loss
    identity_weight: float = 5.0  # weight of the identity loss
    pool_size: int = 50  # past translations that are kept of each domain


class ImagePool(nn.Module):
    """History of translations for a discriminator (Zhu et al. 2017, section 4).

    It holds `size` images (3, R, R) in buffers, so that a checkpoint has them. Of several
    processes all have those of the first.
    """

    images: Tensor
    filled: Tensor

    def __init__(self, size: int, resolution: int) -> None:
        super().__init__()
        if size < 0:
            raise ValueError(f"a pool of {size} images; there must be 0 or more")
        self.register_buffer("images", torch.zeros(size, 3, resolution, resolution))
        self.register_buffer("filled", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def exchange(self, generated: Tensor, rng: RandomInputs) -> Tensor:
        """Store images (N, 3, R, R), and return as many, without a gradient.

        Until the pool is full it stores each image and returns it too. From then on each image,
        with probability 1/2, replaces one in the pool, which is returned instead.
        """
        size = len(self.images)
        if size == 0:
            return generated.detach()
        filled = int(self.filled)
        swap = (rng.uniform() < 0.5).tolist()
        places = rng.integers(size).tolist()
        returned = generated.detach().clone()
        for row in range(len(generated)):
            if filled < size:
                self.images[filled] = generated[row]
                filled += 1
            elif swap[row]:
                returned[row] = self.images[places[row]]
                self.images[places[row]] = generated[row]
        self.filled.fill_(filled)
        return returned


class CycleGANGenerator(Generator):
    """Both translators: to the first domain (target 0) and to the second (target 1)."""

    config: CycleGANConfig
    targets = (1, 0)

    def __init__(self, resolution: int, config: CycleGANConfig, classes: int = 0) -> None:
        super().__init__(resolution, config, classes)
        self.translators = nn.ModuleList(
            ResNetTranslator(
                config.width, config.residual_blocks, config.padding, kernel=config.kernel_size
            )
            for _ in range(2)
        )

    def forward(self, y: Tensor, target: int) -> Tensor:
        """Translate images (N, 3, R, R) in [-1, 1] of the other domain to `target`."""
        generated: Tensor = self.translators[target](y)
        return generated

    def _translate(self, y: Tensor, target: int) -> Tensor:
        return self.forward(y, target)


class CycleGAN(AdversarialModel):
    """CycleGAN; both discriminators are trained together, and both translators."""

    name = "cyclegan"
    reference = "Zhu, Park, Isola, Efros, ICCV 2017, arXiv 1703.10593"
    departures = (
        "whole images, resized, not random crops; a training's length is counted in steps, not in "
        "passes; the discriminators are updated first; small has 16 channels and 4 residual "
        "blocks, resamples with kernels of 4, pads with zeros, trains on batches of 4 at a higher "
        "learning rate and averages the weights"
    )
    resolutions = (32, 64, 128, 256)
    paper = CycleGANConfig()
    small = CycleGANConfig(
        batch_size=4,
        steps=1500,
        ema_decay=0.99,
        width=16,
        discriminator_width=16,
        residual_blocks=4,
        kernel_size=4,
        padding="zeros",
        lr=5e-4,
    )
    generator_type = CycleGANGenerator
    translates = True
    domains = 2
    generator: CycleGANGenerator
    discriminator: nn.ModuleList

    def __init__(self, resolution: int, config: CycleGANConfig, classes: int = 0) -> None:
        super().__init__(resolution, config, classes)
        self.discriminator = nn.ModuleList(
            PatchDiscriminator(config.discriminator_width) for _ in range(2)
        )
        self.pools = nn.ModuleList(ImagePool(config.pool_size, resolution) for _ in range(2))

    @classmethod
    def configure(cls, size: str, resolution: int) -> ModelConfig:
        """Return the configuration of a size; the paper has six residual blocks up to 128 px."""
        config = super().configure(size, resolution)
        assert isinstance(config, CycleGANConfig)
        fewer = size == "paper" and resolution <= 128
        return replace(config, residual_blocks=6) if fewer else config

    def discriminator_loss(self, batch: DataBatch, rng: RandomInputs, step: TrainingStep) -> Loss:
        """Return the least squares losses of both discriminators."""
        scalars: Scalars = {}
        losses = []
        for domain, letter in enumerate("ab"):
            discriminator, pool = self.discriminator[domain], self.pools[domain]
            assert isinstance(pool, ImagePool)
            with torch.no_grad():
                generated = self.generator(to_signed(batch.images[1 - domain]), domain)
            generated = pool.exchange(generated, rng)
            real, fake = discriminator(
                torch.cat([to_signed(batch.images[domain]), generated])
            ).chunk(2)
            scalars[f"real_{letter}"], scalars[f"fake_{letter}"] = real.mean(), fake.mean()
            losses.append(least_squares_discriminator_loss(real, fake))
        return losses[0] + losses[1], scalars

    def generator_loss(self, batch: DataBatch, rng: RandomInputs, step: TrainingStep) -> Loss:
        """Return the loss of equation 3, with the identity loss of section 5.2."""
        y = [to_signed(images) for images in batch.images]
        adversarial = cycle = identity = y[0].new_zeros(())
        for domain in range(2):
            other = 1 - domain
            # In one pass: images to translate, and images that are of the target domain already.
            both = torch.cat([y[domain], y[other]]) if self.config.identity_weight else y[domain]
            generated, *same = self.generator(both, other).split(len(batch))
            adversarial = adversarial + least_squares_generator_loss(
                self.discriminator[other](generated)
            )
            cycle = cycle + F.l1_loss(self.generator(generated, domain), y[domain])
            for unchanged in same:
                identity = identity + F.l1_loss(unchanged, y[other])
        loss = adversarial + self.config.cycle_weight * cycle
        loss = loss + self.config.identity_weight * identity
        return loss, {"adversarial": adversarial, "cycle": cycle, "identity": identity}
