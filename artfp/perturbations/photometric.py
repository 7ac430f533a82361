"""Perturbations that change values and leave every pixel where it is."""

from __future__ import annotations

import torch
from kornia.filters import gaussian_blur2d
from torch import Tensor

from artfp.perturbations.base import Perturbation, per_image


class Noise(Perturbation):
    """Additive Gaussian noise; strength is its standard deviation, full range 1."""

    name = "noise"
    mildest, harshest = 0.0, 0.04

    def soft(self, x: Tensor, strength: Tensor, generator: torch.Generator) -> Tensor:
        """Noise of standard deviation (N,) added, then clamped."""
        noise = torch.randn(x.shape, generator=generator).to(x)
        return (x + noise * per_image(strength, x)).clamp(0.0, 1.0)


class Blur(Perturbation):
    """Gaussian blur; strength is its standard deviation in pixels."""

    name = "blur"
    mildest, harshest = 0.2, 1.0

    def soft(self, x: Tensor, strength: Tensor, generator: torch.Generator) -> Tensor:
        """Separable Gaussian of deviation (N,) pixels, cut at three deviations of the widest."""
        radius = max(1, int(3.0 * float(strength.max()) + 0.5))
        sigma = strength.to(x).view(-1, 1).expand(-1, 2)
        side = 2 * radius + 1
        return gaussian_blur2d(x, (side, side), sigma)


class Brightness(Perturbation):
    """Values multiplied by the strength."""

    name = "brightness"
    mildest, harshest, both_ways = 1.0, 1.3, True

    def soft(self, x: Tensor, strength: Tensor, generator: torch.Generator) -> Tensor:
        """Images times (N,), clamped."""
        return (x * per_image(strength, x)).clamp(0.0, 1.0)


class Contrast(Perturbation):
    """Distance from the image's mean gray multiplied by the strength."""

    name = "contrast"
    mildest, harshest, both_ways = 1.0, 1.3, True

    def soft(self, x: Tensor, strength: Tensor, generator: torch.Generator) -> Tensor:
        """Contrast times (N,) about each image's mean, clamped."""
        mean = x.mean(dim=(1, 2, 3), keepdim=True)
        return ((x - mean) * per_image(strength, x) + mean).clamp(0.0, 1.0)
