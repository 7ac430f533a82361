"""Confidence bounds of shares."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, special, stats

from artfp.stats.multiple_testing import check_level

_EDGE = 1e-12


def clopper_pearson(
    hits: ArrayLike, trials: int, confidence: float = 0.95
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Compute exact lower and upper bounds of a fraction, EACH at `confidence`.

    Clopper and Pearson 1934: the fraction at which as many hits (as few, for the upper bound) have
    probability 1 - confidence. Two bounds at .975 make an interval at .95. No hits in N trials give
    an upper bound of about 3 / N at .95. Assumes independent trials.

    Args:
        hits: Numbers of hits, any shape.
        trials: Number of trials, at least 1.
        confidence: Confidence of each bound, above 0 and below 1.

    Returns:
        Lower and upper bounds, in the shape of `hits`.

    Raises:
        ValueError: hits outside 0..trials, no trials, or `confidence` not in 0 < confidence < 1.

    Example:
        >>> lower, upper = clopper_pearson(0, 100)
        >>> float(lower), round(float(upper), 3)
        (0.0, 0.03)
    """
    check_level(confidence, "confidence")
    found = np.asarray(hits)
    if trials < 1 or (found.size and not (found.min() >= 0 and found.max() <= trials)):
        raise ValueError(f"found {found.min()} to {found.max()} hits in {trials} trials")
    miss = trials - found
    # Beta quantiles; the edges, where a parameter would be 0, are 0 and 1.
    rest = 1.0 - confidence
    lower = special.betaincinv(np.maximum(found, 1), miss + 1, rest)
    upper = 1.0 - special.betaincinv(np.maximum(miss, 1), found + 1, rest)
    return np.where(found == 0, 0.0, lower), np.where(miss == 0, 1.0, upper)


def auc(negatives: ArrayLike, positives: ArrayLike) -> float:
    """Compute the area under the ROC curve: P(a positive's score exceeds a negative's).

    The Mann-Whitney statistic over the number of pairs; equal scores count one half.

    Args:
        negatives: Finite scores, shape (N,).
        positives: Finite scores, shape (P,).

    Returns:
        The area, 0 to 1; 0.5 is chance.

    Raises:
        ValueError: no scores on a side, or scores that are not finite.

    Example:
        >>> auc([0.1, 0.2], [0.2, 0.9])
        0.875
    """
    low, high = _scores(negatives, "negatives"), _scores(positives, "positives")
    ranks = stats.rankdata(np.concatenate([low, high]))[len(low) :]
    wins = ranks.sum() - len(high) * (len(high) + 1) / 2
    return float(wins / (len(low) * len(high)))


def auc_interval(
    area: float, negatives: int, positives: int, confidence: float = 0.95
) -> tuple[float, float]:
    """Two-sided interval of an AUC found on so many independent negatives and positives.

    All areas t with |area - t| <= z sqrt(V(t)): Newcombe 2006 (Statistics in Medicine 25, part 2),
    method 5, where V is the variance of Hanley and McNeil 1982 for exponential scores and both
    numbers of images in its last two terms are their mean. As V is taken at t and not at
    the area found, the interval has a width at areas of 0 and 1 too. It covers the draw of the
    images that were tested, not the draw of the training images, words or initial weights.

    Raises:
        ValueError: an area outside [0, 1], no image, or `confidence` not in 0 < confidence < 1.
    """
    check_level(confidence, "confidence")
    if not 0.0 <= area <= 1.0 or min(negatives, positives) < 1:
        raise ValueError(f"found an area of {area} on {negatives} and {positives} images")
    z = special.ndtri(0.5 + confidence / 2)

    def over(t: float) -> float:
        return float((area - t) ** 2 - z**2 * _variance(t, negatives, positives))

    # 0 and 1 are roots themselves where the area is 0 or 1; the other root is meant.
    lower = 0.0 if area == 0.0 else optimize.brentq(over, 0.0, min(area, 1.0 - _EDGE))
    upper = 1.0 if area == 1.0 else optimize.brentq(over, max(area, _EDGE), 1.0)
    return float(lower), float(upper)


def _variance(t: float, negatives: int, positives: int) -> float:
    others = (negatives + positives) / 2 - 1
    return t * (1 - t) * (1 + others * ((1 - t) / (2 - t) + t / (1 + t))) / (negatives * positives)


def _scores(values: ArrayLike, what: str) -> NDArray[np.float64]:
    scores = np.asarray(values, np.float64)
    if scores.ndim != 1 or not len(scores) or not np.isfinite(scores).all():
        raise ValueError(f"{what}: expected finite scores in one row, found shape {scores.shape}")
    return scores
