"""Removal of a source's fingerprint from its images, to measure how robust an attribution is.

The attacker has an estimate of the fingerprint, from other images of the source, and subtracts a
multiple of it: the same for all images, or as much as each image's residual has of it. Fingerprints
are often under one grey level, and an image that is then rounded to the nearest level is what it
was before. Random rounding keeps the pattern on average, for noise of at most half a level.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["MODES", "quantised", "share_of", "subtracted"]

_ROUNDING = 1e-3  # grey levels that float32 may lose

MODES = ("mean", "projection")
"""What is subtracted: the fingerprint itself, or each residual's projection on it."""


def share_of(residuals: Tensor, fingerprint: Tensor) -> Tensor:
    """How much of a fingerprint (C, H, W) each residual (N, C, H, W) holds, by least squares; (N,).

    <R, F> / <F, F>, both without their means; 1 where the residual is the fingerprint, plus what
    does not correlate with it. 0 of a constant fingerprint.
    """
    pattern = (fingerprint - fingerprint.mean()).flatten().double()
    rows = residuals.flatten(1).double()
    energy = pattern.square().sum()
    share = (rows - rows.mean(1, keepdim=True)) @ pattern / energy.clamp_min(1e-300)
    return share.to(residuals.dtype)


def subtracted(
    x: Tensor,
    fingerprint: Tensor,
    strength: float = 1.0,
    residuals: Tensor | None = None,
) -> Tensor:
    """Images (N, C, H, W) less `strength` times a fingerprint (C, H, W); may leave [0, 1].

    With `residuals` (N, C, H, W) of the images, less that times the share of it that each holds.
    """
    pattern = strength * fingerprint.to(x.device)
    if residuals is None:
        return x - pattern
    return x - share_of(residuals, fingerprint.to(x.device))[:, None, None, None] * pattern


def quantised(x: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Float in [0, 1] to 8-bit pixels, clamped; at random with a generator, else to the nearest.

    Random rounding goes up with the probability of the fraction, and is right on average; whole
    levels stay. The generator is on the CPU, so that its pixels are the same on all devices.
    """
    levels = x.mul(255.0)
    whole = levels.round()
    levels = torch.where((levels - whole).abs() < _ROUNDING, whole, levels)
    if generator is not None:
        drawn = torch.rand(x.shape, generator=generator, dtype=torch.float64)
        whole = (levels.double() + drawn.to(x.device)).floor()
    return whole.clamp_(0.0, 255.0).to(torch.uint8)
