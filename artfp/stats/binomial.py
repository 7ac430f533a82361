"""Matching bits and their p-values: exact binomial tails, kept as natural logs."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray


@overload
def log_p_value(matches: int, bits: int) -> float: ...
@overload
def log_p_value(matches: NDArray[Any], bits: int) -> NDArray[np.float64]: ...
@overload
def log_p_value(matches: ArrayLike, bits: int) -> float | NDArray[np.float64]: ...
def log_p_value(matches: ArrayLike, bits: int) -> float | NDArray[np.float64]:
    """Compute the one-sided binomial p-value of matching bits: P(X >= matches), X ~ Bin(bits, 1/2).

    Computed from integer binomial sums, so that it is exact to a few units in the last place for
    any `bits`. Valid for one comparison with one fingerprint that was uniform and secret, given the
    decoded bits; for several fingerprints or tries see `bonferroni`.

    Args:
        matches: Numbers of matching bits, 0 to `bits`, any shape, such as (N, K) for N images and
            K fingerprints.
        bits: Bits of a fingerprint, at least 1.

    Returns:
        Natural logs of the p-values, finite and at most 0, in the shape of `matches`; a float for a
        single number.

    Raises:
        ValueError: `bits` is below 1, or `matches` holds anything but integers in 0..bits.

    Example:
        >>> round(log_p_value(64, 64) / math.log(2), 6)
        -64.0
    """
    count = _check_count(matches, bits)
    result = _log_tails(bits)[count]
    return result if count.ndim else float(result)


@overload
def log_p_inverted(matches: int, bits: int) -> float: ...
@overload
def log_p_inverted(matches: NDArray[Any], bits: int) -> NDArray[np.float64]: ...
@overload
def log_p_inverted(matches: ArrayLike, bits: int) -> float | NDArray[np.float64]: ...
def log_p_inverted(matches: ArrayLike, bits: int) -> float | NDArray[np.float64]:
    """Natural log of P(X <= matches) for X ~ Bin(bits, 1/2): the test for an inverted bit string.

    A bit string that agrees with a secret fingerprint in far fewer than half of its bits is as
    unlikely by chance as one that agrees in far more: it says that the fingerprint is there and was
    tampered with (all bits flipped, by a negative of the residual, say), not that it is absent. It
    is a test of its own, beside `log_p_value`, with the same guarantee and shapes.

    Raises:
        ValueError: as `log_p_value`.
    """
    count = _check_count(matches, bits)
    result = _log_tails(bits)[bits - count]
    return result if count.ndim else float(result)


def minimum_matches(bits: int, alpha: float) -> int:
    """Return the smallest number of matches whose p-value is at most `alpha`, for one comparison.

    The comparison is exact, in integers.

    Args:
        bits: Bits of a fingerprint, at least 1.
        alpha: Level of the test, above 0 and at most 1.

    Returns:
        The number of matches; `bits` + 1, which cannot be reached, where even a perfect match is
        not significant: 2 ** -bits > alpha.

    Raises:
        ValueError: `bits` is below 1, or `alpha` is not in 0 < alpha <= 1.

    Example:
        >>> minimum_matches(100, 1e-4), minimum_matches(8, 1e-4)
        (69, 9)
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


def count_matches(decoded: ArrayLike, fingerprints: ArrayLike) -> NDArray[np.int64]:
    """Count the bits in which decoded bits agree with fingerprints.

    Args:
        decoded: Decoded bits of {0, 1}, shape (N, bits), or (bits,) for one image.
        fingerprints: Fingerprints of {0, 1}, shape (K, bits), or (bits,) for one.

    Returns:
        Numbers of matching bits, shape (N, K), without the axis of a single image or fingerprint.

    Raises:
        ValueError: values other than {0, 1}, or unequal numbers of bits.

    Example:
        >>> count_matches([[0, 1, 1, 0], [1, 0, 0, 1]], [0, 1, 1, 1]).tolist()
        [3, 1]
    """
    rows, columns = check_bit_array(decoded, "decoded"), np.asarray(fingerprints)
    signs = fingerprint_signs(columns, rows.shape[-1])
    left = 2.0 * np.atleast_2d(rows) - 1.0
    agreements = (left @ signs.T + rows.shape[-1]) / 2.0
    return drop_single_axes(agreements.astype(np.int64), rows.ndim == 1, columns.ndim == 1)


