"""Accuracy and ROC curves of attribution by correlation with the sources' fingerprints.

All figures are functions of `CorrelationScores`. Intervals cover the draw of the test images; the
fingerprints are taken as they are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from artfp.passive.attributors.score_model import Values
from artfp.stats.intervals import auc, auc_interval, clopper_pearson

CONFIDENCE = 0.95
"""Confidence of all intervals here."""


@dataclass(frozen=True)
class CorrelationScores:
    """Correlations of test images with fingerprints: for each source (images, sources)."""

    sources: tuple[str, ...]
    values: tuple[Values, ...]

    def same(self, index: int) -> Values:
        """Return correlations (images,) of a source's images with its own fingerprint."""
        return self.values[index][:, index]

    def cross(self, index: int) -> Values:
        """Return correlations (images,) of other sources' images with a source's fingerprint."""
        return np.concatenate([v[:, index] for i, v in enumerate(self.values) if i != index])


@dataclass(frozen=True)
class AucEstimate:
    """Area under the ROC curve (AUC) with its interval."""

    value: float
    low: float
    high: float
    negatives: int
    positives: int


def estimate_auc(
    negatives: ArrayLike, positives: ArrayLike, images: tuple[int, int] | None = None
) -> AucEstimate:
    """Estimate the AUC of scores, with its interval.

    `images` are the numbers of independent negatives and positives, where images have several
    scores each.
    """
    low, high = np.asarray(negatives, np.float64), np.asarray(positives, np.float64)
    found = auc(low, high)
    counts = images or (len(low), len(high))
    return AucEstimate(found, *auc_interval(found, *counts, CONFIDENCE), *counts)


def roc_curve(negatives: ArrayLike, positives: ArrayLike) -> tuple[Values, Values]:
    """Return false and true positive rates for a falling threshold, from 0 to 1."""
    low, high = np.sort(np.asarray(negatives)), np.sort(np.asarray(positives))
    thresholds = np.unique(np.concatenate([low, high]))[::-1]
    rates = (
        1.0 - np.searchsorted(each, thresholds, side="left") / len(each) for each in (low, high)
    )
    false, true = (np.concatenate([[0.0], rate]) for rate in rates)
    return false, true


def mean_correlations(scores: CorrelationScores) -> Values:
    """Return mean correlations (sources, sources) of rows' images with columns' fingerprints."""
    return np.stack([values.mean(0) for values in scores.values])


def pairwise_auc(scores: CorrelationScores) -> dict[tuple[int, int], AucEstimate]:
    """Return the AUC of each source i against each other j, by i's fingerprint."""
    indices = range(len(scores.sources))
    return {
        (i, j): estimate_auc(scores.values[j][:, i], scores.same(i))
        for i in indices
        for j in indices
        if i != j
    }


def one_vs_rest_auc(scores: CorrelationScores) -> list[AucEstimate]:
    """Return the AUC of each source against all others, by its fingerprint."""
    return [estimate_auc(scores.cross(i), scores.same(i)) for i in range(len(scores.sources))]


def pooled_auc(scores: CorrelationScores) -> AucEstimate:
    """Return the AUC of all correlations with the own fingerprint against all with others.

    The interval counts each image once on either side.
    """
    indices = range(len(scores.sources))
    images = sum(map(len, scores.values))
    same = np.concatenate([scores.same(i) for i in indices])
    return estimate_auc(np.concatenate([scores.cross(i) for i in indices]), same, (images, images))


def count_correct(values: ArrayLike, own: int) -> NDArray[np.int64]:
    """Count images that the largest correlation attributes to their source; a tie is none.

    `values` are (images, ..., sources); returns counts (...).
    """
    found = np.asarray(values)
    others = np.delete(found, own, axis=-1)
    hits: NDArray[np.int64] = (found[..., own] > others.max(-1)).sum(0, dtype=np.int64)
    return hits


def confusion_counts(scores: CorrelationScores) -> NDArray[np.int64]:
    """Return images (sources, sources) of the row's source by their largest correlation."""
    count = len(scores.sources)
    return np.stack([np.bincount(v.argmax(1), minlength=count) for v in scores.values])


@dataclass(frozen=True)
class Threshold:
    """Least score that counts as positive, and the rates of scores that it was not chosen on."""

    value: float
    false_positive_rate: float
    true_positive_rate: float


def choose_threshold(negatives: ArrayLike, fpr: float) -> float:
    """Return the least score above which a new negative lies with a probability of `fpr` at most.

    It is one of the n negatives, so that of n + 1 exchangeable ones at most (n + 1) `fpr` lie above
    it; infinity where they are too few for that.
    """
    ordered = np.sort(np.asarray(negatives, np.float64))
    above = int(np.floor((len(ordered) + 1) * fpr + 1e-9)) - 1
    return float(ordered[len(ordered) - 1 - above]) if 0 <= above < len(ordered) else float("inf")


def measure_threshold(
    validation: ArrayLike, negatives: ArrayLike, positives: ArrayLike, fpr: float
) -> Threshold:
    """Choose a threshold on negatives of a validation set, and measure it on others."""
    value = choose_threshold(validation, fpr)
    rates = (float((np.asarray(each) > value).mean()) for each in (negatives, positives))
    return Threshold(value, *rates)


@dataclass(frozen=True)
class Accuracy:
    """Numbers of each source's images, and of those that were attributed to it."""

    hits: tuple[int, ...]
    images: tuple[int, ...]

    @property
    def overall(self) -> float:
        """Fraction of all images."""
        return sum(self.hits) / sum(self.images)

    def fraction(self, index: int) -> float:
        """Return the fraction of a source's images."""
        return self.hits[index] / self.images[index]

    def interval(self, index: int | None = None) -> tuple[float, float]:
        """Return the Clopper-Pearson interval of a source's fraction, or of the overall one."""
        hits, images = (
            (sum(self.hits), sum(self.images))
            if index is None
            else (self.hits[index], self.images[index])
        )
        low, high = clopper_pearson(hits, images, 0.5 + CONFIDENCE / 2)
        return float(low), float(high)


def attribution_accuracy(scores: CorrelationScores) -> Accuracy:
    """Return the accuracy of attribution to the largest correlation."""
    hits = [int(count_correct(values, i)) for i, values in enumerate(scores.values)]
    return Accuracy(tuple(hits), tuple(map(len, scores.values)))
