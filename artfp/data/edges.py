"""Straight edges in an image: those of smooth frames, and the seams of collages.

Both follow from the steps between neighbouring pixels. In a frame, of one colour or a gradient,
there are none, and at the picture's edge many begin in one line. At a seam a line has far more than
the lines beside it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_STEP = 8
"""Grey levels of a step that counts."""

_SAMPLES = 256
"""Pixels of a line that are looked at, at most about twice as many."""

_SMOOTH = 0.02
"""Fraction of the pixels of a line in a frame that may have steps."""

_EDGE = 0.15
"""Fraction of the pixels of a line that have steps at the edge of a picture in a frame."""

_RIPPLES = 16
"""Lines beside an edge that JPEG may ripple: its blocks of colour have as many."""

_SEAM_LENGTH, _SEAM_CONTRAST = 0.8, 2.0
"""Fraction of a seam's pixels that have steps, and their mean over that of the lines beside it."""

_BESIDE = np.array([*range(-9, -1), *range(2, 10)])
_OTHER_EDGE = 4
"""Lines beside a seam, and which of them by its steps counts: those of the other edge of a narrow
separator may be as large."""

_BLUR, _SEPARATOR = 2, 20
"""Lines that one edge takes, and lines from one edge to the other of a narrow separator."""

MIN_SIDE = 24
"""Least side of a picture within an image."""

Box = tuple[int, int, int, int]
"""Top, bottom, left and right, as in `pixels[top:bottom, left:right]`."""

Span = tuple[int, int]


class Steps:
    """Steps between neighbouring pixels of an image (H, W, 3), 8-bit.

    Attributes:
        down: Largest steps of the colours from each row to the next, (H - 1, columns).
        across: The same from each column to the next, (W - 1, rows).
        every: Distances of the rows and columns that are looked at.
    """

    def __init__(self, pixels: np.ndarray) -> None:
        height, width = pixels.shape[:2]
        self.every = max(1, height // _SAMPLES), max(1, width // _SAMPLES)
        self.down = _largest_steps(pixels[:, :: self.every[1]])
        self.across = _largest_steps(pixels[:: self.every[0]].swapaxes(0, 1))

    def without_frame(self, box: Box) -> Box:
        """Return what remains of a box without the smooth frame on all or two opposite sides."""
        top, bottom, left, right = box
        first, last = self._frame((top, bottom), (left, right), 0)
        if first and last:
            top, bottom = top + first, bottom - last
        first, last = self._frame((left, right), (top, bottom), 1)
        if first and last:
            left, right = left + first, right - last
        return top, bottom, left, right

    def split(self, box: Box) -> list[list[Box]]:
        """Return the two parts beside a vertical seam, and those beside a horizontal one.

        Without the separator between them.
        """
        top, bottom, left, right = box
        found: list[list[Box]] = []
        if seam := self._seam((left, right), (top, bottom), 1):
            found.append([(top, bottom, left, seam[0]), (top, bottom, seam[1], right)])
        if seam := self._seam((top, bottom), (left, right), 0):
            found.append([(top, seam[0], left, right), (seam[1], bottom, left, right)])
        return found

    def _cut(self, axis: int, span: Span, length: Span) -> NDArray[np.uint8]:
        """Return the steps between the rows (axis 0) or columns of a span, along a length."""
        steps, every = (self.down, self.across)[axis], self.every[1 - axis]
        return steps[span[0] : span[1] - 1, -(-length[0] // every) : -(-length[1] // every)]

    def _frame(self, span: Span, length: Span, axis: int, skip: int = 0) -> Span:
        """Return how many first and last rows (axis 0) or columns of a span are a frame's.

        The first and last `skip` of them count as smooth.
        """
        between, along = self._cut(axis, span, length), self._cut(1 - axis, length, span)
        if len(between) <= skip or min(between.size, along.size) == 0:
            return 0, 0
        edges = (between > _STEP).mean(axis=1)
        rough = (along > _STEP).mean(axis=0)  # of the lines that are looked at
        every = self.every[axis]
        return (
            _frame_lines(edges, rough, every, skip),
            _frame_lines(edges[::-1], rough[::-1], every, skip),
        )

    def _seam(self, span: Span, length: Span, axis: int) -> Span | None:
        """Return where a picture ends and where the next begins, None if there is one alone."""
        if span[1] - span[0] < 2 * MIN_SIDE or length[1] - length[0] < MIN_SIDE:
            return None
        inner = self._cut(axis, span, length)
        mean = inner.mean(axis=1, dtype=np.float32)
        edges = (inner > _STEP).mean(axis=1) >= _SEAM_LENGTH
        places = np.flatnonzero(edges[MIN_SIDE - 1 : 1 - MIN_SIDE]) + MIN_SIDE - 1
        beside = np.sort(mean[places[:, None] + _BESIDE], axis=1)[:, -_OTHER_EDGE]
        places = places[mean[places] > _SEAM_CONTRAST * beside]
        if not len(places):
            return None
        at = int(places[mean[places].argmax()])
        strong = np.flatnonzero(edges & (mean >= mean[at] / _SEAM_CONTRAST))
        lines = [int(other) for other in strong if _separated(mean, at, int(other))]
        end, begin = span[0] + min([at, *lines]) + 1, span[0] + max([at, *lines]) + 1
        # A wide separator is a frame on this side of one of the pictures.
        return (
            end - self._frame((span[0], end), length, axis, _RIPPLES)[1],
            begin + self._frame((begin, span[1]), length, axis, _RIPPLES)[0],
        )


def _separated(mean: NDArray[np.float32], edge: int, other: int) -> bool:
    """Return True if there is a narrow separator between two edges, which has few steps."""
    low, high = sorted((edge, other))
    flat = mean[low + _BLUR : high - _BLUR + 1] <= 0.5 * _STEP
    return _BLUR < high - low <= _SEPARATOR and bool(flat.all())


def _largest_steps(lines: np.ndarray) -> NDArray[np.uint8]:
    """Return the largest absolute differences of the colours (L - 1, N) of lines (L, N, 3)."""
    largest = np.zeros((max(0, len(lines) - 1), lines.shape[1]), np.uint8)
    for colour in range(3):
        plane = np.ascontiguousarray(lines[..., colour])
        high, low = np.maximum(plane[1:], plane[:-1]), np.minimum(plane[1:], plane[:-1])
        np.maximum(largest, high - low, out=largest)
    return largest


def _frame_lines(
    edges: NDArray[np.float64], rough: NDArray[np.float64], every: int, skip: int
) -> int:
    """Return how many first lines are smooth, if many steps begin in the line where they end.

    `edges` (L - 1,) are fractions of steps from line to line, `rough` those along every few lines.
    """
    first = skip + int((edges[skip:] > _SMOOTH).argmax())
    along = rough[-(-skip // every) : max(1, first // every)]
    if edges[first] <= _SMOOTH or (along > _SMOOTH).any() or 0 < skip == first:
        return 0
    inside = edges[first : first + _RIPPLES]
    at = int(inside.argmax())
    return first + at + 1 if inside[at] >= _EDGE else 0
