"""The noise residual of the PRNU literature: an adaptive Wiener filter on wavelet coefficients.

Mihcak, Kozintsev and Ramchandran (ICASSP 1999), as Lukas, Fridrich and Goljan (IEEE TIFS 2006)
use it for cameras: Daubechies' db4, four levels, symmetric extension. A detail coefficient d of
local variance s (the least mean square over windows of 3, 5, 7 and 9, less the noise's variance v,
not under 0) has the noise d v / (s + v); the transform back from these, without the approximation
band, is the residual.

All planes lie in one buffer, and the four bands of a level stay interleaved as the transform makes
them: then both transforms are products of a small matrix with blocks of rows or columns. The
squares of the details lie among zeros: then a window's sum is a sum of shifted views of one vector.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from artfp.core.errors import UserError
from artfp.passive.residuals.wavelet_transform import (
    BLOCK,
    LEAD,
    SCRATCH,
    TAPS,
    WIDEST,
    BlockTransform,
    WindowMeans,
    block_matrices,
    mirrored_indices,
)

_AT_WORK = {"cpu": 1 << 18, "cuda": 1 << 23}
"""About how many pixels are at work at once."""
_IN_CACHE = {"cpu": 1 << 17, "cuda": 1 << 23}
"""How many numbers go through several steps at once; few on a CPU, for its cache."""


def wavelet_residual(sigma: float = 5.0, levels: int = 4) -> Callable[[Tensor], Tensor]:
    """The wavelet-Wiener residual for noise of `sigma` grey levels, with `levels` of db4.

    5 is the PRNU literature's sigma; generated images want less. An image whose shorter side is n
    has at most floor(log2(n / 7)) levels, the number up to which some coefficient is free of the
    border (PyWavelets' rule), and at least one: 2 at 32, 4 from 112 on. No gradient flows. Each
    thread keeps the memory that it worked in: on a CPU at most some 20 MB, or, where an image has
    more than half a million pixels, about 12 bytes for each.

    Raises UserError: sigma not over 0, or levels under 1.
    """
    if not sigma > 0:
        raise UserError(f"extractor wavelet: sigma is {sigma:g}; it must be over 0")
    if levels < 1:
        raise UserError(f"extractor wavelet: levels is {levels}; it must be 1 or more")
    variance = (sigma / 255.0) ** 2
    kept = _Memory()

    @torch.no_grad()
    def residual(x: Tensor) -> Tensor:
        planes = x.flatten(0, 1)
        height, width = planes.shape[1:]
        depth = min(levels, _most_levels(min(height, width)))
        step = max(1, _AT_WORK.get(x.device.type, 1 << 18) // (height * width))
        found = torch.empty_like(planes)
        for first in range(0, len(planes), step):
            part = planes[first : first + step]
            found[first : first + step] = kept.work(part, depth).noise(part, variance)
        return found.view_as(x)

    return residual


class _Memory(threading.local):
    """Working memory of each thread, for two numbers of planes: whole parts, and the last one."""

    def __init__(self) -> None:
        self.works: dict[Any, _Work] = {}

    def work(self, planes: Tensor, levels: int) -> _Work:
        """Memory for such planes: that of an earlier call, or new memory."""
        # Memory that was made in inference mode cannot be written to outside.
        key = planes.shape, planes.device, torch.is_inference_mode_enabled()
        if key not in self.works:
            if len(self.works) > 1:
                self.works.clear()
            self.works[key] = _Work(planes, levels)
        return self.works[key]


def _most_levels(side: int) -> int:
    """floor(log2(side / 7)), at least 1."""
    return max(1, (side // (TAPS - 1)).bit_length() - 1)


class _Level:
    """The planes (P, H, W) of one level and then their bands; and the details' squares.

    A plane's rows come first, mirrored at its ends, and zeros up to whole blocks; then those of the
    next plane, and some of zeros last. Columns likewise, but for those. The squares have zeros
    before the first and then for half a window after each row and after each plane.
    """

    def __init__(self, count: int, height: int, width: int, most: int) -> None:
        self.height, self.width = height, width
        self.bands = (height + TAPS - 1) // 2, (width + TAPS - 1) // 2
        tall, wide = (-(-(2 * size + LEAD) // BLOCK) * BLOCK for size in self.bands)
        self.shape = count, tall, wide
        self.size = (count * tall + LEAD) * wide
        self.step = max(1, most // (BLOCK * wide)) * BLOCK
        half = WIDEST // 2
        self.square_shape = 3, count, self.bands[0] + half, self.bands[1] + half
        self.reach = half * (self.square_shape[3] + 1)
        squares = math.prod(self.square_shape)
        self.stripes = -(-squares // most)
        self.stripe = -(-squares // self.stripes)
        self.squares = self.stripes * self.stripe + 2 * self.reach
        scratch = SCRATCH * (self.stripe + 2 * self.reach)
        self.shared = max(self.squares + scratch, self.step * wide)

    def lie_in(self, own: Tensor, shared: Tensor) -> None:
        """Takes `own` memory, of `size` numbers, and `shared`, of `shared` or more."""
        buffer = own.view(-1, self.shape[2])
        self.each = buffer[:-LEAD].view(self.shape)
        self.inside = self.each[:, LEAD : LEAD + self.height, LEAD : LEAD + self.width]
        self.outside = [self.each[:, LEAD + self.height :], self.each[:, :, LEAD + self.width :]]
        self.outside.append(buffer[-LEAD:])
        self.mirrored = [mirrored_indices(size, own.device) for size in (self.height, self.width)]
        self.blocks = BlockTransform(buffer, self.step, shared)
        self.found = self.each[:, : self.height, : self.width]
        rows, columns = self.bands
        band = [
            [self.each[:, i : 2 * rows : 2, j : 2 * columns : 2] for j in (0, 1)] for i in (0, 1)
        ]
        self.approximation = band[0][0]
        self.details = [band[0][1], *band[1]]
        flat = shared[: self.squares]
        size = math.prod(self.square_shape)
        squares = flat[self.reach :][:size].view(self.square_shape)
        self.square = list(squares[:, :, :rows, :columns])
        self.between = [flat[: self.reach], squares[:, :, rows:], squares[..., columns:]]
        # Gains take the squares' place, half a window before it: no later window needs those.
        self.gain = list(flat[:size].view(self.square_shape)[:, :, :rows, :columns])
        scratch = shared[self.squares :][: SCRATCH * (self.stripe + 2 * self.reach)]
        self.windows = [
            WindowMeans(flat[first:][: self.stripe + 2 * self.reach], squares.shape[3], scratch)
            for first in range(0, self.stripes * self.stripe, self.stripe)
        ]

    def analyse(self, planes: Tensor) -> None:
        """The bands of planes (P, H, W).

        The planes' means are taken off: no detail sees them, and small numbers are rounded less.
        """
        for part in self.outside:
            part.zero_()
        torch.sub(planes, planes.mean((1, 2), keepdim=True), out=self.inside)
        for dim, (to, origin) in enumerate(self.mirrored, 1):
            self.each.index_copy_(dim, to, self.each.index_select(dim, origin))
        self.blocks.times(block_matrices()[0])

    def attenuate(self, variance: float) -> None:
        """Leaves of the details their noise."""
        for part in self.between:
            part.zero_()
        for detail, square in zip(self.details, self.square, strict=True):
            torch.square(detail, out=square)
        for windows in self.windows:
            windows.to_gains(variance)
        for detail, gain in zip(self.details, self.gain, strict=True):
            detail.mul_(gain)

    def synthesise(self, approximation: Tensor | None) -> Tensor:
        """The planes (P, H, W) of the bands with this approximation, or without."""
        if approximation is None:
            self.approximation.zero_()
        else:
            self.approximation.copy_(approximation)
        self.blocks.times(block_matrices()[1])
        return self.found


class _Work:
    """The noise of so many planes of one size: the memory for it, taken once."""

    def __init__(self, planes: Tensor, levels: int) -> None:
        count, height, width = planes.shape
        most = _IN_CACHE.get(planes.device.type, 1 << 17)
        self.levels: list[_Level] = []
        for _ in range(levels):
            self.levels.append(_Level(count, height, width, most))
            height, width = self.levels[-1].bands
        sizes = [*(level.size for level in self.levels), max(level.shared for level in self.levels)]
        # One piece: an allocator that gives large pieces back would be asked for all of it again.
        *buffers, shared = planes.new_empty(sum(sizes)).split(sizes)
        for level, own in zip(self.levels, buffers, strict=True):
            level.lie_in(own, shared)

    def noise(self, planes: Tensor, variance: float) -> Tensor:
        """Noise of this variance in planes (P, H, W); it is there until the next call."""
        for level in self.levels:
            level.analyse(planes)
            planes = level.approximation
        found: Tensor | None = None
        for level in reversed(self.levels):
            level.attenuate(variance)
            found = level.synthesise(found)
        assert found is not None
        return found
