"""Tiny autoencoder of FLUX.2's latent space (TAEF2 of Boer Bohan's TAESD family).

Image sides are halved three times; all convolutions are 3 x 3 of one width. The architecture is
implemented from its description; the weights (MIT licence, github.com/madebyollin/taesd) are the
user's files.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from artfp.nn.latent_autoencoder import LatentAutoencoder

_STAGES = 3
"""Halvings of the sides."""

_RANGE = 3.0
"""Magnitude that latents are squashed to before they are decoded."""


class TinyAutoencoder(LatentAutoencoder):
    """Encoder and decoder of about 1.3 million parameters each, at the default width.

    Args:
        channels: Channels of the latents.
        width: Channels of all other layers.

    Example:
        >>> autoencoder = TinyAutoencoder(channels=4, width=8)
        >>> latents = autoencoder.encode(torch.rand(2, 3, 32, 40))
        >>> latents.shape, autoencoder.decode(latents).shape
        (torch.Size([2, 4, 4, 5]), torch.Size([2, 3, 32, 40]))
    """

    factor = 2**_STAGES

    def __init__(self, channels: int = 32, width: int = 64) -> None:
        super().__init__()
        self.channels = channels
        self.encoder = nn.Sequential(*_encoder(channels, width))
        self.decoder = nn.Sequential(*_decoder(channels, width))
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def images_to_latents(self, x: Tensor) -> Tensor:
        """See LatentAutoencoder."""
        latents: Tensor = self.encoder(x)
        return latents

    def latents_to_images(self, latents: Tensor) -> Tensor:
        """See LatentAutoencoder."""
        images: Tensor = self.decoder(latents)
        return images


class Squash(nn.Module):
    """Keep latents within their range, smoothly."""

    def forward(self, latents: Tensor) -> Tensor:
        """Map latents of any shape."""
        return torch.tanh(latents / _RANGE) * _RANGE


class TinyBlock(nn.Module):
    """Three convolutions around a shortcut; a middle block first adds a view of the whole image.

    Args:
        width: Channels.
        middle: True for a block at the resolution of the latents.
    """

    def __init__(self, width: int, middle: bool = False) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1),
        )
        self.pool: nn.Sequential | None = None
        if middle:
            # Normalisation over the whole plane is what lets distant places see each other.
            self.pool = nn.Sequential(
                nn.Conv2d(width, 4 * width, 1, bias=False),
                nn.GroupNorm(4, 4 * width),
                nn.ReLU(),
                nn.Conv2d(4 * width, width, 1, bias=False),
            )

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, width, H, W) to the same shape."""
        if self.pool is not None:
            x = x + self.pool(x)
        return torch.relu(self.conv(x) + x)


def _blocks(width: int, count: int, middle: bool = False) -> list[nn.Module]:
    return [TinyBlock(width, middle) for _ in range(count)]


def _encoder(channels: int, width: int) -> list[nn.Module]:
    """Return the layers of the encoder, in the order of their names in a state dict."""
    parts: list[nn.Module] = [nn.Conv2d(3, width, 3, padding=1), *_blocks(width, 1)]
    for stage in range(1, _STAGES + 1):
        parts.append(nn.Conv2d(width, width, 3, stride=2, padding=1, bias=False))
        parts += _blocks(width, 3, middle=stage == _STAGES)
    return [*parts, nn.Conv2d(width, channels, 3, padding=1)]


def _decoder(channels: int, width: int) -> list[nn.Module]:
    """Return the layers of the decoder, in the order of their names in a state dict."""
    parts: list[nn.Module] = [Squash(), nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
    parts += _blocks(width, 3, middle=True)
    for count in (3, 3, 1):
        parts.append(nn.Upsample(scale_factor=2))
        parts.append(nn.Conv2d(width, width, 3, padding=1, bias=False))
        parts += _blocks(width, count)
    return [*parts, nn.Conv2d(width, 3, 3, padding=1)]
