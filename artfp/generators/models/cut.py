"""CUT: one translator, by a contrastive loss between patches of its output and its input."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from artfp.generators.base import AdversarialConfig, AdversarialModel, Generator, to_signed
from artfp.generators.models.translators import PatchDiscriminator, ResNetTranslator
from artfp.generators.trained_network import DataBatch, Loss, TrainingStep
from artfp.nn.adversarial_losses import (
    least_squares_discriminator_loss,
    least_squares_generator_loss,
)
from artfp.nn.random_inputs import RandomInputs


@dataclass(frozen=True)
class CUTConfig(AdversarialConfig):
    """Numbers of CUT."""

    batch_size: int = 1
    steps: int = 400_000
    lr_decay_start: float = 0.5
    width: int = 64  # channels of the translator's first layer
    discriminator_width: int = 64  # channels of the discriminator's first layer
    residual_blocks: int = 9  # residual blocks of the translator
    kernel_size: int = 3  # kernel of the translator's resampling convolutions, 3 or 4 pixels
    padding: str = "reflect"  # or zeros
    patches: int = 256  # places of each map of features that are compared
    feature_dim: int = 256  # length of the vectors that are compared
    temperature: float = 0.07  # temperature of the contrastive loss
    contrastive_weight: float = 1.0  # weight of the contrastive loss on translations
    identity_weight: float = 1.0  # weight of it on images that are of the second domain already


def patch_nce(queries: Tensor, keys: Tensor, temperature: float) -> Tensor:
    """Return the PatchNCE loss: cross-entropy of finding each query's key among its image's.

    Args:
        queries: Vectors (N, places, features) of unit norm.
        keys: As `queries`.
        temperature: Divisor of the logits.

    Returns:
        Means (N,) over the places (Park et al. 2020, equations 2 and 3).
    """
    logits = queries @ keys.transpose(1, 2) / temperature
    own = torch.arange(logits.shape[1], device=logits.device).expand(len(logits), -1)
    return F.cross_entropy(logits.transpose(1, 2), own, reduction="none").mean(dim=1)


class PatchHeads(nn.Module):
    """Perceptron of two layers for each map of features, to vectors of unit norm."""

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
        """Return vectors (N, places, features) at places (N, places) of maps (N, C, side, side)."""
        vectors = []
        for head, features, chosen in zip(self.heads, maps, places, strict=True):
            rows = features.permute(0, 2, 3, 1).flatten(1, 2)
            rows = torch.take_along_dim(rows, chosen[..., None], dim=1)
            vectors.append(F.normalize(head(rows), dim=2))
        return vectors


class CUTGenerator(Generator):
    """Translator from the first domain to the second."""

    config: CUTConfig

    def __init__(self, resolution: int, config: CUTConfig, classes: int = 0) -> None:
        super().__init__(resolution, config, classes)
        self.translator = ResNetTranslator(
            config.width, config.residual_blocks, config.padding, kernel=config.kernel_size
        )

    def forward(self, y: Tensor) -> Tensor:
        """Translate images (N, 3, R, R) in [-1, 1]."""
        generated: Tensor = self.translator(y)
        return generated

    def _translate(self, y: Tensor, target: int) -> Tensor:
        return self.forward(y)


class CUT(AdversarialModel):
    """CUT; the heads of the contrastive loss are trained with the translator."""

    name = "cut"
    reference = "Park, Efros, Zhang, Zhu, ECCV 2020, arXiv 2007.15651"
    departures = (
        "whole images, resized, not random crops; a training's length is counted in steps, not in "
        "passes; the contrast is a mean over places and maps, and its keys have no gradient; "
        "resampling as in CycleGAN, without low-pass filters; small has 16 channels, 4 residual "
        "blocks and 64 features, resamples with kernels of 4, pads with zeros, trains on batches "
        "of 4 at a higher learning rate and averages the weights"
    )
    resolutions = (32, 64, 128, 256)
    paper = CUTConfig()
    small = CUTConfig(
        batch_size=4,
        steps=2000,
        ema_decay=0.99,
        width=16,
        discriminator_width=16,
        residual_blocks=4,
        kernel_size=4,
        padding="zeros",
        feature_dim=64,
        lr=5e-4,
    )
    generator_type = CUTGenerator
    translates = True
    domains = 2
    generator: CUTGenerator
    discriminator: PatchDiscriminator

    def __init__(self, resolution: int, config: CUTConfig, classes: int = 0) -> None:
        super().__init__(resolution, config, classes)
        self.discriminator = PatchDiscriminator(config.discriminator_width)
        self.heads = PatchHeads(self.generator.translator.widths, config.feature_dim)

    def generator_modules(self) -> tuple[nn.Module, ...]:
        """Return the translator and the heads."""
        return (self.generator, self.heads)

    def discriminator_loss(self, batch: DataBatch, rng: RandomInputs, step: TrainingStep) -> Loss:
        """Return the least squares loss."""
        a, b = map(to_signed, batch.images)
        with torch.no_grad():
            generated = self.generator(a)
        real, fake = self.discriminator(torch.cat([b, generated])).chunk(2)
        loss = least_squares_discriminator_loss(real, fake)
        return loss, {"real": real.mean(), "fake": fake.mean()}

    def generator_loss(self, batch: DataBatch, rng: RandomInputs, step: TrainingStep) -> Loss:
        """Return the loss of equation 5, section 3."""
        a, b = map(to_signed, batch.images)
        config, translator = self.config, self.generator.translator
        maps = translator.encode(torch.cat([a, b]) if config.identity_weight else a)
        generated = translator.decode(maps[-1])
        contrast, *identity = self.contrastive_loss(generated, maps, rng).split(len(batch))
        adversarial = least_squares_generator_loss(self.discriminator(generated[: len(batch)]))
        scalars = {"adversarial": adversarial, "contrast": contrast.mean()}
        loss = adversarial + config.contrastive_weight * contrast.mean()
        for loss_of_second in identity:
            scalars["identity"] = loss_of_second.mean()
            loss = loss + config.identity_weight * loss_of_second.mean()
        return loss, scalars

    def contrastive_loss(self, generated: Tensor, maps: list[Tensor], rng: RandomInputs) -> Tensor:
        """Return the mean PatchNCE (N,) of `generated` images (N, 3, R, R) over `maps` of inputs.

        The places are drawn for each row of `rng`, without repetition; where N is a multiple of
        the rows, in turn.
        """
        times = len(generated) // len(rng)
        places = []
        for features in maps:
            order = rng.uniform(features.shape[2] * features.shape[3]).argsort(dim=1)
            places.append(order[:, : self.config.patches].repeat(times, 1))
        queries = self.heads(self.generator.translator.encode(generated), places)
        with torch.no_grad():
            keys = self.heads(maps, places)
        pairs = zip(queries, keys, strict=True)
        losses = [patch_nce(*pair, self.config.temperature) for pair in pairs]
        return torch.stack(losses).mean(dim=0)
