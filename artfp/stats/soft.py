"""Soft evidence: sure bits of a decoder count for more than unsure ones, at an honest p-value.

The statistic is T = sum_i l_i (2 k_i - 1), on clipped logits l of one image (or of several, see
`source`) and the key k. Where the logits are log odds, l_i is what bit i adds to the log likelihood
ratio of "this key" against "no key" when it agrees, less what it adds when it does not, so that
given the logits T is the most powerful statistic (Neyman and Pearson). Where they are not, T is
less powerful, but its p-value holds all the same: given the logits, whatever they are, a uniform
secret key makes T a sum of the |l_i| with random signs. Neither calibrated nor independent logits
are assumed.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from artfp.stats.sign_tails import log_tail
from artfp.stats.words import check_keys, check_logits, per_key

CLIP = 20.0
"""Largest size of a logit. Any limit that does not depend on the key keeps the p-value valid; this
one leaves most logits of the shipped decoders alone, and no single bit or image decides."""


def clip_logits(logits: ArrayLike, clip: float | None = CLIP) -> NDArray[np.float64]:
    """Logits (bits,) or (N, bits) as float64 in [-clip, clip]; None leaves finite logits alone.

    Raises:
        ValueError: logits that are nan or of another shape, infinite ones without a clip, or a
            clip that is not above 0.
    """
    values = check_logits(logits)
    if clip is None:
        if not np.isfinite(values).all():
            raise ValueError("logits: found infinite values, which need a clip")
        return values
    if not (math.isfinite(clip) and clip > 0):
        raise ValueError(f"clip: found {clip}, expected a finite number above 0")
    return np.clip(values, -clip, clip)


def log_p_soft(
    logits: ArrayLike, keys: ArrayLike, clip: float | None = CLIP
) -> float | NDArray[np.float64]:
    """Natural log of P(T >= observed T) over a uniform key, given the logits: never too small.

    Logits (bits,) and a key (bits,) give a float; several images (N, bits) or keys (K, bits) give
    (N,), (K,) or (N, K), one test each: see `correct` for keys, `weigh_source` for images. Finite
    and at most 0. Where all logits are of one size it is `log_p_value` of the matches (to 1e-10);
    where they differ, matches at large logits weigh more. All logits 0 give 0.0.

    P(p <= alpha) <= alpha for every alpha, every set of logits and any number of bits, because
    `log_tail` never undercuts the exact tail (there: the proof, and how it is computed) and ties
    with the observed T count as reached. The method depends on the number of bits alone, never on
    the data or the result. Some milliseconds an image, up to twenty at 256 bits; many
    keys share that.

    Raises:
        ValueError: as `clip_logits`; keys that are not {0, 1} or of another number of bits.
    """
    values, columns = clip_logits(logits, clip), np.asarray(keys)
    signs = check_keys(columns, values.shape[-1])
    rows = np.atleast_2d(values)
    found = np.stack([log_tail(np.abs(row), np.where(row < 0, -signs, signs)) for row in rows])
    result = per_key(found, values.ndim == 1, columns.ndim == 1)
    return result if result.ndim else float(result)
