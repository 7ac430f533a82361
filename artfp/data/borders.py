"""Pictures within an image: inside uniform borders, and side by side in a collage of two."""

from __future__ import annotations

import numpy as np

_TOLERANCES = (6, 32)
"""Grey levels by which pixels of a border may differ from its colour: as drawn, and after JPEG."""

_OTHERS = 0.01
"""Fraction of the pixels of a row of the border that may differ more."""

_RIPPLES = 7
"""Rows inside a border in which the edge is looked for: JPEG's blocks have 8."""

_FRAMES = 2

_SEAM_ROWS = 256
"""Rows in which a seam is looked for, at most about twice as many."""

_SEAM_STEP, _SEAM_LENGTH, _SEAM_CONTRAST = 8, 0.8, 2.0
"""Grey levels of a step, fraction of the rows that have it, and its mean over that of any column
beside it."""

_LEAST_SIDE = 24

Box = tuple[int, int, int, int]
"""Top, bottom, left and right, as in `pixels[top:bottom, left:right]`."""


def find_pictures(pixels: np.ndarray) -> list[Box]:
    """Return what remains of an image without its uniform borders, and the parts of a collage.

    Rows and columns of one colour are taken off from all sides until none is left. JPEG leaves
    ripples beside an edge, so it is done with a small and with a large tolerance. An edge that runs
    straight across the image, far sharper than what is beside it, parts two pictures.

    Args:
        pixels: (H, W, 3) uint8.

    Returns:
        Boxes without duplicates; none where there is no border, or less than 24 pixels a side
        would remain.

    Example:
        >>> framed = np.zeros((60, 80, 3), np.uint8)
        >>> framed[10:50, 5:75] = np.random.default_rng(0).integers(99, 255, (40, 70, 3))
        >>> find_pictures(framed)
        [(10, 50, 5, 75)]
    """
    boxes: list[Box] = []
    for tolerance in _TOLERANCES:
        box = _without_borders(pixels, tolerance)
        top, bottom, left, right = box
        whole = (bottom - top, right - left) == pixels.shape[:2]
        if not whole and min(bottom - top, right - left) >= _LEAST_SIDE and box not in boxes:
            boxes.append(box)
    return boxes + [box for box in _parts(pixels) if box not in boxes]


def _parts(pixels: np.ndarray) -> list[Box]:
    """Return the two parts beside a vertical seam, and those of a horizontal one."""
    height, width = pixels.shape[:2]
    column, row = _seam(pixels), _seam(pixels.swapaxes(0, 1))
    parts = [(0, height, 0, column), (0, height, column, width)] if column else []
    return parts + ([(0, row, 0, width), (row, height, 0, width)] if row else [])


def _seam(pixels: np.ndarray) -> int:
    """Return the column at which a picture (H, W, 3) begins beside another; 0 if there is none."""
    height, width = pixels.shape[:2]
    if width < 2 * _LEAST_SIDE or height < _LEAST_SIDE:
        return 0
    rows = pixels[:: max(1, height // _SEAM_ROWS)].astype(np.int16)
    steps = np.abs(np.diff(rows, axis=1)).max(axis=2)
    mean = steps.mean(axis=0)
    inner = mean[_LEAST_SIDE - 1 : width - _LEAST_SIDE]
    at = _LEAST_SIDE - 1 + int(inner.argmax())
    beside = np.concatenate([mean[at - 9 : at - 1], mean[at + 2 : at + 10]])
    across = (steps[:, at] > _SEAM_STEP).mean() >= _SEAM_LENGTH
    return at + 1 if across and mean[at] > _SEAM_CONTRAST * beside.max() else 0


def _without_borders(pixels: np.ndarray, tolerance: int) -> Box:
    """Return the box that remains when up to `_FRAMES` borders, one in another, are taken off."""
    height, width = pixels.shape[:2]
    top, bottom, left, right = 0, height, 0, width
    for _ in range(_FRAMES):
        before = top, bottom, left, right
        first, last = _uniform_rows(pixels[top:bottom, left:right], tolerance)
        top, bottom = top + first, bottom - last
        if top >= bottom:
            break
        first, last = _uniform_rows(pixels[top:bottom, left:right].swapaxes(0, 1), tolerance)
        left, right = left + first, right - last
        if left >= right or (top, bottom, left, right) == before:
            break
    return top, bottom, left, right


def _uniform_rows(pixels: np.ndarray, tolerance: int) -> tuple[int, int]:
    """Return how many first and last rows (H, W, 3) have one colour, that of the outermost."""
    first, last = _first_rows(pixels, tolerance), _first_rows(pixels[::-1], tolerance)
    return first, min(last, len(pixels) - first)


def _first_rows(pixels: np.ndarray, tolerance: int) -> int:
    colour = np.median(pixels[0], axis=0)
    for number, row in enumerate(pixels):
        other = (np.abs(row - colour) > tolerance).any(axis=1)
        if np.count_nonzero(other) > _OTHERS * len(other):
            return number + _strongest_edge(pixels, number, tolerance) if number else 0
    return len(pixels)


def _strongest_edge(pixels: np.ndarray, row: int, tolerance: int) -> int:
    """Return how many rows further inside the strongest edge is, where there may be ripples."""
    if tolerance == _TOLERANCES[0]:
        return 0
    near = pixels[row - 1 : row + _RIPPLES].astype(np.int16)
    return int(np.abs(np.diff(near, axis=0)).mean(axis=(1, 2)).argmax()) if len(near) > 1 else 0
