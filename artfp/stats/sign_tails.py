"""Tails of a weighted sum of random signs, S = sum_i w_i e_i with e_i = +1 or -1 at even odds.

This is the law of T = sum_i l_i (2 k_i - 1) over a uniform fingerprint, given logits l, with w =
|l|. Four ways to P(S >= t), each a natural log; `log_tail` is the one for verdicts.

- `log_tail`: never below the truth, and tight. Uses the next one, or Hoeffding for very long bit
strings.
- `log_tail_hoeffding`: never below the truth, and simple enough to check by hand.
- `log_tail_monte_carlo`: valid as a test, at a resolution of 1 / (draws + 1).
- `approximate_log_tail_saddle`: an approximation without a guarantee, for plots and planning.

How `log_tail` keeps its guarantee. Put S as W - 2 M: W the sum of all weights, M the sum of those
whose sign is -1. S >= t is M <= m = (W - t) / 2, and over random signs M is the sum of a uniformly
drawn subset. The weights are rounded DOWN to an integer grid, w_i = g (u_i + f_i) with u_i whole
and 0 <= f_i < 1, and m is rounded down to floor(m / g). For every subset A, sum_A w_i <= m implies
sum_A u_i <= m / g, and, as the left side is whole, sum_A u_i <= floor(m / g). So the subsets
counted on the grid include those that are asked for, and the p-value can only grow. The step g is
a power of two, so that u and f are exact in floating point, and depends on the weights alone. Where
all weights are equal, or all are multiples of g, nothing is lost and the tail is exact. Elsewhere
the loss is as if t were smaller by some hundredths of a standard deviation of S at 256 bits, by
less for shorter bit strings; where all signs are +1, p is 2^j of 2^bits for j weights below g.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, special

from artfp.stats.binomial import log_fraction

Floats = NDArray[np.float64]

EXACT_BITS = 512
"""Longest bit string whose tail is computed on the grid; Hoeffding's bound beyond."""
_HALVES_BITS = 20
_HALVES_DIGITS = 46
_TABLE_WORK = 25
_EPSILON = 2.0**-52


def log_tail(weights: ArrayLike, signs: ArrayLike) -> Floats:
    """Upper bound (K,) of log P(S >= t), t the sum of `weights` (bits,) under `signs` (K, bits).

    Signs are +1 and -1, and each row of them has its t, which itself counts as reached. The
    method is chosen by the number of bits alone: meet in the middle to 20 bits, dynamic
    programming to 512, Hoeffding beyond. Finite, at most 0.

    Raises:
        ValueError: weights that are negative or not finite, or another number of signs.
    """
    found, held = _check(weights, signs)
    used = found > 0
    if not used.any():
        return np.zeros(len(held))
    found, missed = found[used], held[:, used] < 0
    if len(used) > EXACT_BITS:
        return log_tail_hoeffding(found, held[:, used])
    small = len(used) <= _HALVES_BITS
    units, limits = _grid(found, missed, _HALVES_DIGITS if small else _levels(len(used)))
    return _halves_tail(units, limits) if small else _table_tail(units, limits)


def log_tail_hoeffding(weights: ArrayLike, signs: ArrayLike) -> Floats:
    """Hoeffding's bound (K,): log P(S >= t) <= -t^2 / (2 sum w^2) for t > 0, and 0 otherwise.

    Hoeffding 1963, theorem 2. Arguments and errors are those of `log_tail`.
    """
    found, held = _check(weights, signs)
    largest = found.max()
    if largest == 0:
        return np.zeros(len(held))
    scaled = found / largest
    standard = (held @ scaled) / math.sqrt(float(scaled @ scaled))
    # Slightly towards 0, by more than all roundings together.
    slack = 1.0 - 8 * len(found) * _EPSILON
    return np.asarray(-0.5 * np.square(np.maximum(standard, 0.0)) * slack + 0.0)


