"""Clustering of images by source, with the number of sources unknown.

    found = cluster_residuals(residuals)    # (N, C, H, W), from any extractor
    found.labels                            # (N,), 0 for the largest cluster

Images of one source share two things. Their residuals have a pattern in common, place by place:
residuals are whitened by the power spectrum of the whole set, so that no frequency dominates, and
correlated. And their residuals' spectra are alike: log powers of each image, less their mean. A set
is divided like this:

1. Principal components of both. How many exceed chance is known from residuals that were shifted in
   a circle, each by its own random shift, and given random signs, so that they share nothing but
   their spectra; and from log powers permuted between images. `components` times as many are kept.
   Those of the correlations keep their weights, those of the spectra, where content has the
   largest, are made equal; an image is a unit vector of both.
2. A tree by average linkage (scikit-learn's AgglomerativeClustering) of the angles between these
   vectors, cut into 2, 3, ... `max_parts` clusters.
3. A cluster is stable if it is found on random subsets too, each with components and a tree of its
   own: its mean largest Jaccard index over the subsets is `stability` or more (Hennig 2007,
   Computational Statistics and Data Analysis 52). The cut with the most stable clusters wins, all
   other images are one remainder, and every part is divided in the same way.
4. Two parts with the same pattern, such as where it is strong and where it is weak, are merged:
   where the mean correlation of pairs between them is SAME_PATTERN times that within them
   (geometric mean) or more.
5. A set of which no cut has a stable cluster is one source, or an inseparable remainder. That
   decides the number of clusters.
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
from artfp.passive_studies.clustering.settings import ClusteringOptions
from artfp.passive_studies.clustering.similarity import (
    Array,
    PairSimilarity,
    embed_images,
    pattern_similarity,
    spectrum_similarity,
)

SAME_PATTERN = 0.8
"""Noise-free correlation of two clusters' patterns from which on they are one source's."""

Labels = NDArray[np.int64]

_TINY = 1e-30


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

    def sizes(self) -> list[int]:
        """Return the number of images of each cluster."""
        sizes: list[int] = np.bincount(self.labels, minlength=len(self.stability)).tolist()
        return sizes

    def mean_correlations(self) -> Array:
        """Return mean correlations (clusters, clusters) of pairs of images; nan without a pair."""
        member = np.eye(len(self.stability))[self.labels]
        others = self.correlation - np.diag(np.diag(self.correlation))
        pairs = np.outer(member.sum(0), member.sum(0)) - np.diag(member.sum(0))
        sums = member.T @ others @ member
        return np.where(pairs > 0, sums / np.maximum(pairs, 1.0), np.nan)


def cluster_residuals(residuals: Tensor, options: ClusteringOptions | None = None) -> Clusters:
    """Cluster images by their noise residuals (N, C, H, W).

    Deterministic, given the options. Takes memory for about six matrices (N, N) in float64.

    Raises:
        UserError: fewer than two images, or residuals that are not finite.
    """
    if len(residuals) < 2:
        raise UserError(f"clustering: {len(residuals)} images; it takes two or more")
    if not residuals.isfinite().all():
        raise UserError("clustering: residuals that are not finite")
    options = options or ClusteringOptions()
    rng = np.random.default_rng(options.seed)
    patterns, spectra = pattern_similarity(residuals, rng), spectrum_similarity(residuals, rng)
    return cluster_similarities((patterns, spectra), patterns, options)


def cluster_similarities(
    similarities: Sequence[PairSimilarity], patterns: PairSimilarity, options: ClusteringOptions
) -> Clusters:
    """Cluster images by similarities; `patterns` decides which parts are one source's."""
    count = len(patterns.shared)
    rng = np.random.default_rng(options.seed)
    labels = np.zeros(count, np.int64)
    stability: list[float | None] = []
    for members, found in _divide_recursively(
        np.arange(count), similarities, patterns, options, rng, None
    ):
        labels[members] = len(stability)
        stability.append(found)
    order = np.argsort(-np.bincount(labels), kind="stable")
    rank = np.argsort(order)
    z = embed_images(similarities, options.components)
    similarity = np.eye(count) if z is None else z @ z.T
    return Clusters(rank[labels], tuple(stability[i] for i in order), similarity, patterns.shared)


@dataclass(frozen=True)
class Agreement:
    """Agreement of clusters with the true sources, by the measures of scikit-learn."""

    rand: float
    """Adjusted Rand index: 1 for the same partition, 0 on average for random labels."""
    homogeneity: float
    """1 where each cluster holds images of one source only."""
    completeness: float
    """1 where all images of a source are in one cluster."""
    sources: int
    clusters: int


