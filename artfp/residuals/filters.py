"""Residuals of simple low-pass filters."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from artfp.errors import UserError


def gaussian(sigma: float = 1.0) -> Callable[[Tensor], Tensor]:
    """What a Gaussian of `sigma` pixels, cut at four of them, takes away; edges are mirrored.

    Raises UserError: sigma not over 0.
    """
    if not sigma > 0:
        raise UserError(f"extractor gaussian: sigma is {sigma:g}; it must be over 0")
    reach = max(1, round(4.0 * sigma))
    at = torch.arange(-reach, reach + 1, dtype=torch.float64)
    kernel = (-0.5 * (at / sigma).square()).exp()
    kernel = (kernel / kernel.sum()).float()

    def residual(x: Tensor) -> Tensor:
        line = kernel.to(x.device)
        planes = x.flatten(0, 1)[:, None]
        padded = _mirror(planes, reach)
        low = F.conv2d(F.conv2d(padded, line[None, None, :, None]), line[None, None, None])
        return x - low.view_as(x)

    return residual


def _mirror(planes: Tensor, reach: int) -> Tensor:
    """Planes (N, 1, H, W) extended by `reach` on each side, the border's pixels doubled."""
    for dim in (2, 3):
        size = planes.shape[dim]
        at = torch.arange(-reach, size + reach, device=planes.device) % (2 * size)
        planes = planes.index_select(dim, torch.where(at < size, at, 2 * size - 1 - at))
    return planes
