"""Bonferroni and Benjamini-Yekutieli against fractions and simulation."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from scipy import stats

from artfp.stats import bonferroni, log_p_value
from artfp.stats.multiple_testing import benjamini_yekutieli, holm, prevalence


def test_correction_multiplies_by_all_tests_and_stops_at_one() -> None:
    assert bonferroni(math.log(1e-6), fingerprints=20, tries=3) == pytest.approx(
        math.log(6e-5), rel=1e-14
    )
    assert bonferroni(math.log(0.4), fingerprints=3) == 0.0
    assert type(bonferroni(-1.0, 2)) is float
    found = bonferroni(np.array([[-177.0, -1.0], [-0.1, 0.0]]), 5)
    np.testing.assert_allclose(found, [[-177 + math.log(5), 0.0], [0.0, 0.0]])
    assert bonferroni(-0.3) == -0.3
    assert bonferroni(-1e4, fingerprints=10**6, tries=10**6) == pytest.approx(
        -1e4 + 12 * math.log(10)
    )


def test_correction_holds_over_keys_and_tries() -> None:
    # 3 tries that are copies of each other: as dependent as can be.
    rng = np.random.default_rng(0)
    runs, bits, keys = 20_000, 32, 7
    matches = rng.binomial(bits, 0.5, (runs, keys))
    log_p = np.asarray(bonferroni(log_p_value(matches, bits).min(axis=1), keys, tries=3))
    for level in (0.1, 0.01):
        hits = int((log_p <= math.log(level)).sum())
        assert stats.binom.sf(hits - 1, runs, level) > 1e-4


@pytest.mark.parametrize(
    ("log_p", "keys", "tries", "found"),
    [(-1.0, 0, 1, "0 fingerprints"), (-1.0, 1, -2, "-2 tries"), (0.5, 1, 1, "found 0.5")],
)
def test_correction_refuses(log_p: float, keys: int, tries: int, found: str) -> None:
    with pytest.raises(ValueError, match=found):
        bonferroni(log_p, keys, tries)
    with pytest.raises(ValueError, match="found -inf"):
        bonferroni([-1.0, -math.inf])


def by_hand(p: list[Fraction], level: Fraction) -> list[bool]:
    """Benjamini and Yekutieli 2001, in fractions."""
    count = len(p)
    harmonic = sum(Fraction(1, i) for i in range(1, count + 1))
    ordered = sorted(p)
    passed = [k for k in range(1, count + 1) if ordered[k - 1] <= k * level / (count * harmonic)]
    return [value <= ordered[max(passed) - 1] if passed else False for value in p]


def test_significant_images_agree_with_fractions() -> None:
    rng = np.random.default_rng(1)
    for _ in range(300):
        count = int(rng.integers(1, 12))
        p = [Fraction(int(x), 10**6) for x in 1 + 10 ** rng.uniform(0, 5.9, count)]
        log_p = [math.log(x.numerator) - math.log(x.denominator) for x in p]
        np.testing.assert_array_equal(benjamini_yekutieli(log_p, 0.05), by_hand(p, Fraction(1, 20)))


def test_false_discoveries_stay_under_the_level_for_equal_images() -> None:
    rng = np.random.default_rng(2)
    runs, level = 20_000, 0.05
    log_p = log_p_value(rng.binomial(64, 0.5, runs), 64)
    hits = sum(bool(benjamini_yekutieli(np.full(50, value), level).any()) for value in log_p[:4000])
    assert stats.binom.sf(hits - 1, 4000, level) > 1e-4


def test_prevalence_counts_and_says_so() -> None:
    log_p = np.concatenate([np.full(30, -60.0), np.full(70, -0.5)])
    found = prevalence(log_p, 0.01)
    assert (found.significant, found.images, found.fraction) == (30, 100, 0.3)
    assert str(found).startswith("30 of 100 images")
    assert "%" not in str(found)
    assert prevalence([-0.1], 0.01).significant == 0
    assert prevalence(np.full(10_000, -177.4), 1e-9).fraction == 1.0


@pytest.mark.parametrize(("log_p", "level"), [([], 0.1), ([[-1.0]], 0.1), ([-1.0], 1.0)])
def test_prevalence_refuses(log_p: Any, level: float) -> None:
    with pytest.raises(ValueError, match="found"):
        prevalence(log_p, level)


def test_holm_against_its_definition_and_under_dependence() -> None:
    chance = np.random.default_rng(5)
    p = chance.uniform(0, 1, 12).round(1).clip(0.05)
    ordered = sorted(p)
    expected = [
        min(1.0, max((12 - j) * ordered[j] for j in range(12) if ordered[j] <= each)) for each in p
    ]
    assert np.exp(holm(np.log(p))) == pytest.approx(expected)
    # Each of 20 p-values is the same one: the smallest corrected is at most alpha as rarely.
    alpha, equal = 0.05, chance.uniform(0, 1, 4000)
    hits = [holm(np.log(np.full(20, u))).min() <= np.log(alpha) for u in equal]
    assert np.mean(hits) <= alpha
    independent = chance.uniform(0, 1, (4000, 20))
    assert np.mean([holm(np.log(row)).min() <= np.log(alpha) for row in independent]) < 0.062


@pytest.mark.parametrize("log_p", [[], [[0.0]], [0.1]])
def test_holm_refuses(log_p: Any) -> None:
    with pytest.raises(ValueError, match="log p-value"):
        holm(log_p)
