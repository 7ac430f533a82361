"""Autocorrelation of fingerprints: upsampling leaves peaks at its period (Marra et al. 2019)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True)
class Peak:
    """The largest autocorrelation in size away from shift 0."""

    value: float
    down: int
    """Rows, 0 or more: the other half is the same mirrored."""
    right: int
    """Columns."""


def autocorrelation(fingerprints: Tensor) -> Tensor:
    """Autocorrelations (K, 2H - 1, 2W - 1) of fingerprints (K, C, H, W), float64 on the CPU.

    Sums of products over the pixels that overlap and over channels, of the fingerprint with the
    mean over all its values taken off, 1 at shift 0, which is in the middle. A constant one has 0
    everywhere.
    """
    x = fingerprints.cpu().double()
    x = x - x.mean((1, 2, 3), keepdim=True)
    height, width = x.shape[-2:]
    size = (2 * height - 1, 2 * width - 1)
    power = torch.fft.rfft2(x, s=size).abs().square().sum(1)
    found = torch.fft.fftshift(torch.fft.irfft2(power, s=size), dim=(1, 2))
    energy = x.square().sum((1, 2, 3))[:, None, None]
    return torch.where(energy > 0, found / energy.clamp_min(1e-300), 0.0)


def within(surface: NDArray[np.float64], reach: int) -> NDArray[np.float64]:
    """The middle of an autocorrelation (2H - 1, 2W - 1): shifts of up to `reach` pixels."""
    rows, columns = (slice(max(0, s // 2 - reach), s // 2 + reach + 1) for s in surface.shape)
    return surface[rows, columns]


def strongest(surface: NDArray[np.float64], apart: int, reach: int) -> Peak:
    """The largest value in size at shifts from `apart` to `reach` pixels, down or across.

    Raises ValueError: there is no such shift.
    """
    middle = within(surface, reach)
    rows, columns = (np.arange(side) - side // 2 for side in middle.shape)
    far = np.maximum(np.abs(rows)[:, None], np.abs(columns)) >= apart
    far[rows < 0] = False
    if not far.any():
        raise ValueError(f"shifts from {apart} to {reach} in a surface of {surface.shape}")
    y, x = np.unravel_index(np.argmax(np.where(far, np.abs(middle), -1.0)), middle.shape)
    return Peak(float(middle[y, x]), int(rows[y]), int(columns[x]))
