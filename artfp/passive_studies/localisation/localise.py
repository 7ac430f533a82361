"""Heat maps of where images carry a source's fingerprint, one image after the other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from artfp.core.errors import UserError
from artfp.data.pixels import as_batch
from artfp.data.reading import Failed, UpperLeft, read_images
from artfp.data.sources import ImageSource
from artfp.passive.attributors.mean_residual import MeanResidual
from artfp.passive.residuals.residual_fingerprint import correlation
from artfp.passive_studies.localisation.study import LEAST, pixel_map, windowed_correlation

Array = NDArray[np.float32]

SHARE = 4
"""The usual window is the shorter side over this."""


@dataclass(frozen=True)
class Located:
    """An image with the correlations of its windows."""

    name: str
    window: int
    correlation: float
    """Of the whole image."""
    pixels: NDArray[np.uint8] = field(repr=False)
    """(H, W, 3)."""
    windows: Array = field(repr=False)
    """(H - window + 1, W - window + 1)."""
    heat: Array = field(repr=False)
    """Correlation of each pixel's window (H, W)."""

    def lowest(self) -> tuple[int, int, float]:
        """Row and column of the upper left pixel of the least correlated window, and its value."""
        row, column = np.unravel_index(int(self.windows.argmin()), self.windows.shape)
        return int(row), int(column), float(self.windows[row, column])

    def below(self, threshold: float) -> float:
        """Share of the pixels under a threshold."""
        return float((self.heat < threshold).mean())

    def spread(self) -> Iterator[tuple[int, int, float]]:
        """(row, column, correlation) of windows half a window apart, and of those at the ends."""
        step = max(1, self.window // 2)
        rows, columns = (sorted({*range(0, n, step), n - 1}) for n in self.windows.shape)
        for row in rows:
            for column in columns:
                yield row, column, float(self.windows[row, column])


def usual_window(size: tuple[int, int]) -> int:
    """The window for images of (height, width) where none is asked for."""
    return max(LEAST, min(size) // SHARE)


def localised(
    source: ImageSource,
    fingerprint: MeanResidual,
    failed: Failed,
    window: int | None = None,
    device: torch.device | str = "cpu",
) -> Iterator[Located]:
    """Each image that can be used, cut to the fingerprint's size; `failed` gets the others.

    Raises UserError: no image can be used, or a window that does not fit.
    """
    window = usual_window(fingerprint.size) if window is None else window
    mean = fingerprint.mean[None].to(device)
    windowed_correlation(mean, mean, window)  # refuses the window before images are read
    cut = UpperLeft(fingerprint.size, fingerprint.exact)
    done = False
    for image in read_images(source, failed, prepare=cut):
        residual = fingerprint.extractor(as_batch(image.pixels).to(device))
        maps = windowed_correlation(residual, mean, window)
        yield Located(
            image.name,
            window,
            float(correlation(residual, mean)),
            image.pixels,
            maps[0, 0].cpu().numpy(),
            pixel_map(maps, window)[0, 0].cpu().numpy(),
        )
        done = True
    if not done:
        raise UserError(f"{source.location}: no image can be used ({': '.join(failed[0])})")
