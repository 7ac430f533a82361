"""Tails of weighted signs against the enumeration of all signs, in integers."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from scipy import stats

from artfp.stats import log_p_value
from artfp.stats import sign_tails as signs
from artfp.stats.binomial import log_fraction
from artfp.stats.sign_tails import (
    approximate_log_tail_saddle,
    log_tail,
    log_tail_hoeffding,
    log_tail_monte_carlo,
)

BOUNDS = [log_tail, log_tail_hoeffding]
SCALE = 2.0**-30


def all_signs(bits: int) -> np.ndarray:
    """All rows of +1 and -1, (2^bits, bits)."""
    return 2.0 * (np.arange(2**bits)[:, None] >> np.arange(bits) & 1) - 1.0


def integer_weights(bits: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Weights below 2^40, for exact sums in int64; the adversarial ones among them."""
    top = 2**40
    return [
        np.full(bits, top - 1),
        np.full(bits, 3),
        np.array([top] + [1] * (bits - 1)),
        np.array([top] + [top - 1] * (bits - 1)),
        2 ** np.arange(bits),
        3 ** np.arange(min(bits, 24)) if bits <= 24 else np.arange(bits),
        np.maximum((top * 0.9 ** np.arange(bits)).astype(np.int64), 1),
        np.arange(1, bits + 1),
        np.array([0, 0] + [5] * (bits - 2)),
        rng.integers(0, 4, bits) + (np.arange(bits) == 0),
        rng.integers(1, top, bits),
        (10 ** rng.uniform(0, 12, bits)).astype(np.int64) + 1,
        np.abs(rng.standard_cauchy(bits) * 1e6).astype(np.int64) + 1,
    ]


