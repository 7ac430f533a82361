"""p-values and odds as people write them."""

from __future__ import annotations

import math


def format_p(log_p: float) -> str:
    """Write a p-value with two significant digits, also where it is too small for a float.

    Args:
        log_p: Natural log of the p-value, at most 0.

    Returns:
        Text such as `1`, `0.028`, `1.3e-27`, `4.0e-1234`.

    Raises:
        ValueError: `log_p` is above 0, infinite or not a number.

    Example:
        >>> format_p(-2840.0)
        '4.0e-1234'
    """
    if not (math.isfinite(log_p) and log_p <= 0):
        raise ValueError(f"log p-value: found {log_p}, expected a finite number of at most 0")
    if log_p > math.log(0.001):
        return f"{math.exp(log_p):.2g}"
    log10 = log_p / math.log(10)
    exponent = math.floor(log10)
    digits = f"{10 ** (log10 - exponent):.1f}"
    return f"1.0e{exponent + 1}" if digits == "10.0" else f"{digits}e{exponent}"


def format_odds(log_odds: float) -> str:
    """Write the odds exp(log_odds) for people: `270 to 1`, `1 to 99`, `1.9e13 to 1`.

    Two significant digits.

    Raises:
        ValueError: `log_odds` is infinite or not a number.
    """
    if not math.isfinite(log_odds):
        raise ValueError(f"log odds: found {log_odds}, expected a finite number")
    log10 = abs(log_odds) / math.log(10)
    exponent = math.floor(log10)
    digits = f"{10 ** (log10 - exponent):.1f}"
    if digits == "10.0":
        digits, exponent = "1.0", exponent + 1
    size = f"{float(digits) * 10**exponent:g}" if exponent < 4 else f"{digits}e{exponent}"
    return f"{size} to 1" if log_odds >= 0 else f"1 to {size}"
