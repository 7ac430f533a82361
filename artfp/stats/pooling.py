"""Many images from one suspected source: is the fingerprint in what they share?

Matching bits of several images must not be pooled, nor their p-values multiplied (Fisher): that
takes the images for independent, and a decoder that answers one constant bit string, agreeing with
the fingerprint in 60 of 100 bits by luck, would then "prove" anything: 1e-45 over 50 images, where
the truth is p = 0.028. Here the images are first made into one bit string, without the fingerprint:
s_i, the mean over images of the clipped logits of bit i. Then the fingerprint is tested against s
as against a single image. The p-value is conditional on all images, so that they may depend on each
other in any way, be copies of one image, or be chosen by the suspect, as long as neither images nor
choice know the fingerprint. More images help as they should: they average away what is not common
to them.
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
"""Largest size of a logit. Any limit that does not depend on the fingerprint keeps the p-value
valid; this one leaves most logits of the shipped decoders alone, and no single bit or image
decides."""


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
    logits: ArrayLike, fingerprints: ArrayLike, clip: float | None = CLIP
) -> float | NDArray[np.float64]:
    """Compute the p-value of T = sum_i l_i (2 k_i - 1) over a uniform fingerprint k, given the
    logits l.

    Where all logits are of one size it is `log_p_value` of the matches (to 1e-10); where they
    differ, matches at large logits weigh more. All logits 0 give 0.0.

    P(p <= alpha) <= alpha for every alpha, every set of logits and any number of bits, because
    `log_tail` never undercuts the exact tail (there: the proof, and how it is computed) and ties
    with the observed T count as reached. The method depends on the number of bits alone, never on
    the data or the result. Some milliseconds an image, up to twenty at 256 bits; many fingerprints
    share that.

    Args:
        logits: Logits of the decoder, shape (N, bits), or (bits,) for one image.
        fingerprints: Fingerprints of {0, 1}, shape (K, bits), or (bits,) for one.
        clip: Largest size of a logit, above 0; None leaves finite logits alone.

    Returns:
        Natural logs of the p-values, finite and at most 0, one test each: (N, K), without the axis
        of a single image or fingerprint. See `bonferroni` for several fingerprints,
        `evaluate_source` for several images.

    Raises:
        ValueError: as `clip_logits`; fingerprints that are not {0, 1} or of another number of bits.

    Example:
        >>> round(math.exp(log_p_soft([3.0, 2.0, -1.0], [1, 1, 1])), 3)
        0.25
    """
    values, columns = clip_logits(logits, clip), np.asarray(fingerprints)
    signs = fingerprint_signs(columns, values.shape[-1])
    rows = np.atleast_2d(values)
    found = np.stack([log_tail(np.abs(row), np.where(row < 0, -signs, signs)) for row in rows])
    result = drop_single_axes(found, values.ndim == 1, columns.ndim == 1)
    return result if result.ndim else float(result)


def mean_logits(logits: ArrayLike, clip: float | None = CLIP) -> NDArray[np.float64]:
    """The bit string that images (N, bits) have in common: means (bits,) of their clipped logits.

    For `log_p_soft(mean_logits(logits), fingerprints, clip=None)`. Each image has one voice per bit
    of at most `clip`, so that no single image outweighs many.

    Raises:
        ValueError: as `clip_logits`.
    """
    rows = np.atleast_2d(clip_logits(logits, clip))
    # Differences from the first, so that copies of one image have exactly its logits.
    first = rows[0]
    return np.asarray(first + (rows - first).mean(axis=0), np.float64)


def majority_bits(decoded: ArrayLike) -> NDArray[np.uint8]:
    """The bit string (bits,) that most of the bit strings (N, bits) hold, bit by bit; ties give 0.

    For `log_p_value`, where only bits were kept. As valid as `mean_logits`, less sharp. A tie must
    be broken without the fingerprint; any such way will do, as the fingerprint itself is uniform.

    Raises:
        ValueError: bit strings that are not {0, 1} or of another shape.
    """
    rows = np.atleast_2d(check_bit_array(decoded, "decoded"))
    return np.asarray(2 * rows.sum(axis=0) > len(rows), np.uint8)


@dataclass(frozen=True)
class SourceEvidence:
    """Tests of images from one suspected source against K fingerprints; logs are natural.

    Args:
        images: Number of images.
        bits: Bits of a fingerprint.
        tests: Comparisons that were made: fingerprints * tries. None of the p-values is corrected.
        log_p: Log p-values (K,) of the mean logits: the test that decides, chosen beforehand.
        log_p_inverted: Log p-values (K,) of its lower tail: a sign of tampering.
        matches: Bits (K,) of the majority over the images that agree with each fingerprint.
        log_p_majority: Log p-values (K,) of `matches`: the simpler test, for checking by hand; the
            smaller of the two is NOT a p-value.
        alone: For each fingerprint, the images that are significant on their own after correction
            for `tests`.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> keys = rng.integers(0, 2, (3, 64))
        >>> logits = 2 * keys[1] - 1 + rng.normal(0, 1, (20, 64))
        >>> evidence = evaluate_source(logits, keys)
        >>> evidence.images, int(evidence.log_p.argmin())
        (20, 1)
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
        """Position of the fingerprint with the smallest p-value."""
        return int(self.log_p.argmin())

    @property
    def corrected(self) -> NDArray[np.float64]:
        """`log_p` (K,), corrected for all tests."""
        return np.asarray(bonferroni(self.log_p, self.tests))


def evaluate_source(
    logits: ArrayLike,
    fingerprints: ArrayLike,
    tries: int = 1,
    level: float = 0.01,
    clip: float | None = CLIP,
) -> SourceEvidence:
    """Test images of one suspected source, or one image, against fingerprints.

    Args:
        logits: Logits of the decoder, shape (N, bits), or (bits,) for one image.
        fingerprints: Fingerprints of {0, 1}, shape (K, bits), or (bits,) for one.
        tries: Ways in which the whole set was decoded (transforms, decoders, choices of images).
        level: False discovery rate for the images on their own, which are tested by counting bits
            and reported beside the source as a separate result.
        clip: Largest size of a logit, above 0; None leaves finite logits alone.

    Returns:
        The p-values and matches for each fingerprint.

    Raises:
        ValueError: as `log_p_soft` and `bonferroni`; `level` not in 0 < level < 1.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> fingerprint = rng.integers(0, 2, 64)
        >>> found = evaluate_source(2 * fingerprint - 1 + rng.normal(0, 1, (20, 64)), fingerprint)
        >>> found.images, int(found.matches[0])
        (20, 64)
    """
    rows = np.atleast_2d(clip_logits(logits, clip))
    bits = rows.shape[1]
    signs = fingerprint_signs(fingerprints, bits)
    common = mean_logits(rows, None)
    held = np.where(common < 0, -signs, signs)
    decoded, columns = (rows > 0).astype(np.uint8), np.atleast_2d(np.asarray(fingerprints))
    matches = count_matches(majority_bits(decoded), columns)
    alone = log_p_value(count_matches(decoded, columns), bits)
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
