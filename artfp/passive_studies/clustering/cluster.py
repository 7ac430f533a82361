"""Images of unknown sources, of which it is not known how many there are, put into clusters.

    found = divide(residuals)         # (N, C, H, W), from any extractor
    found.labels                      # (N,), 0 for the largest cluster

Two things that images of one source share are used. Their residuals have a pattern in common, place
by place: residuals are whitened by the power spectrum of the whole folder, so that no frequency
drowns the others, and correlated. And their residuals' spectra are alike, wherever things are: log
powers of each image, less their mean. A set is then divided like this:

1. Principal components of both. How many stand out from chance is known from residuals that were
   moved in a circle, each by its own random shift, and given random signs, so that they share
   nothing but their spectra; and from log powers exchanged between images at random.
   `Settings.components` times as many are kept. Those of the correlations keep their weights, those
   of the spectra, where content has the largest, are made equal; an image is a unit vector of both.
2. A tree by average linkage (scikit-learn's AgglomerativeClustering) of the angles between these
   vectors, cut into 2, 3, ... `Settings.parts` clusters.
3. A cluster is stable if it comes out of random subsets too, each with components and a tree of
   its own: its mean largest Jaccard index over the subsets is `Settings.stability` or more (Hennig
   2007, Computational Statistics and Data Analysis 52). The cut with the most stable clusters
   wins, all other images are one remainder, and every part is divided in the same way.
4. Two parts of one pattern, such as where it is strong and where it is weak, are one: where the
   mean correlation of pairs between them is SAME times that within them (geometric mean) or more.
5. A set of which no cut has a stable cluster is one source, or a remainder that cannot be told
   apart. That decides the number of clusters.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from sklearn import metrics
from sklearn.cluster import AgglomerativeClustering
from torch import Tensor

from artfp.core.errors import UserError
from artfp.passive_studies.clustering.similarity import (
    Evidence,
    directions,
    of_patterns,
    of_spectra,
)

__all__ = [
    "Agreement",
    "Clusters",
    "Settings",
    "agreement",
    "divide",
    "divided_by",
]

SAME = 0.8
"""Correlation of two clusters' patterns, free of noise, from which on they are one source's."""

Array = NDArray[np.float64]
Labels = NDArray[np.int64]

_LEAST = 1e-30


@dataclass(frozen=True)
class Settings:
    """How images are divided. Images a cluster has at least; the rest is explained above."""

    least: int = 10
    parts: int = 10
    components: float = 2.0
    stability: float = 0.85
    subsets: int = 8
    share: float = 0.7
    """Of the images in a subset."""
    seed: int = 0

    def __post_init__(self) -> None:
        """Raises UserError: a setting out of range."""
        for name, low, high in (
            ("least", 2, np.inf),
            ("parts", 2, np.inf),
            ("components", 1, np.inf),
            ("stability", 0.5, 1),
            ("subsets", 1, np.inf),
            ("share", 0.2, 0.95),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                most = "" if high == np.inf else f" to {high:g}"
                raise UserError(f"clustering: {name} is {value:g}; expected {low:g}{most or '+'}")


@dataclass(frozen=True)
class Clusters:
    """Images by cluster, the largest cluster first."""

    labels: Labels
    """Cluster of each image (N,), from 0."""
    stability: tuple[float | None, ...]
    """Mean Jaccard index of each cluster; None for a remainder, and where nothing was divided."""
    similarity: Array = field(repr=False)
    """Cosines (N, N) of the angles between images, of the first division."""
    correlation: Array = field(repr=False)
    """Correlations (N, N) of the whitened residuals; 1 on the diagonal."""

    def counts(self) -> list[int]:
        """Number of images of each cluster."""
        return np.bincount(self.labels, minlength=len(self.stability)).tolist()

    def between(self) -> Array:
        """Mean correlations (clusters, clusters) of pairs of different images; nan of no pair."""
        member = np.eye(len(self.stability))[self.labels]
        others = self.correlation - np.diag(np.diag(self.correlation))
        pairs = np.outer(member.sum(0), member.sum(0)) - np.diag(member.sum(0))
        sums = member.T @ others @ member
        return np.where(pairs > 0, sums / np.maximum(pairs, 1.0), np.nan)


def divide(residuals: Tensor, settings: Settings | None = None) -> Clusters:
    """Clusters of images by their residuals (N, C, H, W).

    Deterministic, given the settings. Takes memory for about six matrices (N, N) in float64.

    Raises UserError: fewer than two images, or residuals that are not finite.
    """
    if len(residuals) < 2:
        raise UserError(f"clustering: {len(residuals)} images; it takes two or more")
    if not residuals.isfinite().all():
        raise UserError("clustering: residuals that are not finite")
    settings = settings or Settings()
    rng = np.random.default_rng(settings.seed)
    patterns, spectra = of_patterns(residuals, rng), of_spectra(residuals, rng)
    return divided_by((patterns, spectra), patterns, settings)


def divided_by(evidence: Sequence[Evidence], patterns: Evidence, settings: Settings) -> Clusters:
    """Clusters of images by some evidence; `patterns` tells which of them are one source's."""
    count = len(patterns.shared)
    rng = np.random.default_rng(settings.seed)
    labels = np.zeros(count, np.int64)
    stability: list[float | None] = []
    for members, found in _leaves(np.arange(count), evidence, patterns, settings, rng, None):
        labels[members] = len(stability)
        stability.append(found)
    order = np.argsort(-np.bincount(labels), kind="stable")
    rank = np.argsort(order)
    z = directions(evidence, settings.components)
    similarity = np.eye(count) if z is None else z @ z.T
    return Clusters(rank[labels], tuple(stability[i] for i in order), similarity, patterns.shared)


