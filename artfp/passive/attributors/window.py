"""Window of attributors: the crop of images of any size, which are never resized.

Resizing would move the fingerprint. All images are cropped to one window first, near the middle, a
multiple of 16 pixels from the upper left, where generators and JPEG begin to lay out their blocks.
So the size of an image cannot reveal its source, and what was calibrated on held out images holds
for others. Smaller images are refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from artfp.core.errors import UserError

ALIGNED, SHIFT, SPECTRUM = "aligned", "shift", "spectrum"

POLICIES = {
    ALIGNED: "pixels stand where they stood in the sources' images; crops from elsewhere fail",
    SHIFT: "crops from anywhere: the window is searched for in the sources' fingerprints",
    SPECTRUM: "only what does not depend on the place: spectra",
}
"""Policies by name, with their meaning."""

MIN_WINDOW = 8
"""Least side of a window in pixels."""

MAX_WINDOW = 256
"""Largest side of a window by default, in pixels: memory and time grow with its area."""

_MAX_SIDE = 65535
_LEFT_OUT = 0.05  # fraction of a source's images that may be smaller than the window
_SEARCHED = 0.75  # of the sources' size
_STEP = 8
_GRID = 16


@dataclass(frozen=True)
class WindowPolicy:
    """Crop of images before attribution.

    Where `size` and `window` differ, windows for fitting and validation come from anywhere in the
    images.

    Args:
        kind: One of POLICIES.
        size: (height, width) to which the sources' images are cropped.
        window: (height, width) that is attributed.
    """

    kind: str
    size: tuple[int, int]
    window: tuple[int, int]

    def crop(self, x: Tensor) -> Tensor:
        """Return the window (N, 3, h, w) of images (N, 3, H, W).

        Raises:
            ValueError: images that `refuses` refuses.
        """
        if reason := self.refuses(*x.shape[-2:]):
            raise ValueError(reason)
        return central_window(x, self.window)

    def refuses(self, height: int, width: int) -> str | None:
        """Return why images of a height and a width cannot be attributed; None if they can."""
        if height >= self.window[0] and width >= self.window[1]:
            return None
        return (
            f"{width}x{height} is smaller than the attributor's window, {_text(self.window)}; "
            "fit one with a smaller --window, and for crops with --policy shift or spectrum"
        )

    def describe(self) -> str:
        """Return the policy in a line."""
        size = f" in fingerprints of {_text(self.size)}" if self.kind == SHIFT else ""
        return f"{self.kind}, window {_text(self.window)}{size}: {POLICIES[self.kind]}"

    def card(self) -> dict[str, Any]:
        """Return the policy as JSON values."""
        return {"kind": self.kind, "size": list(self.size), "window": list(self.window)}

    @classmethod
    def load(cls, card: Mapping[str, Any]) -> WindowPolicy:
        """Make a policy of its `card`. Raises KeyError, TypeError, ValueError: anything else."""
        (height, width), (rows, columns) = card["size"], card["window"]
        if card["kind"] not in POLICIES:
            raise ValueError(f"policy {card['kind']!r}")
        sides = (height, width, rows, columns)
        if not all(type(side) is int and 0 < side <= _MAX_SIDE for side in sides):
            raise ValueError(f"sizes {sides} of policy")
        return cls(card["kind"], (height, width), (rows, columns))


Pixels = TypeVar("Pixels", Tensor, NDArray[np.uint8])


def central_window(x: Pixels, size: tuple[int, int], spatial: tuple[int, int] = (-2, -1)) -> Pixels:
    """Return the window (h, w) near the middle of x, at multiples of 16 along `spatial` axes."""
    index = [slice(None)] * x.ndim
    for axis, side in zip(spatial, size, strict=True):
        start = (x.shape[axis] - side) // 2 // _GRID * _GRID
        index[axis] = slice(start, start + side)
    return x[tuple(index)]


def choose_policy(
    sizes: Mapping[str, Sequence[tuple[int, int]]],
    kind: str | None = None,
    window: int | None = None,
) -> WindowPolicy:
    """Choose the policy for sources by the sizes of their images, (height, width) for each.

    By default `aligned` where all have one size, else `spectrum`. The window, unless a side is
    given, is as large as 95% of each source's images in both directions, but at most MOST_SIDE; for
    `shift` it is three quarters of that, in fingerprints of all of it, however large.

    Raises:
        UserError: no such policy, or a window too small or larger than the images.
    """
    if kind is not None and kind not in POLICIES:
        raise UserError(f"policy {kind!r}: choose from {', '.join(POLICIES)}")
    chosen = kind or (
        ALIGNED if len({s for each in sizes.values() for s in each}) == 1 else SPECTRUM
    )
    smallest = [np.quantile(each, _LEFT_OUT, axis=0, method="lower") for each in sizes.values()]
    height, width = (int(side) for side in np.min(smallest, axis=0))
    size = (height, width)
    if window is not None:
        if window < MIN_WINDOW:
            raise UserError(f"window is {window}; it must be {MIN_WINDOW} pixels or more")
        if window > min(size):
            raise UserError(f"window is {window}, but a source has images of {_text(size)}")
        crop = (window, window)
    elif chosen == SHIFT:
        crop = (_three_quarters(height), _three_quarters(width))
    else:
        crop = (min(height, MAX_WINDOW), min(width, MAX_WINDOW))
    if min(crop) < MIN_WINDOW:
        raise UserError(
            f"images of {_text(size)} leave a window of {_text(crop)}; "
            f"{MIN_WINDOW} pixels a side are needed"
        )
    whole = chosen == SHIFT or (chosen == SPECTRUM and window is not None)
    return WindowPolicy(chosen, size if whole else crop, crop)


def _three_quarters(side: int) -> int:
    """Return three quarters of a side, in whole steps where there are two or more."""
    part = int(side * _SEARCHED)
    return part // _STEP * _STEP if part >= 2 * _STEP else part


def _text(size: tuple[int, int]) -> str:
    return f"{size[1]}x{size[0]}"