def measure_agreement(truth: Sequence[str], labels: Labels) -> Agreement:
    """Compare clusters (N,) with the names of the true sources (N,)."""
    _, sources = np.unique(np.asarray(truth), return_inverse=True)
    return Agreement(
        float(metrics.adjusted_rand_score(sources, labels)),
        float(metrics.homogeneity_score(sources, labels)),
        float(metrics.completeness_score(sources, labels)),
        len(set(sources.tolist())),
        len(set(labels.tolist())),
    )


def _divide_recursively(
    members: NDArray[np.intp],
    similarities: Sequence[PairSimilarity],
    patterns: PairSimilarity,
    options: ClusteringOptions,
    rng: np.random.Generator,
    stability: float | None,
) -> Iterator[tuple[NDArray[np.intp], float | None]]:
    """Yield the final parts of a set, with their stability."""
    found = _divide([each.of(members) for each in similarities], options, rng)
    found = None if found is None else _merge_same_patterns(*found, patterns.of(members))
    if found is None:
        yield members, stability
        return
    labels, stabilities = found
    for label, its in enumerate(stabilities):
        yield from _divide_recursively(
            members[labels == label], similarities, patterns, options, rng, its
        )


def _divide(
    similarities: Sequence[PairSimilarity], options: ClusteringOptions, rng: np.random.Generator
) -> tuple[Labels, list[float | None]] | None:
    """Return labels of a set's parts and their stability, or None if it is one part."""
    count = len(similarities[0].shared)
    cuts = range(2, min(options.max_parts, count // options.min_images) + 1)
    z = embed_images(similarities, options.components) if cuts else None
    if z is None:
        return None
    whole = _cut_trees(z, cuts)
    jaccard = [np.zeros(cut) for cut in cuts]
    for _ in range(options.subsets):
        subset = np.sort(rng.choice(count, int(count * options.subset_fraction), replace=False))
        its = embed_images([each.of(subset) for each in similarities], options.components)
        one = np.zeros(len(subset), np.int64)
        trees = zip(whole, [one] * len(cuts) if its is None else _cut_trees(its, cuts), strict=True)
        for index, (all_labels, labels) in enumerate(trees):
            jaccard[index] += _jaccard(all_labels[subset], labels, cuts[index]) / options.subsets
    best: tuple[Labels, list[float | None]] | None = None
    most = (0, 0)
    for labels, each in zip(whole, jaccard, strict=True):
        sizes = np.bincount(labels, minlength=len(each))
        stable = (each >= options.stability) & (sizes >= options.min_images)
        rest = count - int(sizes[stable].sum())
        reached = (int(stable.sum()), count - rest)
        if reached > most and reached[0] + (rest > 0) > 1:
            most = reached
            number = np.where(stable, np.cumsum(stable) - 1, reached[0])
            best = number[labels], [*each[stable].tolist(), *([None] if rest else [])]
    return best


def _merge_same_patterns(
    labels: Labels, stability: list[float | None], patterns: PairSimilarity
) -> tuple[Labels, list[float | None]] | None:
    """Merge the parts that have the same pattern; return None if one part is left.

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
        alike = means / np.sqrt(np.outer(own, own).clip(_TINY))
        alike[~np.outer(clear, clear) | np.eye(len(own), dtype=bool)] = -1.0
        if alike.max() < SAME_PATTERN:
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


def _cut_trees(z: Array, cuts: range) -> list[Labels]:
    """Return labels by average linkage for each number of clusters."""
    distances = np.clip(1.0 - z @ z.T, 0.0, 2.0)
    np.fill_diagonal(distances, 0.0)
    tree = AgglomerativeClustering(
        None, distance_threshold=0.0, metric="precomputed", linkage="average"
    )
    children = tree.fit(distances).children_
    return [_cut(children, len(z), cut) for cut in cuts]


def _cut(children: NDArray[np.intp], count: int, clusters: int) -> Labels:
    """Return labels after all merges but the last `clusters` - 1."""
    owner = np.arange(count + len(children))
    for index in reversed(range(count - clusters)):  # a merge's own owner is known before its parts
        owner[children[index]] = owner[count + index]
    return np.unique(owner[:count], return_inverse=True)[1].astype(np.int64)


def _jaccard(ours: Labels, theirs: Labels, clusters: int) -> Array:
    """Return for each of our clusters the largest Jaccard index with one of theirs."""
    table = np.zeros((clusters, int(theirs.max()) + 1))
    np.add.at(table, (ours, theirs), 1.0)
    union = table.sum(1, keepdims=True) + table.sum(0) - table
    return np.asarray((table / union).max(1))
