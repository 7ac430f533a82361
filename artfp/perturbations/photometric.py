"""Perturbations that change values, each pixel by itself or by its image's mean."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from artfp.perturbations.base import Perturbation, pass_through, per_image

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in gray (ITU-R BT.601)."""


def gray(x: Tensor) -> Tensor:
    """Return the luma (N, 1, H, W) of images (N, 3, H, W)."""
    return (x * torch.tensor(LUMA).to(x).view(1, 3, 1, 1)).sum(dim=1, keepdim=True)


class Noise(Perturbation):
    """Additive Gaussian noise; strength is its standard deviation, full range 1.

    Example:
        >>> pixels = torch.full((1, 3, 16, 16), 100, dtype=torch.uint8)
        >>> Noise().real(pixels, 0.05, torch.Generator()).shape
        torch.Size([1, 3, 16, 16])
    """

    name = "noise"
    unit = "standard deviation"
    source = "Yu et al. 2019: 5/255 to 20/255; WAVES: up to 0.1"
    mildest, harshest = 0.0, 0.08
    levels = (0.01, 0.02, 0.05, 0.08, 0.1)

    def differentiable(self, x: Tensor, strength: Tensor, generator: torch.Generator) -> Tensor:
        """Add noise of standard deviation (N,), clamp."""
        # Image by image: drawn together, images of some sizes get other noise than alone.
        noise = torch.stack([torch.randn(one.shape, generator=generator) for one in x]).to(x)
        return (x + noise * per_image(strength, x)).clamp(0.0, 1.0)


class Brightness(Perturbation):
    """Values multiplied by the strength.

    Example:
        >>> pixels = torch.full((1, 3, 16, 16), 100, dtype=torch.uint8)
        >>> Brightness().real(pixels, 0.5, torch.Generator()).shape
        torch.Size([1, 3, 16, 16])
    """

    name = "brightness"
    unit = "factor"
    source = "WAVES: up to 2"
    mildest, harshest, both_ways = 1.0, 1.6, True
    levels = (0.75, 0.5, 1.25, 1.5, 2.0)

    def differentiable(self, x: Tensor, strength: Tensor, generator: torch.Generator) -> Tensor:
        """Multiply by (N,), clamp."""
        return (x * per_image(strength, x)).clamp(0.0, 1.0)


class Contrast(Perturbation):
    """Distance from the image's mean gray multiplied by the strength.

    Example:
        >>> pixels = torch.full((1, 3, 16, 16), 100, dtype=torch.uint8)
        >>> Contrast().real(pixels, 0.5, torch.Generator()).shape
        torch.Size([1, 3, 16, 16])
    """

    name = "contrast"
    unit = "factor"
    source = "WAVES: up to 2"
    mildest, harshest, both_ways = 1.0, 1.6, True
    levels = (0.75, 0.5, 1.25, 1.5, 2.0)

    def differentiable(self, x: Tensor, strength: Tensor, generator: torch.Generator) -> Tensor:
        """Multiply the contrast by (N,) about each image's mean, clamp."""
        mean = x.mean(dim=(1, 2, 3), keepdim=True)
        return ((x - mean) * per_image(strength, x) + mean).clamp(0.0, 1.0)


class Saturation(Perturbation):
    """Distance of each pixel from its gray multiplied by the strength; 0 leaves gray.

    Example:
        >>> pixels = torch.full((1, 3, 16, 16), 100, dtype=torch.uint8)
        >>> Saturation().real(pixels, 0.5, torch.Generator()).shape
        torch.Size([1, 3, 16, 16])
    """

    name = "saturation"
    unit = "factor"
    source = "photo editors: from gray to double"
    mildest, harshest, both_ways = 1.0, 2.0, True
    levels = (0.5, 0.0, 1.5, 2.0)

    def differentiable(self, x: Tensor, strength: Tensor, generator: torch.Generator) -> Tensor:
        """Multiply the saturation by (N,), clamp."""
        middle = gray(x)
        return ((x - middle) * per_image(strength, x) + middle).clamp(0.0, 1.0)


class Hue(Perturbation):
    """Colours turned by degrees (strength) about the gray axis; the luma of each pixel stays.

    The turn is linear, in the chroma plane of YCbCr, so it has a gradient at gray pixels too, which
    a turn of the H of HSV has not.

    Example:
        >>> pixels = torch.full((1, 3, 16, 16), 100, dtype=torch.uint8)
        >>> Hue().real(pixels, 30.0, torch.Generator()).shape
        torch.Size([1, 3, 16, 16])
    """

    name = "hue"
    unit = "degrees"
    source = "photo editors: any turn; trained up to 60"
    mildest, harshest, both_ways = 0.0, 60.0, True
    levels = (10.0, 30.0, 60.0, 180.0)

    def differentiable(self, x: Tensor, strength: Tensor, generator: torch.Generator) -> Tensor:
        """Rotate the hue by (N,) degrees, clamp."""
        luma = gray(x)[:, 0]
        blue, red = (x[:, 2] - luma) / 1.772, (x[:, 0] - luma) / 1.402
        angle = per_image(strength, x)[:, 0] * (math.pi / 180.0)
        cosine, sine = angle.cos(), angle.sin()
        blue, red = cosine * blue - sine * red, sine * blue + cosine * red
        r, b = luma + 1.402 * red, luma + 1.772 * blue
        g = (luma - LUMA[0] * r - LUMA[2] * b) / LUMA[1]
        return torch.stack([r, g, b], dim=1).clamp(0.0, 1.0)


class Gamma(Perturbation):
    """Values raised to a power (strength): above 1 darker, under 1 lighter.

    Example:
        >>> pixels = torch.full((1, 3, 16, 16), 100, dtype=torch.uint8)
        >>> Gamma().real(pixels, 2.0, torch.Generator()).shape
        torch.Size([1, 3, 16, 16])
    """

    name = "gamma"
    unit = "exponent"
    source = "photo editors: 0.5 to 2"
    mildest, harshest, both_ways = 1.0, 1.6, True
    levels = (0.75, 0.5, 1.5, 2.0)

    def differentiable(self, x: Tensor, strength: Tensor, generator: torch.Generator) -> Tensor:
        """Raise to the power (N,); under one grey level a straight line, for a finite slope."""
        x = x.clamp(0.0, 1.0)
        return x * x.clamp_min(1.0 / 255.0) ** (per_image(strength, x) - 1.0)


class Quantise(Perturbation):
    """Values rounded to 2^b equal steps from 0 to 1; strength is b, the bits a channel.

    Example:
        >>> pixels = torch.full((1, 3, 16, 16), 100, dtype=torch.uint8)
        >>> Quantise().real(pixels, 4.0, torch.Generator()).shape
        torch.Size([1, 3, 16, 16])
    """

    name = "quantise"
    unit = "bits a channel"
    source = "palettes and posters: 6 to 2 bits"
    mildest, harshest = 6.0, 3.0
    levels = (6.0, 5.0, 4.0, 3.0, 2.0)

    def differentiable(self, x: Tensor, strength: Tensor, generator: torch.Generator) -> Tensor:
        """Round to (N,) bits; the gradient is that of the identity."""
        steps = 2.0 ** per_image(strength, x).round() - 1.0
        x = x.clamp(0.0, 1.0)
        return pass_through((x * steps).round() / steps, x)
