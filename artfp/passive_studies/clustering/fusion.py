"""A detector's score of each image, and the cluster that the image was found in, as one score.

All images of a cluster share one source, as far as the clustering is right, so that the detector's
scores of the others speak for an image too: in the NIST challenge of Marra et al. 2019 (arXiv
1812.11842, section 5) that lifted a network's AUC to .999. Here both are weighed by a model that is
fitted to the scores and clusters alone, without labels (empirical Bayes):

- scores are ranked and made normal, so that any increasing scale gives the same result;
- generated images have them from one normal distribution, real ones from another, of one variance;
- each cluster has a share of generated images, drawn from a distribution over SHARES. Mass at its
  ends says that clusters are pure, mass in the middle that they say nothing.

The fused score is an image's log-odds of being generated in that model, fitted by expectation and
maximisation. Where the clusters' mean scores differ no more than by chance (F-test, LEVEL), the
scores stay as they are: there is nothing to fuse.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special, stats

__all__ = ["Fused", "fuse"]

Array = NDArray[np.float64]

LEVEL = 0.01
"""Of the test whether clusters say anything about scores."""

SHARES = (0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99)
"""Shares of generated images that a cluster may have."""

_ROUNDS, _CHANGE = 500, 1e-6


@dataclass(frozen=True)
class Fused:
    """Scores of images after fusion."""

    scores: Array
    """(N,), larger for generated: natural log-odds, or normal scores where nothing was fused."""
    shares: tuple[float, ...] | None
    """Expected share of generated images of each cluster; None where nothing was fused."""
    p_value: float
    """Of the test whether the clusters' means are equal; 1 where it cannot be made."""


def fuse(scores: ArrayLike, labels: ArrayLike) -> Fused:
    """Fused scores of images: `scores` (N,), larger for generated, and clusters `labels` (N,).

    Labels are 0 to K - 1; -1 for images that are in no cluster, each of which then stands alone.

    Raises ValueError: other shapes, no image, scores that are not finite.
    """
    values, clusters = np.asarray(scores, np.float64), np.asarray(labels, np.int64)
    if values.ndim != 1 or values.shape != clusters.shape or not len(values):
        raise ValueError(f"scores {values.shape} and labels {clusters.shape}; expected (N,), N > 0")
    if not np.isfinite(values).all():
        raise ValueError("scores that are not finite")
    normal = special.ndtri((stats.rankdata(values) - 0.5) / len(values))
    owner = np.where(clusters < 0, clusters.max() + 1 + np.arange(len(values)), clusters)
    _, owner = np.unique(owner, return_inverse=True)
    p_value, between, within = _variances(normal, owner)
    if p_value > LEVEL:
        return Fused(normal, None, p_value)
    odds, shares = _fitted(normal, owner, between, within)
    known = int(clusters.max()) + 1
    told = [float(shares[owner[clusters == k][0]]) if (clusters == k).any() else np.nan
            for k in range(known)]  # fmt: skip
    return Fused(odds, tuple(told), p_value)


def _variances(z: Array, owner: NDArray[np.int64]) -> tuple[float, float, float]:
    """p-value of equal means, variance between clusters' true means, variance within clusters.

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


def _fitted(
    z: Array, owner: NDArray[np.int64], between: float, within: float
) -> tuple[Array, Array]:
    """Log-odds of images (N,) and expected shares of clusters (K,)."""
    shares = np.array(SHARES)
    log_share, log_rest = np.log(shares), np.log1p(-shares)
    prior = np.full(len(shares), 1.0 / len(shares))
    low, high = -np.sqrt(between), np.sqrt(between)  # pure clusters, half of them generated
    variance = within
    posterior = both = made = real = np.empty(0)
    for _ in range(_ROUNDS):
        real, made = ((z - mean) ** 2 / (-2.0 * variance) for mean in (low, high))
        both = np.logaddexp(log_share + made[:, None], log_rest + real[:, None])
        likelihood = np.zeros((owner.max() + 1, len(shares)))
        np.add.at(likelihood, owner, both)
        posterior = special.softmax(likelihood + np.log(prior + 1e-300), axis=1)
        responsible = np.exp(log_share + made[:, None] - both)
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
    odds = special.logsumexp(weights + log_share + made[:, None] - both, axis=1)
    odds -= special.logsumexp(weights + log_rest + real[:, None] - both, axis=1)
    found = posterior @ shares
    return (np.asarray(odds), found) if high > low else (-np.asarray(odds), 1.0 - found)
