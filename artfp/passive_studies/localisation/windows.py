"""Correlation with a residual fingerprint in sliding windows, and how well it detects splices.

    maps = correlate_windows(residuals, fingerprint.mean[None], 64)   # (N, 1, H - 63, W - 63)
    pixels = window_to_pixel_map(maps, 64)                            # (N, 1, H, W)

The correlation of a window is that of whole images (Marra et al. 2019): the inner product of
residual and fingerprint there, both without their means over the window and its channels, and of
unit norm. A spliced region comes from elsewhere and does not correlate (Lukas, Fridrich and Goljan
2006; Chen et al. 2008). Sums over windows are differences of running sums in float64, so the cost
does not depend on the window.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from artfp.core.errors import UserError
from artfp.core.progress import Progress
from artfp.data.pixels import as_batch
from artfp.data.reading import Failed, UpperLeft, read_images
from artfp.data.sources import ImageSource
from artfp.passive.attributors.mean_residual import MeanResidual
from artfp.passive.residuals.residual_fingerprint import correlation
from artfp.stats.intervals import auc

_Array = NDArray[np.float32]

WINDOWS_PER_SIDE = 4
"""Default window sides that fit into the shorter side of an image."""

MIN_SPLICE_WINDOW = 4
"""Minimum side of a window in pixels."""

_MIN_VARIANCE = 1e-12
"""Fraction of the whole's mean power below which a window's variance is rounding error."""


def correlate_windows(residuals: Tensor, fingerprints: Tensor, window: int) -> Tensor:
    """Correlate residuals with fingerprints in all square windows.

    Args:
        residuals: Noise residuals (N, C, H, W).
        fingerprints: Residual fingerprints (K, C, H, W).
        window: Side of the windows in pixels.

    Returns:
        Correlations (N, K, H - window + 1, W - window + 1), float32; entry (i, j) is of the window
        whose upper left pixel is (i, j). 0 where one of the two is constant.

    Raises:
        UserError: shapes that do not fit, or a window that is too small or larger than the image.
    """
    if (
        residuals.ndim != 4
        or fingerprints.ndim != 4
        or residuals.shape[1:] != fingerprints.shape[1:]
    ):
        raise UserError(
            f"correlation of {tuple(residuals.shape)} and {tuple(fingerprints.shape)}: "
            "expected (N, C, H, W) and (K, C, H, W)"
        )
    height, width = residuals.shape[2:]
    if not MIN_SPLICE_WINDOW <= window <= min(height, width):
        raise UserError(
            f"window is {window}; images of {width}x{height} take {MIN_SPLICE_WINDOW} to "
            f"{min(height, width)}"
        )
    values = residuals.shape[1] * window * window
    left, right = (_centre(x) for x in (residuals, fingerprints.to(residuals.device)))
    sums, deviations = zip(
        *(_window_moments(x, window, values) for x in (left, right)), strict=True
    )
    found = left.new_empty(len(left), len(right), *sums[0].shape[1:], dtype=torch.float32)
    for index, one in enumerate(right):
        product = _window_sums((left * one).sum(1), window)
        product -= sums[0] * sums[1][index] / values
        norm = (deviations[0] * deviations[1][index]).sqrt_()
        found[:, index] = torch.where(norm > 0, product / norm.clamp_min(1e-300), 0.0)
    return found.clamp_(-1.0, 1.0)


def window_to_pixel_map(correlations: Tensor, window: int) -> Tensor:
    """Map correlations (..., H - window + 1, W - window + 1) of windows to pixels (..., H, W).

    A pixel has the correlation of the window around it; at the border, of the nearest window.
    """
    for dim in (-2, -1):
        count = correlations.shape[dim]
        at = torch.arange(count + window - 1, device=correlations.device) - window // 2
        correlations = correlations.index_select(dim, at.clamp_(0, count - 1))
    return correlations


@dataclass(frozen=True)
class LocalisedImage:
    """Summary of an image's heat map.

    Args:
        name: Name of the image.
        window: Side of the windows in pixels.
        correlation: Correlation of the whole image.
        lowest: Row and column of the upper left pixel of the window that correlates least, and its
            correlation.
        below: Fraction of the pixels below the threshold; None without a threshold.

    Example:
        >>> LocalisedImage("a.png", 64, 0.1, (0, 32, -0.02), None).lowest
        (0, 32, -0.02)
    """

    name: str
    window: int
    correlation: float
    lowest: tuple[int, int, float]
    below: float | None


@dataclass(frozen=True)
class HeatMap:
    """Image with the correlations of its windows."""

    name: str
    window: int
    correlation: float
    """Correlation of the whole image."""
    pixels: NDArray[np.uint8] = field(repr=False)
    """(H, W, 3)."""
    windows: _Array = field(repr=False)
    """Correlations (H - window + 1, W - window + 1) by upper left pixel."""
    heat: _Array = field(repr=False)
    """Correlation of the window around each pixel (H, W)."""

    def lowest(self) -> tuple[int, int, float]:
        """Return row and column of the upper left pixel of the lowest window, and its value."""
        row, column = np.unravel_index(int(self.windows.argmin()), self.windows.shape)
        return int(row), int(column), float(self.windows[row, column])

    def below(self, threshold: float) -> float:
        """Return the fraction of the pixels below a threshold."""
        return float((self.heat < threshold).mean())

    def spaced_windows(self) -> Iterator[tuple[int, int, float]]:
        """Yield (row, column, correlation) of windows half a window apart, and at the ends."""
        step = max(1, self.window // 2)
        rows, columns = (sorted({*range(0, n, step), n - 1}) for n in self.windows.shape)
        for row in rows:
            for column in columns:
                yield row, column, float(self.windows[row, column])

    def summary(self, threshold: float | None) -> LocalisedImage:
        """Return what is reported of the image."""
        below = None if threshold is None else self.below(threshold)
        return LocalisedImage(self.name, self.window, self.correlation, self.lowest(), below)


def default_window(size: tuple[int, int]) -> int:
    """Return the window for images of (height, width) where none is given."""
    return max(MIN_SPLICE_WINDOW, min(size) // WINDOWS_PER_SIDE)


def heat_maps(
    source: ImageSource,
    fingerprint: MeanResidual,
    failed: Failed,
    window: int | None = None,
    device: torch.device | str = "cpu",
) -> Iterator[HeatMap]:
    """Yield the heat map of each usable image, cropped to the fingerprint's size.

    Args:
        source: Images.
        fingerprint: Mean residual of their source.
        failed: Gets the images that cannot be used, with the reasons.
        window: Side of the windows in pixels; by default a quarter of the shorter side.
        device: Torch device.

    Raises:
        UserError: no image can be used, or a window that does not fit.
    """
    window = default_window(fingerprint.size) if window is None else window
    mean = fingerprint.mean[None].to(device)
    correlate_windows(mean, mean, window)  # refuses the window before images are read
    crop = UpperLeft(fingerprint.size, fingerprint.exact)
    used = False
    with Progress("Localising", len(source)) as progress:
        for image in read_images(
            source, failed, prepare=crop, progress=progress, orientation=False
        ):
            residual = fingerprint.extractor(as_batch(image.pixels).to(device))
            maps = correlate_windows(residual, mean, window)
            yield HeatMap(
                image.name,
                window,
                float(correlation(residual, mean)),
                image.pixels,
                maps[0, 0].cpu().numpy(),
                window_to_pixel_map(maps, window)[0, 0].cpu().numpy(),
            )
            used = True
    if not used:
        raise UserError(f"{source.location}: no image can be used ({': '.join(failed[0])})")


class SpliceDetection(NamedTuple):
    """Detection of spliced pixels by scores, over all pixels of all images together."""

    auc: float
    """Probability that a spliced pixel's score exceeds another's."""
    f1: float
    """Harmonic mean of precision and recall, at the threshold."""
    precision: float
    """Fraction of the pixels at or above the threshold that are spliced; 0 if there are none."""
    recall: float
    """Fraction of the spliced pixels that are at or above the threshold."""


def best_threshold(scores: NDArray[np.floating], spliced: NDArray[np.bool_]) -> float:
    """Return the threshold (at or above it: spliced) with the largest F1.

    Raises:
        ValueError: no spliced pixel.
    """
    if not spliced.any():
        raise ValueError("no spliced pixel: there is no best threshold")
    ranking = np.argsort(-scores, kind="stable")
    ranked, correct = scores[ranking], np.cumsum(spliced[ranking])
    last = np.append(ranked[1:] != ranked[:-1], True)  # all pixels of equal score go together
    f1 = 2.0 * correct / (np.arange(1, len(correct) + 1) + correct[-1])
    return float(ranked[last][f1[last].argmax()])


def evaluate_detection(
    scores: NDArray[np.floating], spliced: NDArray[np.bool_], threshold: float
) -> SpliceDetection:
    """Evaluate scores (pixels,), larger where spliced, against the ground truth (pixels,).

    Raises:
        ValueError: no spliced pixel, or nothing else.
    """
    predicted = scores >= threshold
    correct = int((predicted & spliced).sum())
    precision = correct / max(1, int(predicted.sum()))
    recall = correct / max(1, int(spliced.sum()))
    f1 = 2.0 * correct / max(1, int(predicted.sum()) + int(spliced.sum()))
    return SpliceDetection(auc(scores[~spliced], scores[spliced]), f1, precision, recall)


def _centre(x: Tensor) -> Tensor:
    """Subtract each array's mean, which would cost the windows' sums digits; float64."""
    whole = x.double()
    return whole - whole.mean((1, 2, 3), keepdim=True)


def _window_moments(x: Tensor, window: int, values: int) -> tuple[Tensor, Tensor]:
    """Return sums and sums of squared deviations of windows, (N, H', W') of x (N, C, H, W)."""
    sums, squares = _window_sums(x.sum(1), window), _window_sums(x.square().sum(1), window)
    deviation = squares - sums.square() / values
    floor = _MIN_VARIANCE * values * x.square().mean((1, 2, 3))[:, None, None]
    return sums, torch.where(deviation > floor, deviation, 0.0)


def _window_sums(x: Tensor, window: int) -> Tensor:
    """Return sums over windows (N, H - window + 1, W - window + 1) of x (N, H, W)."""
    for dim in (1, 2):
        running = x.cumsum(dim)
        count = x.shape[dim] - window
        sums = running.narrow(dim, window - 1, count + 1).clone()
        sums.narrow(dim, 1, count).sub_(running.narrow(dim, 0, count))
        x = sums
    return x
