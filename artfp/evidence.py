"""How surprising a number of matching bits is: exact p-values, kept as natural logs.

The one assumption: the key is uniform over all words of its length and was unknown to whoever
made the image. Then, given any decoded word, the number of matching bits is Bin(bits, 1/2),
however correlated or biased the decoder's bits are, since the key alone is random. Words from a
seed, from an error-correcting code, or published before the image was made do not satisfy it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache
from typing import overload

import numpy as np
from numpy.typing import ArrayLike, NDArray


@overload
def log_p_value(matches: int, bits: int) -> float: ...
@overload
def log_p_value(matches: ArrayLike, bits: int) -> float | NDArray[np.float64]: ...
def log_p_value(matches: ArrayLike, bits: int) -> float | NDArray[np.float64]:
    """Natural log of P(X >= matches) for X ~ Bin(bits, 1/2): one-sided, exact.

    `matches` has any shape; the result has the same, and is a float for a single number. It is
    finite and at most 0, and exactly 0.0 for no matches. Computed from integer binomial sums, so
    that it holds to a few units in the last place for any `bits`. Valid for one comparison with
    one key that was uniform and secret, given the decoded word; K keys or T tries multiply the
    p-value by K * T.

    Raises:
        ValueError: `bits` is below 1, or `matches` holds anything but integers in 0..bits.
    """
    if bits < 1:
        raise ValueError(f"bits: found {bits}, expected at least 1")
    count = np.asarray(matches)
    if count.dtype.kind not in "iu":
        raise ValueError(f"matches: found {count.dtype} values, expected integers")
    if count.size and not (count.min() >= 0 and count.max() <= bits):
        raise ValueError(
            f"matches: found values from {count.min()} to {count.max()}, expected 0 to {bits}"
        )
    result = _log_tails(bits)[count]
    return result if count.ndim else float(result)


def minimum_matches(bits: int, alpha: float) -> int:
    """Smallest number of matches whose p-value is at most `alpha`, for one comparison.

    It is bits + 1, which no word reaches, where even a perfect match is not significant:
    2 ** -bits > alpha. The comparison is exact, in integers; see the module for what it assumes.

    Raises:
        ValueError: `bits` is below 1, or `alpha` is not in 0 < alpha <= 1.
    """
    if bits < 1:
        raise ValueError(f"bits: found {bits}, expected at least 1")
    if not 0 < alpha <= 1:
        raise ValueError(f"alpha: found {alpha}, expected 0 < alpha <= 1")
    numerator, denominator = float(alpha).as_integer_ratio()
    allowed = numerator << bits
    for matches, tail in _tails(bits):
        if tail * denominator > allowed:
            return matches + 1
    return 0


def format_p(log_p: float) -> str:
    """Write the p-value exp(log_p) for people: `1`, `0.028`, `1.3e-27`, `4.0e-1234`.

    Two significant digits, also where the p-value itself is far too small for a float.

    Raises:
        ValueError: `log_p` is above 0, infinite or not a number.
    """
    if not (math.isfinite(log_p) and log_p <= 0):
        raise ValueError(f"log p-value: found {log_p}, expected a finite number of at most 0")
    if log_p > math.log(0.001):
        return f"{math.exp(log_p):.2g}"
    log10 = log_p / math.log(10)
    exponent = math.floor(log10)
    digits = f"{10 ** (log10 - exponent):.1f}"
    return f"1.0e{exponent + 1}" if digits == "10.0" else f"{digits}e{exponent}"


def _tails(bits: int) -> Iterator[tuple[int, int]]:
    """Yield (m, number of words with at least m matches) for m from `bits` down to 0."""
    term, tail = 1, 0
    for matches in range(bits, -1, -1):
        tail += term
        yield matches, tail
        term = term * matches // (bits - matches + 1)


@lru_cache(maxsize=32)
def _log_tails(bits: int) -> NDArray[np.float64]:
    """Log p-values of shape (bits + 1,), indexed by the number of matches; read-only.

    Above one half the log comes from the complement, where log(tail) would cancel.
    """
    total = 1 << bits
    table = np.empty(bits + 1)
    for matches, tail in _tails(bits):
        if 2 * tail > total:
            table[matches] = math.log1p(-((total - tail) / total))
        else:
            length = tail.bit_length()
            table[matches] = math.log(tail / (1 << length)) - (bits - length) * math.log(2)
    table[0] = 0.0
    table.flags.writeable = False
    return table
