"""Visibility of a change of a whole photograph, at a viewing distance and when zoomed in."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from artfp.data.pixels import as_batch
from artfp.metrics.scielab import Visibility, scielab_map, summarise_visibility

PIXELS_PER_DEGREE = (60, 20)
"""Scales at which visibility is told: a sharp screen at arm's length, and zoomed in three times."""

_WHOLE_PIXELS = 1 << 20
_WHOLE_SIDE = 2048
"""Pixels and side up to which an image is looked at as a whole."""

_PATCHES = 16
_PATCH_SIDE = 224
_MARGIN = 32
"""Pixels around a patch that take part in its filters and are not counted."""


def visibility_of_image(
    original: np.ndarray, marked: np.ndarray, pixels_per_degree: float = 60.0
) -> Visibility:
    """Return how visible a change of a photograph is, by S-CIELAB.

    An image of more than 1,048,576 pixels or 2,048 pixels a side is not looked at as a whole: 16
    patches of 224 x 224 pixels, evenly spread, stand for it, so that 24 megapixels take no longer
    than one and less than 300 MB. The filters see 32 pixels around each patch.

    Args:
        original: Image (H, W, 3), uint8.
        marked: Image of the same shape, uint8.
        pixels_per_degree: Pixels in a degree of the visual angle.

    Returns:
        Percentile and share, (1,) each.

    Raises:
        ValueError: unequal shapes.

    Example:
        >>> gray = np.full((24, 32, 3), 128, np.uint8)
        >>> round(visibility_of_image(gray, gray + np.uint8(2)).p95.item(), 2)
        0.75
    """
    if original.shape != marked.shape:
        raise ValueError(f"images of shapes {original.shape} and {marked.shape}")
    parts = []
    with torch.no_grad():
        for window, counted in _windows(original.shape[0], original.shape[1]):
            x, y = (as_batch(np.ascontiguousarray(each[window])) for each in (original, marked))
            found: Tensor = scielab_map(x, y, pixels_per_degree)[0][counted]
            parts.append(found.reshape(-1))
        return summarise_visibility(torch.cat(parts)[None, None])


def _windows(height: int, width: int) -> Iterator[tuple[tuple[slice, slice], tuple[slice, slice]]]:
    """Yield what is cut from an image, and what of the cut is counted: rows and columns of each."""
    if height * width <= _WHOLE_PIXELS and max(height, width) <= _WHOLE_SIDE:
        whole = (slice(None), slice(None))
        yield whole, whole
        return
    side = math.isqrt(_PATCHES)
    rows = min(side, math.ceil(height / _PATCH_SIDE))
    columns = min(_PATCHES // rows, math.ceil(width / _PATCH_SIDE))
    rows = min(_PATCHES // columns, math.ceil(height / _PATCH_SIDE))
    for top in _starts(height, rows):
        for left in _starts(width, columns):
            cuts, counts = [], []
            for start, length in ((top, height), (left, width)):
                end = min(length, start + _PATCH_SIDE)
                first = max(0, start - _MARGIN)
                cuts.append(slice(first, min(length, end + _MARGIN)))
                counts.append(slice(start - first, end - first))
            yield (cuts[0], cuts[1]), (counts[0], counts[1])


def _starts(length: int, count: int) -> list[int]:
    """Return where `count` patches of a side start: in the middle of equal parts of it."""
    room = max(0, length - _PATCH_SIDE)
    centres = [(2 * part + 1) * length // (2 * count) for part in range(count)]
    return [min(room, max(0, centre - _PATCH_SIDE // 2)) for centre in centres]
