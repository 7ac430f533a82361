"""CIEDE2000, the difference of two colours, for tensors: with finite gradients at every colour.

Hue is undefined for gray, and the usual forms of the formula have no gradient there, nor for equal
colours. Here angles never appear: multiples of the mean hue are polynomials in its cosine and
sine, and roots are of numbers that stay above zero.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

Lab = tuple[Tensor, Tensor, Tensor]

_MIN_SQUARE = 1e-8
"""Squared chroma that is added to every colour, so that its root has a gradient at gray."""

_MIN_DIFFERENCE = 1e-4
"""Difference under which the root is smoothed, so that it has a gradient at equal colours."""

_BLUE = math.radians(275.0)
"""Hue at which differences of chroma and of hue interact."""


def lab_of_xyz(x: Tensor, y: Tensor, z: Tensor) -> Lab:
    """Return CIELAB of tristimulus values.

    Args:
        x: X divided by the white's, any shape; under zero the linear part goes on.
        y: Y, likewise.
        z: Z, likewise.

    Returns:
        L*, a* and b*, each of that shape.

    Example:
        >>> white = torch.ones(1)
        >>> [round(value.item(), 3) for value in lab_of_xyz(white, white, 0.5 * white)]
        [100.0, 0.0, 41.26]
    """
    fx, fy, fz = (_compress(value) for value in (x, y, z))
    return 116.0 * fy - 16.0, 500.0 * (fx - fy), 200.0 * (fy - fz)


def _compress(value: Tensor) -> Tensor:
    """Return the cube root, above (6 / 29)^3, and under it a line."""
    least = (6.0 / 29.0) ** 3
    return torch.where(
        value > least,
        torch.exp(torch.log(value.clamp_min(least)) / 3.0),  # several times faster than a power
        value * (29.0 / 6.0) ** 2 / 3.0 + 4.0 / 29.0,
    )


def ciede2000(
    first: tuple[Tensor, Tensor, Tensor], second: tuple[Tensor, Tensor, Tensor]
) -> Tensor:
    """Return the CIEDE2000 difference of colours (Luo, Cui and Rigg 2001; Sharma et al. 2005).

    Gradients are finite everywhere; differences under .0001 are smoothed for that.

    Args:
        first: L*, a* and b*, each of any one shape.
        second: L*, a* and b*, likewise.

    Returns:
        Differences of that shape, 0 for equal colours; about 1 is just noticeable for large
        fields side by side.

    Example:
        >>> gray = tuple(torch.tensor([value]) for value in (50.0, 0.0, 0.0))
        >>> blue = tuple(torch.tensor([value]) for value in (50.0, 2.6772, -79.7751))
        >>> violet = tuple(torch.tensor([value]) for value in (50.0, 0.0, -82.7485))
        >>> round(ciede2000(blue, violet).item(), 2), ciede2000(gray, gray).item()
        (2.04, 0.0)
    """
    (l1, a1, b1), (l2, a2, b2) = first, second
    stretch = 1.5 - 0.5 * _saturation(0.5 * (_chroma(a1, b1) + _chroma(a2, b2)))
    a1, a2 = a1 * stretch, a2 * stretch
    c1, c2 = _chroma(a1, b1), _chroma(a2, b2)
    chroma, lightness = 0.5 * (c1 + c2), 0.5 * (l1 + l2) - 50.0

    cosine, sine = _mean_hue(a1 / c1 + a2 / c2, b1 / c1 + b2 / c2)
    scale_l = 1.0 + 0.015 * lightness**2 * (20.0 + lightness**2).rsqrt()
    scale_c = 1.0 + 0.045 * chroma
    scale_h = 1.0 + 0.015 * chroma * _hue_weight(cosine, sine)

    delta_l = (l2 - l1) / scale_l
    delta_c = c2 - c1
    # squared, the difference of hue is what the other two leave of the distance
    delta_h2 = ((a2 - a1) ** 2 + (b2 - b1) ** 2 - delta_c**2).clamp_min(0.0)
    # signed, and used where chroma is high only: 2 sqrt(c1 c2) sin(h / 2)
    half = (0.5 * (c1 * c2 + a1 * a2 + b1 * b2)).clamp_min(0.0) + _MIN_SQUARE
    delta_h = (a1 * b2 - a2 * b1) * half.rsqrt()
    delta_c = delta_c / scale_c
    interaction = _saturation(chroma) * 2.0 * torch.sin(_rotation(cosine, sine))
    square = (
        delta_l**2 + delta_c**2 + delta_h2 / scale_h**2 - interaction * delta_c * delta_h / scale_h
    ).clamp_min(0.0)
    # square / (root + least) is root - least, without the rounding error at 0
    return square / ((square + _MIN_DIFFERENCE**2).sqrt() + _MIN_DIFFERENCE)


def _chroma(a: Tensor, b: Tensor) -> Tensor:
    return (a * a + b * b + _MIN_SQUARE).sqrt()


def _saturation(chroma: Tensor) -> Tensor:
    """Return sqrt(c^7 / (c^7 + 25^7))."""
    part = chroma * (1.0 / 25.0)
    power = part * part * part * part.sqrt()
    return power * (1.0 + power * power).rsqrt()


def _mean_hue(along: Tensor, across: Tensor) -> tuple[Tensor, Tensor]:
    """Return cosine and sine of the hue halfway between two; both 0 for two grays."""
    inverse = (along * along + across * across + 1e-4).rsqrt()
    return along * inverse, across * inverse


def _hue_weight(cosine: Tensor, sine: Tensor) -> Tensor:
    """Return T = 1 - .17 cos(h - 30) + .24 cos 2h + .32 cos(3h + 6) - .2 cos(4h - 63)."""
    cos2, sin2 = 2.0 * cosine * cosine - 1.0, 2.0 * cosine * sine
    cos3, sin3 = cosine * cos2 - sine * sin2, sine * cos2 + cosine * sin2
    cos4, sin4 = 2.0 * cos2 * cos2 - 1.0, 2.0 * cos2 * sin2
    weight = 1.0 + 0.24 * cos2
    terms = ((-0.17, 30.0, cosine, sine), (0.32, -6.0, cos3, sin3), (-0.2, 63.0, cos4, sin4))
    for factor, degrees, cos, sin in terms:
        shift = math.radians(degrees)
        weight = weight + factor * math.cos(shift) * cos + factor * math.sin(shift) * sin
    return weight


def _rotation(cosine: Tensor, sine: Tensor) -> Tensor:
    """Return 2 * 30 exp(-((h - 275) / 25)^2) degrees, in radians.

    The square of the angle is the series of arccos^2 in 1 - cos: where the series fails, beyond
    a right angle, the exponential is 0 either way.
    """
    apart = 1.0 - math.cos(_BLUE) * cosine - math.sin(_BLUE) * sine
    series = apart * (1.0 / 35.0 + apart * (16.0 / 1575.0))
    square = apart * (2.0 + apart * (1.0 / 3.0 + apart * (4.0 / 45.0 + series)))
    return math.radians(60.0) * torch.exp(square * -((math.degrees(1.0) / 25.0) ** 2))
