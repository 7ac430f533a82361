"""Fidelity of an image to its original: PSNR and SSIM."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure

LARGEST_PSNR = 99.0
"""PSNR of equal images, in dB, instead of infinity."""

_SSIM_PIXELS = 1 << 22
"""Pixels of a band of an image whose SSIM is computed at once: a photograph takes gigabytes."""

_SSIM_REACH = 5
"""Rows on both sides of a pixel that its SSIM depends on."""


def psnr(x: Tensor, y: Tensor) -> Tensor:
    """Return the peak signal-to-noise ratio of each image, in dB.

    Args:
        x: Images (N, 3, H, W) of full range 1.
        y: Images of the same shape.

    Returns:
        (N,), 99 for equal images.

    Example:
        >>> x = torch.full((1, 3, 8, 8), 0.5)
        >>> psnr(x, x + 0.01).round()
        tensor([40.])
    """
    error = (x - y).square().mean(dim=(1, 2, 3))
    return -10.0 * torch.log10(error.clamp_min(10.0 ** (-LARGEST_PSNR / 10.0)))


def psnr_8bit(x: np.ndarray, y: np.ndarray) -> float:
    """Return the peak signal-to-noise ratio of two 8-bit images, in dB, without rounding errors.

    Args:
        x: Image (H, W, 3), uint8.
        y: Image of the same shape.

    Returns:
        PSNR, 99 for equal images.

    Example:
        >>> black = np.zeros((8, 8, 3), np.uint8)
        >>> round(psnr_8bit(black, black + np.uint8(1)), 2)
        48.13
    """
    if x.shape != y.shape:
        raise ValueError(f"shapes {x.shape} and {y.shape}")
    total, rows = 0, max(1, (1 << 22) // max(1, x[:1].size))  # a whole photograph takes 500 MB
    for start in range(0, len(x), rows):
        difference = x[start : start + rows].astype(np.int16) - y[start : start + rows]
        total += int(np.square(difference, dtype=np.int32).sum(dtype=np.int64))
    return psnr_of_error(total / (x.size * 255.0**2))


def psnr_of_error(error: float) -> float:
    """Return the PSNR of a mean squared error of pixels in [0, 1], in dB.

    Args:
        error: Mean of the squared differences, 0 or more.

    Example:
        >>> psnr_of_error(1e-4), psnr_of_error(0.0)
        (40.0, 99.0)
    """
    return -10.0 * math.log10(max(error, 10.0 ** (-LARGEST_PSNR / 10.0)))


def ssim(x: Tensor, y: Tensor) -> Tensor:
    """Return the structural similarity (SSIM) of each image.

    Gaussian window of deviation 1.5 (Wang et al. 2004), as torchmetrics computes it; in float32
    whatever the surrounding precision, since variances of half-precision values mean nothing.

    Args:
        x: Images (N, 3, H, W) of full range 1.
        y: Images of the same shape.

    Returns:
        (N,), 1 for equal images.

    Example:
        >>> x = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
        >>> ssim(x, x).round()
        tensor([1.])
    """
    height, width = x.shape[-2:]
    rows = max(1, _SSIM_PIXELS // width)
    total = torch.zeros(len(x), dtype=torch.float64, device=x.device)
    with torch.autocast(x.device.type, enabled=False):
        for start in range(0, height, rows):
            end = min(start + rows, height)
            first = max(0, min(start, height - 2 * _SSIM_REACH) - _SSIM_REACH)
            band = slice(first, end + _SSIM_REACH)
            found = structural_similarity_index_measure(
                x[..., band, :].float(),
                y[..., band, :].float(),
                data_range=1.0,
                reduction="none",
                return_full_image=True,
            )
            local = found[1][..., start - first : end - first, :]
            total += local.double().mean(dim=(1, 2, 3)) * (end - start)
    return (total / height).float()