def log_tail_monte_carlo(
    weights: ArrayLike, signs: ArrayLike, draws: int, generator: np.random.Generator
) -> Floats:
    """Log (b + 1) / (draws + 1) for b of `draws` random signs with S >= t: (K,).

    The two additions count the observed signs themselves as a draw; without them the test would
    reject too often, and p could be 0 (Davison and Hinkley 1997, section 4.2; Phipson and Smyth
    2010). Sums within rounding of t count as reached, so that ties are not lost to the order of
    summation. Valid over the fingerprint and the draws together; all K share the draws. Arguments
    and errors are those of `log_tail`; also ValueError for less than one draw.
    """
    found, held = _check(weights, signs)
    if draws < 1:
        raise ValueError(f"draws: found {draws}, expected at least 1")
    scaled = found / (found.max() or 1.0)
    reached = held @ scaled - 4 * len(found) * _EPSILON * scaled.sum()
    counts = np.zeros(len(held), np.int64)
    left = draws
    while left:
        rows = min(left, 1 << 14)
        drawn = generator.integers(0, 2, (rows, len(found)), dtype=np.int8)
        sums = np.sort((2.0 * drawn - 1.0) @ scaled)
        counts += rows - np.searchsorted(sums, reached, side="left")
        left -= rows
    return np.log((counts + 1) / (draws + 1))


def approximate_log_tail_saddle(weights: ArrayLike, signs: ArrayLike) -> Floats:
    """Approximate log P(S >= t): (K,). NOT a bound, and not for verdicts: it can be too small.

    Lugannani and Rice 1980, in the form for continuous sums, without a lattice correction: where
    few weights dominate, or all are equal, the true tail is a staircase that this crosses. Where
    t is the largest sum, the saddle point is at infinity and the exact -bits * log 2 is returned.
    Arguments and errors are those of `log_tail`.
    """
    found, held = _check(weights, signs)
    found, held = found[found > 0], held[:, found > 0]
    if not len(found):
        return np.zeros(len(held))
    scaled = found / found.max()
    return np.array([_saddle(scaled, float(row @ scaled)) for row in held])


def _check(weights: ArrayLike, signs: ArrayLike) -> tuple[Floats, Floats]:
    """Check weights (bits,) and signs (K, bits) or (bits,); return them as floats."""
    found = np.asarray(weights, np.float64)
    held = np.atleast_2d(np.asarray(signs, np.float64))
    if found.ndim != 1 or not len(found) or not (np.isfinite(found) & (found >= 0)).all():
        raise ValueError("weights: expected a vector of finite numbers of at least 0")
    if held.ndim != 2 or held.shape[1] != len(found) or not (np.abs(held) == 1).all():
        raise ValueError(
            f"signs: found shape {held.shape}, expected (fingerprints, {len(found)}) of +-1"
        )
    return found, held


def _levels(bits: int) -> int:
    """Binary digits of the grid for dynamic programming: finer for shorter bit strings.

    At least 4 * bits steps. From 2 * bits on equal weights stay exact: bits * f < bits <= u.
    """
    finest = math.floor(_TABLE_WORK - 2 * math.log2(bits))
    return max(finest, math.ceil(math.log2(4 * bits)))


def _grid(weights: Floats, missed: NDArray[np.bool_], digits: int) -> tuple[Floats, Floats]:
    """Round down to a grid: units (bits,) below 2^digits, and floor(m / g) of each fingerprint
    (K,).

    Both are whole numbers in floats. Their sums stay below 2^53, and thus exact; the sum of the
    fractions does not, and gets more than its rounding on top before it is rounded down.
    """
    _, exponent = math.frexp(float(weights.max()))
    scaled = np.ldexp(weights, digits - exponent)
    units = np.floor(scaled)
    fractions = missed @ (scaled - units) + len(weights) ** 2 * _EPSILON
    return units, missed @ units + np.floor(fractions)


