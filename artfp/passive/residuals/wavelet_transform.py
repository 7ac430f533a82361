"""Steps of the wavelet residual: both transforms by blocks, and the least mean over windows.

With the low-pass h (LOW, db4, TAPS taps) and the high-pass g, one level of analysis gives two
outputs for every two samples: the sums over h and over g of TAPS samples from there on. BLOCK
outputs, low and high interleaved, depend on BLOCK + LEAD samples, so a block of outputs is a matrix
(BLOCK, BLOCK + LEAD) times a block of samples, in each direction. Synthesis has the same form with
another matrix.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor

# The low-pass filter of synthesis: Daubechies, Ten Lectures on Wavelets (1992), table 6.1, N = 4,
# its digits after the twelfth as PyWavelets has them.
LOW = (
    0.2303778133088965,
    0.7148465705529157,
    0.6308807679298589,
    -0.02798376941685985,
    -0.18703481171909309,
    0.030841381835560764,
    0.0328830116668852,
    -0.010597401785069032,
)
TAPS = len(LOW)
LEAD = TAPS - 2
"""Samples before a signal's first that the transform reads."""
BLOCK = 16
"""Rows or columns that one product computes, from `BLOCK` + `LEAD`."""
WIDEST = 9
"""Side of the largest window."""
SCRATCH = 6
"""Vectors that the sums over windows take."""


class BlockTransform:
    """Products of a matrix with all blocks of a buffer, in place, `step` rows at a time."""

    def __init__(self, buffer: Tensor, step: int, memory: Tensor) -> None:
        wide = buffer.shape[1]
        self.parts = []
        for first in range(0, len(buffer) - LEAD, step):
            # Overlapping blocks (B, BLOCK + LEAD, wide) of rows, and the places of their products.
            rows = buffer[first : first + step + LEAD]
            source = rows.unfold(0, BLOCK + LEAD, BLOCK).transpose(1, 2)
            between = memory[: len(source) * BLOCK * wide].view(-1, BLOCK, wide)
            blocks, out = between.view(-1, BLOCK), rows[:-LEAD].view(-1, BLOCK)
            # The last block of a row reads on into the row below: that ends in columns of no band.
            self.parts.append((source, between, blocks, out, blocks[1:, :LEAD], out[:-1]))

    def times(self, matrix: Tensor) -> None:
        """Replace each block of rows, and then of columns, by the matrix times it."""
        matrix = matrix.to(self.parts[0][0].device)
        own, ahead = matrix[:, :BLOCK].t(), matrix[:, BLOCK:].t()
        for source, between, blocks, out, next_blocks, out_but_last in self.parts:
            # Along rows of blocks; then along columns, a block's own samples and the LEAD ahead.
            torch.bmm(matrix.expand(len(source), -1, -1), source, out=between)
            torch.mm(blocks, own, out=out)
            out_but_last.addmm_(next_blocks, ahead)


class WindowMeans:
    """Least means over windows of 3, 5, 7 and 9 a side around flat values, in rows of `wide`.

    Around the values that have half the largest window on both sides. Sums along a row come from
    shorter sums (2, 4, 5 values, then 3, 7, 9), so each takes one addition; `down` then adds rows.
    """

    def __init__(self, values: Tensor, wide: int, memory: Tensor) -> None:
        vectors = memory.view(SCRATCH, -1)[:, : len(values)]
        size = len(values) - (WIDEST - 1) * (wide + 1)
        self.least, self.mean, self.out = vectors[4][:size], vectors[5][:size], values[:size]

        def add(one: Tensor, other: Tensor, shift: int, vector: int) -> tuple[Tensor, ...]:
            length = min(len(one), len(other) - shift)
            return one[:length], other[shift : shift + length], vectors[vector][:length]

        def down(rows: Tensor, side: int) -> Tensor:
            first = (WIDEST - side) // 2 * (wide + 1)
            return rows[first:].unfold(0, wide * (side - 1) + 1, 1)[:size, ::wide]

        pairs = add(values, values, 1, 0)
        fours = add(pairs[2], pairs[2], 2, 1)
        fives = add(fours[2], values, 4, 2)
        threes = add(pairs[2], values, 2, 3)
        sevens = add(fives[2], pairs[2], 5, 3)
        nines = add(fives[2], fours[2], 5, 3)
        self.shared = pairs, fours, fives
        self.first = threes, down(threes[2], 3)
        self.further = [
            (None, down(fives[2], 5), 5),
            (sevens, down(sevens[2], 7), 7),
            (nines, down(nines[2], 9), 9),
        ]

    def to_gains(self, variance: float) -> None:
        """Replace the first values by gains v / max(v, least mean over the windows)."""
        for one, other, out in self.shared:
            torch.add(one, other, out=out)
        (one, other, out), windows = self.first
        torch.add(one, other, out=out)
        torch.sum(windows, 1, out=self.least).mul_(1.0 / (9 * variance))
        for sums, windows, side in self.further:
            if sums is not None:
                torch.add(sums[0], sums[1], out=sums[2])
            torch.sum(windows, 1, out=self.mean).mul_(1.0 / (side**2 * variance))
            torch.minimum(self.least, self.mean, out=self.least)
        torch.reciprocal(self.least.clamp_(min=1.0), out=self.out)


def mirrored_indices(size: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return places, in a buffer, of the samples outside a signal and of their mirror images."""
    outer = [*range(-LEAD, 0), *range(size, 2 * ((size + TAPS - 1) // 2))]
    inner = [min(at % (2 * size), -(at + 1) % (2 * size)) for at in outer]
    to, origin = (torch.tensor(at, device=device) + LEAD for at in (outer, inner))
    return to, origin


@functools.cache
def block_matrices() -> tuple[Tensor, Tensor]:
    """Return analysis and synthesis of a block, each (BLOCK, BLOCK + LEAD); bands interleaved."""
    # Quadrature mirror filter: the high-pass is the reversed low-pass with alternating signs.
    low = torch.tensor(LOW, dtype=torch.float64)
    high = low.flip(0) * torch.tensor([1.0, -1.0]).repeat(TAPS // 2)
    analysis = torch.zeros(BLOCK, BLOCK + LEAD)
    synthesis = torch.zeros(BLOCK + LEAD, BLOCK + 2 * LEAD)
    for first in range(0, BLOCK + LEAD, 2):
        for band, taps in enumerate((low, high)):
            if first < BLOCK:
                analysis[first + band, first : first + TAPS] = taps
            synthesis[first + band, first : first + TAPS] = taps
    return analysis, synthesis[:, LEAD:-LEAD].t().contiguous()
