"""Health of a decoder on clean images, and the distribution of matches with FIXED fingerprints.

For a uniform secret fingerprint the binomial p-value is exact, whatever the decoder does with clean
images: constant bits, correlated bits, all images alike. Nothing here is needed for that, and
nothing here can mend or break it. Calibration matters for the other question, how often clean
images pass for one given fingerprint, over the images: there biased and dependent bits count. A
fingerprint that happens to lie near the bit strings that the decoder likes has many false alarms,
other fingerprints then have fewer. Images are taken for independent draws of what the decoder will
meet.

    >>> import numpy as np
    >>> decoded = np.random.default_rng(0).integers(0, 2, (1000, 64))
    >>> fingerprint = np.random.default_rng(1).integers(0, 2, 64)
    >>> find_alarms(calibrate_decoder(decoded, fingerprint, "0" * 64))
    []
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from artfp.stats.binomial import check_bit_array, count_matches, log_p_value, minimum_matches
from artfp.stats.decoder_calibration import BitBias, Calibration, Dependence, FalseAlarms, KeyCheck
from artfp.stats.intervals import clopper_pearson

CALIBRATION_LEVELS = (1e-1, 1e-2, 1e-3, 1e-4)
CALIBRATION_CONFIDENCE = 0.95


def calibrate_decoder(
    decoded: ArrayLike,
    fingerprints: ArrayLike,
    decoder_hash: str,
    levels: Sequence[float] = CALIBRATION_LEVELS,
) -> Calibration:
    """Describe the decoded bits of clean images, by themselves and against fingerprints.

    Each fingerprint is tested by itself: the tests of several on the same images are not
    independent, and are never pooled.

    Args:
        decoded: Decoded bits of {0, 1}, shape (N, bits), N above 1.
        fingerprints: Fingerprints of {0, 1}, shape (K, bits), or (bits,) for one.
        decoder_hash: SHA-256 of the decoder's weights.
        levels: Nominal levels of the test of one image against one fingerprint.

    Returns:
        Biases and dependence of the bits, and the false alarms of each fingerprint.

    Raises:
        ValueError: fewer than two images, values that are not {0, 1}, unequal numbers of bits, or a
            level not in 0 < level <= 1.

    Example:
        >>> decoded = np.random.default_rng(0).integers(0, 2, (1000, 64))
        >>> calibrate_decoder(decoded, decoded[0], "0" * 64).images
        1000
    """
    rows = check_bit_array(decoded, "decoded")
    if rows.ndim != 2 or len(rows) < 2:
        raise ValueError(f"decoded: found shape {rows.shape}, expected (images, bits), images > 1")
    images, bits = rows.shape
    ones = rows.sum(axis=0).astype(np.int64)
    lower, upper = clopper_pearson(ones, images, CALIBRATION_CONFIDENCE)
    biases = zip((ones / images).tolist(), lower.tolist(), upper.tolist(), strict=True)
    matches = count_matches(rows, np.atleast_2d(np.asarray(fingerprints)))
    return Calibration(
        decoder_hash=decoder_hash,
        images=images,
        bits=bits,
        biases=tuple(BitBias(*bias) for bias in biases),
        dependence=_dependence(rows),
        keys=tuple(_check_key(column, bits, levels) for column in matches.T),
    )


def find_alarms(calibration: Calibration) -> list[str]:
    """List what is wrong with a decoder on clean images.

    Named are bits that are surely 1 in less than .4 or more than .6 of the images, matches that
    surely vary over 1.25 times as much as the binomial, a mean that surely exceeds bits / 2 by a
    quarter of a binomial standard deviation, and false alarms surely above 1.5 times their level:
    with many images, some of many fingerprints pass a little too often with any decoder. "Surely":
    at .95 for each of the four kinds, Bonferroni over bits, fingerprints and levels. Where
    fingerprints share an alarm, the worst is named and the others are counted. None of this affects
    the p-value for a uniform secret fingerprint.

    Args:
        calibration: Result of `calibrate_decoder`.

    Returns:
        A sentence for each alarm; none where nothing is wrong.

    Example:
        >>> decoded = np.zeros((100, 64), int)
        >>> found = find_alarms(calibrate_decoder(decoded, decoded[0], "0" * 64))
        >>> found[0][:24]
        'bias: 64 of 64 bits lean'
    """
    found: dict[str, list[tuple[float, str]]] = defaultdict(list)
    count = len(calibration.keys)
    sure = float(special.ndtri(1.0 - (1.0 - CALIBRATION_CONFIDENCE) / max(count, 1)))
    half, spread = calibration.bits / 2, math.sqrt(calibration.bits) / 2
    for number, fingerprint in enumerate(calibration.keys):
        name = f"fingerprint {number + 1} of {count}"
        if fingerprint.dispersion - sure * fingerprint.dispersion_error > 1.25:
            text = (
                f"over-dispersion: the matches with {name} vary {fingerprint.dispersion:.2f} "
                "times as much as those of independent fair bits; the binomial understates its "
                "false alarms"
            )
            found["dispersion"].append((fingerprint.dispersion, text))
        if fingerprint.mean - sure * fingerprint.mean_error > half + spread / 4:
            text = (
                f"clean images lean to {name}: they match it in {fingerprint.mean:.1f} of "
                f"{calibration.bits} bits on average, expected {half:.1f}; draw another fingerprint"
            )
            found["mean"].append((fingerprint.mean, text))
        for level, hits, text in _too_many(name, fingerprint, calibration.images, count):
            found[f"rate at {level}"].append((hits, text))
    return [*_biased(calibration), *map(_worst, found.values())]


def count_uneven_bits(calibration: Calibration) -> int:
    """Number of bits that are surely not 1 in half of the images: at .95, Bonferroni over bits.

    Many images show a bias that is too slight to matter: see `find_alarms` for one that does.
    """
    _, lower, upper = _shares(calibration)
    return int(((lower > 0.5) | (upper < 0.5)).sum())


def _worst(ranked: list[tuple[float, str]]) -> str:
    """The text of the worst of some alarms (how bad, text) of one kind, a fingerprint each."""
    others = len(ranked) - 1
    more = (
        f"; {others} more fingerprint{'' if others == 1 else 's'} with the same alarm"
        if others
        else ""
    )
    return max(ranked, key=lambda alarm: alarm[0])[1] + more


def _shares(
    calibration: Calibration,
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Images in which each bit is 1, (bits,), and bounds of their share at .95 for all together."""
    images, bits = calibration.images, calibration.bits
    ones = np.rint([bias.ones * images for bias in calibration.biases]).astype(np.int64)
    return ones, *clopper_pearson(ones, images, 1.0 - (1.0 - CALIBRATION_CONFIDENCE) / (2 * bits))


