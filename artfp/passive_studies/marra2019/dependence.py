"""What a fingerprint depends on: correlations of pairs of sources by what they differ in.

Each source has facts, such as its architecture, training set and seed. A pair whose facts are equal
is another run of the same thing. Marra et al. 2019 ask whether seed, training set, architecture or
fine-tuning make the fingerprint: cross correlations near the same source's say that what differs
does not matter.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from artfp.passive.roc import CONFIDENCE, CorrelationScores

Facts = Mapping[str, str]
"""What is known of a source, such as {"architecture": "dcgan", "seed": "1"}."""

SAME, RUN = "same source", "another run"
RESAMPLES = 1000


@dataclass(frozen=True)
class Kind:
    """Pairs of sources that differ in the same facts."""

    differ: str
    """`SAME`, `RUN`, or the names of the facts with commas."""
    mean: float
    """Mean correlation over the pairs, each pair the mean over its test images."""
    low: float
    high: float
    """Interval by bootstrap over the test images; the sources are taken as they are."""
    pairs: dict[tuple[str, str], float]
    """Mean correlation of each: images of the first with the fingerprint of the second."""


def difference(a: Facts, b: Facts) -> str:
    """The facts that both have and that differ, in a's order; `RUN` if none does."""
    return ", ".join(name for name in a if name in b and a[name] != b[name]) or RUN


def dependence(scores: CorrelationScores, facts: Mapping[str, Facts], seed: int = 0) -> list[Kind]:
    """Mean correlations of the pairs of sources that have facts, from few differences to many.

    Raises ValueError: a source that has no scores, or fewer than two sources.
    """
    chosen = [i for i, name in enumerate(scores.sources) if name in facts]
    if len(chosen) != len(facts) or len(chosen) < 2:
        raise ValueError(f"facts on {list(facts)}, scores of {list(scores.sources)}")
    rng = np.random.default_rng(seed)
    means, draws = {}, {}
    for i in chosen:
        values = scores.values[i]
        count = len(values)
        weights = rng.multinomial(count, np.full(count, 1.0 / count), RESAMPLES) / count
        means[i], draws[i] = values.mean(0), weights @ values
    kinds: dict[str, list[tuple[int, int]]] = {SAME: [], RUN: []}
    for i in chosen:
        for j in chosen:
            first, second = sorted((i, j))  # one name for both directions
            names = scores.sources
            what = SAME if i == j else difference(facts[names[first]], facts[names[second]])
            kinds.setdefault(what, []).append((i, j))
    found = []
    for what, pairs in kinds.items():
        if not pairs:
            continue
        drawn = np.mean([draws[i][:, j] for i, j in pairs], axis=0)
        low, high = np.quantile(drawn, (0.5 - CONFIDENCE / 2, 0.5 + CONFIDENCE / 2))
        told = {(scores.sources[i], scores.sources[j]): float(means[i][j]) for i, j in pairs}
        mean = float(np.mean(list(told.values())))
        found.append(Kind(what, mean, float(low), float(high), told))
    order = (SAME, RUN)
    return sorted(
        found, key=lambda k: order.index(k.differ) if k.differ in order else 2 + k.differ.count(",")
    )
