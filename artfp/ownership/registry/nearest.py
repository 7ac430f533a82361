"""The nearest of many fingerprints to each of some words: exact, in whole numbers."""

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
    """Hamming distances from some of the words that it was made with, (lanes, count) each."""

    at_once: int
    """How many words to take at once, so that all of it stays in the processor's cache."""

    def __init__(self, words: Packed) -> None: ...

    def load(self, entries: Packed) -> None:
        """Take the entries (lanes, count) of which the next distances are."""

    def distances(self, some: slice) -> _Distances:
        """From some of the words to all entries, (words, entries)."""


class CountingOnes:
    """Distances by counting the ones of XORs, which NumPy can do since 2.0."""

    at_once = 16

    def __init__(self, words: Packed) -> None:
        self._words = words
        # That 256 bits all differ, 8 bits cannot say.
        self._kind = np.uint8 if len(words) * _LANE < 256 else np.uint16

    def load(self, entries: Packed) -> None:
        """Keep the entries."""
        self._entries = entries

    def distances(self, some: slice) -> _Distances:
        """Lane by lane."""
        words = self._words[:, some, None]
        shape = words.shape[1], self._entries.shape[1]
        differing = np.empty(shape, np.uint64)
        ones = np.empty(shape, np.uint8)
        total = np.zeros(shape, self._kind)
        for word, entry in zip(words, self._entries, strict=True):
            np.bitwise_xor(word, entry, out=differing)
            np.bitwise_count(differing, out=ones)
            total += ones
        return total


class MultiplyingSigns:
    """Distances by inner products of -1 and 1, which float32 holds exactly, for NumPy 1.26."""

    at_once = 256

    def __init__(self, words: Packed) -> None:
        self._words = _signs(words)

    def load(self, entries: Packed) -> None:
        """Unpack the entries."""
        self._entries = _signs(entries)

    def distances(self, some: slice) -> _Distances:
        """All lanes at once. Bits beyond the fingerprints' end are equal, and make no distance."""
        products = self._words[some] @ self._entries.T
        products -= self._words.shape[1]
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
    """The `top` nearest entries to each word (N, bits) of {0, 1}, over chunks of entries.

    Entries come in the order of their numbers; among equally near ones the first win.
    """

    def __init__(self, words: NDArray[np.uint8], top: int) -> None:
        count, self.bits = words.shape
        self.top = top
        self._counter = counter(pack_lanes(np.packbits(words, axis=1).tobytes(), self.bits))
        self.distances = np.zeros((count, 0), np.int64)
        """Of the nearest so far, (N, up to top)."""
        self.numbers = np.zeros((count, 0), np.int64)
        """Theirs."""
        self._limit = np.full(count, self.bits + 1, np.int64)

    def see(self, numbers: NDArray[np.int64], entries: Packed) -> None:
        """Take in more entries: their numbers (count,) and their bits (lanes, count)."""
        words, width = self.numbers.shape
        if not numbers.size or not words:
            return
        # Places for what may come; until then they are farther than anything.
        new = min(self.top - width, numbers.size)
        farthest = np.full((words, new), self.bits + 1, np.int64)
        self.distances = np.hstack([self.distances, farthest])
        self.numbers = np.hstack([self.numbers, np.zeros_like(farthest)])
        self._counter.load(entries)
        for start in range(0, words, self._counter.at_once):
            some = slice(start, start + self._counter.at_once)
            found = self._counter.distances(some)
            nearest = found.min(axis=1)
            for row in np.flatnonzero(nearest < self._limit[some]):
                self._keep(start + int(row), numbers, found[row])

    def _keep(self, word: int, numbers: NDArray[np.int64], found: _Distances) -> None:
        """Merge what is nearer to a word than the farthest that is kept."""
        nearer = np.flatnonzero(found < self._limit[word])
        distances = np.concatenate([self.distances[word], found[nearer]])
        which = np.concatenate([self.numbers[word], numbers[nearer]])
        # Stable: what came before stays before.
        best = np.argsort(distances.astype(np.int16), kind="stable")[: self.distances.shape[1]]
        self.distances[word], self.numbers[word] = distances[best], which[best]
        if len(best) == self.top:
            self._limit[word] = distances[best[-1]]
