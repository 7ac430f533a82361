"""Affine maps of image planes, as 3 x 3 matrices, and what it takes to undo them.

Coordinates are those of `torch.nn.functional.affine_grid` with `align_corners=False`: x to the
right and y downward, from -1 to 1 between the outer edges of the border pixels. A matrix takes a
place in the result to the place in the input that it shows.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def identity(count: int) -> Tensor:
    """Return maps (count, 3, 3) that move nothing."""
    return torch.eye(3).repeat(count, 1, 1)


def window(left: Tensor, top: Tensor, width: Tensor, height: Tensor) -> Tensor:
    """Return maps (N, 3, 3) to windows of (N,) edges and sides, as fractions of the image."""
    out = identity(len(left))
    out[:, 0, 0], out[:, 1, 1] = width, height
    out[:, 0, 2] = 2.0 * left + width - 1.0
    out[:, 1, 2] = 2.0 * top + height - 1.0
    return out


def turn(degrees: Tensor, size: tuple[int, int]) -> Tensor:
    """Return maps (N, 3, 3) that rotate content counter-clockwise, for images of (H, W)."""
    angle = degrees * (math.pi / 180.0)
    cosine, sine = angle.cos(), angle.sin()
    aspect = size[0] / size[1]
    out = identity(len(degrees))
    out[:, 0, 0], out[:, 0, 1] = cosine, -sine * aspect
    out[:, 1, 0], out[:, 1, 1] = sine / aspect, cosine
    return out


def warp(x: Tensor, transform: Tensor, fill: Tensor | float = 0.0) -> Tensor:
    """Warp images (N, 3, H, W) by transforms (N, 3, 3), bicubic; `fill` where there is none.

    `fill` is a number or (N, 3, 1, 1).
    """
    grid = F.affine_grid(transform[:, :2].to(x), list(x.shape), align_corners=False)
    return F.grid_sample(x - fill, grid, mode="bicubic", align_corners=False) + fill


def realign(x: Tensor, transform: Tensor) -> Tensor:
    """Undo `transform` (N, 3, 3) on images (N, 3, H, W); what was lost becomes the mean colour."""
    fill = x.detach().mean(dim=(2, 3), keepdim=True)
    return warp(x, torch.linalg.inv(transform), fill).clamp(0.0, 1.0)
