"""Fusion of a detector's scores with the clusters of the images.

All images of a cluster share one source, as far as the clustering is correct, so the detector's
scores of the others are evidence for an image too: in the NIST challenge of Marra et al. 2019
(arXiv 1812.11842, section 5) that raised a network's AUC to .999. Here both are combined by a model
that is fitted to the scores and clusters alone, without labels (empirical Bayes):

- scores are ranked and mapped to normal scores, so that any increasing scale gives the same result;
- generated images have them from one normal distribution, real ones from another, of one variance;
- each cluster has a fraction of generated images, from a distribution over FRACTIONS. Mass at its
  ends means that clusters are pure, mass in the middle that they are uninformative.

The fused score is an image's log-odds of being generated in that model, fitted by expectation and
maximisation. Where the clusters' mean scores differ no more than by chance (F-test, LEVEL), the
scores stay as they are: there is nothing to fuse.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special, stats

from artfp.passive_studies.clustering.similarity import Array

LEVEL = 0.01
"""Significance level of the test whether scores differ between clusters."""

FRACTIONS = (0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99)
"""Fractions of generated images that a cluster may have."""

_ROUNDS, _CHANGE = 500, 1e-6


@dataclass(frozen=True)
class FusedScores:
    """Scores of images after fusion."""

    scores: Array
    """Fused scores (N,), larger for generated: natural log-odds, or normal scores if not fused."""
    fractions: tuple[float, ...] | None
    """Expected fraction of generated images of each cluster; None if not fused."""
    p_value: float
    """p-value of the test whether the clusters' means are equal; 1 if it cannot be made."""


def fuse_scores(scores: ArrayLike, labels: ArrayLike) -> FusedScores:
    """Fuse scores of images with their clusters.

    Args:
        scores: Detector's scores (N,), larger for generated.
        labels: Clusters (N,), 0 to K - 1; -1 for an image that is in no cluster.

    Raises:
        ValueError: other shapes, no image, scores that are not finite.
    """
    values, clusters = np.asarray(scores, np.float64), np.asarray(labels, np.int64)
    if values.ndim != 1 or values.shape != clusters.shape or not len(values):
        raise ValueError(f"scores {values.shape} and labels {clusters.shape}; expected (N,), N > 0")
    if not np.isfinite(values).all():
        raise ValueError("scores that are not finite")
    normal = special.ndtri((stats.rankdata(values) - 0.5) / len(values))
    owner = np.where(clusters < 0, clusters.max() + 1 + np.arange(len(values)), clusters)
    _, owner = np.unique(owner, return_inverse=True)
    p_value, between, within = _analyse_variance(normal, owner)
    if p_value > LEVEL:
        return FusedScores(normal, None, p_value)
    odds, fractions = _fit_mixture(normal, owner, between, within)
    known = int(clusters.max()) + 1
    expected = [float(fractions[owner[clusters == k][0]]) if (clusters == k).any() else np.nan
            for k in range(known)]  # fmt: skip
    return FusedScores(odds, tuple(expected), p_value)


def _analyse_variance(z: Array, owner: NDArray[np.int64]) -> tuple[float, float, float]:
    """Return p-value of equal means, variance between clusters' true means, and within clusters.

    One-way analysis of variance with random effects (Searle et al. 1992, chapter 3).
    """
    sizes = np.bincount(owner)
    count, clusters = len(z), len(sizes)
    if clusters < 2 or clusters == count:
        return 1.0, 0.0, 1.0
    means = np.bincount(owner, z) / sizes
    within = float(((z - means[owner]) ** 2).sum() / (count - clusters))
    between = float((sizes * (means - z.mean()) ** 2).sum() / (clusters - 1))
    if within <= 0.0:
        return 1.0, 0.0, 1.0
    p_value = float(stats.f.sf(between / within, clusters - 1, count - clusters))
    usual = (count - (sizes**2).sum() / count) / (clusters - 1)
    return p_value, max(0.0, (between - within) / usual), within


def _fit_mixture(
    z: Array, owner: NDArray[np.int64], between: float, within: float
) -> tuple[Array, Array]:
    """Fit the model; return log-odds of images (N,) and expected fractions of clusters (K,)."""
    fractions = np.array(FRACTIONS)
    log_fraction, log_rest = np.log(fractions), np.log1p(-fractions)
    prior = np.full(len(fractions), 1.0 / len(fractions))
    low, high = -np.sqrt(between), np.sqrt(between)  # pure clusters, half of them generated
    variance = within
    posterior = both = made = real = np.empty(0)
    for _ in range(_ROUNDS):
        real, made = ((z - mean) ** 2 / (-2.0 * variance) for mean in (low, high))
        both = np.logaddexp(log_fraction + made[:, None], log_rest + real[:, None])
        likelihood = np.zeros((owner.max() + 1, len(fractions)))
        np.add.at(likelihood, owner, both)
        posterior = special.softmax(likelihood + np.log(prior + 1e-300), axis=1)
        responsible = np.exp(log_fraction + made[:, None] - both)
        generated = (posterior[owner] * responsible).sum(1)
        weight = float(generated.sum())
        before = np.array([low, high, variance, *prior])
        high = float(generated @ z / weight)
        low = float((1.0 - generated) @ z / (len(z) - weight))
        spread = generated @ (z - high) ** 2 + (1.0 - generated) @ (z - low) ** 2
        variance, prior = float(spread / len(z)), posterior.mean(0)
        if np.abs(np.array([low, high, variance, *prior]) - before).max() < _CHANGE:
            break
    # Sums of logarithms, so that no probability is rounded to 0 or 1.
    weights = np.log(posterior[owner] + 1e-300)
    odds = special.logsumexp(weights + log_fraction + made[:, None] - both, axis=1)
    odds -= special.logsumexp(weights + log_rest + real[:, None] - both, axis=1)
    found = posterior @ fractions
    return (np.asarray(odds), found) if high > low else (-np.asarray(odds), 1.0 - found)
