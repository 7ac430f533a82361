"""A residual network that tells clean images from fingerprinted ones."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from artfp.nn.blocks import ConvNormReLU, SRNetBlock, SRNetPoolingBlock, high_pass


class Steganalyser(nn.Module):
    """Images (N, 3, H, W) in [0, 1] to logits (N,), > 0 for fingerprinted; sides of 16 and more.

    In the spirit of SRNet (Boroumand, Chen and Fridrich, IEEE TIFS 14(5), 2019): the first layers
    and residual blocks do not pool, so that weak signals are not averaged away; then come residual
    blocks that each halve the sides by 3x3 average pooling, and global average pooling before the
    one linear layer. Departures: 3 unpooled convolutions and 3 pooled blocks of 16 to 64 channels
    instead of 12 and 4 of 16 to 256, for two CPU cores; colour; the input also holds a fixed
    high-pass residual (the image minus the mean of its 3x3 neighbourhood), so that the network
    need not learn to remove the picture from few images.

    Being convolutional with a global mean, it sees what a fingerprint looks like and hardly where
    it stands; see `artfp.secrecy.linear` for attackers that see the place.
    """

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.stem = ConvNormReLU(6, width)
        self.plain = SRNetBlock(width)
        self.pooled = nn.Sequential(
            SRNetPoolingBlock(width, width),
            SRNetPoolingBlock(width, 2 * width),
            SRNetPoolingBlock(2 * width, 4 * width),
        )
        self.head = nn.Linear(4 * width, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (N,) of images (N, 3, H, W)."""
        # Both of order one: pictures spread over the range, residuals over a few grey levels.
        whole = torch.cat([(x - 0.5) * 4.0, high_pass(x) * 64.0], dim=1)
        maps = self.pooled(self.plain(self.stem(whole)))
        return cast(Tensor, self.head(maps.mean(dim=(2, 3))))[:, 0]