def _biased(calibration: Calibration) -> list[str]:
    """The alarm for bits that are seldom or mostly 1."""
    images, bits = calibration.images, calibration.bits
    ones, lower, upper = _shares(calibration)
    biased = np.flatnonzero((lower > 0.6) | (upper < 0.4))
    if not biased.size:
        return []
    worst = int(biased[np.abs(ones[biased] / images - 0.5).argmax()])
    constant = calibration.dependence.constant
    text = (
        f"bias: {biased.size} of {bits} bits lean to one value on clean images; the worst, "
        f"bit {worst}, is 1 in {ones[worst]} of {images}"
    )
    return [text + (f"; {constant} never change" if constant else "")]


def _too_many(
    name: str, fingerprint: KeyCheck, images: int, fingerprints: int
) -> Iterator[tuple[float, int, str]]:
    """Yield (level, hits, alarm) where images surely pass for a fingerprint far more often than the
    level says."""
    confidence = 1.0 - (1.0 - CALIBRATION_CONFIDENCE) / (
        fingerprints * max(len(fingerprint.false_alarms), 1)
    )
    for alarm in fingerprint.false_alarms:
        lower, _ = clopper_pearson(alarm.hits, images, confidence)
        if lower > 1.5 * alarm.level:
            text = (
                f"false alarms: {alarm.hits} of {images} clean images pass for {name} at the "
                f"nominal level {alarm.level:g}; the rate over images is above {float(lower):.2g}"
            )
            yield alarm.level, alarm.hits, text


