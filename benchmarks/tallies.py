"""P-values counted against nominal levels, with bounds, and the table of what came out.

A p-value is valid if P(p <= level) <= level at every level. A `Tally` counts how often it happened;
`rows` says whether the count contradicts it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from false_alarms import CONFIDENCE, clopper_pearson
from numpy.typing import ArrayLike, NDArray
from rich.table import Table
from scipy import special

LEVELS = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5)
_LOGS = np.log(LEVELS)

Counts = NDArray[np.int64]


@dataclass
class Tally:
    """How many of `tests` p-values of `what`, by `statistic`, were at most each of LEVELS.

    `attained` are the rates that chance gives, where they are known. `effects` are design effects:
    tests that depend on each other count as tests / effect independent ones. What is `wrong` on
    purpose has to be found out.
    """

    what: str
    statistic: str
    attained: Sequence[float] | None = None
    effects: Sequence[float] = (1.0,) * len(LEVELS)
    wrong: bool = False
    tests: int = 0
    hits: Counts = field(default_factory=lambda: np.zeros(len(LEVELS), np.int64))

    def add(self, log_p: ArrayLike) -> None:
        """Count natural logs of p-values, of any shape."""
        values = np.asarray(log_p)
        self.tests += values.size
        self.hits += [np.count_nonzero(values <= limit) for limit in _LOGS]

    def add_matches(self, histogram: Counts, log_p: NDArray[np.float64]) -> None:
        """Count tests by their numbers of matches (bits + 1,), which have these log p-values."""
        self.tests += int(histogram.sum())
        self.hits += [int(histogram[log_p <= limit].sum()) for limit in _LOGS]


def attained(log_p: NDArray[np.float64], keys: int = 1) -> list[float]:
    """P(p <= level) for matches ~ Bin(bits, 1/2), the most of so many keys, at each of LEVELS.

    `log_p` (bits + 1,) are the log p-values of the numbers of matches, falling. Summed from
    whole-number binomials, apart from what is tested.
    """
    bits = len(log_p) - 1
    rates = []
    for limit in _LOGS:
        passing = np.flatnonzero(log_p <= limit).tolist()
        single = sum(math.comb(bits, matches) for matches in passing) / 2**bits
        rates.append(-math.expm1(keys * math.log1p(-single)) if single < 1 else 1.0)
    return rates


def rows(tallies: Iterable[Tally]) -> list[dict[str, Any]]:
    """A row for each tally and level.

    `interval` is Clopper and Pearson's, at .95. `excess` is the probability of so many hits or
    more, were the rate the nominal one. A row is `contradicted` if that is below .05 / rows, the
    rows being all that ought to hold, so that chance contradicts any of them one time in twenty at
    most; and if what is attained is above the level, which takes no chance.
    """
    tallies = list(tallies)
    limit = (1.0 - CONFIDENCE) / (len(LEVELS) * sum(not tally.wrong for tally in tallies))
    found = []
    for tally in tallies:
        for i, level in enumerate(LEVELS):
            hits, tests = int(tally.hits[i]), tally.tests
            effect = tally.effects[i]
            low, high = clopper_pearson(hits / effect, tests / effect)
            excess = tail(hits / effect, tests / effect, level)
            chance = None if tally.attained is None else tally.attained[i]
            found.append(
                {
                    "what": tally.what,
                    "statistic": tally.statistic,
                    "level": level,
                    "tests": tests,
                    "design_effect": effect,
                    "false_positives": hits,
                    "rate": hits / tests,
                    "interval": [low, high],
                    "attained": chance,
                    "attained_in_interval": None if chance is None else low <= chance <= high,
                    "excess": excess,
                    "contradicted": excess < limit or (chance is not None and chance > level),
                    "wrong_on_purpose": tally.wrong,
                }
            )
    return found


def tail(hits: float, tests: float, rate: float) -> float:
    """P(X >= hits) for X ~ Bin(tests, rate); numbers need not be whole."""
    return float(special.betainc(hits, tests - hits + 1.0, rate)) if hits > 0 else 1.0


def table(found: Sequence[dict[str, Any]]) -> Table:
    """The rows for people, a section for each tally; * marks what the interval misses."""
    shown = Table("tests", "level")
    for header in ("positives", "rate", "attained", "95% interval"):
        shown.add_column(header, justify="right")
    shown.add_column("rate <= level")
    for i, row in enumerate(found):
        wrong = "WRONG ON PURPOSE" if row["wrong_on_purpose"] else ""
        label = (row["what"], row["statistic"], f"{row['tests']:,} tests", wrong, "")
        chance, missed = row["attained"], row["attained_in_interval"] is False
        shown.add_row(
            label[i % len(LEVELS)],
            f"{row['level']:g}",
            f"{row['false_positives']:,}",
            f"{row['rate']:.2e}",
            "" if chance is None else f"{chance:.2e}{'*' if missed else ' '}",
            "{:.1e} - {:.1e}".format(*row["interval"]),
            "CONTRADICTED" if row["contradicted"] else "holds",
            end_section=(i + 1) % len(LEVELS) == 0,
        )
    return shown
