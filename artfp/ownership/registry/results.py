"""What the registry answers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from artfp.ownership.registry.entry import Entry


@dataclass(frozen=True)
class State:
    """What a registry holds: the number of entries, and the digest over all of them."""

    entries: int
    digest: str


@dataclass(frozen=True)
class Added:
    """What became of entries: how many are new, were there already, and were left out."""

    new: int
    known: int
    left_out: int


@dataclass(frozen=True)
class Search:
    """The K entries nearest to each of N words: the nearest first, equally near ones by age.

    `matches` (N, K) counts agreeing bits, and `entries[i][j]` is what has `matches[i, j]` of them.
    `compared` is the number of entries with this number of bits, all of which were compared: what a
    p-value of one comparison is to be corrected for, as in
    `evidence.correct(evidence.log_p_value(found.matches, found.bits), keys=found.compared)`.
    """

    bits: int
    compared: int
    matches: NDArray[np.int64]
    entries: list[list[Entry]]
