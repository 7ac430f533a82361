"""Frechet and kernel distance of two sets of images, from their features, with intervals.

Frechet distance (Heusel et al. 2017, arXiv 1706.08500, eq. 6): of two Gaussians with the means and
covariances of the sets, squared. Its estimate is too large by about a constant over the number of
images (Chong and Forsyth 2020, arXiv 1911.07023), so compare it only between sets of equal numbers;
`frechet_distance_limit` extrapolates to infinitely many. Kernel distance (KID, Binkowski et al.
2018,
arXiv 1801.01401): squared maximum mean discrepancy with the kernel (x.y / d + 1)^3, unbiased,
over all pairs of images rather than blocks of them, which has the smaller variance.

Intervals. Each statistic comes with the influence of every image on it; the squared standard error
is the sum over the sets of variance of the influences / number of images. For the kernel distance
these are the differences that leaving out one image makes (jackknife, Efron and Stein 1981, in
expectation not too small), for the Frechet distance derivatives by the image's weight
(infinitesimal jackknife, Efron 1982, chapter 6). Of two distances to one real set the
influences of each real image are subtracted before they are squared: what both share cancels.

Images of a set must be independent draws. An interval is about these generators: it knows nothing
of how another training with another seed would have turned out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, stats

MIN_IMAGES_PER_FEATURE = 4
"""Least number of images of the smaller set for each feature in `frechet_distance_limit`."""

_Array = NDArray[np.float64]

_LEVELS = ((1, 2.0), (2, -1.0))
"""Number of parts that the sets are cut into, and the weight of the mean over the parts."""
_BLOCK = 1 << 24
"""Number of entries of a kernel matrix that are in memory at once."""


@dataclass(frozen=True)
class DistanceEstimate:
    """Number with its standard error and interval; these are nan where images are too few.

    Args:
        value: The number.
        error: Standard error.
        low: Low end of the interval.
        high: High end of the interval.
    """

    value: float
    error: float
    low: float
    high: float


@dataclass(frozen=True)
class DistanceContrast:
    """Distances of a and of b to one real set, and how they differ.

    Args:
        a: Distance of a.
        b: Distance of b.
        difference: a minus b.
        ratio: a over b, with Fieller's interval (1954); None where that is unbounded, since b's
            distance may be 0.
    """

    a: DistanceEstimate
    b: DistanceEstimate
    difference: DistanceEstimate
    ratio: DistanceEstimate | None


@dataclass(frozen=True)
class DistanceComparison:
    """All distances of a and b to one real set.

    Args:
        frechet: Frechet distances.
        kernel: Kernel distances.
        limit: Frechet distances as if images were infinite; None with too few images, see
            `frechet_distance_limit`.
    """

    frechet: DistanceContrast
    kernel: DistanceContrast
    limit: DistanceContrast | None


def frechet_distance(x: _Array, y: _Array, confidence: float = 0.95) -> DistanceEstimate:
    """Return the squared Frechet distance of two sets of features.

    The interval is for the mean of what N and M images give, bias and all. Where N or M is at most
    about D that bias is a large part, and the interval is somewhat too wide.

    Args:
        x: Features (N, D), N at least 2.
        y: Features (M, D), M at least 2.
        confidence: Confidence level of the interval.

    Returns:
        The distance, with its interval.

    Raises:
        ValueError: not two matrices of equal width, fewer than two rows, not finite.

    Example:
        >>> x = np.random.default_rng(0).standard_normal((500, 2))
        >>> round(frechet_distance(x, x + 1.0).value, 3)
        2.0
    """
    return _estimate(_frechet(*_checked(x, y)), confidence)


def frechet_distance_limit(
    x: _Array, y: _Array, confidence: float = 0.95, seed: int = 0
) -> DistanceEstimate:
    """Return the Frechet distance of two sets of features as if they were infinite.

    Chong and Forsyth's FID_infinity for both sets at once: a line in 1/N through the distance of
    the whole sets and the mean distance of their halves, cut at random. The line is straight from
    about N = 4 D on, for features that fill their D dimensions; of fewer images the result would
    still be too large, and its interval would not know it. It can fall below 0.

    Args:
        x: Features (N, D), N at least `MIN_IMAGES_PER_FEATURE` times D.
        y: Features (M, D), M likewise.
        confidence: Confidence level of the interval.
        seed: Seed of the halves.

    Returns:
        The distance, with its interval.

    Raises:
        ValueError: as `frechet_distance`, or too few rows.

    Example:
        >>> x, y = np.random.default_rng(0).standard_normal((2, 500, 2))
        >>> abs(frechet_distance_limit(x, y).value) < 0.02
        True
    """
    x, y = _checked(x, y)
    return _estimate(_limit(*_checked(x, y, MIN_IMAGES_PER_FEATURE * x.shape[1]), seed), confidence)


def kernel_distance(x: _Array, y: _Array, confidence: float = 0.95) -> DistanceEstimate:
    """Return the kernel distance of two sets of features; 0 on average for one distribution.

    Args:
        x: Features (N, D).
        y: Features (M, D).
        confidence: Confidence level of the interval.

    Returns:
        The distance, with its interval.

    Raises:
        ValueError: as `frechet_distance`.

    Example:
        >>> x, y = np.random.default_rng(0).standard_normal((2, 500, 2))
        >>> abs(kernel_distance(x, y).value) < 0.02
        True
    """
    return _estimate(_kernel(*_checked(x, y)), confidence)


def compare_distances(
    real: _Array, a: _Array, b: _Array, confidence: float = 0.95, seed: int = 0
) -> DistanceComparison:
    """Compare the distances of two sets of features to a real one.

    Where N and M differ, the Frechet distances use equally many rows of both, at equal distances,
    since their bias depends on the number. a and b are assumed to be independent; if they come from
    the same latents, the intervals of the differences are too wide.

    Args:
        real: Features (R, D) of real images.
        a: Features (N, D).
        b: Features (M, D).
        confidence: Confidence level of the intervals.
        seed: Seed of `frechet_distance_limit`.

    Returns:
        All distances and their differences.

    Raises:
        ValueError: as `frechet_distance`.

    Example:
        >>> real, a, b = np.random.default_rng(0).standard_normal((3, 200, 2))
        >>> compare_distances(real, a + 1.0, b).frechet.difference.low > 0.0
        True
    """
    a, b = _checked(a, b)
    real, _ = _checked(real, a)
    count = min(len(a), len(b))
    fewer = tuple(rows[np.arange(count) * len(rows) // count] for rows in (a, b))

    def contrast(
        statistic: Callable[[_Array, _Array], _Linear], pair: Sequence[_Array]
    ) -> DistanceContrast:
        return _contrast(statistic(real, pair[0]), statistic(real, pair[1]), confidence)

    limited = min(count, len(real)) >= MIN_IMAGES_PER_FEATURE * real.shape[1]
    return DistanceComparison(
        frechet=contrast(_frechet, fewer),
        kernel=contrast(_kernel, (a, b)),
        limit=contrast(lambda x, y: _limit(x, y, seed), fewer) if limited else None,
    )


@dataclass(frozen=True)
class _Linear:
    """Statistic of some sets: its value and the influence of each image of each set."""

    value: float
    influences: tuple[_Array, ...]

    def error(self) -> float:
        """Return the standard error."""
        return float(np.sqrt(sum(each.var(ddof=1) / len(each) for each in self.influences)))

    def quantile(self, confidence: float) -> float:
        """Return the standard errors in half an interval: Student's t, by the smallest set."""
        if not 0.0 < confidence < 1.0:
            raise ValueError(f"confidence is {confidence}; it must lie between 0 and 1")
        fewest = min(map(len, self.influences))
        return float(stats.t.ppf(0.5 + confidence / 2.0, fewest - 1))


