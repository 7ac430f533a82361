"""Pictures within an image: inside borders and frames, and the parts of a collage."""

from __future__ import annotations

import numpy as np

from artfp.data.edges import MIN_SIDE, Box, Steps

MAX_PICTURES = 6
"""Pictures within an image that are looked at, at most."""

_SPLITS = 2
"""Seams, one within the parts of another: four pictures in a row or in a square."""

_SAME = 2
"""Pixels by which the sides of equal boxes may differ."""

_TOLERANCES = (6, 32)
"""Grey levels by which pixels of a border may differ from its colour: as drawn, and after JPEG."""

_OTHERS = 0.01
"""Fraction of the pixels of a row of the border that may differ more."""

_RIPPLES = 7
"""Rows inside a border in which the edge is looked for: JPEG's blocks have 8."""

_FRAMES, _ROWS = 2, 16
"""Borders, one in another, and rows that are looked at together."""


def find_pictures(pixels: np.ndarray) -> list[Box]:
    """Return what remains of an image without its borders, and the pictures of a collage.

    Rows and columns of one colour are taken off from all sides until none is left, and those of a
    smooth frame, such as a gradient. JPEG leaves ripples beside an edge, so borders of one colour
    are taken off with a small and with a large tolerance. An edge that runs straight across the
    image, far sharper than what is beside it, parts two pictures, which are looked at in the same
    way: rows of up to four pictures are found, and squares of four, with separators or without.

    Args:
        pixels: (H, W, 3) uint8.

    Returns:
        At most MAX_PICTURES boxes without duplicates; none where there is no border and no seam, or
        less than 24 pixels a side would remain.

    Example:
        >>> framed = np.zeros((60, 80, 3), np.uint8)
        >>> framed[10:50, 5:75] = np.random.default_rng(0).integers(99, 255, (40, 70, 3))
        >>> find_pictures(framed)
        [(10, 50, 5, 75)]
    """
    whole = (0, pixels.shape[0], 0, pixels.shape[1])
    if min(pixels.shape[:2]) < MIN_SIDE:
        return []
    steps = Steps(pixels)
    framed = [_without_borders(pixels, _TOLERANCES[0])]
    if min(framed[0][1] - framed[0][0], framed[0][3] - framed[0][2]) <= 0:
        return []  # of one colour
    framed.append(_without_borders(pixels, _TOLERANCES[1]))
    framed.append(steps.without_frame(whole))
    found: list[Box] = []
    _add(found, framed, whole)
    _add(found, _collage(steps, found[-1] if found else whole), whole)
    return found


def _add(found: list[Box], boxes: list[Box], whole: Box) -> None:
    """Add boxes that are large enough, and neither there yet nor the whole image."""
    for box in boxes:
        top, bottom, left, right = box
        new = all(
            max(abs(a - b) for a, b in zip(box, other, strict=True)) > _SAME for other in found
        )
        large = min(bottom - top, right - left) >= MIN_SIDE
        if new and large and box != whole and len(found) < MAX_PICTURES:
            found.append(box)


def _collage(steps: Steps, box: Box) -> list[Box]:
    """Return the pictures of a collage, the smallest first; none where there is no seam."""
    groups = steps.split(box)
    parts = [part for group in groups for part in group]
    return _pictures(steps, box, _SPLITS) + parts if parts else []


def _pictures(steps: Steps, box: Box, splits: int) -> list[Box]:
    """Return the pictures of a part of a collage, itself if there is no seam in it."""
    groups = steps.split(box) if splits else []
    if not groups:
        return [box]
    return [each for part in groups[0] for each in _pictures(steps, part, splits - 1)]


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
    least, most = np.ceil(colour - tolerance), np.floor(colour + tolerance)
    for start in range(0, len(pixels), _ROWS):
        rows = pixels[start : start + _ROWS]
        other = np.zeros(rows.shape[:2], bool)
        for c in range(3):
            plane = rows[..., c]
            other |= (plane < np.uint8(max(0, least[c]))) | (plane > np.uint8(min(255, most[c])))
        ends = np.flatnonzero(np.count_nonzero(other, axis=1) > _OTHERS * rows.shape[1])
        if len(ends):
            number = start + int(ends[0])
            return number + _strongest_edge(pixels, number, tolerance) if number else 0
    return len(pixels)


def _strongest_edge(pixels: np.ndarray, row: int, tolerance: int) -> int:
    """Return how many rows further inside the strongest edge is, where there may be ripples."""
    if tolerance == _TOLERANCES[0]:
        return 0
    near = pixels[row - 1 : row + _RIPPLES].astype(np.int16)
    return int(np.abs(np.diff(near, axis=0)).mean(axis=(1, 2)).argmax()) if len(near) > 1 else 0
