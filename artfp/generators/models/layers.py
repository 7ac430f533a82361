"""Layers shared by models."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

_Layer = TypeVar("_Layer", bound=nn.Module)


def spectral_norm(layer: _Layer) -> _Layer:
    """Return the layer, its weight divided by an estimate of its largest singular value.

    One power iteration in each use while training, none in evaluation (Miyato et al. 2018,
    algorithm 1). A convolution's weight counts as a matrix with a row for each output channel.
    """
    parametrizations.spectral_norm(layer)  # in place
    return layer


def pixel_norm(x: Tensor) -> Tensor:
    """Scale each pixel's, or row's, vector (dimension 1) to mean square 1 (Karras et al. 2018)."""
    return x * (x.square().mean(dim=1, keepdim=True) + 1e-8).rsqrt()


def minibatch_deviation(x: Tensor, group: int = 4) -> Tensor:
    """Append to (N, C, H, W) a channel with the standard deviation within the batch.

    That is taken over groups of at most `group` images, averaged over all features
    and pixels (Karras et al. 2018, section 3). Returns (N, C + 1, H, W).
    """
    count = len(x)
    group = next(size for size in range(min(group, count), 0, -1) if count % size == 0)
    members = x.reshape(group, count // group, -1)
    spread = (members.var(dim=0, unbiased=False) + 1e-8).sqrt().mean(dim=1)
    plane = spread.repeat(group).reshape(count, 1, 1, 1).expand(-1, 1, *x.shape[2:])
    return torch.cat([x, plane.to(x)], dim=1)


def strided_critic(resolution: int, width: int, outputs: int) -> nn.Sequential:
    """Make DCGAN's discriminator without normalisation: (N, 3, R, R) to vectors (N, outputs).

    A gradient penalty needs scores of each image alone, without batch normalisation (Gulrajani et
    al. 2017, section 4).

    Args:
        resolution: Side of the images in pixels.
        width: Channels after the first halving of the side; each further one doubles them.
        outputs: Length of the vectors.
    """
    layers: list[nn.Module] = []
    channels, side = 3, resolution
    while side > 4:
        wider = width if channels == 3 else 2 * channels
        layers += [nn.Conv2d(channels, wider, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
        channels, side = wider, side // 2
    layers += [nn.Conv2d(channels, outputs, 4), nn.Flatten()]
    for layer in layers:
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, a=0.2)
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return nn.Sequential(*layers)
