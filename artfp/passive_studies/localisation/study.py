"""Where in an image a source's fingerprint is missing: correlation in windows, all at once.

    maps = windowed_correlation(residuals, fingerprint.mean[None], 64)   # (N, 1, H - 63, W - 63)
    pixels = pixel_map(maps, 64)                                         # (N, 1, H, W)

The correlation of a window is that of whole images (Marra et al. 2019): the inner product of
residual and fingerprint there, both with their means over the window and its channels taken off,
and of unit norm. A spliced region comes from elsewhere and does not correlate (Lukas, Fridrich and
Goljan 2006; Chen et al. 2008). Sums over windows are differences of running sums in float64, so the
cost does not depend on the window.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from artfp.core.errors import UserError
from artfp.stats.intervals import auc

__all__ = ["Detection", "best_threshold", "detection", "pixel_map", "windowed_correlation"]

LEAST = 4
"""Pixels a side of a window, at least."""

_CONSTANT = 1e-12
"""Share of the mean power of the whole below which a window's variance is one of rounding."""


def windowed_correlation(residuals: Tensor, prints: Tensor, window: int) -> Tensor:
    """Correlations (N, K, H - window + 1, W - window + 1), float32, in all square windows.

    Of residuals (N, C, H, W) with fingerprints (K, C, H, W); entry (i, j) is of the window whose
    upper left pixel is (i, j). 0 where one of the two is constant.

    Raises UserError: shapes that do not fit, or a window under LEAST or larger than the image.
    """
    if residuals.ndim != 4 or prints.ndim != 4 or residuals.shape[1:] != prints.shape[1:]:
        raise UserError(
            f"correlation of {tuple(residuals.shape)} and {tuple(prints.shape)}: "
            "expected (N, C, H, W) and (K, C, H, W)"
        )
    height, width = residuals.shape[2:]
    if not LEAST <= window <= min(height, width):
        raise UserError(
            f"window is {window}; images of {width}x{height} take {LEAST} to {min(height, width)}"
        )
    values = residuals.shape[1] * window * window
    left, right = (_centred(x) for x in (residuals, prints.to(residuals.device)))
    sums, spreads = zip(*(_moments(x, window, values) for x in (left, right)), strict=True)
    found = left.new_empty(len(left), len(right), *sums[0].shape[1:], dtype=torch.float32)
    for index, one in enumerate(right):
        product = _box((left * one).sum(1), window)
        product -= sums[0] * sums[1][index] / values
        norm = (spreads[0] * spreads[1][index]).sqrt_()
        found[:, index] = torch.where(norm > 0, product / norm.clamp_min(1e-300), 0.0)
    return found.clamp_(-1.0, 1.0)


def pixel_map(correlations: Tensor, window: int) -> Tensor:
    """Correlations (..., H - window + 1, W - window + 1) of windows as those of pixels (..., H, W).

    A pixel has the correlation of the window around it; at the border, of the nearest window.
    """
    for dim in (-2, -1):
        count = correlations.shape[dim]
        at = torch.arange(count + window - 1, device=correlations.device) - window // 2
        correlations = correlations.index_select(dim, at.clamp_(0, count - 1))
    return correlations


class Detection(NamedTuple):
    """How well scores tell pixels that are spliced in, over all pixels of all images together."""

    auc: float
    """Probability that a spliced pixel's score exceeds another's."""
    f1: float
    """Harmonic mean of precision and recall, at the threshold."""
    precision: float
    """Share of the pixels at or above the threshold that are spliced; 0 if there are none."""
    recall: float
    """Share of the spliced pixels that are at or above the threshold."""


def best_threshold(scores: NDArray[np.floating], truth: NDArray[np.bool_]) -> float:
    """The score that, as threshold (at or above it: spliced), has the largest F1.

    Raises ValueError: no spliced pixel.
    """
    if not truth.any():
        raise ValueError("no spliced pixel: there is no best threshold")
    order = np.argsort(-scores, kind="stable")
    ranked, hits = scores[order], np.cumsum(truth[order])
    last = np.append(ranked[1:] != ranked[:-1], True)  # all pixels of equal score go together
    f1 = 2.0 * hits / (np.arange(1, len(hits) + 1) + hits[-1])
    return float(ranked[last][f1[last].argmax()])


def detection(
    scores: NDArray[np.floating], truth: NDArray[np.bool_], threshold: float
) -> Detection:
    """Figures of scores (pixels,), larger where spliced, against the truth (pixels,).

    Raises ValueError: no spliced pixel, or nothing else.
    """
    marked = scores >= threshold
    hits = int((marked & truth).sum())
    precision = hits / max(1, int(marked.sum()))
    recall = hits / max(1, int(truth.sum()))
    f1 = 2.0 * hits / max(1, int(marked.sum()) + int(truth.sum()))
    return Detection(auc(scores[~truth], scores[truth]), f1, precision, recall)


def _centred(x: Tensor) -> Tensor:
    """Without each array's mean, which windows' sums would lose digits to; float64."""
    whole = x.double()
    return whole - whole.mean((1, 2, 3), keepdim=True)


def _moments(x: Tensor, window: int, values: int) -> tuple[Tensor, Tensor]:
    """Sums and sums of squared deviations of windows, (N, H', W') of x (N, C, H, W)."""
    sums, squares = _box(x.sum(1), window), _box(x.square().sum(1), window)
    spread = squares - sums.square() / values
    floor = _CONSTANT * values * x.square().mean((1, 2, 3))[:, None, None]
    return sums, torch.where(spread > floor, spread, 0.0)


def _box(x: Tensor, window: int) -> Tensor:
    """Sums over windows (N, H - window + 1, W - window + 1) of x (N, H, W)."""
    for dim in (1, 2):
        running = x.cumsum(dim)
        count = x.shape[dim] - window
        sums = running.narrow(dim, window - 1, count + 1).clone()
        sums.narrow(dim, 1, count).sub_(running.narrow(dim, 0, count))
        x = sums
    return x
