"""What decoded words are compared with: one fingerprint, or all entries of a registry."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from artfp.core.errors import UserError
from artfp.ownership.registry import Registry, RegistryEntry, RegistryState

_CHUNK = 4096
_RUNNERS_UP = 5


@dataclass(frozen=True)
class Candidate:
    """One fingerprint that was sought: its bits, (bits,), and whose it is where that is known."""

    word: NDArray[np.uint8]
    entry: RegistryEntry | None = None


class Candidates(Protocol):
    """All fingerprints that words are compared with."""

    keys: int
    """How many there are: what p-values are to be corrected for."""

    def compare(self, words: NDArray[np.uint8]) -> list[tuple[Candidate, int, int]]:
        """For each word (N, bits): the fingerprint nearest to it, its matches, the fewest of all.

        The fewest matches tell of inverted bits.
        """

    def rank(self, common: NDArray[np.float64]) -> tuple[list[Candidate], Candidate]:
        """The fingerprints that agree best with logits (bits,), the best first; and the worst."""


class GivenFingerprint:
    """A fingerprint that was given by its bits or by a key file."""

    keys = 1

    def __init__(self, word: NDArray[np.uint8]) -> None:
        self._near = Candidate(word)

    def compare(self, words: NDArray[np.uint8]) -> list[tuple[Candidate, int, int]]:
        """See Sought."""
        counts = (words == self._near.word).sum(axis=1).tolist()
        return [(self._near, count, count) for count in counts]

    def rank(self, common: NDArray[np.float64]) -> tuple[list[Candidate], Candidate]:
        """See Sought."""
        return [self._near], self._near


class RegistryEntries:
    """All entries of a registry that have as many bits as the decoder reads.

    Raises:
        UserError: there are none.
    """

    def __init__(self, registry: Registry, bits: int) -> None:
        self._registry, self._bits = registry, bits
        self.state: RegistryState = registry.state()
        self.keys = registry.search(np.zeros((1, bits), np.uint8)).compared
        if not self.keys:
            raise UserError(
                f"registry {registry.path}: none of its {self.state.entries} entries has {bits} "
                "bits, as this decoder reads"
            )

    def compare(self, words: NDArray[np.uint8]) -> list[tuple[Candidate, int, int]]:
        """See Sought."""
        nearest = self._registry.search(words)
        # What matches a word's opposite best, matches the word itself worst.
        farthest = self._registry.search(1 - words)
        self._unchanged(nearest.compared, farthest.compared)
        return [
            (Candidate(entries[0].fingerprint, entries[0]), int(most), self._bits - int(least))
            for entries, most, least in zip(
                nearest.entries, nearest.matches[:, 0], farthest.matches[:, 0], strict=True
            )
        ]

    def rank(self, common: NDArray[np.float64]) -> tuple[list[Candidate], Candidate]:
        """See Sought. Memory does not grow with the registry."""
        best: list[tuple[float, Candidate]] = []
        worst: tuple[float, Candidate] | None = None
        seen = 0
        for entries, words in self._chunks():
            sums = (2.0 * words - 1.0) @ common
            seen += len(entries)
            lowest = int(sums.argmin())
            if worst is None or sums[lowest] < worst[0]:
                worst = float(sums[lowest]), Candidate(words[lowest], entries[lowest])
            top = np.argsort(-sums, kind="stable")[:_RUNNERS_UP].tolist()
            best += [(float(sums[i]), Candidate(words[i], entries[i])) for i in top]
            best = sorted(best, key=lambda scored: -scored[0])[:_RUNNERS_UP]
        self._unchanged(seen)
        assert worst is not None
        return [near for _, near in best], worst[1]

    def _chunks(self) -> Iterator[tuple[list[RegistryEntry], NDArray[np.uint8]]]:
        fitting = (entry for entry in self._registry if entry.bits == self._bits)
        while chunk := list(islice(fitting, _CHUNK)):
            yield chunk, np.stack([entry.fingerprint for entry in chunk])

    def _unchanged(self, *compared: int) -> None:
        """Refuse a registry that another process adds to: the number of tests must hold."""
        if any(count != self.keys for count in compared) or self._registry.state() != self.state:
            raise UserError(
                f"registry {self._registry.path}: entries were added during the detection; run "
                "the same command again, it goes on where it stopped"
            )
