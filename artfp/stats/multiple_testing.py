"""Many tests at once: Bonferroni for fingerprints and tries, Holm for each of many images,
Benjamini-Yekutieli for how many."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray


@overload
def bonferroni(log_p: float, fingerprints: int = 1, tries: int = 1) -> float: ...
@overload
def bonferroni(
    log_p: NDArray[Any], fingerprints: int = 1, tries: int = 1
) -> NDArray[np.float64]: ...
@overload
def bonferroni(
    log_p: ArrayLike, fingerprints: int = 1, tries: int = 1
) -> float | NDArray[np.float64]: ...
def bonferroni(
    log_p: ArrayLike, fingerprints: int = 1, tries: int = 1
) -> float | NDArray[np.float64]:
    """Correct p-values for several comparisons by Bonferroni: log of min(1, p * fingerprints *
    tries).

    The probability that any of the corrected p-values of an image without a fingerprint is at most
    alpha is at most alpha, however they depend on each other (the union bound).

    Args:
        log_p: Natural logs of p-values, any shape.
        fingerprints: Fingerprints that were compared.
        tries: Ways in which the images were decoded (crops, turns, decoders); count also those that
            were tried and dropped.

    Returns:
        Natural logs of the corrected p-values, in the shape of `log_p`.

    Raises:
        ValueError: a count below 1, or a log p-value above 0, infinite or not a number.

    Example:
        >>> round(math.exp(bonferroni(math.log(1e-6), fingerprints=20)), 9)
        2e-05
    """
    if fingerprints < 1 or tries < 1:
        raise ValueError(
            f"found {fingerprints} fingerprints and {tries} tries, expected at least 1 of each"
        )
    result = np.minimum(check_log_p(log_p) + math.log(fingerprints * tries), 0.0)
    return result if result.ndim else float(result)


def holm(log_p: ArrayLike) -> NDArray[np.float64]:
    """Correct p-values for each other by Holm's step-down (Holm 1979), as logs.

    The k-th smallest of N is multiplied by N - k + 1, and is no smaller than those before it. The
    probability that any of those whose hypothesis holds is at most alpha is at most alpha, however
    they depend on each other.

    Args:
        log_p: Natural logs of p-values, (N,).

    Returns:
        Natural logs of the corrected p-values, (N,).

    Raises:
        ValueError: `log_p` is no vector of log p-values.

    Example:
        >>> np.exp(holm(np.log([0.04, 0.01, 0.5]))).round(4).tolist()
        [0.08, 0.03, 0.5]
    """
    values = check_log_p(log_p)
    if values.ndim != 1 or values.size == 0:
        raise ValueError(f"log p-values: found shape {values.shape}, expected (tests,)")
    order = np.argsort(values, kind="stable")
    steps = values[order] + np.log(np.arange(values.size, 0, -1))
    corrected = np.empty_like(values)
    corrected[order] = np.minimum(np.maximum.accumulate(steps), 0.0)
    return corrected


@dataclass(frozen=True)
class Prevalence:
    """Number of `images` that are significant on their own at the false discovery rate `level`."""

    significant: int
    images: int
    level: float

    @property
    def fraction(self) -> float:
        """Fraction of the images, 0 to 1."""
        return self.significant / self.images

    def __str__(self) -> str:
        return (
            f"{self.significant} of {self.images} images are significant on their own "
            f"(Benjamini-Yekutieli, false discovery rate {self.level:g})"
        )


def benjamini_yekutieli(log_p: ArrayLike, level: float) -> NDArray[np.bool_]:
    """Select the p-values (N,) that are significant by the Benjamini-Yekutieli step-up: mask (N,).

    The k smallest are taken, for the largest k with p_(k) <= k * level / (N * (1 + ... + 1/N)).
    The expected share of false ones among them is at most `level` however the p-values depend on
    each other (Benjamini and Yekutieli 2001, theorem 1.3); images of one decoder and one
    fingerprint do.

    Raises:
        ValueError: `log_p` is no vector of log p-values, or `level` not in 0 < level < 1.
    """
    values = check_log_p(log_p)
    if values.ndim != 1 or values.size == 0:
        raise ValueError(f"log p-values: found shape {values.shape}, expected (images,)")
    check_level(level)
    ranks = np.arange(1, values.size + 1)
    bounds = np.log(ranks) + math.log(level) - math.log(values.size) - math.log((1 / ranks).sum())
    passed = np.flatnonzero(np.sort(values) <= bounds)
    if not passed.size:
        return np.zeros(values.size, bool)
    # p-values equal to the last one taken pass as well: with them, its rank would be higher.
    return np.asarray(values <= np.sort(values)[passed[-1]])


def prevalence(log_p: ArrayLike, level: float) -> Prevalence:
    """Count `benjamini_yekutieli` p-values (N,): the claim "so many of these images carry the
    fingerprint".

    It is another claim than that of `evaluate_source` ("the fingerprint is in this source"), and
    neither implies the other: a weak fingerprint in every image is found only together, a strong
    fingerprint in one image of fifty only alone.

    Raises:
        ValueError: as `benjamini_yekutieli`.
    """
    mask = benjamini_yekutieli(log_p, level)
    return Prevalence(int(mask.sum()), int(mask.size), level)


def check_level(level: float, name: str = "level") -> None:
    """Raise ValueError unless 0 < level < 1."""
    if not 0 < level < 1:
        raise ValueError(f"{name}: found {level}, expected 0 < {name} < 1")


def check_log_p(log_p: ArrayLike) -> NDArray[np.float64]:
    """Return log p-values as an array; raise ValueError unless all are finite and at most 0."""
    values: NDArray[Any] = np.asarray(log_p, dtype=np.float64)
    if not (np.isfinite(values) & (values <= 0)).all():
        bad = values[~(np.isfinite(values) & (values <= 0))].flat[0]
        raise ValueError(f"log p-value: found {bad}, expected a finite number of at most 0")
    return values
