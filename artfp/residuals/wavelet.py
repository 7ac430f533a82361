"""The noise residual of the PRNU literature: an adaptive Wiener filter on wavelet coefficients.

Mihcak, Kozintsev and Ramchandran (ICASSP 1999), as Lukas, Fridrich and Goljan (IEEE TIFS 2006)
use it for cameras: Daubechies' db4, four levels, symmetric extension. A detail coefficient d of
local variance s (the least mean square over windows of 3, 5, 7 and 9, less the noise's variance v,
not under 0) has the noise d v / (s + v); the transform back from these, without the approximation
band, is the residual.

All planes lie in one buffer, each extended and set among zeros, and the four bands of a level stay
interleaved as the transform makes them. Then both transforms are products of a small matrix with
blocks of rows or columns, and a window's sum is a sum of shifted views of a flat vector.
"""

from __future__ import annotations

import functools
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
_GAP = 8
"""Rows and columns of zeros after each plane: the half of the largest window, four of each band."""
_SPLITS = {2: (1, 1), 3: (2, 1), 4: (2, 2), 5: (4, 1), 7: (5, 2), 9: (5, 4)}
"""Of which two sums the sum over a window is made."""
_WINDOWS = (3, 5, 7, 9)
_AT_WORK = {"cpu": 1 << 18, "cuda": 1 << 26}
"""About how many pixels are at work at once; on a CPU as many as its cache likes."""


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
    # With three sigma as the unit, v is 1 / 9, and the sum over 3 x 3 is the mean over v.
    unit = 3.0 * sigma / 255.0

    @torch.no_grad()
    def residual(x: Tensor) -> Tensor:
        planes = x.flatten(0, 1)
        height, width = planes.shape[1:]
        depth = min(levels, _most_levels(min(height, width)))
        found = torch.empty_like(planes)
        step = max(1, _AT_WORK.get(x.device.type, 1 << 18) // (height * width))
        for first in range(0, len(planes), step):
            # The details do not see the subtrahend; float32 has more digits left for them.
            part = (planes[first : first + step] - 0.5).mul_(1.0 / unit)
            torch.mul(_noise(part, depth), unit, out=found[first : first + step])
        return found.view_as(x)

    return residual


def _most_levels(side: int) -> int:
    """floor(log2(side / 7)), at least 1."""
    return max(1, (side // (_TAPS - 1)).bit_length() - 1)


def _noise(planes: Tensor, levels: int) -> Tensor:
    """What of planes (P, H, W) is noise; they and it in units of three of its sigma."""
    count, height, width = planes.shape
    analysis, synthesis = (matrix.to(planes.device) for matrix in _matrices())
    rows, columns = _coefficients(height), _coefficients(width)
    buffer = _blocks(_extended(planes), analysis)
    bands = buffer[:-_GAP].unflatten(0, (count, -1))
    bands[:, rows:] = 0
    bands[:, :, columns:] = 0
    approximation = bands[:, 0:rows:2, 0:columns:2]
    deeper = _noise(approximation, levels - 1) if levels > 1 else torch.zeros(())
    energy = _least_energy(buffer)
    buffer.view(-1)[: len(energy)].div_(energy.clamp_(min=1.0))
    approximation.copy_(deeper)
    return _blocks(buffer, synthesis)[:-_GAP].unflatten(0, (count, -1))[:, :height, :width]


def _coefficients(size: int) -> int:
    """How many numbers `size` samples become, those of both bands together."""
    return 2 * ((size + _TAPS - 1) // 2)


def _extended(planes: Tensor) -> Tensor:
    """A buffer of the planes (P, H, W), each mirrored at its edges, border pixels doubled.

    A buffer has a plane's rows, zeros up to whole blocks, and so on; rows of zeros come last, and
    columns of zeros after each row.
    """
    count, height, width = planes.shape
    tall = -(-(_coefficients(height) + _GAP) // _BLOCK) * _BLOCK
    wide = -(-_coefficients(width) // _BLOCK) * _BLOCK + _GAP
    buffer = planes.new_zeros(count * tall + _GAP, wide)
    each = buffer[:-_GAP].view(count, tall, wide)
    each[:, _LEAD : _LEAD + height, _LEAD : _LEAD + width] = planes
    for dim, size in ((1, height), (2, width)):
        at = torch.arange(-_LEAD, _coefficients(size), device=planes.device)
        outer = at[(at < 0) | (at >= size)]
        inner = outer.remainder(2 * size)
        inner = torch.where(inner < size, inner, 2 * size - 1 - inner)
        each.index_copy_(dim, outer + _LEAD, each.index_select(dim, inner + _LEAD))
    return buffer


def _blocks(buffer: Tensor, matrix: Tensor) -> Tensor:
    """A buffer with each block of rows, and then of columns, times the matrix."""
    taken = _BLOCK + _LEAD
    between = torch.empty_like(buffer)
    between[-_GAP:] = 0
    rows = buffer.unfold(0, taken, _BLOCK).transpose(1, 2)
    out = between[:-_GAP].view(-1, _BLOCK, buffer.shape[1])
    torch.bmm(matrix.expand(len(rows), -1, -1), rows, out=out)
    made = torch.empty_like(buffer)
    made[:, -_GAP:] = 0
    columns = between.unfold(1, taken, _BLOCK).transpose(0, 1)
    out = made[:, :-_GAP].unflatten(1, (-1, _BLOCK)).transpose(0, 1)
    torch.bmm(columns, matrix.t().expand(len(columns), -1, -1), out=out)
    return made


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


def _least_energy(buffer: Tensor) -> Tensor:
    """The least over windows of 9 / side^2 times the sum of squares, flat; the last `_GAP` lack."""
    wide = buffer.shape[1]
    reach = _GAP * (wide + 1)
    energy = buffer.new_zeros(reach + buffer.numel())
    torch.square(buffer.view(-1), out=energy[reach:])
    size = buffer.numel() - reach
    across: dict[int, Tensor] = {1: energy}
    least = torch.empty(0)
    for side in _WINDOWS:
        row = _sums(across, side, 2)
        if side > _WINDOWS[0]:
            row = row * (_WINDOWS[0] / side) ** 2
        first = (_WINDOWS[-1] - side) * (wide + 1)
        row = row[first : first + size + 2 * wide * (side - 1)]
        total = _sums({1: row}, side, 2 * wide)
        least = torch.minimum(least, total, out=least) if side > _WINDOWS[0] else total
    return least


def _sums(known: dict[int, Tensor], count: int, step: int) -> Tensor:
    """Sums of `count` values, `step` apart, from each on; `known[1]` are the values themselves.

    `known` takes up what is made on the way.
    """
    if count not in known:
        one, other = _SPLITS[count]
        size = len(known[1]) - step * (count - 1)
        later = _sums(known, other, step)[one * step :][:size]
        known[count] = _sums(known, one, step)[:size] + later
    return known[count]
