"""StyleGAN2: styles that modulate the weights of convolutions, with path length regularisation."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from artfp.generators.base import AdversarialConfig, AdversarialModel, Generator, to_signed
from artfp.generators.models.stylegan2_layers import (
    Mapping,
    StyleGAN2Discriminator,
    Synthesis,
    stylegan2_widths,
)
from artfp.generators.trained_network import DataBatch, Loss, TrainingStep
from artfp.nn.adversarial_losses import (
    logistic_discriminator_loss,
    logistic_generator_loss,
    r1_penalty,
)
from artfp.nn.random_inputs import RandomInputs


@dataclass(frozen=True)
class StyleGAN2Config(AdversarialConfig):
    """Numbers of StyleGAN2."""

    batch_size: int = 32
    steps: int = 800_000
    ema_decay: float = 0.99778
    channel_base: int = 32768  # channels times the side in pixels, the same at all sides
    channel_max: int = 512  # most channels
    latent_dim: int = 512  # length of the latent vector and of a style
    mapping_depth: int = 8  # layers of the mapping network
    mixing_probability: float = 0.9  # fraction of images with two styles
    r1_weight: float = 10.0  # weight of half the squared gradients at real images
    r1_interval: int = 16  # discriminator updates for each with this penalty
    path_weight: float = 2.0  # weight of the path length regularisation
    path_interval: int = 8  # generator updates for each with this regularisation
    path_mean_rate: float = 0.01  # rate of the running mean of the path lengths
    lr: float = 2e-3
    betas: tuple[float, float] = (0.0, 0.99)


def path_lengths(y: Tensor, w: Tensor, noise: Tensor) -> Tensor:
    """Return the path lengths (N,): |J^T noise| with the Jacobian J of images y by styles w.

    It can be differentiated again. The squares are averaged over pixels and over styles (Karras et
    al. 2020, section 3.2 and equation 4).

    Args:
        y: Images (N, 3, H, W) of the styles.
        w: Styles (N, styles, latent).
        noise: Standard normal, of the shape of `y`.
    """
    pixels = y.shape[2] * y.shape[3]
    (products,) = torch.autograd.grad((y * noise).sum(), w, create_graph=True)
    return (products.square().sum(dim=2).mean(dim=1) / pixels + 1e-12).sqrt()


class StyleGAN2Generator(Generator):
    """Mapping and synthesis networks."""

    config: StyleGAN2Config

    def __init__(self, resolution: int, config: StyleGAN2Config, classes: int = 0) -> None:
        super().__init__(resolution, config, classes)
        channels = stylegan2_widths(resolution, config.channel_base, config.channel_max)
        self.mapping = Mapping(config.latent_dim, config.mapping_depth)
        self.synthesis = Synthesis(channels, config.latent_dim)

    def styles(self, rng: RandomInputs, mixing: float = 0.0) -> Tensor:
        """Draw styles (N, styles, latent); a fraction `mixing` of the images has two of them.

        They meet at a random layer; the first is that of the lower sides (Karras et al. 2019,
        section 3.1).
        """
        count, latent = self.synthesis.styles, self.config.latent_dim
        w: Tensor = self.mapping(rng.normal(latent))[:, None].expand(-1, count, -1)
        if mixing == 0.0:
            return w
        other = self.mapping(rng.normal(latent))[:, None]
        cut = rng.integers(count - 1) + 1
        cut = torch.where(rng.uniform() < mixing, cut, count)
        lower = torch.arange(count, device=cut.device) < cut[:, None]
        return torch.where(lower[:, :, None], w, other)

    def noise(self, rng: RandomInputs) -> list[Tensor]:
        """Draw noise for each layer, (N, 1, side, side)."""
        return [rng.normal(1, side, side) for side in self.synthesis.sides]

    def forward(self, rng: RandomInputs, mixing: float = 0.0) -> Tensor:
        """Generate images (N, 3, R, R) near [-1, 1]."""
        y: Tensor = self.synthesis(self.styles(rng, mixing), self.noise(rng))
        return y

    def _sample(self, rng: RandomInputs, labels: Tensor | None) -> Tensor:
        return self.forward(rng)


class StyleGAN2(AdversarialModel):
    """StyleGAN2, with lazy regularisation of both networks."""

    name = "stylegan2"
    reference = "Karras et al., CVPR 2020, arXiv 1912.04958 (configuration F)"
    departures = (
        "a penalty is due every 16 (R1) and 8 (path length) steps as published, but joins the loss "
        "of its step, so that Adam's numbers need no correction; noise is drawn anew for each "
        "image; no truncation; edges are repeated where the image of a lower side is enlarged; "
        "small is narrower, with a mapping of 4 layers and a weight of R1 for small images"
    )
    resolutions = (16, 32, 64, 128)
    paper = StyleGAN2Config()
    small = StyleGAN2Config(
        batch_size=16,
        steps=2000,
        ema_decay=0.995,
        channel_base=2048,
        channel_max=64,
        latent_dim=128,
        mapping_depth=4,
        r1_weight=1.0,
    )
    generator_type = StyleGAN2Generator
    generator: StyleGAN2Generator
    discriminator: StyleGAN2Discriminator
    path_mean: Tensor

    def __init__(self, resolution: int, config: StyleGAN2Config, classes: int = 0) -> None:
        super().__init__(resolution, config, classes)
        self.discriminator = StyleGAN2Discriminator(
            stylegan2_widths(resolution, config.channel_base, config.channel_max)
        )
        self.register_buffer("path_mean", torch.zeros(()))

    def discriminator_loss(self, batch: DataBatch, rng: RandomInputs, step: TrainingStep) -> Loss:
        """Return the cross-entropy, with R1 when it is due."""
        every = self.config.r1_interval
        due = step.index % every == 0
        with torch.no_grad():
            generated = self.generator(rng, self.config.mixing_probability)
        x = to_signed(batch.x).requires_grad_(due)
        # Not in one batch: the discriminator measures how much the images of a batch differ.
        real, fake = self.discriminator(x), self.discriminator(generated)
        loss = logistic_discriminator_loss(real, fake)
        scalars = {"real": real.mean(), "fake": fake.mean()}
        if due:
            scalars["r1"] = r1_penalty(real, x)
            loss = loss + self.config.r1_weight * every * scalars["r1"]
        return loss, scalars

    def generator_loss(self, batch: DataBatch, rng: RandomInputs, step: TrainingStep) -> Loss:
        """Return the non-saturating loss, with the path length regularisation when it is due."""
        every = self.config.path_interval
        loss = logistic_generator_loss(
            self.discriminator(self.generator(rng, self.config.mixing_probability))
        )
        if step.index % every:
            return loss, {}
        spread, length = self._path_penalty(rng)
        return loss + self.config.path_weight * every * spread, {
            "path": spread,
            "path length": length,
        }

    def _path_penalty(self, rng: RandomInputs) -> tuple[Tensor, Tensor]:
        """Return the mean squared deviation of path lengths from their running mean, and that mean.

        It is computed on half a batch, as published.
        """
        half = max(1, len(rng) // 2)
        w = self.generator.styles(rng, self.config.mixing_probability)[:half].float()
        y = self.generator.synthesis(w, [n[:half] for n in self.generator.noise(rng)])
        lengths = path_lengths(y.float(), w, rng.normal(*y.shape[1:])[:half])
        self.path_mean.lerp_(lengths.detach().mean(), self.config.path_mean_rate)
        return (lengths - self.path_mean).square().mean(), self.path_mean.clone()
