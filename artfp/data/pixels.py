"""Conversion of 8-bit pixels to floats in [0, 1] and back."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def to_unit(pixels: Tensor) -> Tensor:
    """Return 8-bit pixels as float in [0, 1]; the shape stays."""
    return pixels.to(torch.float32).div_(255.0)


def to_8bit(x: Tensor) -> Tensor:
    """Return floats in [0, 1] as 8-bit pixels, rounded to nearest and clamped; the shape stays."""
    return x.mul(255.0).round_().clamp_(0.0, 255.0).to(torch.uint8)


def as_batch(pixels: np.ndarray) -> Tensor:
    """Return the pixels (H, W, 3) uint8 of one image as (1, 3, H, W) in [0, 1]."""
    return to_unit(torch.from_numpy(pixels).permute(2, 0, 1).unsqueeze(0))
