"""Fingerprints that decoded bits are compared with: one, or all entries of a registry."""

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
    """A fingerprint (bits,), and its registry entry where it has one."""

    fingerprint: NDArray[np.uint8]
    entry: RegistryEntry | None = None


class Candidates(Protocol):
    """All fingerprints that decoded bits are compared with."""

    count: int
    """Number of fingerprints: what p-values are corrected for."""

    def compare(self, decoded: NDArray[np.uint8]) -> list[tuple[Candidate, int, int]]:
        """Return the nearest fingerprint of each row of (N, bits), its matches, the fewest of all.

        Very few matches are a sign of inverted bits.
        """

    def rank(self, mean_logits: NDArray[np.float64]) -> tuple[list[Candidate], Candidate]:
        """Return those that agree best with logits (bits,), the best first; and the worst."""


class GivenFingerprint:
    """A fingerprint that was given by its bits or by a key file."""

    count = 1

    def __init__(self, fingerprint: NDArray[np.uint8]) -> None:
        self._only = Candidate(fingerprint)

    def compare(self, decoded: NDArray[np.uint8]) -> list[tuple[Candidate, int, int]]:
        """See `Candidates`."""
        counts = (decoded == self._only.fingerprint).sum(axis=1).tolist()
        return [(self._only, count, count) for count in counts]

    def rank(self, mean_logits: NDArray[np.float64]) -> tuple[list[Candidate], Candidate]:
        """See `Candidates`."""
        return [self._only], self._only


class RegistryEntries:
    """All entries of a registry that have as many bits as the decoder reads.

    Raises:
        UserError: there are none.
    """

    def __init__(self, registry: Registry, bits: int) -> None:
        self._registry, self._bits = registry, bits
        self.state: RegistryState = registry.state()
        self.count = registry.search(np.zeros((1, bits), np.uint8)).compared
        if not self.count:
            raise UserError(
                f"registry {registry.path}: none of its {self.state.entries} entries has {bits} "
                "bits, as this decoder gives"
            )

    def compare(self, decoded: NDArray[np.uint8]) -> list[tuple[Candidate, int, int]]:
        """See `Candidates`."""
        nearest = self._registry.search(decoded)
        # What matches the inverted bits best matches the bits themselves worst.
        farthest = self._registry.search(1 - decoded)
        self._check_unchanged(nearest.compared, farthest.compared)
        return [
            (Candidate(entries[0].fingerprint, entries[0]), int(most), self._bits - int(least))
            for entries, most, least in zip(
                nearest.entries, nearest.matches[:, 0], farthest.matches[:, 0], strict=True
            )
        ]

    def rank(self, mean_logits: NDArray[np.float64]) -> tuple[list[Candidate], Candidate]:
        """See `Candidates`. Memory does not grow with the registry."""
        best: list[tuple[float, Candidate]] = []
        worst: tuple[float, Candidate] | None = None
        compared = 0
        for entries, fingerprints in self._chunks():
            sums = (2.0 * fingerprints - 1.0) @ mean_logits
            compared += len(entries)
            lowest = int(sums.argmin())
            if worst is None or sums[lowest] < worst[0]:
                worst = float(sums[lowest]), Candidate(fingerprints[lowest], entries[lowest])
            top = np.argsort(-sums, kind="stable")[:_RUNNERS_UP].tolist()
            best += [(float(sums[i]), Candidate(fingerprints[i], entries[i])) for i in top]
            best = sorted(best, key=lambda scored: -scored[0])[:_RUNNERS_UP]
        self._check_unchanged(compared)
        assert worst is not None
        return [candidate for _, candidate in best], worst[1]

    def _chunks(self) -> Iterator[tuple[list[RegistryEntry], NDArray[np.uint8]]]:
        fitting = (entry for entry in self._registry if entry.bits == self._bits)
        while chunk := list(islice(fitting, _CHUNK)):
            yield chunk, np.stack([entry.fingerprint for entry in chunk])

    def _check_unchanged(self, *compared: int) -> None:
        """Raise a UserError if entries were added: the number of tests would be wrong."""
        if any(count != self.count for count in compared) or self._registry.state() != self.state:
            raise UserError(
                f"registry {self._registry.path}: entries were added during the detection; run "
                "the same command again, it goes on where it stopped"
            )