def _estimate(found: _Linear, confidence: float) -> DistanceEstimate:
    error, half = found.error(), found.error() * found.quantile(confidence)
    return DistanceEstimate(found.value, error, found.value - half, found.value + half)


def _contrast(a: _Linear, b: _Linear, confidence: float) -> DistanceContrast:
    """Contrast two statistics of (real, own) with the same real set."""

    def combined(value: float, slope_a: float, slope_b: float) -> _Linear:
        real = slope_a * a.influences[0] + slope_b * b.influences[0]
        own = slope_a * a.influences[1], slope_b * b.influences[1]
        return _Linear(value, (real, *own))

    difference = combined(a.value - b.value, 1.0, -1.0)
    return DistanceContrast(
        _estimate(a, confidence),
        _estimate(b, confidence),
        _estimate(difference, confidence),
        _ratio(a.value, b.value, combined, confidence),
    )


def _ratio(
    a: float, b: float, combined: Callable[[float, float, float], _Linear], confidence: float
) -> DistanceEstimate | None:
    """Quotient a / b, with all r for which (a - r b)^2 <= t^2 Var(a - r b): a quadratic in r."""
    t = combined(0.0, 1.0, -1.0).quantile(confidence)
    var_a, var_b, var_both = (
        combined(0.0, *slopes).error() ** 2 for slopes in ((1.0, 0.0), (0.0, 1.0), (1.0, 1.0))
    )
    second = b * b - t * t * var_b
    first = a * b - t * t * (var_both - var_a - var_b) / 2.0
    if not (b > 0.0 and second > 0.0):
        return None
    root = np.sqrt(max(0.0, first * first - second * (a * a - t * t * var_a)))
    error = combined(0.0, 1.0 / b, -a / (b * b)).error()
    return DistanceEstimate(
        a / b, error, float((first - root) / second), float((first + root) / second)
    )