def _dependence(rows: NDArray[np.float64]) -> Dependence:
    """Correlations of the bits of (N, bits), summarised."""
    images, bits = rows.shape
    centred = rows - rows.mean(axis=0)
    norms = np.sqrt(np.square(centred).sum(axis=0))
    kept = np.flatnonzero((rows != rows[0]).any(axis=0))
    constant = bits - len(kept)
    if len(kept) < 2:
        return Dependence(0.0, 0.0, (0, 0), float(len(kept)), constant)
    scaled = centred[:, kept] / norms[kept]
    correlations = scaled.T @ scaled
    np.fill_diagonal(correlations, 0.0)
    row, column = divmod(int(np.abs(correlations).argmax()), len(kept))
    pairs = len(kept) * (len(kept) - 1)
    excess = float(np.square(correlations).sum()) / pairs - 1.0 / (images - 1)
    square = min(max(excess, 0.0), 1.0)
    return Dependence(
        mean_square=square,
        largest=float(np.clip(correlations[row, column], -1.0, 1.0)),
        pair=(int(kept[row]), int(kept[column])),
        effective_bits=len(kept) / (1.0 + (len(kept) - 1) * square),
        constant=constant,
    )


def _check_key(matches: NDArray[np.int64], bits: int, levels: Sequence[float]) -> KeyCheck:
    """Mean, dispersion and false alarms of one fingerprint's matches (N,)."""
    images, centred = len(matches), matches - matches.mean()
    variance = float(np.square(centred).sum()) / (images - 1)
    fourth = float((centred**4).mean())
    return KeyCheck(
        mean=float(matches.mean()),
        mean_error=math.sqrt(variance / images),
        dispersion=variance / (bits / 4),
        dispersion_error=math.sqrt(max(fourth - variance**2, 0.0) / images) / (bits / 4),
        false_alarms=tuple(_false_alarms(matches, bits, level) for level in levels),
    )


def _false_alarms(matches: NDArray[np.int64], bits: int, level: float) -> FalseAlarms:
    """Images (N,) that reach the threshold of one level."""
    threshold = minimum_matches(bits, level)
    attained = math.exp(log_p_value(threshold, bits)) if threshold <= bits else 0.0
    hits = int((matches >= threshold).sum())
    lower, upper = clopper_pearson(hits, len(matches), CALIBRATION_CONFIDENCE)
    return FalseAlarms(
        level=float(level),
        threshold=threshold,
        attained=attained,
        hits=hits,
        rate=hits / len(matches),
        lower=float(lower),
        upper=float(upper),
    )


@dataclass(frozen=True)
class PooledRate:
    """Clean images that pass at a nominal level, over all fingerprints of a calibration.

    `rate`, `hits` of `tests`, is expected to be `attained`, which lies in `lower`..`upper` with a
    probability of .95. `worst` are the hits of the fingerprint that has most.
    """

    level: float
    threshold: int
    attained: float
    hits: int
    tests: int
    rate: float
    lower: float
    upper: float
    worst: int


def pooled_rates(calibration: Calibration) -> list[PooledRate]:
    """The rate at each level of a calibration; none where it has fewer than two fingerprints.

    The design effect is the largest of all levels, since rare hits show it too seldom; where there
    is no hit at any, the images count as one.
    """
    if len(calibration.keys) < 2:
        return []
    levels = list(zip(*(fingerprint.false_alarms for fingerprint in calibration.keys), strict=True))
    hits = [np.array([alarm.hits for alarm in each]) for each in levels]
    images = calibration.images
    seen = [_design_effect(each, images) for each in hits if each.any()]
    effect = max(seen, default=float(images))
    tests = images * len(calibration.keys)
    found = []
    for rates, counts in zip(levels, hits, strict=True):
        total = int(counts.sum())
        lower, upper = _bounds(total / effect, tests / effect)
        found.append(
            PooledRate(
                level=rates[0].level,
                threshold=rates[0].threshold,
                attained=rates[0].attained,
                hits=total,
                tests=tests,
                rate=total / tests,
                lower=lower,
                upper=upper,
                worst=int(counts.max()),
            )
        )
    return found


def _design_effect(hits: NDArray[np.int64], images: int) -> float:
    """Variance of hits (K,) over fingerprints, relative to independent tests: 1 to `images`."""
    rate = float(hits.mean()) / images
    if rate == 1.0:
        return float(images)
    effect = float(hits.var(ddof=1)) / (images * rate * (1.0 - rate))
    return min(max(effect, 1.0), float(images))


def _bounds(hits: float, tests: float) -> tuple[float, float]:
    """Bounds of a share at .95 together: Clopper and Pearson's, where neither number is whole."""
    rest, miss = (1.0 - CALIBRATION_CONFIDENCE) / 2, tests - hits
    lower = float(special.betaincinv(hits, miss + 1.0, rest)) if hits > 0 else 0.0
    upper = float(special.betaincinv(hits + 1.0, miss, 1.0 - rest)) if miss > 0 else 1.0
    return lower, upper
