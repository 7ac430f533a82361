"""Perturbations that treat places of the image differently."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from artfp.perturbations.base import Perturbation, per_image


class Relight(Perturbation):
    """Multiplied by a smooth random field that spans +-strength stops (factors of two).

    It stands in for the relighting network of Yu et al. 2019: the field is the bicubic enlargement
    of 3 x 3 random numbers, the same for all colours, from another light for each image.

    Example:
        >>> pixels = torch.full((1, 3, 16, 16), 100, dtype=torch.uint8)
        >>> Relight().real(pixels, 1.0, torch.Generator()).shape
        torch.Size([1, 3, 16, 16])
    """

    name = "relight"
    unit = "stops"
    source = "stands in for the relighting network of Yu et al. 2019"
    mildest, harshest = 0.0, 1.0
    levels = (0.25, 0.5, 1.0, 1.5)

    def differentiable(self, x: Tensor, strength: Tensor, generator: torch.Generator) -> Tensor:
        """Relight by (N,) stops, clamp."""
        coarse = torch.rand(len(x), 1, 3, 3, generator=generator).to(x) * 2.0 - 1.0
        size = (x.shape[-2], x.shape[-1])
        field = F.interpolate(coarse, size, mode="bicubic", align_corners=True)
        field = field / field.abs().amax(dim=(2, 3), keepdim=True).clamp_min(1e-6)
        return (x * 2.0 ** (field * per_image(strength, x))).clamp(0.0, 1.0)


class Erase(Perturbation):
    """A rectangle with a share (strength) of the area blacked out, anywhere, of any shape.

    Its aspect is between 1:2 and 2:1, evenly in its logarithm.

    Example:
        >>> pixels = torch.full((1, 3, 16, 16), 100, dtype=torch.uint8)
        >>> Erase().real(pixels, 0.25, torch.Generator()).shape
        torch.Size([1, 3, 16, 16])
    """

    name = "erase"
    unit = "share of the area"
    source = "WAVES: up to 0.25"
    mildest, harshest = 0.02, 0.25
    levels = (0.05, 0.1, 0.25)

    def differentiable(self, x: Tensor, strength: Tensor, generator: torch.Generator) -> Tensor:
        """Set rectangles of (N,) of the area to 0."""
        height, width = x.shape[-2:]
        aspect, down, across = torch.rand(3, len(x), generator=generator)
        stretch = 2.0 ** (aspect - 0.5)
        tall = ((strength.cpu().sqrt() * stretch).clamp_max(1.0) * height).round()
        wide = ((strength.cpu().sqrt() / stretch).clamp_max(1.0) * width).round()
        top, left = (down * (height - tall)).round(), (across * (width - wide)).round()
        rows, columns = torch.arange(height)[None], torch.arange(width)[None]
        in_rows = (rows >= top[:, None]) & (rows < (top + tall)[:, None])
        in_columns = (columns >= left[:, None]) & (columns < (left + wide)[:, None])
        gone = in_rows[:, None, :, None] & in_columns[:, None, None, :]
        return x.masked_fill(gone.to(x.device), 0.0)
