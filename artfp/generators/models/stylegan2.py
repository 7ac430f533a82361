"""StyleGAN2: styles that scale the weights of convolutions, regularised by path lengths."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

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
from artfp.generators.models.stylegan2_layers import Discriminator, Mapping, Synthesis, widths
from artfp.nn.adversarial_losses import logistic_critic, logistic_generator, r1_penalty
from artfp.nn.random_draws import Draws


@dataclass(frozen=True)
class StyleGAN2Config(Config):
    """At a side there are `volume` / side channels, at most `most`; `depth` is the mapping's.

    `mixing` is the share of images of two styles. `r1` weighs half the squared gradients at real
    images, due every `r1_every` steps; `path` weighs the path lengths' spread, due every
    `path_every`, around a mean that moves by `path_rate`.
    """

    batch: int = 32
    steps: int = 800_000
    average: float = 0.99778
    volume: int = 32768
    most: int = 512
    latent: int = 512
    depth: int = 8
    mixing: float = 0.9
    r1: float = 10.0
    r1_every: int = 16
    path: float = 2.0
    path_every: int = 8
    path_rate: float = 0.01
    rate: float = 2e-3
    betas: tuple[float, float] = (0.0, 0.99)


def path_lengths(y: Tensor, w: Tensor, noise: Tensor) -> Tensor:
    """How far images move with their styles, (N,): |J^T noise| with the Jacobian J of y by w.

    It can be differentiated again. The squares are averaged over pixels and over styles (Karras et
    al. 2020, section 3.2 and equation 4).

    Args: images `y` (N, 3, H, W) of styles `w` (N, styles, latent); `noise` as `y`, standard
    normal.
    """
    pixels = y.shape[2] * y.shape[3]
    (moved,) = torch.autograd.grad((y * noise).sum(), w, create_graph=True)
    return (moved.square().sum(dim=2).mean(dim=1) / pixels + 1e-12).sqrt()


class StyleGAN2Generator(Generator):
    """Latents to styles, styles and noise to images."""

    config: StyleGAN2Config

    def __init__(self, resolution: int, config: StyleGAN2Config, classes: int = 0) -> None:
        super().__init__(resolution, config, classes)
        channels = widths(resolution, config.volume, config.most)
        self.mapping = Mapping(config.latent, config.depth)
        self.synthesis = Synthesis(channels, config.latent)

    def styles(self, draws: Draws, mixing: float = 0.0) -> Tensor:
        """Styles (N, styles, latent); a share `mixing` of the images has two, which meet anywhere.

        The first is that of the lower sides (Karras et al. 2019, section 3.1).
        """
        count, latent = self.synthesis.styles, self.config.latent
        w = self.mapping(draws.normal(latent))[:, None].expand(-1, count, -1)
        if mixing == 0.0:
            return w
        other = self.mapping(draws.normal(latent))[:, None]
        cut = draws.integers(count - 1) + 1
        cut = torch.where(draws.uniform() < mixing, cut, count)
        lower = torch.arange(count, device=cut.device) < cut[:, None]
        return torch.where(lower[:, :, None], w, other)

    def noise(self, draws: Draws) -> list[Tensor]:
        """Noise for each layer, (N, 1, side, side)."""
        return [draws.normal(1, side, side) for side in self.synthesis.sides]

    def forward(self, draws: Draws, mixing: float = 0.0) -> Tensor:
        """Images (N, 3, R, R) near [-1, 1]."""
        y: Tensor = self.synthesis(self.styles(draws, mixing), self.noise(draws))
        return y

    def _sample(self, draws: Draws, labels: Tensor | None) -> Tensor:
        return self(draws)


class StyleGAN2(GenerativeModel):
    """Two players, each with a penalty that is due every few steps."""

    name = "stylegan2"
    source = "Karras et al., CVPR 2020, arXiv 1912.04958 (configuration F)"
    departures = (
        "a penalty is due every 16 (R1) and 8 (path length) steps as published, but joins the loss "
        "of its step, so that Adam's numbers need no correction; noise is drawn anew for each "
        "image; no truncation; edges are repeated where the image of a lower side is enlarged; "
        "small is narrower, with a mapping of 4 layers and a weight of R1 for small images"
    )
    resolutions = (16, 32, 64, 128)
    sizes: ClassVar[dict[str, Config]] = {
        "paper": StyleGAN2Config(),
        "small": StyleGAN2Config(
            batch=16,
            steps=2000,
            average=0.995,
            volume=2048,
            most=64,
            latent=128,
            depth=4,
            r1=1.0,
        ),
    }
    generator_type = StyleGAN2Generator
    generator: StyleGAN2Generator
    path_mean: Tensor

    def __init__(self, resolution: int, config: StyleGAN2Config, classes: int = 0) -> None:
        super().__init__(resolution, config, classes)
        self.discriminator = Discriminator(widths(resolution, config.volume, config.most))
        self.register_buffer("path_mean", torch.zeros(()))

    def players(self) -> list[Player]:
        """The discriminator, then the generator."""
        rate, betas = self.config.rate, self.config.betas
        return [
            Player("discriminator", (self.discriminator,), self._tell_apart, rate, betas),
            Player("generator", (self.generator,), self._deceive, rate, betas),
        ]

    def _tell_apart(self, batch: Batch, draws: Draws, moment: Moment) -> tuple[Tensor, Figures]:
        every = self.config.r1_every
        due = moment.step % every == 0
        with torch.no_grad():
            made = self.generator(draws, self.config.mixing)
        x = to_signed(batch.x).requires_grad_(due)
        # Not in one batch: the discriminator looks at how much the images of one differ.
        real, fake = self.discriminator(x), self.discriminator(made)
        loss = logistic_critic(real, fake)
        figures = {"real": real.mean(), "fake": fake.mean()}
        if due:
            figures["r1"] = r1_penalty(real, x)
            loss = loss + self.config.r1 * every * figures["r1"]
        return loss, figures

    def _deceive(self, batch: Batch, draws: Draws, moment: Moment) -> tuple[Tensor, Figures]:
        every = self.config.path_every
        loss = logistic_generator(self.discriminator(self.generator(draws, self.config.mixing)))
        if moment.step % every:
            return loss, {}
        spread, length = self._path_penalty(draws)
        return loss + self.config.path * every * spread, {"path": spread, "path length": length}

    def _path_penalty(self, draws: Draws) -> tuple[Tensor, Tensor]:
        """Mean squared miss of the path lengths' running mean, and that mean.

        It is taken of half a batch, as published.
        """
        half = max(1, len(draws) // 2)
        w = self.generator.styles(draws, self.config.mixing)[:half].float()
        y = self.generator.synthesis(w, [n[:half] for n in self.generator.noise(draws)])
        lengths = path_lengths(y.float(), w, draws.normal(*y.shape[1:])[:half])
        self.path_mean.lerp_(lengths.detach().mean(), self.config.path_rate)
        return (lengths - self.path_mean).square().mean(), self.path_mean.clone()
