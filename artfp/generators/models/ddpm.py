"""DDPM: a U-Net that predicts the noise in noisy images, and denoises pure noise step by step.

The U-Net is that of diffusers, an optional dependency (`pip install 'artfp[diffusion]'`); the
diffusion, its loss and its sampling are here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from artfp.core.errors import UserError
from artfp.generators.base import GenerativeModel, Generator, ModelConfig, to_signed
from artfp.generators.trained_network import DataBatch, Loss, TrainedNetwork, TrainingStep
from artfp.nn.random_inputs import RandomInputs


@dataclass(frozen=True)
class DDPMConfig(ModelConfig):
    """Numbers of DDPM."""

    batch_size: int = 128
    steps: int = 800_000
    ema_decay: float = 0.9999
    width: int = 128  # channels of the U-Net at its full side
    # Factors on the channels at each side, from the full one down.
    width_multipliers: tuple[int, ...] = (1, 2, 2, 2)
    residual_blocks: int = 2  # residual blocks at each side
    attention_side: int = 16  # side in pixels at which there is self-attention
    dropout: float = 0.1
    patch_size: int = 1  # side of the squares of pixels that become channels of the U-Net's input
    position_channels: int = 0  # channels of a learned map beside each image
    noise_schedule: str = "linear"  # schedule of the noise, linear or cosine
    timesteps: int = 1000
    sampling_steps: int = 1000  # timesteps that are visited in sampling
    eta: float = 1.0  # fraction of fresh noise in sampling: 1 for DDPM, 0 for DDIM
    lr: float = 2e-4
    warmup_steps: int = 5000  # first steps in which the learning rate rises linearly
    max_grad_norm: float = 1.0  # L2 norm that gradients are clipped to


def build_u_net(side: int, config: DDPMConfig) -> nn.Module:
    """Build the network of a configuration for inputs of `side` pixels; it begins at output 0.

    Raises:
        UserError: diffusers is not installed.
    """
    try:
        from diffusers import UNet2DModel
    except ImportError as error:
        raise UserError(
            "ddpm needs the package diffusers; run: pip install 'artfp[diffusion]'"
        ) from error
    halvings = range(len(config.width_multipliers))
    attend = [side == config.attention_side * 2**halving for halving in halvings]
    network: nn.Module = UNet2DModel(
        sample_size=side,
        in_channels=3 * config.patch_size**2 + config.position_channels,
        out_channels=3 * config.patch_size**2,
        block_out_channels=tuple(config.width * factor for factor in config.width_multipliers),
        layers_per_block=config.residual_blocks,
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


def alpha_bars(schedule: str, timesteps: int) -> Tensor:
    """Return alpha bar, the fraction of the image's variance left at timesteps 0 to T, float64.

    That of timestep 0 is 1. linear: variances of 1e-4 to 0.02 for 1,000 timesteps (Ho et al.,
    section 4); cosine: Nichol & Dhariwal 2021, equation 17.

    Raises:
        ValueError: another schedule, or too few timesteps.
    """
    if schedule == "linear" and timesteps >= 20:
        ends = 0.1 / timesteps, 20.0 / timesteps
        betas = torch.linspace(*ends, timesteps, dtype=torch.float64)
    elif schedule == "cosine" and timesteps >= 1:
        time = torch.linspace(0.0, 1.0, timesteps + 1, dtype=torch.float64)
        curve = torch.cos((time + 0.008) / 1.008 * (math.pi / 2)).square()
        betas = (1.0 - curve[1:] / curve[:-1]).clamp(max=0.999)
    else:
        raise ValueError(
            f"no schedule {schedule!r} of {timesteps} timesteps; linear needs 20, cosine 1"
        )
    return torch.cat([torch.ones(1, dtype=torch.float64), (1.0 - betas).cumprod(0)])


class DDPMGenerator(Generator):
    """U-Net, diffusion and denoising."""

    config: DDPMConfig
    alpha_bar: Tensor

    def __init__(self, resolution: int, config: DDPMConfig, classes: int = 0) -> None:
        super().__init__(resolution, config, classes)
        if not 1 <= config.sampling_steps <= config.timesteps:
            raise ValueError(
                f"sampling_steps is {config.sampling_steps}; it must be 1 to {config.timesteps}"
            )
        alpha_bar = alpha_bars(config.noise_schedule, config.timesteps)
        self.register_buffer("alpha_bar", alpha_bar, persistent=False)
        side = resolution // config.patch_size
        self.network = build_u_net(side, config)
        self.map = (
            nn.Parameter(torch.randn(config.position_channels, side, side))
            if config.position_channels
            else None
        )

    def forward(self, y: Tensor, timestep: Tensor) -> Tensor:
        """Predict the noise, of unit variance, in images (N, 3, R, R) at timesteps (N,) int64."""
        inputs = F.pixel_unshuffle(y, self.config.patch_size)
        if self.map is not None:
            inputs = torch.cat([inputs, self.map.expand(len(y), -1, -1, -1).to(inputs)], dim=1)
        return F.pixel_shuffle(self.network(inputs, timestep - 1).sample, self.config.patch_size)

    def _signal_and_noise(self, timestep: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        """Factors (N, 1, 1, 1) of the image and of the noise at timesteps (N,)."""
        alpha_bar = self.alpha_bar[timestep][:, None, None, None]
        return alpha_bar.sqrt().to(like), (1.0 - alpha_bar).sqrt().to(like)

    def diffuse(self, y: Tensor, timestep: Tensor, noise: Tensor) -> Tensor:
        """Return the images at timesteps (N,), given the noise (Ho et al., equation 4)."""
        image, rest = self._signal_and_noise(timestep, y)
        return image * y + rest * noise

    def denoise(
        self,
        y: Tensor,
        predicted: Tensor,
        timestep: Tensor,
        to: Tensor,
        fresh: Tensor | None = None,
    ) -> Tensor:
        """Return the images at the earlier timesteps `to` (N,), given the noise at `timestep`.

        That is DDIM's step (Song et al. 2021, equation 12), where the predicted image is clipped to
        [-1, 1], and the noise is what is left. With `fresh` noise of unit variance, and `eta` 1, it
        is DDPM's (Ho et al., algorithm 2) with the smaller of its two variances.
        """
        image, rest = self._signal_and_noise(timestep, y)
        image_to, rest_to = self._signal_and_noise(to, y)
        clean = ((y - rest * predicted) / image).clamp(-1.0, 1.0)
        predicted = (y - image * clean) / rest
        if fresh is None:
            return image_to * clean + rest_to * predicted
        between = self.alpha_bar[timestep] / self.alpha_bar[to]
        deviation = self.config.eta * (1.0 - between).sqrt()[:, None, None, None].to(y)
        deviation = deviation * rest_to / rest
        direction = (rest_to.square() - deviation.square()).clamp(min=0.0).sqrt()
        return image_to * clean + direction * predicted + deviation * fresh

    def _sample(self, rng: RandomInputs, labels: Tensor | None) -> Tensor:
        shape, config = (3, self.resolution, self.resolution), self.config
        y = rng.normal(*shape)
        timesteps = (
            torch.linspace(config.timesteps, 0, config.sampling_steps + 1).round().long().tolist()
        )
        for number in range(config.sampling_steps):
            timestep, to = (
                torch.full((len(y),), value, device=y.device)
                for value in timesteps[number : number + 2]
            )
            fresh = rng.normal(*shape) if config.eta else None
            y = self.denoise(y, self(y, timestep), timestep, to, fresh)
        return y


class DDPM(GenerativeModel):
    """DDPM, unconditional."""

    name = "ddpm"
    reference = "Ho, Jain, Abbeel, NeurIPS 2020, arXiv 2006.11239"
    departures = (
        "other resolutions than 32 as the paper's for 32, 128 as its for 256 but for attention; "
        "first weights of diffusers' U-Net but for those that begin at 0; small has a U-Net of one "
        "block a side that sees 2 x 2 pixels as one and a learned map of places beside them, no "
        "dropout, the cosine schedule (arXiv 2102.09672) and, to make 1,000 images in minutes on a "
        "CPU core, 25 steps of DDIM (arXiv 2010.02502) for an image"
    )
    resolutions = (16, 32, 64, 128)
    paper = DDPMConfig()
    small = DDPMConfig(
        batch_size=32,
        steps=3000,
        ema_decay=0.995,
        width=32,
        width_multipliers=(1, 2, 2),
        residual_blocks=1,
        attention_side=8,
        dropout=0.0,
        patch_size=2,
        position_channels=4,
        noise_schedule="cosine",
        sampling_steps=25,
        eta=0.0,
        lr=5e-4,
        warmup_steps=100,
    )
    generator_type = DDPMGenerator
    generator: DDPMGenerator

    @classmethod
    def configure(cls, size: str, resolution: int) -> ModelConfig:
        """Return the configuration of a size; at 128 px the paper's U-Net is deeper."""
        config = super().configure(size, resolution)
        if resolution < 128:
            return config
        assert isinstance(config, DDPMConfig)
        if size == "small":
            return replace(config, width_multipliers=(1, 2, 2, 2))
        deeper: dict[str, Any] = {"width_multipliers": (1, 1, 2, 2, 4, 4), "dropout": 0.0}
        return replace(config, batch_size=64, lr=2e-5, **deeper)

    def trained_networks(self) -> list[TrainedNetwork]:
        """Return the U-Net."""
        config = self.config
        return [
            TrainedNetwork(
                "u_net",
                (self.generator,),
                self._denoising_loss,
                config.lr,
                warmup_steps=config.warmup_steps,
                max_grad_norm=config.max_grad_norm,
            )
        ]

    def _denoising_loss(self, batch: DataBatch, rng: RandomInputs, step: TrainingStep) -> Loss:
        """Return the mean squared error of the predicted noise (Ho et al., equation 14)."""
        y = to_signed(batch.x)
        noise, timestep = rng.normal(*y.shape[1:]), 1 + rng.integers(self.config.timesteps)
        predicted = self.generator(self.generator.diffuse(y, timestep, noise), timestep)
        return F.mse_loss(predicted, noise), {}