def _check_count(matches: ArrayLike, bits: int) -> NDArray[np.int64]:
    """Check that `matches` holds integers in 0..bits."""
    if bits < 1:
        raise ValueError(f"bits: found {bits}, expected at least 1")
    count = np.asarray(matches)
    if count.dtype.kind not in "iu":
        raise ValueError(f"matches: found {count.dtype} values, expected integers")
    if count.size and not (count.min() >= 0 and count.max() <= bits):
        raise ValueError(
            f"matches: found values from {count.min()} to {count.max()}, expected 0 to {bits}"
        )
    return count.astype(np.int64)


def _tails(bits: int) -> Iterator[tuple[int, int]]:
    """Yield (m, number of bit strings with at least m matches) for m from `bits` down to 0."""
    term, tail = 1, 0
    for matches in range(bits, -1, -1):
        tail += term
        yield matches, tail
        term = term * matches // (bits - matches + 1)


@lru_cache(maxsize=32)
def _log_tails(bits: int) -> NDArray[np.float64]:
    """Log p-values of shape (bits + 1,), indexed by the number of matches; read-only."""
    table = np.empty(bits + 1)
    for matches, tail in _tails(bits):
        table[matches] = log_fraction(tail, bits)
    table.flags.writeable = False
    return table


def log_fraction(count: int, bits: int) -> float:
    """Natural log of count / 2 ** bits for a positive integer of at most 2 ** bits, accurately.

    Above one half the log comes from the complement, where log(count) would cancel.
    """
    total = 1 << bits
    if count == total:
        return 0.0
    if 2 * count > total:
        return math.log1p(-((total - count) / total))
    length = count.bit_length()
    return math.log(count / (1 << length)) - (bits - length) * math.log(2)


def check_bit_array(values: ArrayLike, name: str) -> NDArray[np.float64]:
    """Check (bits,) or (N, bits) of {0, 1}; return floats.

    Raises ValueError: another shape, or other values.
    """
    array = np.asarray(values)
    if array.ndim not in (1, 2) or array.size == 0:
        raise ValueError(f"{name}: found shape {array.shape}, expected (bits,) or (rows, bits)")
    if not np.isin(array, (0, 1)).all():
        raise ValueError(f"{name}: found values other than 0 and 1; threshold logits first")
    return array.astype(np.float64)


def fingerprint_signs(fingerprints: ArrayLike, bits: int) -> NDArray[np.float64]:
    """Check fingerprints (bits,) or (K, bits) of {0, 1}; return signs (K, bits), +1 for a bit of 1.

    Raises ValueError: values other than {0, 1}, or another number of bits.
    """
    decoded = np.atleast_2d(check_bit_array(fingerprints, "fingerprints"))
    if decoded.shape[1] != bits:
        raise ValueError(f"fingerprints: found {decoded.shape[1]} bits, expected {bits} as decoded")
    return 2.0 * decoded - 1.0


def check_logits(logits: ArrayLike) -> NDArray[np.float64]:
    """Check logits (bits,) or (N, bits), infinite ones allowed; return float64.

    Raises ValueError: another shape, or values that are no numbers.
    """
    values = np.asarray(logits)
    if values.ndim not in (1, 2) or values.size == 0:
        raise ValueError(f"logits: found shape {values.shape}, expected (bits,) or (images, bits)")
    if values.dtype.kind not in "fiu":
        raise ValueError(f"logits: found {values.dtype} values, expected real numbers")
    values = values.astype(np.float64)
    if np.isnan(values).any():
        raise ValueError("logits: found nan; a decoder that gives nan has not read the image")
    return values


def drop_single_axes(values: NDArray[Any], one_row: bool, one_key: bool) -> NDArray[Any]:
    """Drop the axes of (N, K) that stand for a single image or a single fingerprint."""
    values = values[0] if one_row else values
    return np.asarray(values[..., 0] if one_key else values)
