"""Search for the fingerprints nearest to decoded bits: exact, in whole numbers."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

_LANE = 64

Packed = NDArray[np.uint64]
_Distances = NDArray[np.unsignedinteger]


def pack_lanes(packed: bytes, bits: int) -> Packed:
    """Fingerprints packed one after the other, ceil(bits / 8) bytes each, as (lanes, count)."""
    size = -(-bits // 8)
    rows = np.frombuffer(packed, np.uint8).reshape(-1, size)
    whole = np.zeros((len(rows), 8 * -(-bits // _LANE)), np.uint8)
    whole[:, :size] = rows
    return np.ascontiguousarray(whole.view(np.uint64).T)


class Counter(Protocol):
    """Hamming distances from some of the decoded bits that it was made with, (lanes, count)."""

    at_once: int
    """Rows of decoded bits to take at once, so that all stays in the processor's cache."""

    def __init__(self, decoded: Packed) -> None: ...

    def load(self, entries: Packed) -> None:
        """Take the entries (lanes, count) of which the next distances are."""

    def distances(self, some: slice) -> _Distances:
        """Return the distances from some rows of decoded bits to all entries, (rows, entries)."""


class CountingOnes:
    """Distances by counting the ones of XORs, which NumPy can do since 2.0."""

    at_once = 16

    def __init__(self, decoded: Packed) -> None:
        self._decoded = decoded
        # That 256 bits all differ, 8 bits cannot say.
        self._kind = np.uint8 if len(decoded) * _LANE < 256 else np.uint16

    def load(self, entries: Packed) -> None:
        """Keep the entries."""
        self._entries = entries

    def distances(self, some: slice) -> _Distances:
        """Lane by lane."""
        decoded = self._decoded[:, some, None]
        shape = decoded.shape[1], self._entries.shape[1]
        differing = np.empty(shape, np.uint64)
        ones = np.empty(shape, np.uint8)
        total = np.zeros(shape, self._kind)
        for bits, entry in zip(decoded, self._entries, strict=True):
            np.bitwise_xor(bits, entry, out=differing)
            np.bitwise_count(differing, out=ones)
            total += ones
        return total


class MultiplyingSigns:
    """Distances by inner products of -1 and 1, which float32 holds exactly, for NumPy 1.26."""

    at_once = 256

    def __init__(self, decoded: Packed) -> None:
        self._decoded = _signs(decoded)

    def load(self, entries: Packed) -> None:
        """Unpack the entries."""
        self._entries = _signs(entries)

    def distances(self, some: slice) -> _Distances:
        """All lanes at once. Bits beyond the fingerprints' end are equal, and make no distance."""
        products = self._decoded[some] @ self._entries.T
        products -= self._decoded.shape[1]
        products *= -0.5
        return products.astype(np.uint16)


def _signs(packed: Packed) -> NDArray[np.float32]:
    """Bits {0, 1} of (lanes, count) as -1 and 1, (count, 64 * lanes)."""
    rows = np.ascontiguousarray(packed.T).view(np.uint8)
    signs = np.unpackbits(rows, axis=1).astype(np.float32)
    signs *= 2.0
    signs -= 1.0
    return signs


counter: type[Counter] = CountingOnes if hasattr(np, "bitwise_count") else MultiplyingSigns


class NearestSearch:
    """Find the `top` nearest entries to each row of (N, bits), over chunks of entries.

    Entries come in the order of their numbers; among equally near ones the first win.
    """

    def __init__(self, decoded: NDArray[np.uint8], top: int) -> None:
        count, self.bits = decoded.shape
        self.top = top
        self._counter = counter(pack_lanes(np.packbits(decoded, axis=1).tobytes(), self.bits))
        self.distances = np.zeros((count, 0), np.int64)
        """Distances of the nearest so far, (N, up to top)."""
        self.numbers = np.zeros((count, 0), np.int64)
        """Theirs."""
        self._limit = np.full(count, self.bits + 1, np.int64)

    def see(self, numbers: NDArray[np.int64], entries: Packed) -> None:
        """Take in more entries: their numbers (count,) and their bits (lanes, count)."""
        rows, width = self.numbers.shape
        if not numbers.size or not rows:
            return
        # Places for what may come; until then they are farther than anything.
        new = min(self.top - width, numbers.size)
        farthest = np.full((rows, new), self.bits + 1, np.int64)
        self.distances = np.hstack([self.distances, farthest])
        self.numbers = np.hstack([self.numbers, np.zeros_like(farthest)])
        self._counter.load(entries)
        for start in range(0, rows, self._counter.at_once):
            some = slice(start, start + self._counter.at_once)
            found = self._counter.distances(some)
            nearest = found.min(axis=1)
            for row in np.flatnonzero(nearest < self._limit[some]):
                self._keep(start + int(row), numbers, found[row])

    def _keep(self, row: int, numbers: NDArray[np.int64], found: _Distances) -> None:
        """Merge what is nearer to a row than the farthest that is kept."""
        nearer = np.flatnonzero(found < self._limit[row])
        distances = np.concatenate([self.distances[row], found[nearer]])
        which = np.concatenate([self.numbers[row], numbers[nearer]])
        # Stable: what came before stays before.
        best = np.argsort(distances.astype(np.int16), kind="stable")[: self.distances.shape[1]]
        self.distances[row], self.numbers[row] = distances[best], which[best]
        if len(best) == self.top:
            self._limit[row] = distances[best[-1]]
