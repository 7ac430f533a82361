"""Convolutional blocks that several small classifiers share."""

from __future__ import annotations

from typing import cast

import torch.nn.functional as F
from torch import Tensor, nn


def high_pass(x: Tensor) -> Tensor:
    """Images (N, C, H, W) minus the mean of each pixel's 3x3 neighbourhood; edges repeat."""
    return x - F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), 3, stride=1)


class Layer(nn.Sequential):
    """SRNet's layer type 1: convolution, batch normalisation, ReLU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
        )


class Unpooled(nn.Module):
    """SRNet's layer type 2: a residual block at full size."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            Layer(width, width),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, C, H, W) to maps of the same shape."""
        return x + cast(Tensor, self.body(x))


class Pooled(nn.Module):
    """SRNet's layer type 3: a residual block that halves the sides."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            Layer(inputs, outputs),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.AvgPool2d(3, stride=2, padding=1),
        )
        self.short = nn.Sequential(
            nn.Conv2d(inputs, outputs, 1, stride=2, bias=False), nn.BatchNorm2d(outputs)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, inputs, H, W) to (N, outputs, H / 2, W / 2), rounded up."""
        return cast(Tensor, self.body(x)) + cast(Tensor, self.short(x))
