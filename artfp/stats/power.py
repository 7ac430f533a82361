"""Power of the tests, and the images they need, under a simple model of a source.

The model: every image carries the fingerprint, each bit of each image is right with probability
`accuracy`, independently of all others. Bits of a real decoder are not: the same bits tend to be
wrong in all images of a source, and what is wrong in all of them no number of images mends. So the
numbers here are a best case for several images; for one image, dependence between bits widens the
spread but not the mean. `alpha` is the level of a single comparison: with K fingerprints and T
tries, alpha / (K * T).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import special

from artfp.stats.binomial import minimum_matches

PowerMethod = Literal["majority", "soft"]

MAX_IMAGES_SEARCHED = 10**7
"""Number of images above which `required_images` gives up."""


def power_one_image(bits: int, accuracy: float, alpha: float) -> float:
    """Probability that one image is significant by counting: P(Bin(bits, accuracy) >= threshold).

    Exact under the model; the threshold is that of `minimum_matches`. 0 where no bit string
    suffices.

    Raises:
        ValueError: `bits` below 1, or `accuracy` or `alpha` outside 0..1.
    """
    return power_majority(bits, accuracy, alpha, 1)


def power_majority(bits: int, accuracy: float, alpha: float, images: int) -> float:
    """Probability that the majority bit string of `images` images is significant.

    Exact under the model: a bit of the majority bit string is right with q = P(more than half of
    the images have it right), half of the ties added, as `majority_bits` calls a tie 0 and a bit of
    a uniform fingerprint is 0 half of the time; then P(Bin(bits, q) >= threshold). An even number
    of images is no better than the odd one below it.

    Raises:
        ValueError: as `power_one_image`; `images` below 1.
    """
    _check(accuracy, images)
    threshold = minimum_matches(bits, alpha)
    if threshold > bits:
        return 0.0
    # With the ties shared out, q is that of one image less: the last image only makes or breaks
    # ties, and as often right as it should.
    odd = images if images % 2 else images - 1
    half = (odd + 1) // 2
    return _at_least(threshold, bits, _at_least(half, odd, accuracy))


def power_soft(bits: int, accuracy: float, alpha: float, images: int = 1) -> float:
    """Probability that the mean logits of `images` images are significant, by a Gaussian model.

    Logits, times the sign of the fingerprint's bit, are N(mu, 1) with mu = ndtri(accuracy); then
    the means s_i k_i over images are a sample of N(mu, 1 / images), and the test of random signs is
    Fisher's randomisation test of a mean, which agrees with Student's t to the first order
    (Hoeffding 1952). So the power is that of the one-sided one-sample t test, a noncentral t with
    bits - 1 degrees of freedom and noncentrality mu * sqrt(bits * images): approximate; simulated,
    it is high by .05 at 16 bits and alpha = 1e-4, and within .03 from 32 bits. 0 where no bit
    string suffices, 2^-bits > alpha.

    Raises:
        ValueError: as `power_majority`; fewer than 2 bits.
    """
    _check(accuracy, images)
    if bits < 2:
        raise ValueError(f"bits: found {bits}, expected at least 2")
    if minimum_matches(bits, alpha) > bits:
        return 0.0
    if alpha == 1 or accuracy in (0.0, 1.0):
        return 1.0 if alpha == 1 else accuracy
    shift = float(special.ndtri(accuracy)) * math.sqrt(bits * images)
    limit = -float(special.stdtrit(bits - 1, alpha))
    power = float(special.nctdtr(bits - 1, -shift, -limit))
    if math.isnan(power):  # far beyond what the series takes; there, the tail is all or nothing
        power = float(special.ndtr((shift - limit) / math.sqrt(1 + limit**2 / (2 * (bits - 1)))))
    return min(max(power, 0.0), 1.0)


def required_images(
    bits: int, accuracy: float, alpha: float, power: float, method: PowerMethod = "soft"
) -> int | None:
    """Compute the least number of images at which the test reaches a power.

    Args:
        bits: Bits of a fingerprint.
        accuracy: Probability that a bit of an image is right, 0 to 1.
        alpha: Level of a single comparison.
        power: Probability to reach, above 0 and below 1.
        method: "soft" weighs logits, "majority" counts bits.

    Returns:
        The number of images; None above ten million, or if no number is enough.

    Raises:
        ValueError: as `power_soft`; `power` not in 0 < power < 1, or an unknown method.

    Example:
        >>> required_images(64, 0.6, 1e-6, 0.9)
        11
    """
    if not 0 < power < 1:
        raise ValueError(f"power: found {power}, expected 0 < power < 1")
    reach = _method(method)
    if minimum_matches(bits, alpha) > bits:
        return None
    low, high = 0, 1
    while reach(bits, accuracy, alpha, high) < power:
        low, high = high, 2 * high
        if high > MAX_IMAGES_SEARCHED:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        if reach(bits, accuracy, alpha, middle) < power:
            low = middle
        else:
            high = middle
    return high


def power_table(
    bits: int,
    accuracies: Sequence[float],
    images: Sequence[int],
    alpha: float,
    method: PowerMethod = "soft",
) -> NDArray[np.float64]:
    """Powers of shape (accuracies, images).

    Raises:
        ValueError: as `required_images`.
    """
    reach = _method(method)
    rows = [[reach(bits, accuracy, alpha, count) for count in images] for accuracy in accuracies]
    return np.array(rows).reshape(len(accuracies), len(images))


def required_table(
    bits: int,
    accuracies: Sequence[float],
    alphas: Sequence[float],
    power: float,
    method: PowerMethod = "soft",
) -> list[list[int | None]]:
    """Required images: a row for each accuracy, a column for each alpha; None as there.

    Raises:
        ValueError: as `required_images`.
    """
    return [
        [required_images(bits, a, alpha, power, method) for alpha in alphas] for a in accuracies
    ]


def _method(method: str) -> Callable[[int, float, float, int], float]:
    """The power function of a method."""
    methods = {"majority": power_majority, "soft": power_soft}
    if method not in methods:
        raise ValueError(f"method: found {method!r}, expected one of {', '.join(methods)}")
    return methods[method]


def _at_least(count: int, trials: int, chance: float) -> float:
    """P(Bin(trials, chance) >= count), count above 0, by the incomplete beta function."""
    return 1.0 if count <= 0 else float(special.betainc(count, trials - count + 1, chance))


def _check(accuracy: float, images: int) -> None:
    """Raise ValueError for what is no accuracy or no number of images."""
    if not 0 <= accuracy <= 1:
        raise ValueError(f"accuracy: found {accuracy}, expected 0 to 1")
    if images < 1:
        raise ValueError(f"images: found {images}, expected at least 1")
