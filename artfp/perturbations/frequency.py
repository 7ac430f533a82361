"""Perturbations that keep some spatial frequencies: blur, low-pass and what it leaves out."""

from __future__ import annotations

import torch
from kornia.filters import gaussian_blur2d
from torch import Tensor

from artfp.perturbations.base import Perturbation


def gaussian(x: Tensor, sigma: Tensor) -> Tensor:
    """Blur images (N, 3, H, W) by deviations (N,) in pixels, cut at three of the widest.

    Borders are mirrored where the image is large enough for that, else repeated.
    """
    radius = max(1, int(3.0 * float(sigma.max()) + 0.5))
    border = "reflect" if radius < min(x.shape[-2:]) else "replicate"
    deviations = sigma.to(x).view(-1, 1).expand(-1, 2)
    side = 2 * radius + 1
    return gaussian_blur2d(x, (side, side), deviations, border)


class Blur(Perturbation):
    """Gaussian blur; strength is its standard deviation in pixels.

    Example:
        >>> pixels = torch.full((1, 3, 16, 16), 100, dtype=torch.uint8)
        >>> Blur().real(pixels, 1.0, torch.Generator()).shape
        torch.Size([1, 3, 16, 16])
    """

    name = "blur"
    unit = "standard deviation in pixels"
    source = "Yu et al. 2019: kernels up to 9 pixels, about 1.7"
    mildest, harshest = 0.2, 1.8
    levels = (0.5, 1.0, 1.5, 2.0, 3.0)

    def differentiable(self, x: Tensor, strength: Tensor, generator: torch.Generator) -> Tensor:
        """Blur by deviations (N,)."""
        return gaussian(x, strength)


class LowPass(Perturbation):
    """Gaussian low-pass filter: the image as it is once it is coarser by a factor (strength).

    The Gaussian's deviation is half the factor in pixels, so that the new Nyquist frequency comes
    out at 0.29 of its amplitude; the size stays.

    Example:
        >>> pixels = torch.full((1, 3, 16, 16), 100, dtype=torch.uint8)
        >>> LowPass().real(pixels, 2.0, torch.Generator()).shape
        torch.Size([1, 3, 16, 16])
    """

    name = "lowpass"
    unit = "factor"
    source = "Yu et al. 2019, frequency study: 1 to 32"
    mildest, harshest = 1.0, 32.0
    levels = (2.0, 4.0, 8.0, 16.0, 32.0)

    def differentiable(self, x: Tensor, strength: Tensor, generator: torch.Generator) -> Tensor:
        """Filter by factors (N,)."""
        return gaussian(x, strength / 2.0)


class Residual(Perturbation):
    """Difference between the image and its LowPass at a factor (strength), on mid-gray.

    Example:
        >>> pixels = torch.full((1, 3, 16, 16), 100, dtype=torch.uint8)
        >>> Residual().real(pixels, 8.0, torch.Generator()).shape
        torch.Size([1, 3, 16, 16])
    """

    name = "residual"
    unit = "factor"
    source = LowPass.source
    mildest, harshest = 32.0, 1.0
    levels = (32.0, 16.0, 8.0, 4.0, 2.0)

    def differentiable(self, x: Tensor, strength: Tensor, generator: torch.Generator) -> Tensor:
        """Subtract the low-pass by factors (N,), add one half, clamp."""
        return (x - gaussian(x, strength / 2.0) + 0.5).clamp(0.0, 1.0)
