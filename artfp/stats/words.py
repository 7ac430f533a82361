"""What decoded words, logits and keys must look like; shapes of one or many of each."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


def check_words(values: ArrayLike, name: str) -> NDArray[np.float64]:
    """Check (bits,) or (N, bits) of {0, 1}; return floats.

    Raises ValueError: another shape, or other values.
    """
    array = np.asarray(values)
    if array.ndim not in (1, 2) or array.size == 0:
        raise ValueError(f"{name}: found shape {array.shape}, expected (bits,) or (rows, bits)")
    if not np.isin(array, (0, 1)).all():
        raise ValueError(f"{name}: found values other than 0 and 1; threshold logits first")
    return array.astype(np.float64)


def check_keys(keys: ArrayLike, bits: int) -> NDArray[np.float64]:
    """Check keys (bits,) or (K, bits) of {0, 1}; return signs (K, bits), +1 for a bit of 1.

    Raises ValueError: values other than {0, 1}, or another number of bits.
    """
    words = np.atleast_2d(check_words(keys, "keys"))
    if words.shape[1] != bits:
        raise ValueError(f"keys: found {words.shape[1]} bits, expected {bits} as decoded")
    return 2.0 * words - 1.0


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


def per_key(values: NDArray[Any], one_row: bool, one_key: bool) -> NDArray[Any]:
    """Drop the axes of (N, K) that stand for a single image or a single key."""
    values = values[0] if one_row else values
    return np.asarray(values[..., 0] if one_key else values)
