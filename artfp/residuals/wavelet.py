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

import functools
import math
from collections.abc import Callable

import torch
from torch import Tensor

from artfp.errors import UserError

# The low-pass filter of synthesis: Daubechies, Ten Lectures on Wavelets (1992), table 6.1, N = 4,
# its digits after the twelfth as PyWavelets has them.
_LOW = (
    0.2303778133088965,
    0.7148465705529157,
    0.6308807679298589,
    -0.02798376941685985,
    -0.18703481171909309,
    0.030841381835560764,
    0.0328830116668852,
    -0.010597401785069032,
)
_TAPS = len(_LOW)
_LEAD = _TAPS - 2
"""How many samples before a signal's first the transform reads."""
_BLOCK = 16
"""Rows or columns that one product makes, of `_BLOCK` + `_LEAD`."""
_WIDEST = 9
"""The side of the largest window."""
_SCRATCH = 6
"""How many vectors the sums over windows take."""
_AT_WORK = {"cpu": 1 << 20, "cuda": 1 << 26}
"""About how many pixels are at work at once."""
_STRIPE = {"cpu": 1 << 17, "cuda": 1 << 26}
"""How many numbers go through several steps at once; few on a CPU, for its cache."""


def wavelet(sigma: float = 5.0, levels: int = 4) -> Callable[[Tensor], Tensor]:
    """The wavelet-Wiener residual for noise of `sigma` grey levels, with `levels` of db4.

    5 is the PRNU literature's sigma; generated images want less. An image whose shorter side is n
    has at most floor(log2(n / 7)) levels, the number up to which some coefficient is free of the
    border (PyWavelets' rule), and at least one: 2 at 32, 4 from 112 on. No gradient flows.

    Raises UserError: sigma not over 0, or levels under 1.
    """
    if not sigma > 0:
        raise UserError(f"extractor wavelet: sigma is {sigma:g}; it must be over 0")
    if levels < 1:
        raise UserError(f"extractor wavelet: levels is {levels}; it must be 1 or more")
    variance = (sigma / 255.0) ** 2

    @torch.no_grad()
    def residual(x: Tensor) -> Tensor:
        planes = x.flatten(0, 1)
        height, width = planes.shape[1:]
        depth = min(levels, _most_levels(min(height, width)))
        step = max(1, _AT_WORK.get(x.device.type, 1 << 20) // (height * width))
        found = torch.empty_like(planes)
        work = None
        for first in range(0, len(planes), step):
            part = planes[first : first + step]
            if work is None or work.count != len(part):
                work = _Work(part, depth)
            found[first : first + step] = work.noise(part, variance)
        return found.view_as(x)

    return residual


def _most_levels(side: int) -> int:
    """floor(log2(side / 7)), at least 1."""
    return max(1, (side // (_TAPS - 1)).bit_length() - 1)


class _Level:
    """The planes (P, H, W) of one level and then their bands, and the details' squares.

    A plane's rows come first, mirrored at its ends, and zeros up to whole blocks; then those of the
    next plane, and some of zeros last. Columns likewise, but for those. The squares have zeros
    before the first and then for half a window after each row and after each plane.
    """

    def __init__(self, count: int, height: int, width: int) -> None:
        self.height, self.width = height, width
        self.bands = (height + _TAPS - 1) // 2, (width + _TAPS - 1) // 2
        tall, wide = (-(-(2 * size + _LEAD) // _BLOCK) * _BLOCK for size in self.bands)
        self.shape = count, tall, wide
        self.size = (count * tall + _LEAD) * wide
        half = _WIDEST // 2
        self.square_shape = 3, count, self.bands[0] + half, self.bands[1] + half
        self.reach = half * (self.square_shape[3] + 1)
        """How far the largest window reaches in the flat squares."""
        self.squares = self.reach + math.prod(self.square_shape)

    def lie_in(self, memory: Tensor) -> None:
        """Takes `memory`, of `size` numbers, for the planes and bands."""
        self.buffer = memory.view(-1, self.shape[2])
        self.each = self.buffer[:-_LEAD].view(self.shape)
        rows, columns = (2 * size for size in self.bands)
        self.approximation = self.each[:, 0:rows:2, 0:columns:2]
        corners = ((0, 1), (1, 0), (1, 1))
        self.details = [self.each[:, i:rows:2, j:columns:2] for i, j in corners]
        self.mirrored = [_mirrored(size, memory.device) for size in (self.height, self.width)]

    def analyse(self, planes: Tensor, memory: Tensor) -> None:
        """The bands of planes (P, H, W).

        The planes' means are taken off: no detail sees them, and small numbers are rounded less.
        """
        self.buffer.zero_()
        inside = self.each[:, _LEAD : _LEAD + self.height, _LEAD : _LEAD + self.width]
        torch.sub(planes, planes.mean((1, 2), keepdim=True), out=inside)
        for dim, (to, origin) in enumerate(self.mirrored, 1):
            self.each.index_copy_(dim, to, self.each.index_select(dim, origin))
        _blocks(self.buffer, _matrices()[0], memory)

    def attenuate(self, variance: float, memory: Tensor, scratch: Tensor) -> None:
        """Leaves of the details their noise."""
        memory = memory[: self.squares]
        memory[: self.reach] = 0
        squares = memory[self.reach :].view(self.square_shape)
        squares[:, :, self.bands[0] :] = 0
        squares[..., self.bands[1] :] = 0
        for detail, square in zip(self.details, squares, strict=True):
            torch.square(detail, out=square[:, : self.bands[0], : self.bands[1]])
        # Gains take the squares' place, half a window before it: no later window needs those.
        stripe = scratch.shape[1] - 2 * self.reach
        for first in range(0, len(memory) - 2 * self.reach, stripe):
            around = memory[first : first + stripe + 2 * self.reach]
            mean = _least_mean(around, self.square_shape[3], scratch)
            mean.mul_(1.0 / variance).clamp_(min=1.0)
            torch.reciprocal(mean, out=around[: len(mean)])
        gains = memory[: -self.reach].view(self.square_shape)
        for detail, gain in zip(self.details, gains, strict=True):
            detail.mul_(gain[:, : self.bands[0], : self.bands[1]])

    def synthesise(self, approximation: Tensor | None, memory: Tensor) -> Tensor:
        """The planes (P, H, W) of the bands with this approximation, or without."""
        if approximation is None:
            self.approximation.zero_()
        else:
            self.approximation.copy_(approximation)
        _blocks(self.buffer, _matrices()[1], memory)
        return self.each[:, : self.height, : self.width]


class _Work:
    """The noise of `count` planes of one size at a time: the memory for it, taken once."""

    def __init__(self, planes: Tensor, levels: int) -> None:
        self.count, height, width = planes.shape
        self.levels: list[_Level] = []
        for _ in range(levels):
            self.levels.append(_Level(self.count, height, width))
            height, width = self.levels[-1].bands
        shared = max(max(level.size, level.squares) for level in self.levels)
        stripe = min(shared, _STRIPE.get(planes.device.type, 1 << 17))
        scratch = _SCRATCH * (stripe + 2 * max(level.reach for level in self.levels))
        sizes = [*(level.size for level in self.levels), shared, scratch]
        # One piece: an allocator that gives large pieces back would be asked for all of it again.
        *buffers, self.shared, scratch = planes.new_empty(sum(sizes)).split(sizes)
        self.scratch = scratch.view(_SCRATCH, -1)
        for level, memory in zip(self.levels, buffers, strict=True):
            level.lie_in(memory)

    def noise(self, planes: Tensor, variance: float) -> Tensor:
        """Noise of this variance in planes (P, H, W); it is there until the next call."""
        for level in self.levels:
            level.analyse(planes, self.shared)
            planes = level.approximation
        found: Tensor | None = None
        for level in reversed(self.levels):
            level.attenuate(variance, self.shared, self.scratch)
            found = level.synthesise(found, self.shared)
        assert found is not None
        return found


def _mirrored(size: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Where in a buffer the samples outside of a signal are, and where those they equal."""
    outer = [*range(-_LEAD, 0), *range(size, 2 * ((size + _TAPS - 1) // 2))]
    inner = [min(at % (2 * size), -(at + 1) % (2 * size)) for at in outer]
    to, origin = (torch.tensor(at, device=device) + _LEAD for at in (outer, inner))
    return to, origin


def _blocks(buffer: Tensor, matrix: Tensor, memory: Tensor) -> None:
    """Makes each block of a buffer's rows, and then of its columns, the matrix times it."""
    matrix = matrix.to(buffer.device)
    wide = buffer.shape[1]
    step = max(1, _STRIPE.get(buffer.device.type, 1 << 17) // (_BLOCK * wide)) * _BLOCK
    for first in range(0, len(buffer) - _LEAD, step):
        rows = buffer[first : first + step + _LEAD]
        source = rows.unfold(0, _BLOCK + _LEAD, _BLOCK).transpose(1, 2)
        between = memory[: len(source) * _BLOCK * wide].view(-1, _BLOCK, wide)
        torch.bmm(matrix.expand(len(source), -1, -1), source, out=between)
        # What a row's last block takes from the row below goes to columns of no band.
        source, out = between.view(-1, _BLOCK), rows[:-_LEAD].view(-1, _BLOCK)
        torch.mm(source, matrix[:, :_BLOCK].t(), out=out)
        out[:-1].addmm_(source[1:, :_LEAD], matrix[:, _BLOCK:].t())


@functools.cache
def _matrices() -> tuple[Tensor, Tensor]:
    """Analysis and synthesis of a block, each (`_BLOCK`, `_BLOCK` + `_LEAD`); bands interleaved."""
    low = torch.tensor(_LOW, dtype=torch.float64)
    high = low.flip(0) * torch.tensor([1.0, -1.0]).repeat(_TAPS // 2)
    analysis = torch.zeros(_BLOCK, _BLOCK + _LEAD)
    synthesis = torch.zeros(_BLOCK + _LEAD, _BLOCK + 2 * _LEAD)
    for first in range(0, _BLOCK + _LEAD, 2):
        for band, taps in enumerate((low, high)):
            if first < _BLOCK:
                analysis[first + band, first : first + _TAPS] = taps
            synthesis[first + band, first : first + _TAPS] = taps
    return analysis, synthesis[:, _LEAD:-_LEAD].t().contiguous()


def _least_mean(values: Tensor, wide: int, scratch: Tensor) -> Tensor:
    """The least of the means over windows of 3, 5, 7 and 9 of rows of `wide`.

    `values` are flat; the means are those around all that are half the largest window from both
    ends, as a part of `scratch`.
    """
    size = len(values) - (_WIDEST - 1) * (wide + 1)
    least, found = scratch[4][:size], scratch[5][:size]

    def plus(one: Tensor, other: Tensor, shift: int, out: Tensor) -> Tensor:
        length = min(len(one), len(other) - shift)
        return torch.add(one[:length], other[shift : shift + length], out=out[:length])

    def mean(rows: Tensor, side: int, out: Tensor) -> Tensor:
        first = (_WIDEST - side) // 2 * (wide + 1)
        windows = rows[first:].unfold(0, wide * (side - 1) + 1, 1)[:size, ::wide]
        return torch.sum(windows, 1, out=out).mul_(side**-2)

    pairs = plus(values, values, 1, scratch[0])
    fours = plus(pairs, pairs, 2, scratch[1])
    fives = plus(fours, values, 4, scratch[2])
    mean(plus(pairs, values, 2, scratch[3]), 3, least)
    torch.minimum(least, mean(fives, 5, found), out=least)
    torch.minimum(least, mean(plus(fives, pairs, 5, scratch[3]), 7, found), out=least)
    return torch.minimum(least, mean(plus(fives, fours, 5, scratch[3]), 9, found), out=least)