@dataclass(frozen=True)
class Agreement:
    """How well clusters agree with the true sources; see scikit-learn for the figures."""

    rand: float
    """Adjusted Rand index: 1 for the same partition, 0 on average for random labels."""
    homogeneity: float
    """1 where each cluster holds images of one source only."""
    completeness: float
    """1 where all images of a source are in one cluster."""
    sources: int
    clusters: int


def agreement(truth: Sequence[str], labels: Labels) -> Agreement:
    """Of clusters (N,) with the names of the true sources (N,)."""
    _, sources = np.unique(np.asarray(truth), return_inverse=True)
    return Agreement(
        float(metrics.adjusted_rand_score(sources, labels)),
        float(metrics.homogeneity_score(sources, labels)),
        float(metrics.completeness_score(sources, labels)),
        len(set(sources.tolist())),
        len(set(labels.tolist())),
    )


def _leaves(
    members: NDArray[np.intp],
    evidence: Sequence[Evidence],
    patterns: Evidence,
    settings: Settings,
    rng: np.random.Generator,
    stability: float | None,
) -> Iterator[tuple[NDArray[np.intp], float | None]]:
    """The parts of a set that are not divided any more, with their stability."""
    found = _divided([each.of(members) for each in evidence], settings, rng)
    found = None if found is None else _joined(*found, patterns.of(members))
    if found is None:
        yield members, stability
        return
    labels, stabilities = found
    for label, its in enumerate(stabilities):
        yield from _leaves(members[labels == label], evidence, patterns, settings, rng, its)


def _divided(
    evidence: Sequence[Evidence], settings: Settings, rng: np.random.Generator
) -> tuple[Labels, list[float | None]] | None:
    """Labels of a set's parts and their stability, None for the remainder; None: one part."""
    count = len(evidence[0].shared)
    cuts = range(2, min(settings.parts, count // settings.least) + 1)
    z = directions(evidence, settings.components) if cuts else None
    if z is None:
        return None
    whole = _trees(z, cuts)
    jaccard = [np.zeros(cut) for cut in cuts]
    for _ in range(settings.subsets):
        subset = np.sort(rng.choice(count, int(count * settings.share), replace=False))
        its = directions([each.of(subset) for each in evidence], settings.components)
        one = np.zeros(len(subset), np.int64)
        trees = zip(whole, [one] * len(cuts) if its is None else _trees(its, cuts), strict=True)
        for index, (all_labels, labels) in enumerate(trees):
            jaccard[index] += _jaccard(all_labels[subset], labels, cuts[index]) / settings.subsets
    best: tuple[Labels, list[float | None]] | None = None
    most = (0, 0)
    for labels, each in zip(whole, jaccard, strict=True):
        sizes = np.bincount(labels, minlength=len(each))
        stable = (each >= settings.stability) & (sizes >= settings.least)
        rest = count - int(sizes[stable].sum())
        reached = (int(stable.sum()), count - rest)
        if reached > most and reached[0] + (rest > 0) > 1:
            most = reached
            number = np.where(stable, np.cumsum(stable) - 1, reached[0])
            best = number[labels], [*each[stable].tolist(), *([None] if rest else [])]
    return best


def _joined(
    labels: Labels, stability: list[float | None], patterns: Evidence
) -> tuple[Labels, list[float | None]] | None:
    """The same parts, but those of one pattern in one; None if one part is left.

    A cluster has a pattern if its pairs correlate clearly more than pairs do by chance.
    """
    count = len(labels)
    pairs = ~np.eye(count, dtype=bool)
    chance = np.sqrt((patterns.chance[pairs] ** 2).mean())
    while len(stability) > 1:
        member = np.eye(len(stability))[labels]
        sizes = member.sum(0)
        means = member.T @ (patterns.shared * pairs) @ member
        means /= np.maximum(np.outer(sizes, sizes) - np.diag(sizes), 1.0)
        own = np.diag(means)
        clear = own > 4.0 * chance * np.sqrt(2.0) / sizes
        alike = means / np.sqrt(np.outer(own, own).clip(_LEAST))
        alike[~np.outer(clear, clear) | np.eye(len(own), dtype=bool)] = -1.0
        if alike.max() < SAME:
            return labels, stability
        one, other = sorted(divmod(int(alike.argmax()), len(own)))
        stability = [
            min(filter(None, (value, stability[other]))) if index == one else value
            for index, value in enumerate(stability)
            if index != other
        ]
        labels = np.where(labels == other, one, labels)
        labels = np.where(labels > other, labels - 1, labels)
    return None


def _trees(z: Array, cuts: range) -> list[Labels]:
    """Labels by average linkage for each number of clusters."""
    distances = np.clip(1.0 - z @ z.T, 0.0, 2.0)
    np.fill_diagonal(distances, 0.0)
    tree = AgglomerativeClustering(
        None, distance_threshold=0.0, metric="precomputed", linkage="average"
    )
    children = tree.fit(distances).children_
    return [_cut(children, len(z), cut) for cut in cuts]


def _cut(children: NDArray[np.intp], count: int, clusters: int) -> Labels:
    """Labels after all merges but the last `clusters` - 1."""
    owner = np.arange(count + len(children))
    for index in reversed(range(count - clusters)):  # a merge's own owner is known before its parts
        owner[children[index]] = owner[count + index]
    return np.unique(owner[:count], return_inverse=True)[1].astype(np.int64)


def _jaccard(ours: Labels, theirs: Labels, clusters: int) -> Array:
    """Of each of our clusters (clusters,) the largest Jaccard index with one of theirs."""
    table = np.zeros((clusters, int(theirs.max()) + 1))
    np.add.at(table, (ours, theirs), 1.0)
    union = table.sum(1, keepdims=True) + table.sum(0) - table
    return np.asarray((table / union).max(1))
