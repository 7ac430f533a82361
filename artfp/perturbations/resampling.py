"""Separable resampling as products with matrices: Pillow's filters, with gradients."""

from __future__ import annotations

from collections.abc import Callable

import torch
from PIL import Image
from torch import Tensor


def _box(d: Tensor) -> Tensor:
    return ((d > -0.5) & (d <= 0.5)).to(d)


def _triangle(d: Tensor) -> Tensor:
    return (1.0 - d.abs()).clamp_min(0.0)


def _cubic(d: Tensor) -> Tensor:
    """Cubic convolution with a = -0.5 (Keys 1981)."""
    d = d.abs()
    inner = (1.5 * d - 2.5) * d * d + 1.0
    outer = ((-0.5 * d + 2.5) * d - 4.0) * d + 2.0
    return torch.where(d < 1.0, inner, torch.where(d < 2.0, outer, torch.zeros_like(d)))


def _lanczos(d: Tensor) -> Tensor:
    """Sinc in a window of three lobes."""
    return torch.where(d.abs() < 3.0, torch.sinc(d) * torch.sinc(d / 3.0), torch.zeros_like(d))


FILTERS: dict[Image.Resampling, Callable[[Tensor], Tensor]] = {
    Image.Resampling.BOX: _box,
    Image.Resampling.BILINEAR: _triangle,
    Image.Resampling.BICUBIC: _cubic,
    Image.Resampling.LANCZOS: _lanczos,
}
"""Weight of a pixel by its distance, for each of Pillow's resamplers; BOX averages areas."""


def resampling_matrix(before: int, after: int, kind: Image.Resampling) -> Tensor:
    """Return the weights (after, before) with which Pillow resizes a side.

    Shrinking widens the filter (antialiasing); at the borders the weights are normalised anew.

    Args:
        before: Pixels of the side.
        after: Pixels that it is resized to.
        kind: One of FILTERS.

    Example:
        >>> resampling_matrix(4, 2, Image.Resampling.BOX)
        tensor([[0.5000, 0.5000, 0.0000, 0.0000],
                [0.0000, 0.0000, 0.5000, 0.5000]])
    """
    scale = before / after
    centres = (torch.arange(after, dtype=torch.float64) + 0.5) * scale
    places = torch.arange(before, dtype=torch.float64) + 0.5
    weights = FILTERS[kind]((places[None] - centres[:, None]) / max(1.0, scale))
    return (weights / weights.sum(dim=1, keepdim=True)).float()


def resample(x: Tensor, size: tuple[int, int], kind: Image.Resampling) -> Tensor:
    """Resize images as Pillow does where both sides change by the same share, in floats.

    Args:
        x: Images (N, 3, H, W) in [0, 1].
        size: (H, W) of the result.
        kind: One of FILTERS.

    Returns:
        Images (N, 3, *size) in [0, 1].
    """
    down, across = (
        resampling_matrix(before, after, kind).to(x)
        for before, after in zip(x.shape[-2:], size, strict=True)
    )
    wide = (x @ across.T).clamp(0.0, 1.0)  # Pillow clips between the axes too
    return (down @ wide).clamp(0.0, 1.0)
