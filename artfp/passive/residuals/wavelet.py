"""The noise residual of the PRNU literature: an adaptive Wiener filter on wavelet coefficients.

Mihcak, Kozintsev and Ramchandran (ICASSP 1999), as Lukas, Fridrich and Goljan (IEEE TIFS 2006)
use it for cameras: Daubechies' db4, four levels, symmetric extension. A detail coefficient d of
local variance s (the least mean square over windows of 3, 5, 7 and 9, less the noise's variance v,
not under 0) has the noise d v / (s + v); the transform back from these, without the approximation
band, is the residual.

Computed in four steps, each in place:

1. `_Level.analyse`: the planes of a level become its four bands, one level after another.
2. `_Level.attenuate`: local variances of the details, and from them the noise.
3. `_Level.synthesise`: the bands, without the last approximation, become planes again.
4. `_Pyramid.noise` runs these for all levels; memory is kept from call to call.

All planes lie in one buffer, and the four bands of a level stay interleaved as the transform makes
them, so both transforms are products of a small matrix with blocks of rows or columns. The squares
of the details lie among zeros, so a window's sum is a sum of shifted views of one vector.
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

_CHUNK = {"cpu": 1 << 18, "cuda": 1 << 23}
"""Pixels that are filtered at once, about."""
_CACHE_CHUNK = {"cpu": 1 << 17, "cuda": 1 << 23}
"""Numbers that go through several steps at once; few on a CPU, for its cache."""


def wavelet_residual(sigma: float = 5.0, levels: int = 4) -> Callable[[Tensor], Tensor]:
    """Return the wavelet-Wiener residual for noise of `sigma` grey levels, as a function.

    The wavelet is db4, with so many `levels`. 5 is the PRNU literature's sigma; for generated
    images less is better. An image whose shorter side is n has at most floor(log2(n / 7)) levels,
    the number up to which some coefficient is free of the border (PyWavelets' rule), and at least
    one: 2 at 32, 4 from 112 on. No gradient flows. Each thread keeps its working memory: on a CPU
    at most some 20 MB, or, where an image has more than half a million pixels, about 12 bytes for
    each.

    Raises:
        UserError: sigma not over 0, or levels under 1.
    """
    if not sigma > 0:
        raise UserError(f"extractor wavelet: sigma is {sigma:g}; it must be over 0")
    if levels < 1:
        raise UserError(f"extractor wavelet: levels is {levels}; it must be 1 or more")
    variance = (sigma / 255.0) ** 2
    memory = _Memory()

    @torch.no_grad()
    def residual(x: Tensor) -> Tensor:
        planes = x.flatten(0, 1)
        height, width = planes.shape[1:]
        depth = min(levels, _most_levels(min(height, width)))
        step = max(1, _CHUNK.get(x.device.type, 1 << 18) // (height * width))
        result = torch.empty_like(planes)
        for first in range(0, len(planes), step):
            part = planes[first : first + step]
            result[first : first + step] = memory.pyramid(part, depth).noise(part, variance)
        return result.view_as(x)

    return residual


class _Memory(threading.local):
    """Working memory of each thread, for two numbers of planes: whole chunks, and the last one."""

    def __init__(self) -> None:
        self.pyramids: dict[Any, _Pyramid] = {}

    def pyramid(self, planes: Tensor, levels: int) -> _Pyramid:
        """Return the memory for such planes: that of an earlier call, or new memory."""
        # Memory that was made in inference mode cannot be written to outside.
        key = planes.shape, planes.device, torch.is_inference_mode_enabled()
        if key not in self.pyramids:
            if len(self.pyramids) > 1:
                self.pyramids.clear()
            self.pyramids[key] = _Pyramid(planes, levels)
        return self.pyramids[key]


def _most_levels(side: int) -> int:
    """Return floor(log2(side / 7)), at least 1."""
    return max(1, (side // (TAPS - 1)).bit_length() - 1)


class _Level:
    """Memory of one level: its planes (P, H, W), then their bands; and the details' squares.

    In `buffer`, a plane's rows come first, mirrored at its ends, and zeros up to whole blocks; then
    those of the next plane, and LEAD rows of zeros last. Columns are laid out alike, without the
    last ones. The squares have zeros before the first, and half a window of zeros after each row
    and after each plane.
    """

    def __init__(self, count: int, height: int, width: int, most: int) -> None:
        self.height, self.width = height, width
        # Sides of a band, of a plane in the buffer, and numbers of the buffer.
        self.bands = (height + TAPS - 1) // 2, (width + TAPS - 1) // 2
        tall, wide = (-(-(2 * size + LEAD) // BLOCK) * BLOCK for size in self.bands)
        self.shape = count, tall, wide
        self.size = (count * tall + LEAD) * wide
        self.step = max(1, most // (BLOCK * wide)) * BLOCK
        # Squares of the three details, padded by half a window, in stripes that fit in a cache.
        half = WIDEST // 2
        self.square_shape = 3, count, self.bands[0] + half, self.bands[1] + half
        self.lead = half * (self.square_shape[3] + 1)
        squares = math.prod(self.square_shape)
        self.stripes = -(-squares // most)
        self.stripe = -(-squares // self.stripes)
        self.squares = self.stripes * self.stripe + 2 * self.lead
        scratch = SCRATCH * (self.stripe + 2 * self.lead)
        self.shared = max(self.squares + scratch, self.step * wide)

    def lie_in(self, own: Tensor, shared: Tensor) -> None:
        """Use `own` memory, of `size` numbers, and `shared`, of `shared` or more."""
        # Views of the buffer: planes with their borders, planes alone, borders, bands.
        buffer = own.view(-1, self.shape[2])
        self.each = buffer[:-LEAD].view(self.shape)
        self.inside = self.each[:, LEAD : LEAD + self.height, LEAD : LEAD + self.width]
        self.border = [self.each[:, LEAD + self.height :], self.each[:, :, LEAD + self.width :]]
        self.border.append(buffer[-LEAD:])
        self.mirrored = [mirrored_indices(size, own.device) for size in (self.height, self.width)]
        self.blocks = BlockTransform(buffer, self.step, shared)
        self.result = self.each[:, : self.height, : self.width]
        rows, columns = self.bands
        band = [
            [self.each[:, i : 2 * rows : 2, j : 2 * columns : 2] for j in (0, 1)] for i in (0, 1)
        ]
        self.approximation = band[0][0]
        self.details = [band[0][1], *band[1]]
        # Views of the squares, and of the zeros between them.
        flat = shared[: self.squares]
        size = math.prod(self.square_shape)
        squares = flat[self.lead :][:size].view(self.square_shape)
        self.square = list(squares[:, :, :rows, :columns])
        self.gaps = [flat[: self.lead], squares[:, :, rows:], squares[..., columns:]]
        # Gains overwrite the squares, half a window earlier: no later window needs those.
        self.gain = list(flat[:size].view(self.square_shape)[:, :, :rows, :columns])
        scratch = shared[self.squares :][: SCRATCH * (self.stripe + 2 * self.lead)]
        self.windows = [
            WindowMeans(flat[first:][: self.stripe + 2 * self.lead], squares.shape[3], scratch)
            for first in range(0, self.stripes * self.stripe, self.stripe)
        ]

    def analyse(self, planes: Tensor) -> None:
        """Compute the bands of planes (P, H, W).

        The planes' means are subtracted: no detail depends on them, and small numbers are rounded
        less.
        """
        for part in self.border:
            part.zero_()
        torch.sub(planes, planes.mean((1, 2), keepdim=True), out=self.inside)
        # Symmetric extension of rows and columns, then the transform of both.
        for dim, (to, origin) in enumerate(self.mirrored, 1):
            self.each.index_copy_(dim, to, self.each.index_select(dim, origin))
        self.blocks.times(block_matrices()[0])

    def attenuate(self, variance: float) -> None:
        """Replace the details d by their noise d v / max(v, least window mean of d^2)."""
        for part in self.gaps:
            part.zero_()
        for detail, square in zip(self.details, self.square, strict=True):
            torch.square(detail, out=square)
        for windows in self.windows:
            windows.to_gains(variance)
        for detail, gain in zip(self.details, self.gain, strict=True):
            detail.mul_(gain)

    def synthesise(self, approximation: Tensor | None) -> Tensor:
        """Return the planes (P, H, W) of the bands with this approximation, or without one."""
        if approximation is None:
            self.approximation.zero_()
        else:
            self.approximation.copy_(approximation)
        self.blocks.times(block_matrices()[1])
        return self.result


class _Pyramid:
    """Levels of so many planes of one size, with their memory, allocated once."""

    def __init__(self, planes: Tensor, levels: int) -> None:
        count, height, width = planes.shape
        most = _CACHE_CHUNK.get(planes.device.type, 1 << 17)
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
        """Return noise of this variance in planes (P, H, W); the next call overwrites it."""
        for level in self.levels:
            level.analyse(planes)
            planes = level.approximation
        result: Tensor | None = None
        for level in reversed(self.levels):
            level.attenuate(variance)
            result = level.synthesise(result)
        assert result is not None
        return result
