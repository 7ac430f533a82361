"""Perturbations that move or resample pixels."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from artfp.perturbations.base import Perturbation


class Mirror(Perturbation):
    """Left and right exchanged, as data augmentation does; there is no strength."""

    name = "mirror"
    mildest, harshest = 1.0, 1.0

    def soft(self, x: Tensor, strength: Tensor, generator: torch.Generator) -> Tensor:
        """Mirrored images."""
        return x.flip(-1)


class ResizeBack(Perturbation):
    """Antialiased resize to a share of the size (strength), then back to the size."""

    name = "resize"
    mildest, harshest = 0.95, 0.5

    def soft(self, x: Tensor, strength: Tensor, generator: torch.Generator) -> Tensor:
        """Bicubic there and back; one share for the whole batch, the mean of the strengths."""
        size = (x.shape[-2], x.shape[-1])
        share = float(strength.mean())
        small = (max(1, round(size[0] * share)), max(1, round(size[1] * share)))
        shrunk = F.interpolate(x, small, mode="bicubic", antialias=True)
        return F.interpolate(shrunk, size, mode="bicubic", antialias=True).clamp(0.0, 1.0)
