"""Detection of former JPEG compression in pixels, whatever file they are in now.

JPEG rounds the cosine coefficients of blocks of 8 x 8 pixels to multiples of a step, so even after
decoding they lie near the teeth of a comb (Fan and de Queiroz 2003). For every quality of the IJG's
tables the mean cosine of 2 pi coefficient / step says how well they do; without JPEG it is a mean
of about 0, as coefficients next to 0, which every picture has the most of, are left out.

It detects luminance with the grid at the upper left and the IJG's tables, up to about quality 95.
It fails where an image was resized, turned or cut elsewhere than at multiples of 8 after JPEG, with
tables of other makers, other codecs such as WebP, and pictures with next to no texture.
"""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dctn

from artfp.perturbations.codec import LUMA_TABLE

MAX_TRACED_SIDE = 128
"""Pixels a side that are examined, at most, from the upper left."""

DETECTION_THRESHOLD = 6.0
"""Standard deviations of the mean cosine above which an image counts as former JPEG."""

_QUALITIES = range(30, 97)
_LEAST_STEP, _LEAST_COUNT = 2.0, 40
_LUMA = (0.299, 0.587, 0.114)


def was_jpeg(pixels: NDArray[np.uint8]) -> bool:
    """Return whether pixels (H, W, 3), or (H, W) of gray, have the comb of JPEG."""
    return comb_statistic(pixels) > DETECTION_THRESHOLD


def comb_statistic(pixels: NDArray[np.uint8]) -> float:
    """Return the largest mean cosine over qualities, in its standard deviations without JPEG.

    0 for pixels (H, W, 3) or (H, W) with too little texture, or without a whole block.
    """
    whole = pixels[:MAX_TRACED_SIDE, :MAX_TRACED_SIDE].astype(np.float64)
    luma = whole @ np.array(_LUMA) if whole.ndim == 3 else whole
    rows, columns = (side // 8 for side in luma.shape)
    blocks = luma[: 8 * rows, : 8 * columns].reshape(rows, 8, columns, 8).swapaxes(1, 2)
    coefficients = dctn(blocks.reshape(-1, 8, 8), axes=(1, 2), norm="ortho").reshape(-1, 64)[:, 1:]
    best = 0.0
    for steps in _tables():
        above = (np.abs(coefficients) > 0.5 * steps) & (steps >= _LEAST_STEP)
        count = int(above.sum())
        if count >= _LEAST_COUNT:
            turns = (coefficients / steps)[above]
            best = max(best, float(np.cos(2.0 * np.pi * turns).sum() / np.sqrt(0.5 * count)))
    return best


@functools.cache
def _tables() -> list[NDArray[np.float64]]:
    """Return steps (63,) of luminance without the mean, for each quality."""
    table = np.array(LUMA_TABLE, np.float64).ravel()[1:]
    found = []
    for quality in _QUALITIES:
        scale = 5000 // quality if quality < 50 else 200 - 2 * quality
        found.append(np.clip(np.floor((table * scale + 50.0) / 100.0), 1.0, 255.0))
    return found
