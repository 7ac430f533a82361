"""Classifier with visible evidence: learned fingerprints of images and of models.

After the visualisation network of Yu, Davis and Fritz (ICCV 2019, arXiv 1811.08180), built from its
description. An autoencoder with a latent of 4x4 pixels learns what images of all sources share. The
image minus its reconstruction is the image's fingerprint; each source, or model, has a fingerprint
of the same size, and their inner product is the source's logit. So each pixel's contribution to a
verdict is visible: the product of the two fingerprints there.

The paper's network is large: 14 million weights at 128 pixels, for 100,000 images and days of a
GPU. `published` has its layers; `compact`, the default, one convolution a side where that has two,
with fewer channels.
"""

from __future__ import annotations

from typing import Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from artfp.nn.equalised import EqualisedConv2d, EqualisedLinear

Size = Literal["compact", "published"]
"""Sizes of a VisNet; "published" is that of Yu et al. 2019."""

LATENT_SIDE = 4
"""Side of the latent in pixels."""

MIN_VISNET_SIDE = 16
"""Least side of images in pixels."""

_SLOPE = 0.2


class VisNet(nn.Module):
    """Network from images (N, 3, R, R) in [0, 1] to logits (N, sources).

    Inside, and in fingerprints, pixels are in [-1, 1]. The parameter `fingerprints`
    (sources, 3, R, R), of the models, are the filters of one valid convolution of full size,
    without a bias.

    Args:
        sources: Number of sources, two or more.
        resolution: Side R of the images, a power of two.
        width: Channels of compact at 32 pixels a side, twice as many at half of it, up to 8 times;
            published has 64 there, from 16 at 128 pixels to 512 at 4.
        size: Layers, compact or published.

    Raises:
        ValueError: a value out of range.
    """

    def __init__(
        self, sources: int, resolution: int, width: int = 16, size: Size = "compact"
    ) -> None:
        super().__init__()
        if resolution < MIN_VISNET_SIDE or resolution & (resolution - 1):
            raise ValueError(
                f"resolution {resolution}: take a power of two from {MIN_VISNET_SIDE} on"
            )
        if sources < 2 or width < 1:
            raise ValueError(f"{sources} sources and a width of {width}; take 2 and 1 or more")
        self.sources, self.resolution = sources, resolution
        self.width: int = width
        self.size: Size = size
        sides = _sides(resolution)
        if size == "published":
            self.encoder, self.decoder = _published_encoder(sides), _published_decoder(sides)
        else:
            self.encoder, self.decoder = _down(sides, width), _up(sides, width)
        # Zeros, so that they hold nothing but what was learned.
        self.fingerprints = nn.Parameter(torch.zeros(sources, 3, resolution, resolution))

    @property
    def weights(self) -> int:
        """Number of weights."""
        return sum(parameter.numel() for parameter in self.parameters())

    def reconstruct(self, images: Tensor) -> Tensor:
        """Return the autoencoder's reconstruction of images (N, 3, R, R) in [-1, 1]."""
        return cast(Tensor, self.decoder(self.encoder(images)))

    def fingerprint(self, x: Tensor) -> Tensor:
        """Return fingerprints (N, 3, R, R) of images in [0, 1]. ValueError: another size."""
        images = self.rescale(x)
        return images - self.reconstruct(images)

    def logits(self, fingerprints: Tensor) -> Tensor:
        """Return inner products (N, sources) of fingerprints of images with those of the models.

        A valid convolution of full size is such a product; it is computed at full precision.
        """
        with torch.autocast(fingerprints.device.type, enabled=False):
            return F.linear(fingerprints.float().flatten(1), self.fingerprints.float().flatten(1))

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (N, sources) of images (N, 3, R, R) in [0, 1]."""
        return self.logits(self.fingerprint(x))

    def rescale(self, x: Tensor) -> Tensor:
        """Rescale images (N, 3, R, R) from [0, 1] to [-1, 1]. ValueError: another size."""
        if tuple(x.shape[1:]) != (3, self.resolution, self.resolution):
            side = self.resolution
            raise ValueError(f"images {tuple(x.shape)}, expected (N, 3, {side}, {side})")
        return 2.0 * x - 1.0


class VisNetCritic(nn.Module):
    """Critic of images (N, 3, R, R) in [-1, 1]: (N,), larger for real ones; no normalisation."""

    def __init__(self, resolution: int, width: int = 16, size: Size = "compact") -> None:
        super().__init__()
        self.head: nn.Module
        if size == "published":  # but for the statistics of minibatches
            self.trunk = _published_encoder(_sides(resolution))[:-2]
            most = _published_channels(LATENT_SIDE)
            dense = EqualisedLinear(most * LATENT_SIDE**2, most, gain=2.0**0.5)
            self.head = nn.Sequential(dense, nn.LeakyReLU(_SLOPE), EqualisedLinear(most, 1))
            return
        self.trunk = _down(_sides(resolution), width)
        self.head = nn.Linear(_channels(LATENT_SIDE, width) * LATENT_SIDE**2, 1)

    def forward(self, images: Tensor) -> Tensor:
        """See the class."""
        return cast(Tensor, self.head(self.trunk(images).flatten(1)))[:, 0]


def _sides(resolution: int) -> list[int]:
    """Return the sides from the images' down to twice the latent's."""
    sides = []
    while resolution > LATENT_SIDE:
        sides.append(resolution)
        resolution //= 2
    return sides


def _channels(side: int, width: int) -> int:
    return width * max(1, min(8, 32 // side))


def _down(sides: list[int], width: int) -> nn.Sequential:
    """Return a convolution, and one with pooling for each side, down to the latent."""
    layers: list[nn.Module] = [_conv(3, _channels(sides[0], width)), nn.LeakyReLU(_SLOPE)]
    for side in sides:
        layers += [
            _conv(_channels(side, width), _channels(side // 2, width)),
            nn.LeakyReLU(_SLOPE),
            nn.AvgPool2d(2),
        ]
    return nn.Sequential(*layers)


def _up(sides: list[int], width: int) -> nn.Sequential:
    """Return the way back from the latent to images."""
    layers: list[nn.Module] = []
    for side in reversed(sides):
        layers += [
            nn.Upsample(scale_factor=2.0, mode="nearest"),
            _conv(_channels(side // 2, width), _channels(side, width)),
            nn.LeakyReLU(_SLOPE),
        ]
    return nn.Sequential(*layers, _conv(_channels(sides[0], width), 3))


def _published_channels(side: int) -> int:
    return min(512, 2048 // side)


def _published_encoder(sides: list[int]) -> nn.Sequential:
    """Return two convolutions for each side with pooling between, and two of the latent.

    As in ProGAN the second convolution of a side already has the channels of the next.
    """
    layers: list[nn.Module] = []
    channels = 3
    for side in sides:
        layers += _equalised(channels, _published_channels(side))
        layers += _equalised(_published_channels(side), _published_channels(side // 2))
        channels = _published_channels(side // 2)
        layers.append(nn.AvgPool2d(2))
    return nn.Sequential(*layers, *_equalised(channels, channels), *_equalised(channels, channels))


def _published_decoder(sides: list[int]) -> nn.Sequential:
    """Return two convolutions of the latent, two for each side, and one to colours in [-1, 1]."""
    channels = _published_channels(LATENT_SIDE)
    layers = [*_equalised(channels, channels), *_equalised(channels, channels)]
    for side in reversed(sides):
        layers.append(nn.Upsample(scale_factor=2.0, mode="nearest"))
        layers += _equalised(channels, _published_channels(side))
        channels = _published_channels(side)
        layers += _equalised(channels, channels)
    return nn.Sequential(*layers, EqualisedConv2d(channels, 3), nn.Tanh())


def _equalised(inputs: int, outputs: int) -> list[nn.Module]:
    return [EqualisedConv2d(inputs, outputs), nn.LeakyReLU(_SLOPE)]


def _conv(inputs: int, outputs: int) -> nn.Conv2d:
    made = nn.Conv2d(inputs, outputs, 3, padding=1)
    nn.init.kaiming_normal_(made.weight, _SLOPE)
    nn.init.zeros_(made.bias)  # type: ignore[arg-type]
    return made
