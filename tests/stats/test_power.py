"""Power against sums in fractions and simulations of the tests themselves."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any, Literal

import numpy as np
import pytest

from artfp.stats import log_p_soft, log_p_value, minimum_matches, required_images
from artfp.stats.pooling import majority_bits, mean_logits
from artfp.stats.power import (
    power_majority,
    power_one_image,
    power_soft,
    power_table,
    required_table,
)


def tail(count: int, trials: int, chance: Fraction) -> Fraction:
    terms = (
        math.comb(trials, k) * chance**k * (1 - chance) ** (trials - k)
        for k in range(count, trials + 1)
    )
    return sum(terms, Fraction(0))


@pytest.mark.parametrize("bits", [8, 64, 100])
@pytest.mark.parametrize("accuracy", [Fraction(1, 2), Fraction(3, 4), Fraction(99, 100)])
@pytest.mark.parametrize("alpha", [0.05, 1e-6])
def test_one_image_by_counting_is_exact(bits: int, accuracy: Any, alpha: float) -> None:
    threshold = minimum_matches(bits, alpha)
    expected = float(tail(threshold, bits, accuracy)) if threshold <= bits else 0.0
    assert power_one_image(bits, float(accuracy), alpha) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("images", [1, 2, 3, 4, 9, 10])
def test_the_majority_composes_exactly_with_ties_shared(images: int) -> None:
    accuracy = Fraction(3, 5)
    right = tail(images // 2 + 1, images, accuracy)
    if images % 2 == 0:
        tie = tail(images // 2, images, accuracy) - right
        right += tie / 2
    expected = float(tail(minimum_matches(64, 1e-3), 64, right))
    assert power_majority(64, 0.6, 1e-3, images) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("bits", "accuracy", "images", "alpha"), [(64, 0.6, 7, 1e-3), (100, 0.55, 8, 0.05)]
)
def test_the_majority_agrees_with_a_simulation(
    bits: int, accuracy: float, images: int, alpha: float
) -> None:
    rng = np.random.default_rng(bits)
    runs, hits = 2000, 0
    for _ in range(runs):
        key = rng.integers(0, 2, bits)
        words = np.where(rng.random((images, bits)) < accuracy, key, 1 - key)
        matches = int((majority_bits(words) == key).sum())
        hits += log_p_value(matches, bits) <= math.log(alpha)
    expected = power_majority(bits, accuracy, alpha, images)
    assert hits / runs == pytest.approx(expected, abs=4 * math.sqrt(0.25 / runs))


@pytest.mark.parametrize(
    ("bits", "accuracy", "images", "alpha"),
    [(16, 0.8, 2, 1e-2), (32, 0.75, 1, 1e-3), (64, 0.6, 5, 1e-4), (100, 0.65, 1, 1e-3)],
)
def test_soft_power_agrees_with_a_simulation(
    bits: int, accuracy: float, images: int, alpha: float
) -> None:
    rng = np.random.default_rng(bits)
    runs, hits = 600, 0
    mean = power_mean(accuracy)
    for _ in range(runs):
        key = rng.integers(0, 2, bits)
        logits = mean * (2 * key - 1) + rng.normal(0, 1, (images, bits))
        hits += int(log_p_soft(mean_logits(logits), key, clip=None) <= math.log(alpha))
    expected = power_soft(bits, accuracy, alpha, images)
    assert 0.2 < expected < 0.99
    tolerance = 3.5 * math.sqrt(expected * (1 - expected) / runs) + 0.02
    assert hits / runs == pytest.approx(expected, abs=tolerance)


def power_mean(accuracy: float) -> float:
    """Bisection of the normal distribution function, by erfc."""
    low, high = -10.0, 10.0
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (low, middle) if math.erfc(-middle / 2**0.5) / 2 > accuracy else (middle, high)
    return low


def test_power_at_chance_is_the_level_and_grows_with_everything() -> None:
    for bits in (16, 100, 256):
        assert power_soft(bits, 0.5, 1e-3, 7) == pytest.approx(1e-3, rel=1e-6)
        assert power_majority(bits, 0.5, 1e-3, 7) <= 1e-3
        for reach in (power_soft, power_majority):
            by_images = [reach(bits, 0.6, 1e-4, n) for n in (1, 3, 10, 31, 100, 10**4, 10**7)]
            by_accuracy = [reach(bits, a, 1e-4, 3) for a in (0.0, 0.3, 0.5, 0.6, 0.8, 0.99, 1.0)]
            by_alpha = [reach(bits, 0.7, a, 1) for a in (1e-40, 1e-9, 1e-4, 0.05, 1.0)]
            for powers in (by_images, by_accuracy, by_alpha):
                assert (np.diff(powers) >= -1e-12).all()
                assert 0 <= powers[0] <= powers[-1] <= 1
    assert power_soft(64, 0.7, 1e-3) > power_one_image(64, 0.7, 1e-3)
    assert power_soft(8, 1.0, 1e-3) == power_one_image(8, 1.0, 1e-3) == 0.0  # 2^-8 > .001


@pytest.mark.parametrize("method", ["majority", "soft"])
def test_required_images_is_the_least_that_suffices(method: Literal["majority", "soft"]) -> None:
    reach = {"majority": power_majority, "soft": power_soft}[method]
    for bits, accuracy, alpha in ((64, 0.6, 1e-6), (100, 0.51, 1e-3), (100, 0.9, 1e-3)):
        count = required_images(bits, accuracy, alpha, 0.95, method)
        assert count is not None
        assert reach(bits, accuracy, alpha, count) >= 0.95
        assert count == 1 or reach(bits, accuracy, alpha, count - 1) < 0.95
    assert required_images(64, 0.5, 1e-6, 0.95, method) is None
    assert required_images(8, 0.9, 1e-6, 0.95, method) is None
    assert required_images(64, 0.4, 1e-6, 0.95, method) is None


def test_tables_have_a_row_for_each_accuracy() -> None:
    found = power_table(64, [0.6, 0.7], [1, 3, 9], 1e-3, "majority")
    assert found.shape == (2, 3)
    assert found[1, 2] == power_majority(64, 0.7, 1e-3, 9)
    table = required_table(64, [0.5, 0.6], [1e-3, 1e-6, 1e-30], 0.9)
    assert table[0] == [None, None, None]
    assert table[1] == [required_images(64, 0.6, 1e-3, 0.9), *table[1][1:2], None]


def test_power_refuses() -> None:
    for call, found in (
        (lambda: power_soft(64, 1.2, 0.1), "accuracy: found 1.2"),
        (lambda: power_soft(1, 0.7, 0.1), "bits: found 1"),
        (lambda: power_majority(64, 0.7, 0.1, 0), "images: found 0"),
        (lambda: power_one_image(0, 0.7, 0.1), "bits: found 0"),
        (lambda: power_one_image(64, 0.7, 0.0), "alpha: found 0"),
        (lambda: required_images(64, 0.7, 0.1, 1.0), "power: found 1"),
        (lambda: power_table(64, [0.7], [1], 0.1, "vote"), "method: found 'vote'"),  # type: ignore[arg-type]
    ):
        with pytest.raises(ValueError, match=found):
            call()