def _halves_tail(units: Floats, limits: Floats) -> Floats:
    """Log share of the subsets of `units` with sums of at most each limit: exact.

    Meet in the middle (Horowitz and Sahni 1974): sums of each half, sorted; for each sum of one
    half the number of sums of the other that still fit.
    """
    middle = len(units) // 2
    one, other = (np.sort(_subset_sums(half)) for half in (units[:middle], units[middle:]))
    unique, inverse = np.unique(limits, return_inverse=True)
    counts = [np.searchsorted(other, limit - one, side="right").sum() for limit in unique]
    return np.array([log_fraction(int(count), len(units)) for count in counts])[inverse]


def _subset_sums(units: Floats) -> Floats:
    """Sums of all 2^n subsets."""
    sums = np.zeros(1)
    for unit in units:
        sums = np.concatenate([sums, sums + unit])
    return sums


def _table_tail(units: Floats, limits: Floats) -> Floats:
    """Log probability that a random subset of `units` sums to at most each limit.

    A table of the law of the sum grows by one unit at a time, the smallest first; sums above the
    highest limit are left out, as they never come back. Limits above the middle are taken from
    the complement, P(M <= m) = 1 - P(M <= W - m - 1). All terms are positive, so the relative
    error is below the number of additions times epsilon, which is added (or taken, below the
    minus sign): rounding cannot make the result too small.
    """
    whole = np.sort(units.astype(np.int64))
    total, asked = int(whole.sum()), limits.astype(np.int64)
    upper = 2 * asked >= total
    asked = np.where(upper, total - asked - 1, asked)
    size = int(asked.max()) + 1
    table = np.zeros(max(size, 1))
    table[0] = 1.0
    reach = 1
    for unit in whole[whole > 0]:
        table[:reach] *= 0.5
        end = min(reach + int(unit), size)
        if end > unit:
            grown = table[: end - unit].copy()
            table[unit:end] += grown
            reach = end
    sums = np.cumsum(table)
    guard = (2 * len(whole) + len(table)) * _EPSILON
    tails = np.where(asked >= 0, sums[np.maximum(asked, 0)], 0.0)
    with np.errstate(divide="ignore"):
        lower = np.log(tails) + guard
    return np.minimum(np.where(upper, np.log1p(-tails * (1.0 - guard)), lower), 0.0)


def _saddle(weights: Floats, reached: float) -> float:
    """Lugannani-Rice for one threshold; negative ones by symmetry."""
    if reached < 0:
        return math.log1p(-math.exp(_saddle(weights, -reached)))
    total, spread = float(weights.sum()), math.sqrt(float(weights @ weights))
    if reached >= total * (1 - 1e-12):
        return -len(weights) * math.log(2)
    if reached < 1e-4 * spread:
        return math.log(0.5) + math.log1p(-2 * reached / spread / math.sqrt(2 * math.pi))
    gap = 1e-15 * total
    top = 1.0
    while float(weights @ np.tanh(top * weights)) < reached - gap and top < 1e15:
        top *= 2.0
    point = optimize.brentq(lambda x: float(weights @ np.tanh(x * weights)) - reached, 0.0, top)
    # log cosh(x) without overflow.
    cumulant = float((np.logaddexp(point * weights, -point * weights) - math.log(2)).sum())
    curvature = float(np.square(weights) @ np.square(1 / np.cosh(np.minimum(point * weights, 350))))
    root = math.sqrt(2 * max(point * reached - cumulant, 0.0))
    skewed = point * math.sqrt(curvature)
    if skewed == 0.0:
        return -len(weights) * math.log(2)
    mills = math.sqrt(math.pi / 2) * float(special.erfcx(root / math.sqrt(2)))
    factor = mills + 1 / skewed - 1 / root
    log_factor = math.log(factor if factor > 0 else mills)
    # At most one half, by symmetry.
    return min(-0.5 * root**2 - 0.5 * math.log(2 * math.pi) + log_factor, -math.log(2))
