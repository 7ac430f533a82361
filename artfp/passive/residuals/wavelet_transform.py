"""The steps of the wavelet residual: both transforms, and the least mean over windows."""

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
"""How many samples before a signal's first the transform reads."""
BLOCK = 16
"""Rows or columns that one product makes, of `BLOCK` + `LEAD`."""
WIDEST = 9
"""The side of the largest window."""
SCRATCH = 6
"""How many vectors the sums over windows take."""


class BlockTransform:
    """A buffer in blocks of rows and columns, `step` rows at a time, and memory for as much."""

    def __init__(self, buffer: Tensor, step: int, memory: Tensor) -> None:
        wide = buffer.shape[1]
        self.parts = []
        for first in range(0, len(buffer) - LEAD, step):
            rows = buffer[first : first + step + LEAD]
            source = rows.unfold(0, BLOCK + LEAD, BLOCK).transpose(1, 2)
            between = memory[: len(source) * BLOCK * wide].view(-1, BLOCK, wide)
            blocks, out = between.view(-1, BLOCK), rows[:-LEAD].view(-1, BLOCK)
            # What a row's last block takes from the row below goes to columns of no band.
            self.parts.append((source, between, blocks, out, blocks[1:, :LEAD], out[:-1]))

    def times(self, matrix: Tensor) -> None:
        """Makes each block of rows, and then of columns, the matrix times it."""
        matrix = matrix.to(self.parts[0][0].device)
        own, ahead = matrix[:, :BLOCK].t(), matrix[:, BLOCK:].t()
        for source, between, blocks, out, next_blocks, out_but_last in self.parts:
            torch.bmm(matrix.expand(len(source), -1, -1), source, out=between)
            torch.mm(blocks, own, out=out)
            out_but_last.addmm_(next_blocks, ahead)


class WindowMeans:
    """Windows of 3, 5, 7 and 9 around flat values, in rows of `wide`.

    They are around those that have half the largest window on both sides.
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
        """Sets v / max(v, least mean over the windows) in the place of the first values."""
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
    """Where in a buffer the samples outside of a signal are, and where those they equal."""
    outer = [*range(-LEAD, 0), *range(size, 2 * ((size + TAPS - 1) // 2))]
    inner = [min(at % (2 * size), -(at + 1) % (2 * size)) for at in outer]
    to, origin = (torch.tensor(at, device=device) + LEAD for at in (outer, inner))
    return to, origin


@functools.cache
def block_matrices() -> tuple[Tensor, Tensor]:
    """Analysis and synthesis of a block, each (`BLOCK`, `BLOCK` + `LEAD`); bands interleaved."""
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