def _frechet(x: _Array, y: _Array) -> _Linear:
    """Frechet distance, and its derivative by each image's weight in its set.

    With centred features X = P L sqrt(N - 1), P's columns orthonormal, the covariance is L'L, and
    the trace of (S1^(1/2) S2 S1^(1/2))^(1/2) is the sum of the singular values s of L1 L2' = UsV'.
    No covariance is formed or inverted, so N < D is no special case. That sum's derivative by the
    weight of image i is N/2 times sum_k s_k (P1 U)_ik^2.
    """
    (mean_x, p, left), (mean_y, q, right) = _factors(x), _factors(y)
    u, s, vt = linalg.svd(left @ right.T, full_matrices=False, check_finite=False)
    shift = mean_x - mean_y
    traces = float((left**2).sum() + (right**2).sum())  # of both covariances
    value = float(shift @ shift) + traces - 2.0 * float(s.sum())

    def influence(rows: _Array, p: _Array | None, u: _Array, direction: _Array) -> _Array:
        rotated = u if p is None else p @ u
        own = 2.0 * (rows @ direction) + (rows**2).sum(axis=1)
        return np.asarray(own - len(rows) * (rotated**2 @ s))

    of_x = influence(x - mean_x, p, u, shift)
    return _Linear(max(value, 0.0), (of_x, influence(y - mean_y, q, vt.T, -shift)))


def _factors(x: _Array) -> tuple[_Array, _Array | None, _Array]:
    """Mean (D,), P (N, R) or None for the identity, and L (R, D); see `_frechet`."""
    mean = x.mean(axis=0)
    rows = (x - mean) / np.sqrt(len(x) - 1)
    if len(x) <= x.shape[1]:
        return mean, None, rows
    p, root = linalg.qr(rows, mode="economic", check_finite=False)
    return mean, p, root


def _limit(x: _Array, y: _Array, seed: int) -> _Linear:
    """Weighted sum over the levels of the mean distance of the parts.

    An image of N, in one of k parts, has N/k images beside it there, and the part has weight 1/k in
    the mean: its influence on the mean is that on its part.
    """
    rng = np.random.default_rng(seed)
    orders = [rng.permutation(len(rows)) for rows in (x, y)]
    value, influences = 0.0, (np.zeros(len(x)), np.zeros(len(y)))
    for count, weight in _LEVELS:
        parts = zip(*(np.array_split(order, count) for order in orders), strict=True)
        for of_x, of_y in parts:
            found = _frechet(x[of_x], y[of_y])
            value += weight * found.value / count
            for whole, rows, own in zip(influences, (of_x, of_y), found.influences, strict=True):
                whole[rows] += weight * (own - own.mean())
    return _Linear(value, influences)


def _kernel(x: _Array, y: _Array) -> _Linear:
    """Unbiased estimate over all pairs; each image's influence is that of leaving it out."""
    n, m = len(x), len(y)
    xx, yy = _row_sums(x, x) - _cubic(x, x), _row_sums(y, y) - _cubic(y, y)
    xy, yx = _row_sums(x, y), _row_sums(y, x)
    within_x, within_y, between = xx.sum(), yy.sum(), xy.sum()
    value = within_x / (n * (n - 1)) + within_y / (m * (m - 1)) - 2.0 * between / (n * m)

    def influence(within: float, own: _Array, across: _Array, other: int) -> _Array:
        count = len(own)
        if count < 3:  # one image is left, and no pair
            return np.full(count, np.nan)
        without = (within - 2.0 * own) / ((count - 1) * (count - 2))
        without -= 2.0 * (between - across) / ((count - 1) * other)
        return np.asarray((count - 1) * (without.mean() - without))

    of_x, of_y = influence(within_x, xx, xy, m), influence(within_y, yy, yx, n)
    return _Linear(float(value), (of_x, of_y))


def _row_sums(x: _Array, y: _Array) -> _Array:
    """Sum (N,) over the rows of y (M, D) of their kernel with each row of x (N, D)."""
    step = max(1, _BLOCK // len(y))
    parts = [
        ((x[start : start + step] @ y.T / x.shape[1] + 1.0) ** 3).sum(axis=1)
        for start in range(0, len(x), step)
    ]
    return np.concatenate(parts)


def _cubic(x: _Array, y: _Array) -> _Array:
    """Kernel (N,) of the rows of x (N, D) with those of y at the same place."""
    return np.asarray(((x * y).sum(axis=1) / x.shape[1] + 1.0) ** 3)


def _checked(x: _Array, y: _Array, least: int = 2) -> tuple[_Array, _Array]:
    """Return both as float64, or raise ValueError."""
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1]:
        raise ValueError(f"features of shapes {x.shape} and {y.shape}; expected (N, D) and (M, D)")
    for rows in (x, y):
        if len(rows) < least:
            raise ValueError(f"features of {len(rows)} images; it takes {least} or more")
        if not np.isfinite(rows).all():
            raise ValueError("features that are not finite")
    return x, y