def exact_counts(weights: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """For each row of signs, how many of all 2^bits rows reach its sum: integers throughout."""
    sums = np.zeros(1, np.int64)
    for weight in weights.astype(np.int64):
        sums = np.concatenate([sums - weight, sums + weight])
    reached = rows.astype(np.int64) @ weights.astype(np.int64)
    return len(sums) - np.searchsorted(np.sort(sums), reached, side="left")


@pytest.mark.parametrize("bits", [3, 8, 11, 12])
@pytest.mark.parametrize("by_table", [False, True])
def test_bounds_never_undercut_the_exact_tail_of_any_signs(
    bits: int, by_table: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if by_table:
        monkeypatch.setattr(signs, "_HALVES_BITS", 0)
    rng = np.random.default_rng(bits)
    rows = all_signs(bits)
    for weights in integer_weights(bits, rng):
        exact = np.array([log_fraction(int(c), bits) for c in exact_counts(weights, rows)])
        for bound in BOUNDS:
            found = bound(weights * SCALE, rows)
            assert (found >= exact - 1e-15).all(), (bound, weights)
            assert (found <= 0).all()
        if not by_table:  # 46 digits of a grid hold 40
            np.testing.assert_allclose(log_tail(weights * SCALE, rows), exact, atol=1e-13)


@pytest.mark.parametrize("bits", [16, 18, 20])
def test_meeting_in_the_middle_is_exact_for_longer_words(bits: int) -> None:
    rng = np.random.default_rng(bits)
    rows = 2.0 * rng.integers(0, 2, (40, bits)) - 1
    rows[0], rows[1] = 1, -1
    count = 13 if bits < 20 else 4
    for weights in integer_weights(bits, rng)[-count:]:
        exact = [log_fraction(int(c), bits) for c in exact_counts(weights, rows)]
        np.testing.assert_allclose(log_tail(weights * SCALE, rows), exact, atol=1e-13)


@pytest.mark.parametrize("by_table", [False, True])
def test_bounds_hold_for_floats_whose_sums_round(
    by_table: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # 0.1 + 0.2 and 0.3 differ as floats; what counts are the floats, as fractions.
    if by_table:
        monkeypatch.setattr(signs, "_HALVES_BITS", 0)
    rng = np.random.default_rng(4)
    ragged = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7])
    for weights in (ragged, np.full(7, 0.1), rng.exponential(size=7), [1e-308, 1e-300, 1e308]):
        exact = [Fraction(float(w)) for w in weights]
        rows = np.array(list(itertools.product([-1, 1], repeat=len(exact))))
        sums = [sum(e * int(s) for e, s in zip(exact, row, strict=True)) for row in rows]
        for bound in BOUNDS:
            found = bound(weights, rows)
            for log_p, reached in zip(found, sums, strict=True):
                count = sum(other >= reached for other in sums)
                assert log_p >= log_fraction(count, len(exact)) - 1e-15


def exact_law(weights: list[int]) -> tuple[list[int], int]:
    """Number of subsets of each sum, by one product of polynomials packed into an integer."""
    slot = 8 * (len(weights) // 8 + 1)
    packed = 1
    for weight in weights:
        packed += packed << (slot * weight)
    size = slot // 8
    data = packed.to_bytes(size * (sum(weights) + 1) + size, "little")
    return [
        int.from_bytes(data[i * size : (i + 1) * size], "little") for i in range(sum(weights) + 1)
    ], sum(weights)


@pytest.mark.parametrize(
    ("bits", "largest", "exact"),
    [(25, 60, True), (64, 60, True), (100, 30, True), (256, 20, True), (100, 5000, False)],
)
def test_the_table_against_a_product_of_polynomials(bits: int, largest: int, exact: bool) -> None:
    rng = np.random.default_rng(bits + largest)
    weights = rng.integers(0, largest, bits)
    weights[0] = largest
    law, total = exact_law(weights.tolist())
    below = list(itertools.accumulate(law))
    rows = np.where(rng.random((60, bits)) < np.linspace(0, 1, 60)[:, None], -1.0, 1.0)
    found = log_tail(weights * 0.37, rows)  # 0.37 is no power of two: the grid does not fit
    aligned = log_tail(weights / 16, rows)
    for row, bound, close in zip(rows, found, aligned, strict=True):
        missed = int(weights[row < 0].sum())
        expected = log_fraction(below[missed], bits)
        assert bound >= expected - 1e-15
        assert close >= expected - 1e-15
        if exact:
            assert close == pytest.approx(expected, abs=1e-9)
        assert close <= expected + 0.1 + 0.02 * abs(expected)
    assert below[total] == 2**bits


@pytest.mark.parametrize("bits", [1, 2, 8, 24, 25, 64, 100, 128, 256, 400])
def test_equal_weights_give_the_binomial(bits: int) -> None:
    rng = np.random.default_rng(bits)
    rows = np.where(rng.random((200, bits)) < np.linspace(0, 1, 200)[:, None], 1.0, -1.0)
    matches = (rows > 0).sum(axis=1)
    for weight in (1.0, 0.1, 19.999999, 1e-7):
        found = log_tail(np.full(bits, weight), rows)
        np.testing.assert_allclose(found, log_p_value(matches, bits), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("bits", [16, 100, 256, 512, 513, 1000])
def test_tails_are_finite_and_at_most_one_at_the_extremes(bits: int) -> None:
    rng = np.random.default_rng(bits)
    rows = np.stack([np.ones(bits), -np.ones(bits)])
    for weights in (np.ones(bits), rng.exponential(size=bits), 10 ** rng.uniform(-300, 300, bits)):
        for bound in BOUNDS:
            best, worst = bound(weights, rows)
            assert math.isfinite(best)
            assert best <= worst == 0.0
    assert log_tail(np.ones(256), rows[:1, :1].repeat(256, 1))[0] == pytest.approx(
        -256 * math.log(2)
    )


def test_weights_of_zero_say_nothing() -> None:
    assert log_tail(np.zeros(5), np.ones(5))[0] == 0.0
    assert log_tail_hoeffding(np.zeros(5), np.ones(5))[0] == 0.0
    assert approximate_log_tail_saddle(np.zeros(5), np.ones(5))[0] == 0.0
    weights = np.array([1.0, 2.0, 0.0])
    np.testing.assert_allclose(
        log_tail(weights, [[1, 1, 1], [1, 1, -1]]), [math.log(0.25)] * 2, rtol=1e-14
    )


def test_hoeffding_by_hand() -> None:
    found = log_tail_hoeffding([3.0, 4.0], [[1, 1], [-1, 1], [1, -1], [-1, -1]])
    np.testing.assert_allclose(found, [-49 / 50, -1 / 50, 0.0, 0.0], rtol=1e-12)


def test_monte_carlo_counts_ties_and_never_gives_zero() -> None:
    # Sums of 0.1 in different orders differ in the last place: ties all the same.
    rng = np.random.default_rng(6)
    rows = np.array([[1] * 8, [-1] + [1] * 7, [1] * 7 + [-1], [1, -1] * 4, [-1] * 8])
    found = log_tail_monte_carlo(np.full(8, 0.1), rows, 40_000, rng)
    exact = log_p_value((rows > 0).sum(axis=1), 8)
    np.testing.assert_allclose(np.exp(found), np.exp(exact), atol=0.01)
    assert found[1] == found[2]
    assert found[4] == 0.0
    # Scaled tenths do round: -0.1 - 0.2 + 0.3 and 0.1 + 0.2 - 0.3 are not both 0.
    tenths, signs_of_all = np.arange(1, 9) * 0.1, all_signs(8)
    found = log_tail_monte_carlo(tenths, signs_of_all, 40_000, rng)
    exact = exact_counts(np.arange(1, 9), signs_of_all) / 256
    np.testing.assert_allclose(np.exp(found), exact, atol=0.012)
    few = log_tail_monte_carlo(np.ones(200), np.ones(200), 99, rng)
    assert few[0] == pytest.approx(math.log(1 / 100))
    with pytest.raises(ValueError, match="draws: found 0"):
        log_tail_monte_carlo(np.ones(3), np.ones(3), 0, rng)


def test_monte_carlo_is_valid_over_keys_and_draws() -> None:
    rng = np.random.default_rng(7)
    weights, runs = rng.exponential(size=30), 3000
    log_p = np.array(
        [
            log_tail_monte_carlo(weights, 2.0 * rng.integers(0, 2, 30) - 1, 19, rng)[0]
            for _ in range(runs)
        ]
    )
    for level in (0.05, 0.2, 0.5):  # with 19 draws these levels are attained exactly
        hits = int((log_p <= math.log(level) + 1e-12).sum())
        assert 1e-4 < stats.binom.cdf(hits, runs, level) < 1 - 1e-4


def test_the_saddle_point_approximates_and_is_no_bound() -> None:
    rng = np.random.default_rng(8)
    bits = 20
    weights = rng.integers(2**20, 2**22, bits)
    rows = np.where(rng.random((60, bits)) < np.linspace(0, 1, 60)[:, None], 1.0, -1.0)
    exact = np.array([log_fraction(int(c), bits) for c in exact_counts(weights, rows)])
    found = approximate_log_tail_saddle(weights * SCALE, rows)
    middle = exact > -8
    np.testing.assert_allclose(found[middle], exact[middle], rtol=0.05, atol=0.02)
    assert (found < exact - 1e-3).any()  # too small somewhere: never for a verdict
    assert np.isfinite(found).all()
    assert (found <= 0).all()
    # One dominating weight: a staircase, which the approximation does not see.
    lone = np.array([1e6] + [1.0] * 9)
    assert approximate_log_tail_saddle(lone, np.ones(10))[0] == pytest.approx(-10 * math.log(2))
    for scattered in integer_weights(30, rng):
        tails = approximate_log_tail_saddle(scattered * 1.0, 2.0 * rng.integers(0, 2, (30, 30)) - 1)
        assert np.isfinite(tails).all()
        assert (tails <= 0).all()


@pytest.mark.parametrize(
    ("weights", "rows", "found"),
    [
        ([-1.0, 1.0], [1, 1], "weights"),
        ([math.nan, 1.0], [1, 1], "weights"),
        ([math.inf, 1.0], [1, 1], "weights"),
        ([], [], "weights"),
        ([1.0, 1.0], [1, 0], "signs"),
        ([1.0, 1.0], [1, 1, 1], "signs: found shape"),
    ],
)
def test_what_is_no_weighted_sign_is_refused(weights: Any, rows: Any, found: str) -> None:
    for tail in (*BOUNDS, approximate_log_tail_saddle):
        with pytest.raises(ValueError, match=found):
            tail(weights, rows)
