"""Confidence bounds of shares."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from artfp.stats.multiple_testing import check_level


def clopper_pearson(
    hits: ArrayLike, trials: int, confidence: float = 0.95
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Exact lower and upper bounds of a share, EACH at `confidence`, in the shape of `hits`.

    Clopper and Pearson 1934: the share at which as many hits (as few, for the upper bound) have
    probability 1 - confidence. Two bounds at .975 make an interval at .95. No hits in N trials give
    an upper bound of about 3 / N at .95. Assumes independent trials.

    Raises:
        ValueError: hits outside 0..trials, no trials, or `confidence` not in 0 < confidence < 1.
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
