"""DDPM: a U-Net that finds the noise in noisy images, and removes it from pure noise step by step.

The U-Net is that of diffusers, an optional dependency (`pip install 'artfp[diffusion]'`); the
diffusion, its loss and its sampling are here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from artfp.core.errors import UserError
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
from artfp.nn.random_draws import Draws


@dataclass(frozen=True)
class DDPMConfig(Config):
    """`width` is the U-Net's channels beside its input, and `factors` are on them at each halving.

    `blocks` is the residual blocks at each side, `attention` the side in pixels at which pixels
    attend to each other, `patch` the side of the squares of pixels that the U-Net sees as one,
    `places` the channels of a learned map that the U-Net sees beside each image.
    `levels` of noise are trained, by the `schedule` linear or cosine; `sampling` of them are gone
    through to make images, with fresh noise in between as far as `eta` says: 1 for that of DDPM, 0
    for none (DDIM).
    """

    batch: int = 128
    steps: int = 800_000
    average: float = 0.9999
    width: int = 128
    factors: tuple[int, ...] = (1, 2, 2, 2)
    blocks: int = 2
    attention: int = 16
    dropout: float = 0.1
    patch: int = 1
    places: int = 0
    schedule: str = "linear"
    levels: int = 1000
    sampling: int = 1000
    eta: float = 1.0
    rate: float = 2e-4
    warm_up: int = 5000
    clip: float = 1.0


def u_net(side: int, config: DDPMConfig) -> nn.Module:
    """The network of a configuration for inputs of `side` pixels; it begins by finding no noise.

    Raises UserError: diffusers is not installed.
    """
    try:
        from diffusers import UNet2DModel
    except ImportError as error:
        raise UserError(
            "ddpm needs the package diffusers; run: pip install 'artfp[diffusion]'"
        ) from error
    attend = [side == config.attention * 2**level for level in range(len(config.factors))]
    network: Any = UNet2DModel(
        sample_size=side,
        in_channels=3 * config.patch**2 + config.places,
        out_channels=3 * config.patch**2,
        block_out_channels=tuple(config.width * factor for factor in config.factors),
        layers_per_block=config.blocks,
        down_block_types=tuple("AttnDownBlock2D" if a else "DownBlock2D" for a in attend),
        up_block_types=tuple("AttnUpBlock2D" if a else "UpBlock2D" for a in reversed(attend)),
        attention_head_dim=None,  # one head
        norm_num_groups=min(32, config.width // 4),
        norm_eps=1e-6,
        dropout=config.dropout,
        downsample_padding=0,
        flip_sin_to_cos=False,
        freq_shift=1,
    )
    for name, parameter in network.named_parameters():
        if name.startswith("conv_out.") or ".conv2." in name:
            nn.init.zeros_(parameter)
    return network


def kept_signal(schedule: str, levels: int) -> Tensor:
    """Share of the image's variance that is left at each level of noise 0 to `levels`, float64.

    That is the paper's alpha bar, with 1 put before it. linear: variances of 1e-4 to 0.02 for 1,000
    levels (Ho et al., section 4); cosine: Nichol & Dhariwal 2021, equation 17.
    Raises ValueError: another schedule, or too few levels.
    """
    if schedule == "linear" and levels >= 20:
        ends = 0.1 / levels, 20.0 / levels
        added = torch.linspace(*ends, levels, dtype=torch.float64)
    elif schedule == "cosine" and levels >= 1:
        time = torch.linspace(0.0, 1.0, levels + 1, dtype=torch.float64)
        curve = torch.cos((time + 0.008) / 1.008 * (math.pi / 2)).square()
        added = (1.0 - curve[1:] / curve[:-1]).clamp(max=0.999)
    else:
        raise ValueError(f"no schedule {schedule!r} of {levels} levels; linear needs 20, cosine 1")
    return torch.cat([torch.ones(1, dtype=torch.float64), (1.0 - added).cumprod(0)])


class DDPMGenerator(Generator):
    """The U-Net, and the ways between images and noise."""

    config: DDPMConfig
    kept: Tensor

    def __init__(self, resolution: int, config: DDPMConfig, classes: int = 0) -> None:
        super().__init__(resolution, config, classes)
        if not 1 <= config.sampling <= config.levels:
            raise ValueError(f"sampling is {config.sampling}; it must be 1 to {config.levels}")
        self.register_buffer("kept", kept_signal(config.schedule, config.levels), persistent=False)
        side = resolution // config.patch
        self.network = u_net(side, config)
        self.map = nn.Parameter(torch.randn(config.places, side, side)) if config.places else None

    def forward(self, y: Tensor, level: Tensor) -> Tensor:
        """The noise, of unit variance, in images (N, 3, R, R) that are at the levels (N,) int64."""
        seen = F.pixel_unshuffle(y, self.config.patch)
        if self.map is not None:
            seen = torch.cat([seen, self.map.expand(len(y), -1, -1, -1).to(seen)], dim=1)
        return F.pixel_shuffle(self.network(seen, level - 1).sample, self.config.patch)

    def _shares(self, level: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        """Factors (N, 1, 1, 1) of the image and of the noise at the levels (N,)."""
        kept = self.kept[level][:, None, None, None]
        return kept.sqrt().to(like), (1.0 - kept).sqrt().to(like)

    def diffuse(self, y: Tensor, level: Tensor, noise: Tensor) -> Tensor:
        """Images at the levels (N,) of noise, given the noise (Ho et al., equation 4)."""
        image, rest = self._shares(level, y)
        return image * y + rest * noise

    def denoise(
        self, y: Tensor, found: Tensor, level: Tensor, to: Tensor, fresh: Tensor | None = None
    ) -> Tensor:
        """Images at the lower levels `to` (N,) from those at `level`, given the noise in them.

        DDIM's step (Song et al. 2021, equation 12), where what is taken for the image is cut to
        [-1, 1], and the noise is what is left. With `fresh` noise of unit variance, and `eta` 1, it
        is DDPM's (Ho et al., algorithm 2) with the smaller of its two variances.
        """
        image, rest = self._shares(level, y)
        image_to, rest_to = self._shares(to, y)
        clean = ((y - rest * found) / image).clamp(-1.0, 1.0)
        found = (y - image * clean) / rest
        if fresh is None:
            return image_to * clean + rest_to * found
        between = self.kept[level] / self.kept[to]
        deviation = self.config.eta * (1.0 - between).sqrt()[:, None, None, None].to(y)
        deviation = deviation * rest_to / rest
        direction = (rest_to.square() - deviation.square()).clamp(min=0.0).sqrt()
        return image_to * clean + direction * found + deviation * fresh

    def _sample(self, draws: Draws, labels: Tensor | None) -> Tensor:
        shape, config = (3, self.resolution, self.resolution), self.config
        y = draws.normal(*shape)
        levels = torch.linspace(config.levels, 0, config.sampling + 1).round().long().tolist()
        for number in range(config.sampling):
            level, to = (
                torch.full((len(y),), value, device=y.device)
                for value in levels[number : number + 2]
            )
            fresh = draws.normal(*shape) if config.eta else None
            y = self.denoise(y, self(y, level), level, to, fresh)
        return y


class DDPM(GenerativeModel):
    """One player."""

    name = "ddpm"
    source = "Ho, Jain, Abbeel, NeurIPS 2020, arXiv 2006.11239"
    departures = (
        "other resolutions than 32 as the paper's for 32, 128 as its for 256 but for attention; "
        "first weights of diffusers' U-Net but for those that begin at 0; small has a U-Net of one "
        "block a side that sees 2 x 2 pixels as one and a learned map of places beside them, no "
        "dropout, the cosine schedule (arXiv 2102.09672) and, to make 1,000 images in minutes on a "
        "CPU core, 25 steps of DDIM (arXiv 2010.02502) for an image"
    )
    resolutions = (16, 32, 64, 128)
    sizes: ClassVar[dict[str, Config]] = {
        "paper": DDPMConfig(),
        "small": DDPMConfig(
            batch=32,
            steps=3000,
            average=0.995,
            width=32,
            factors=(1, 2, 2),
            blocks=1,
            attention=8,
            dropout=0.0,
            patch=2,
            places=4,
            schedule="cosine",
            sampling=25,
            eta=0.0,
            rate=5e-4,
            warm_up=100,
        ),
    }
    generator_type = DDPMGenerator
    generator: DDPMGenerator

    @classmethod
    def configure(cls, size: str, resolution: int) -> Config:
        """At 128 px the paper's U-Net is deeper, and trained more slowly."""
        config = cls.sizes[size]
        if resolution < 128:
            return config
        assert isinstance(config, DDPMConfig)
        if size == "small":
            return replace(config, factors=(1, 2, 2, 2))
        deeper: dict[str, Any] = {"factors": (1, 1, 2, 2, 4, 4), "dropout": 0.0}
        return replace(config, batch=64, rate=2e-5, **deeper)

    def players(self) -> list[Player]:
        """The U-Net."""
        config = self.config
        return [
            Player(
                "u_net",
                (self.generator,),
                self._miss,
                config.rate,
                warm_up=config.warm_up,
                clip=config.clip,
            )
        ]

    def _miss(self, batch: Batch, draws: Draws, moment: Moment) -> tuple[Tensor, Figures]:
        """Mean squared error of the noise that is found (Ho et al., equation 14)."""
        y = to_signed(batch.x)
        noise, level = draws.normal(*y.shape[1:]), 1 + draws.integers(self.config.levels)
        found = self.generator(self.generator.diffuse(y, level, noise), level)
        return F.mse_loss(found, noise), {}
