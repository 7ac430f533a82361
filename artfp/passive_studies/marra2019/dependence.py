"""Correlations of pairs of sources by what they differ in, and real against generated images.

Each source has metadata, such as its architecture, training set and seed. A pair whose metadata are
equal is two runs of the same thing. Marra et al. 2019 ask whether seed, training set, architecture
or fine-tuning make the fingerprint: where cross correlations are near those of the same source,
what differs does not matter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from artfp.passive.attributors.score_model import Values
from artfp.passive.roc import CONFIDENCE, AucEstimate, CorrelationScores, estimate_auc

SourceMetadata = Mapping[str, str]
"""Metadata of a source, such as {"architecture": "dcgan", "seed": "1"}."""

SAME, RUN = "same source", "another run"
RESAMPLES = 1000


@dataclass(frozen=True)
class PairGroup:
    """Pairs of sources that differ in the same metadata."""

    difference: str
    """`SAME`, `RUN`, or the names of the metadata with commas."""
    mean: float
    """Mean correlation over the pairs, each pair the mean over its test images."""
    low: float
    high: float
    """Interval by bootstrap over the test images, given the sources."""
    pairs: dict[tuple[str, str], float]
    """Mean correlation of images of the first with the fingerprint of the second, by pair."""


def name_difference(a: SourceMetadata, b: SourceMetadata) -> str:
    """Name the metadata that both have and that differ, in a's order; `RUN` if none does."""
    return ", ".join(name for name in a if name in b and a[name] != b[name]) or RUN


def compare_pairs(
    scores: CorrelationScores, metadata: Mapping[str, SourceMetadata], seed: int = 0
) -> list[PairGroup]:
    """Compute mean correlations of pairs of sources, from few differences to many.

    Args:
        scores: Correlations of the test images.
        metadata: Metadata of the sources that take part.
        seed: Seed of the bootstrap.

    Raises:
        ValueError: a source that has no scores, or fewer than two sources.
    """
    chosen = [i for i, name in enumerate(scores.sources) if name in metadata]
    if len(chosen) != len(metadata) or len(chosen) < 2:
        raise ValueError(f"metadata of {list(metadata)}, scores of {list(scores.sources)}")
    rng = np.random.default_rng(seed)
    means, resampled = {}, {}
    for i in chosen:
        values = scores.values[i]
        count = len(values)
        weights = rng.multinomial(count, np.full(count, 1.0 / count), RESAMPLES) / count
        means[i], resampled[i] = values.mean(0), weights @ values
    pairs_by_difference: dict[str, list[tuple[int, int]]] = {SAME: [], RUN: []}
    for i in chosen:
        for j in chosen:
            first, second = sorted((i, j))  # one name for both directions
            names = scores.sources
            pair = metadata[names[first]], metadata[names[second]]
            difference = SAME if i == j else name_difference(*pair)
            pairs_by_difference.setdefault(difference, []).append((i, j))
    found = []
    for difference, pairs in pairs_by_difference.items():
        if not pairs:
            continue
        drawn = np.mean([resampled[i][:, j] for i, j in pairs], axis=0)
        low, high = np.quantile(drawn, (0.5 - CONFIDENCE / 2, 0.5 + CONFIDENCE / 2))
        means_by_pair = {
            (scores.sources[i], scores.sources[j]): float(means[i][j]) for i, j in pairs
        }
        mean = float(np.mean(list(means_by_pair.values())))
        found.append(PairGroup(difference, mean, float(low), float(high), means_by_pair))
    order = {SAME: 0, RUN: 1}
    return sorted(found, key=lambda g: order.get(g.difference, 2 + g.difference.count(",")))


@dataclass(frozen=True)
class GeneratorScores:
    """Largest correlations of a generator's test images."""

    source: str
    known: Values
    """Largest correlation of each image with a generator's fingerprint."""
    unknown: Values | None
    """The same without the generator's own fingerprint; None if there is no other generator."""


@dataclass(frozen=True)
class RealVersusGenerated:
    """Real and generated images by the largest correlation with any generator's fingerprint."""

    real: Values
    """Largest correlation of each real image with a generator's fingerprint."""
    real_without: dict[str, Values]
    """The same without the fingerprint of the generator named."""
    generated: tuple[GeneratorScores, ...]

    def known(self, index: int | None = None) -> AucEstimate:
        """Estimate the AUC of a generator's images, or of all, with all fingerprints known."""
        chosen = self.generated if index is None else (self.generated[index],)
        return estimate_auc(self.real, np.concatenate([each.known for each in chosen]))

    def unknown(self, index: int) -> AucEstimate | None:
        """Estimate the AUC of a generator's images with only the others' fingerprints known."""
        each = self.generated[index]
        if each.unknown is None:
            return None
        return estimate_auc(self.real_without[each.source], each.unknown)


def compare_real_generated(scores: CorrelationScores, real: Sequence[str]) -> RealVersusGenerated:
    """Compare these sources as real with all others as generators.

    Raises:
        ValueError: no real source, no generator, or a name that is not among the sources.
    """
    unknown = [name for name in real if name not in scores.sources]
    generators = [i for i, name in enumerate(scores.sources) if name not in real]
    if unknown or not real or not generators:
        raise ValueError(f"real sources {list(real)} among {list(scores.sources)}")
    pooled = np.concatenate([v for i, v in enumerate(scores.values) if i not in generators])
    found, without = [], {}
    for own in generators:
        name, values = scores.sources[own], scores.values[own]
        others = [i for i in generators if i != own]
        unseen = values[:, others].max(1) if others else None
        found.append(GeneratorScores(name, values[:, generators].max(1), unseen))
        if others:
            without[name] = pooled[:, others].max(1)
    return RealVersusGenerated(pooled[:, generators].max(1), without, tuple(found))
