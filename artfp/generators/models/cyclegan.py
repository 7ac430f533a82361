"""CycleGAN: two translators, each the other's inverse, and a discriminator of each domain."""

from __future__ import annotations

from dataclasses import dataclass, replace
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
from artfp.generators.models.translators import PatchDiscriminator, ResNetTranslator
from artfp.nn.adversarial_losses import least_squares_critic, least_squares_generator
from artfp.nn.random_draws import Draws


@dataclass(frozen=True)
class CycleGANConfig(Config):
    """`width` and `critic` are the translators' and the discriminators' channels at their begin.

    `kernel` and `padding` are those of `ResNetTranslator`, `cycle` and `identity` the weights of
    these losses, `pool` the past translations that are kept of each domain.
    """

    batch: int = 1
    steps: int = 250_000
    decay_from: float = 0.5
    width: int = 64
    critic: int = 64
    blocks: int = 9
    kernel: int = 3
    padding: str = "reflect"
    cycle: float = 10.0
    identity: float = 5.0
    pool: int = 50
    rate: float = 2e-4
    betas: tuple[float, float] = (0.5, 0.999)


class ImagePool(nn.Module):
    """Past translations, from which a discriminator is shown some (Zhu et al. 2017, section 4).

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
    def exchange(self, made: Tensor, draws: Draws) -> Tensor:
        """Take in images (N, 3, R, R), and return as many, without a gradient.

        Until the pool is full it keeps each image and returns it too. From then on every other
        image by chance takes the place of one in the pool, which is returned in its stead.
        """
        size = len(self.images)
        if size == 0:
            return made.detach()
        filled = int(self.filled)
        swap = (draws.uniform() < 0.5).tolist()
        places = draws.integers(size).tolist()
        shown = made.detach().clone()
        for row in range(len(made)):
            if filled < size:
                self.images[filled] = made[row]
                filled += 1
            elif swap[row]:
                shown[row] = self.images[places[row]]
                self.images[places[row]] = made[row]
        self.filled.fill_(filled)
        return shown


class CycleGANGenerator(Generator):
    """Both translators: to the first domain (target 0) and to the second (target 1)."""

    config: CycleGANConfig
    targets = (1, 0)

    def __init__(self, resolution: int, config: CycleGANConfig, classes: int = 0) -> None:
        super().__init__(resolution, config, classes)
        self.translators = nn.ModuleList(
            ResNetTranslator(config.width, config.blocks, config.padding, kernel=config.kernel)
            for _ in range(2)
        )

    def forward(self, y: Tensor, target: int) -> Tensor:
        """Images (N, 3, R, R) in [-1, 1] of either domain to such images of `target`."""
        made: Tensor = self.translators[target](y)
        return made

    def _translate(self, y: Tensor, target: int) -> Tensor:
        return self(y, target)


class CycleGAN(GenerativeModel):
    """Two players: both discriminators, then both translators."""

    name = "cyclegan"
    source = "Zhu, Park, Isola, Efros, ICCV 2017, arXiv 1703.10593"
    departures = (
        "whole images, resized, not random crops; a training's length is counted in steps, not in "
        "passes; the discriminators' turn comes first; small has 16 channels and 4 residual "
        "blocks, resamples with kernels of 4, pads with zeros, trains on batches of 4 at a higher "
        "rate and averages the weights"
    )
    resolutions = (32, 64, 128, 256)
    sizes: ClassVar[dict[str, Config]] = {
        "paper": CycleGANConfig(),
        "small": CycleGANConfig(
            batch=4,
            steps=1500,
            average=0.99,
            width=16,
            critic=16,
            blocks=4,
            kernel=4,
            padding="zeros",
            rate=5e-4,
        ),
    }
    generator_type = CycleGANGenerator
    translates = True
    domains = 2
    generator: CycleGANGenerator

    def __init__(self, resolution: int, config: CycleGANConfig, classes: int = 0) -> None:
        super().__init__(resolution, config, classes)
        self.discriminators = nn.ModuleList(PatchDiscriminator(config.critic) for _ in range(2))
        self.pools = nn.ModuleList(ImagePool(config.pool, resolution) for _ in range(2))

    @classmethod
    def configure(cls, size: str, resolution: int) -> Config:
        """The paper has six residual blocks up to 128 px, nine above."""
        config = cls.sizes[size]
        assert isinstance(config, CycleGANConfig)
        return replace(config, blocks=6) if size == "paper" and resolution <= 128 else config

    def players(self) -> list[Player]:
        """The discriminators, then the translators; rates fall from the middle on."""
        rate, betas = self.config.rate, self.config.betas
        judges, makers = (self.discriminators,), (self.generator,)
        return [
            Player("discriminators", judges, self._tell_apart, rate, betas),
            Player("translators", makers, self._deceive, rate, betas),
        ]

    def _tell_apart(self, batch: Batch, draws: Draws, moment: Moment) -> tuple[Tensor, Figures]:
        figures: Figures = {}
        losses = []
        for domain, letter in enumerate("ab"):
            judge, pool = self.discriminators[domain], self.pools[domain]
            assert isinstance(pool, ImagePool)
            with torch.no_grad():
                made = self.generator(to_signed(batch.images[1 - domain]), domain)
            made = pool.exchange(made, draws)
            real, fake = judge(torch.cat([to_signed(batch.images[domain]), made])).chunk(2)
            figures[f"real_{letter}"], figures[f"fake_{letter}"] = real.mean(), fake.mean()
            losses.append(least_squares_critic(real, fake))
        return losses[0] + losses[1], figures

    def _deceive(self, batch: Batch, draws: Draws, moment: Moment) -> tuple[Tensor, Figures]:
        """Equation 3, and the identity loss of section 5.2."""
        y = [to_signed(images) for images in batch.images]
        deceit = cycle = identity = y[0].new_zeros(())
        for domain in range(2):
            other = 1 - domain
            # One pass: what is to be translated, and what is of the target's domain already.
            both = torch.cat([y[domain], y[other]]) if self.config.identity else y[domain]
            made, *same = self.generator(both, other).split(len(batch))
            deceit = deceit + least_squares_generator(self.discriminators[other](made))
            cycle = cycle + F.l1_loss(self.generator(made, domain), y[domain])
            for kept in same:
                identity = identity + F.l1_loss(kept, y[other])
        loss = deceit + self.config.cycle * cycle + self.config.identity * identity
        return loss, {"deceit": deceit, "cycle": cycle, "identity": identity}
