"""Convolutional blocks of SRNet (Boroumand et al. 2019), shared by small classifiers."""

from __future__ import annotations

from typing import cast

import torch.nn.functional as F
from torch import Tensor, nn


def high_pass(x: Tensor) -> Tensor:
    """Subtract the mean of each pixel's 3x3 neighbourhood from (N, C, H, W); edges repeat."""
    return x - F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), 3, stride=1)


class ConvNormReLU(nn.Sequential):
    """Layer type 1: convolution, batch normalisation, ReLU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
        )


class SRNetBlock(nn.Module):
    """Layer type 2: a residual block at full size."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            ConvNormReLU(width, width),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to the same shape."""
        return x + cast(Tensor, self.body(x))


class SRNetPoolingBlock(nn.Module):
    """Layer type 3: a residual block that halves the sides."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            ConvNormReLU(inputs, outputs),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.AvgPool2d(3, stride=2, padding=1),
        )
        self.short = nn.Sequential(
            nn.Conv2d(inputs, outputs, 1, stride=2, bias=False), nn.BatchNorm2d(outputs)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H / 2, W / 2), rounded up."""
        return cast(Tensor, self.body(x)) + cast(Tensor, self.short(x))
