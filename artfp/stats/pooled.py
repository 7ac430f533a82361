"""How often clean images pass for any key: the rates of a calibration's keys, taken together.

Given the decoded words, the rates of independent random keys are independent draws, and their mean
is exactly what the binomial says, whatever the decoder does. So they check the chain, from the
pixels to the threshold; and they tell how far one key may be from the mean. The tests of one key on
images that decode alike are not independent, and all of them together are worth fewer: the number
of tests is divided by the design effect, the variance of the hits over keys relative to independent
tests, before the exact bounds are taken (Korn and Graubard 1998, Survey Methodology 24).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from artfp.stats.decoder_calibration import Calibration
from artfp.stats.decoder_health import CONFIDENCE


@dataclass(frozen=True)
class PooledRate:
    """Clean images that pass at a nominal level, over all keys of a calibration.

    `rate`, `hits` of `tests`, is expected to be `attained`, which lies in `lower`..`upper` with a
    probability of .95. `worst` are the hits of the key that has most.
    """

    level: float
    threshold: int
    attained: float
    hits: int
    tests: int
    rate: float
    lower: float
    upper: float
    worst: int


def pooled_rates(calibration: Calibration) -> list[PooledRate]:
    """The rate at each level of a calibration; none where it has fewer than two keys.

    The design effect is the largest of all levels, since rare hits show it too seldom; where there
    is no hit at any, the images count as one.
    """
    if len(calibration.keys) < 2:
        return []
    levels = list(zip(*(key.false_alarms for key in calibration.keys), strict=True))
    hits = [np.array([alarm.hits for alarm in alarms]) for alarms in levels]
    images = calibration.images
    seen = [_design_effect(each, images) for each in hits if each.any()]
    effect = max(seen, default=float(images))
    tests = images * len(calibration.keys)
    found = []
    for alarms, counts in zip(levels, hits, strict=True):
        total = int(counts.sum())
        lower, upper = _bounds(total / effect, tests / effect)
        found.append(
            PooledRate(
                level=alarms[0].level,
                threshold=alarms[0].threshold,
                attained=alarms[0].attained,
                hits=total,
                tests=tests,
                rate=total / tests,
                lower=lower,
                upper=upper,
                worst=int(counts.max()),
            )
        )
    return found


def _design_effect(hits: NDArray[np.int64], images: int) -> float:
    """Variance of hits (K,) over keys, relative to independent tests: 1 to `images`."""
    rate = float(hits.mean()) / images
    if rate == 1.0:
        return float(images)
    effect = float(hits.var(ddof=1)) / (images * rate * (1.0 - rate))
    return min(max(effect, 1.0), float(images))


def _bounds(hits: float, tests: float) -> tuple[float, float]:
    """Bounds of a share at .95 together: Clopper and Pearson's, where neither number is whole."""
    rest, miss = (1.0 - CONFIDENCE) / 2, tests - hits
    lower = float(special.betaincinv(hits, miss + 1.0, rest)) if hits > 0 else 0.0
    upper = float(special.betaincinv(hits + 1.0, miss, 1.0 - rest)) if miss > 0 else 1.0
    return lower, upper
