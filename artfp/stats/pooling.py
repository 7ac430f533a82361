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

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from artfp.stats.binomial import count_matches, log_p_value
from artfp.stats.multiple_testing import Prevalence, correct, prevalence
from artfp.stats.sign_tails import log_tail
from artfp.stats.soft import CLIP, clip_logits
from artfp.stats.words import check_keys, check_words


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


def majority_word(words: ArrayLike) -> NDArray[np.uint8]:
    """The word (bits,) that most of the words (N, bits) hold, bit by bit; ties give 0.

    For `log_p_value`, where only bits were kept. As valid as `mean_logits`, less sharp. A tie must
    be broken without the key; any such way will do, as the key itself is uniform.

    Raises:
        ValueError: words that are not {0, 1} or of another shape.
    """
    rows = np.atleast_2d(check_words(words, "words"))
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
        return np.asarray(correct(self.log_p, self.tests))


def weigh_source(
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
        ValueError: as `log_p_soft` and `correct`; `level` not in 0 < level < 1.
    """
    rows = np.atleast_2d(clip_logits(logits, clip))
    bits = rows.shape[1]
    signs = check_keys(keys, bits)
    common = mean_logits(rows, None)
    held = np.where(common < 0, -signs, signs)
    words, columns = (rows > 0).astype(np.uint8), np.atleast_2d(np.asarray(keys))
    matches = count_matches(majority_word(words), columns)
    alone = log_p_value(count_matches(words, columns), bits)
    singles = np.asarray(correct(alone, len(signs), tries))
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
