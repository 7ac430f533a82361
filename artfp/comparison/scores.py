"""Scores of attribution methods: accuracy, claims at a false positive rate, images needed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from artfp.passive.attributors.score_model import Values

FALSE_POSITIVE_RATE = 1e-3
"""False positive rate of a claim "this image is of that source"."""

COMPARED_GROUP_SIZES = (1, 2, 3, 5, 10, 20, 50, 100)
"""Numbers of images that are attributed together."""

REQUIRED_FRACTION = 0.95
"""Fraction of the groups of every source that must be attributed correctly."""


@dataclass(frozen=True)
class MethodScores:
    """Scores of a method under a condition.

    Args:
        accuracy: Fraction of images whose true source scores highest, mean over sources (1/t where
            t sources tie).
        per_source: The same by source.
        tpr: Fraction of true claims accepted, with a threshold for each source that accepts
            FALSE_POSITIVE_RATE of the false claims under the same condition.
        fixed_tpr: Fraction of true claims accepted at the thresholds of unperturbed images, which
            is what an auditor has who does not know how an image was processed.
        fixed_fpr: Fraction of false claims accepted at those thresholds.
        images: Number of images of one source that suffices to attribute every source correctly in
            REQUIRED_FRACTION of the groups; None if the largest group size does not.
    """

    accuracy: float
    per_source: tuple[float, ...]
    tpr: float
    fixed_tpr: float
    fixed_fpr: float
    images: int | None


def claim_thresholds(
    scores: Values, truth: NDArray[np.int64], fpr: float = FALSE_POSITIVE_RATE
) -> Values:
    """Return thresholds (K,), each exceeded by at most `fpr` of the false claims to that source.

    From scores (N, K) of images of sources `truth` (N,).
    """
    found = []
    for k in range(scores.shape[1]):
        false = np.sort(scores[truth != k, k])
        found.append(false[len(false) - 1 - int(fpr * len(false))])
    return np.array(found)


def score_method(
    vectors: Values,
    truth: NDArray[np.int64],
    scores: Values,
    pooled: Callable[[Values], Values],
    clean_thresholds: Values,
    rng: np.random.Generator,
    groups: int = 40,
) -> MethodScores:
    """Score a method on images of known sources.

    Args:
        vectors: Score vectors (N, D).
        truth: True sources (N,).
        scores: Scores of single images (N, K).
        pooled: Function from the vectors of a group to its evidence (K,).
        clean_thresholds: Thresholds (K,) of unperturbed images.
        rng: Generator that draws the groups.
        groups: Groups of each source and size, drawn without replacement.
    """
    rows = np.arange(len(truth))
    best = scores == scores.max(1, keepdims=True)
    correct = best[rows, truth] / best.sum(1)
    count = scores.shape[1]
    per_source = tuple(float(correct[truth == k].mean()) for k in range(count))
    own = scores[rows, truth]
    false = np.ones(scores.shape, bool)
    false[rows, truth] = False
    return MethodScores(
        accuracy=float(np.mean(per_source)),
        per_source=per_source,
        tpr=float((own > claim_thresholds(scores, truth)[truth]).mean()),
        fixed_tpr=float((own > clean_thresholds[truth]).mean()),
        fixed_fpr=float((scores > clean_thresholds)[false].mean()),
        images=_images_needed(vectors, truth, pooled, rng, groups, count),
    )


def _images_needed(
    vectors: Values,
    truth: NDArray[np.int64],
    pooled: Callable[[Values], Values],
    rng: np.random.Generator,
    groups: int,
    count: int,
) -> int | None:
    """Return the smallest group size from which on all sizes are attributed correctly."""
    needed: int | None = None
    for size in COMPARED_GROUP_SIZES[::-1]:
        fractions: list[float] = []
        for k in range(count):
            own = np.flatnonzero(truth == k)
            if len(own) < size:
                break
            drawn = [rng.choice(own, size, replace=False) for _ in range(groups)]
            fractions.append(float(np.mean([pooled(vectors[g]).argmax() == k for g in drawn])))
        if len(fractions) < count:
            continue
        if min(fractions) < REQUIRED_FRACTION:
            return needed
        needed = size
    return needed
