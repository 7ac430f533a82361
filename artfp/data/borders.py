"""Uniform borders of an image: frames, letterboxes, the margins of a screenshot."""

from __future__ import annotations

import numpy as np

_TOLERANCES = (6, 32)
"""Grey levels by which pixels of a border may differ from its colour: as drawn, and after JPEG."""

_OTHERS = 0.01
"""Fraction of the pixels of a row of the border that may differ more."""

_RIPPLES = 7
"""Rows inside a border in which the edge is looked for: JPEG's blocks have 8."""

_FRAMES = 2
_LEAST_SIDE = 24

Box = tuple[int, int, int, int]
"""Top, bottom, left and right, as in `pixels[top:bottom, left:right]`."""


def find_pictures(pixels: np.ndarray) -> list[Box]:
    """Return what remains of an image without its uniform borders, in up to two ways.

    Rows and columns of one colour are taken off from all sides until none is left. JPEG leaves
    ripples beside an edge, so it is done with a small and with a large tolerance.

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
    return boxes


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
