"""CUT: one translator, whose patches are to be told by those of its input among all others."""

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
from artfp.generators.models.translators import PatchDiscriminator, ResNetTranslator
from artfp.nn.adversarial_losses import least_squares_critic, least_squares_generator
from artfp.nn.random_draws import Draws


@dataclass(frozen=True)
class CUTConfig(Config):
    """`width` and `critic` are the translator's and the discriminator's channels at their begin.

    `kernel` and `padding` are those of `ResNetTranslator`. `patches` places of each map of features
    are compared, as vectors of `features` numbers, at `temperature`; `contrast` and `identity`
    weigh this loss on translations and on images that are of the second domain already.
    """

    batch: int = 1
    steps: int = 400_000
    decay_from: float = 0.5
    width: int = 64
    critic: int = 64
    blocks: int = 9
    kernel: int = 3
    padding: str = "reflect"
    patches: int = 256
    features: int = 256
    temperature: float = 0.07
    contrast: float = 1.0
    identity: float = 1.0
    rate: float = 2e-4
    betas: tuple[float, float] = (0.5, 0.999)


def patch_contrast(queries: Tensor, keys: Tensor, temperature: float) -> Tensor:
    """PatchNCE: cross-entropy of finding each query's own key among all of its image.

    Args: `queries` and `keys` (N, places, features), of unit norm. Returns (N,), each a mean over
    the places (Park et al. 2020, equations 2 and 3).
    """
    logits = queries @ keys.transpose(1, 2) / temperature
    own = torch.arange(logits.shape[1], device=logits.device).expand(len(logits), -1)
    return F.cross_entropy(logits.transpose(1, 2), own, reduction="none").mean(dim=1)


class PatchHeads(nn.Module):
    """A perceptron of two layers for each map of features, to vectors of unit norm."""

    def __init__(self, widths: list[int], features: int) -> None:
        super().__init__()
        self.heads = nn.ModuleList(
            nn.Sequential(
                nn.Linear(width, features), nn.ReLU(inplace=True), nn.Linear(features, features)
            )
            for width in widths
        )
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.xavier_normal_(layer.weight)
                nn.init.zeros_(layer.bias)

    def forward(self, maps: list[Tensor], places: list[Tensor]) -> list[Tensor]:
        """Vectors (N, places, features) at the places (N, places) of maps (N, C, side, side)."""
        vectors = []
        for head, features, chosen in zip(self.heads, maps, places, strict=True):
            rows = features.permute(0, 2, 3, 1).flatten(1, 2)
            rows = torch.take_along_dim(rows, chosen[..., None], dim=1)
            vectors.append(F.normalize(head(rows), dim=2))
        return vectors


class CUTGenerator(Generator):
    """A translator from the first domain to the second."""

    config: CUTConfig

    def __init__(self, resolution: int, config: CUTConfig, classes: int = 0) -> None:
        super().__init__(resolution, config, classes)
        self.translator = ResNetTranslator(
            config.width, config.blocks, config.padding, kernel=config.kernel
        )

    def forward(self, y: Tensor) -> Tensor:
        """Images (N, 3, R, R) in [-1, 1] to such images."""
        made: Tensor = self.translator(y)
        return made

    def _translate(self, y: Tensor, target: int) -> Tensor:
        return self(y)


class CUT(GenerativeModel):
    """Two players: the discriminator, then the translator with the heads."""

    name = "cut"
    source = "Park, Efros, Zhang, Zhu, ECCV 2020, arXiv 2007.15651"
    departures = (
        "whole images, resized, not random crops; a training's length is counted in steps, not in "
        "passes; the contrast is a mean over places and maps, and its keys have no gradient; "
        "resampling as in CycleGAN, without low-pass filters; small has 16 channels, 4 residual "
        "blocks and 64 features, resamples with kernels of 4, pads with zeros, trains on batches "
        "of 4 at a higher rate and averages the weights"
    )
    resolutions = (32, 64, 128, 256)
    sizes: ClassVar[dict[str, Config]] = {
        "paper": CUTConfig(),
        "small": CUTConfig(
            batch=4,
            steps=2000,
            average=0.99,
            width=16,
            critic=16,
            blocks=4,
            kernel=4,
            padding="zeros",
            features=64,
            rate=5e-4,
        ),
    }
    generator_type = CUTGenerator
    translates = True
    domains = 2
    generator: CUTGenerator

    def __init__(self, resolution: int, config: CUTConfig, classes: int = 0) -> None:
        super().__init__(resolution, config, classes)
        self.discriminator = PatchDiscriminator(config.critic)
        self.heads = PatchHeads(self.generator.translator.widths, config.features)

    def players(self) -> list[Player]:
        """The discriminator, then the translator; rates fall from the middle on."""
        rate, betas = self.config.rate, self.config.betas
        judges, makers = (self.discriminator,), (self.generator, self.heads)
        return [
            Player("discriminator", judges, self._tell_apart, rate, betas),
            Player("translator", makers, self._deceive, rate, betas),
        ]

    def _tell_apart(self, batch: Batch, draws: Draws, moment: Moment) -> tuple[Tensor, Figures]:
        a, b = map(to_signed, batch.images)
        with torch.no_grad():
            made = self.generator(a)
        real, fake = self.discriminator(torch.cat([b, made])).chunk(2)
        return least_squares_critic(real, fake), {"real": real.mean(), "fake": fake.mean()}

    def _deceive(self, batch: Batch, draws: Draws, moment: Moment) -> tuple[Tensor, Figures]:
        """Equation 5, of section 3."""
        a, b = map(to_signed, batch.images)
        config, translator = self.config, self.generator.translator
        maps = translator.encode(torch.cat([a, b]) if config.identity else a)
        made = translator.decode(maps[-1])
        contrast, *identity = self.contrast(made, maps, draws).split(len(batch))
        deceit = least_squares_generator(self.discriminator(made[: len(batch)]))
        figures = {"deceit": deceit, "contrast": contrast.mean()}
        loss = deceit + config.contrast * contrast.mean()
        for of_second in identity:
            figures["identity"] = of_second.mean()
            loss = loss + config.identity * of_second.mean()
        return loss, figures

    def contrast(self, made: Tensor, maps: list[Tensor], draws: Draws) -> Tensor:
        """Mean contrast (N,) over all maps of images `made` (N, 3, R, R) of images with `maps`.

        The places are drawn for each row of `draws`, without repetition; where N is a multiple of
        the rows, in turn.
        """
        times = len(made) // len(draws)
        places = []
        for features in maps:
            order = draws.uniform(features.shape[2] * features.shape[3]).argsort(dim=1)
            places.append(order[:, : self.config.patches].repeat(times, 1))
        queries = self.heads(self.generator.translator.encode(made), places)
        with torch.no_grad():
            keys = self.heads(maps, places)
        pairs = zip(queries, keys, strict=True)
        losses = [patch_contrast(*pair, self.config.temperature) for pair in pairs]
        return torch.stack(losses).mean(dim=0)
