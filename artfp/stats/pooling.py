"""Many images from one suspected source: is the key in what they share?

Matching bits of several images must not be pooled, nor their p-values multiplied (Fisher): that
takes the images for independent, and a decoder that answers one constant word, agreeing with the
key in 60 of 100 bits by luck, would then "prove" anything: 1e-45 over 50 images, where the truth is
p = 0.028. Here the images are first made into one word, without the key: s_i, the mean over images
of the clipped logits of bit i. Then the key is tested against s as against a single image. The
p-value is conditional on all images, so that they may depend on each other in any way, be copies of
one image, or be chosen by the suspect, as long as neither images nor choice know the key. More
images help as they should: they average away what is not common to them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from artfp.stats.binomial import (
    check_bit_array,
    check_logits,
    count_matches,
    drop_single_axes,
    fingerprint_signs,
    log_p_value,
)
from artfp.stats.multiple_testing import Prevalence, bonferroni, prevalence
from artfp.stats.sign_tails import log_tail

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
    (N,), (K,) or (N, K), one test each: see `bonferroni` for keys, `evaluate_source` for images.
    Finite and at most 0. Where all logits are of one size it is `log_p_value` of the matches
    (to 1e-10); where they differ, matches at large logits weigh more. All logits 0 give 0.0.

    P(p <= alpha) <= alpha for every alpha, every set of logits and any number of bits, because
    `log_tail` never undercuts the exact tail (there: the proof, and how it is computed) and ties
    with the observed T count as reached. The method depends on the number of bits alone, never on
    the data or the result. Some milliseconds an image, up to twenty at 256 bits; many
    keys share that.

    Raises:
        ValueError: as `clip_logits`; keys that are not {0, 1} or of another number of bits.
    """
    values, columns = clip_logits(logits, clip), np.asarray(keys)
    signs = fingerprint_signs(columns, values.shape[-1])
    rows = np.atleast_2d(values)
    found = np.stack([log_tail(np.abs(row), np.where(row < 0, -signs, signs)) for row in rows])
    result = drop_single_axes(found, values.ndim == 1, columns.ndim == 1)
    return result if result.ndim else float(result)


def mean_logits(logits: ArrayLike, clip: float | None = CLIP) -> NDArray[np.float64]:
    """The word that images (N, bits) have in common: means (bits,) of their clipped logits.

    For `log_p_soft(mean_logits(logits), keys, clip=None)`. Each image has one voice per bit of at
    most `clip`, so that no single image outweighs many.

    Raises:
        ValueError: as `clip_logits`.
    """
    rows = np.atleast_2d(clip_logits(logits, clip))
    # Differences from the first, so that copies of one image have exactly its logits.
    first = rows[0]
    return first + (rows - first).mean(axis=0)


def majority_bits(words: ArrayLike) -> NDArray[np.uint8]:
    """The word (bits,) that most of the words (N, bits) hold, bit by bit; ties give 0.

    For `log_p_value`, where only bits were kept. As valid as `mean_logits`, less sharp. A tie must
    be broken without the key; any such way will do, as the key itself is uniform.

    Raises:
        ValueError: words that are not {0, 1} or of another shape.
    """
    rows = np.atleast_2d(check_bit_array(words, "words"))
    return (2 * rows.sum(axis=0) > len(rows)).astype(np.uint8)


@dataclass(frozen=True)
class SourceEvidence:
    """What images from one suspected source say of K keys; arrays are (K,), logs natural.

    `log_p` is the test to go by, chosen beforehand: the mean logits. `log_p_majority`, of the
    `matches` of the majority word, is the simpler test, for checking by hand; the smaller of the
    two is NOT a p-value. `log_p_inverted` is the lower tail of the first: tampering. None of these
    is corrected; all were one of `tests` = keys * tries. `alone` counts, for each key, the images
    that are significant on their own, after correction for `tests`.
    """

    images: int
    bits: int
    tests: int
    log_p: NDArray[np.float64]
    log_p_inverted: NDArray[np.float64]
    matches: NDArray[np.int64]
    log_p_majority: NDArray[np.float64]
    alone: tuple[Prevalence, ...]

    @property
    def best(self) -> int:
        """Position of the key with the smallest p-value."""
        return int(self.log_p.argmin())

    @property
    def corrected(self) -> NDArray[np.float64]:
        """`log_p` (K,), corrected for all tests."""
        return np.asarray(bonferroni(self.log_p, self.tests))


def evaluate_source(
    logits: ArrayLike,
    keys: ArrayLike,
    tries: int = 1,
    level: float = 0.01,
    clip: float | None = CLIP,
) -> SourceEvidence:
    """Weigh images (N, bits) of one source, or one image (bits,), against keys (K, bits).

    `tries` counts the ways in which the whole set was read (transforms, decoders, choices of
    images). `level` is the false discovery rate for the images on their own, which are tested by
    counting bits, and reported beside the source as the different claim that they are.

    Raises:
        ValueError: as `log_p_soft` and `bonferroni`; `level` not in 0 < level < 1.
    """
    rows = np.atleast_2d(clip_logits(logits, clip))
    bits = rows.shape[1]
    signs = fingerprint_signs(keys, bits)
    common = mean_logits(rows, None)
    held = np.where(common < 0, -signs, signs)
    words, columns = (rows > 0).astype(np.uint8), np.atleast_2d(np.asarray(keys))
    matches = count_matches(majority_bits(words), columns)
    alone = log_p_value(count_matches(words, columns), bits)
    singles = np.asarray(bonferroni(alone, len(signs), tries))
    return SourceEvidence(
        images=len(rows),
        bits=bits,
        tests=len(signs) * tries,
        log_p=log_tail(np.abs(common), held),
        log_p_inverted=log_tail(np.abs(common), -held),
        matches=matches,
        log_p_majority=np.asarray(log_p_value(matches, bits)),
        alone=tuple(prevalence(column, level) for column in singles.T),
    )
