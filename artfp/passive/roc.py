"""Accuracy and ROC curves of attribution by correlation with the sources' fingerprints.

All figures are functions of `CorrelationScores`. Intervals cover the draw of the test images; the
fingerprints are taken as they are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from artfp.stats.intervals import auc, auc_interval, clopper_pearson

Values = NDArray[np.float64]

CONFIDENCE = 0.95
"""Of all intervals here."""


@dataclass(frozen=True)
class CorrelationScores:
    """Correlations of each source's test images with each source's fingerprint."""

    sources: tuple[str, ...]
    values: tuple[Values, ...]
    """Of each source (images, sources)."""

    def same(self, index: int) -> Values:
        """Of a source's images with its own fingerprint (images,)."""
        return self.values[index][:, index]

    def cross(self, index: int) -> Values:
        """Of all other sources' images with a source's fingerprint (images,)."""
        return np.concatenate([v[:, index] for i, v in enumerate(self.values) if i != index])


@dataclass(frozen=True)
class AucEstimate:
    """Area under the ROC curve with its interval."""

    value: float
    low: float
    high: float
    negatives: int
    positives: int


def estimate_auc(
    negatives: ArrayLike, positives: ArrayLike, images: tuple[int, int] | None = None
) -> AucEstimate:
    """How well scores tell positives from negatives.

    `images` are the numbers of independent negatives and positives, where images have several
    scores each.
    """
    low, high = np.asarray(negatives, np.float64), np.asarray(positives, np.float64)
    found = auc(low, high)
    counts = images or (len(low), len(high))
    return AucEstimate(found, *auc_interval(found, *counts, CONFIDENCE), *counts)


def roc_curve(negatives: ArrayLike, positives: ArrayLike) -> tuple[Values, Values]:
    """Shares of negatives and of positives at or above a falling threshold, from 0 to 1."""
    low, high = np.sort(np.asarray(negatives)), np.sort(np.asarray(positives))
    thresholds = np.unique(np.concatenate([low, high]))[::-1]
    shares = (
        1.0 - np.searchsorted(each, thresholds, side="left") / len(each) for each in (low, high)
    )
    false, true = (np.concatenate([[0.0], share]) for share in shares)
    return false, true


def mean_correlations(scores: CorrelationScores) -> Values:
    """Mean correlation (sources, sources): images of the row's with the column's fingerprint."""
    return np.stack([values.mean(0) for values in scores.values])


def pairwise_auc(scores: CorrelationScores) -> dict[tuple[int, int], AucEstimate]:
    """Of each source i and each other j: i's images from j's, by i's fingerprint."""
    indices = range(len(scores.sources))
    return {
        (i, j): estimate_auc(scores.values[j][:, i], scores.same(i))
        for i in indices
        for j in indices
        if i != j
    }


def one_vs_rest_auc(scores: CorrelationScores) -> list[AucEstimate]:
    """Of each source: its images from those of all others, by its fingerprint."""
    return [estimate_auc(scores.cross(i), scores.same(i)) for i in range(len(scores.sources))]


def pooled_auc(scores: CorrelationScores) -> AucEstimate:
    """All correlations with the own fingerprint against all with others.

    The interval counts each image once on either side.
    """
    indices = range(len(scores.sources))
    images = sum(map(len, scores.values))
    same = np.concatenate([scores.same(i) for i in indices])
    return estimate_auc(np.concatenate([scores.cross(i) for i in indices]), same, (images, images))


def count_correct(values: ArrayLike, own: int) -> NDArray[np.int64]:
    """Images attributed to their source, by the largest correlation; a tie is no attribution.

    Args: `values` (images, ..., sources). Returns counts (...).
    """
    found = np.asarray(values)
    others = np.delete(found, own, axis=-1)
    hits: NDArray[np.int64] = (found[..., own] > others.max(-1)).sum(0, dtype=np.int64)
    return hits


@dataclass(frozen=True)
class Accuracy:
    """How many of each source's images were attributed to it."""

    hits: tuple[int, ...]
    images: tuple[int, ...]

    @property
    def overall(self) -> float:
        """Share of all images."""
        return sum(self.hits) / sum(self.images)

    def share(self, index: int) -> float:
        """Share of a source's images."""
        return self.hits[index] / self.images[index]

    def interval(self, index: int | None = None) -> tuple[float, float]:
        """Of a source's share, or of the overall one: Clopper and Pearson's."""
        hits, images = (
            (sum(self.hits), sum(self.images))
            if index is None
            else (self.hits[index], self.images[index])
        )
        low, high = clopper_pearson(hits, images, 0.5 + CONFIDENCE / 2)
        return float(low), float(high)


def attribution_accuracy(scores: CorrelationScores) -> Accuracy:
    """Attribution to the largest correlation."""
    hits = [int(count_correct(values, i)) for i, values in enumerate(scores.values)]
    return Accuracy(tuple(hits), tuple(map(len, scores.values)))
