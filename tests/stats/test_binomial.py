"""p-values against exact fractions and the published table."""

from __future__ import annotations

import math
from decimal import Decimal, localcontext
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from scipy import stats

from artfp.stats import count_matches, log_p_value, minimum_matches
from artfp.stats.binomial import log_p_inverted


def exact_p(matches: int, bits: int) -> Fraction:
    return Fraction(sum(math.comb(bits, k) for k in range(matches, bits + 1)), 2**bits)


def exact_log(p: Fraction) -> float:
    with localcontext() as context:
        context.prec = 400
        return float((Decimal(p.numerator) / Decimal(p.denominator)).ln())


@pytest.mark.parametrize("bits", [1, 2, 3, 8, 9, 32, 64, 100, 127, 128, 256])
def test_log_p_is_exact_for_all_matches(bits: int) -> None:
    found = log_p_value(np.arange(bits + 1), bits)
    assert found.shape == (bits + 1,)
    for matches in range(bits + 1):
        expected = exact_log(exact_p(matches, bits))
        assert found[matches] == pytest.approx(expected, rel=1e-14, abs=0)


@pytest.mark.parametrize("bits", [*range(8, 257, 31), 1000, 5000])
def test_log_p_keeps_its_bounds(bits: Any) -> None:
    found = log_p_value(np.arange(bits + 1), bits)
    assert np.isfinite(found).all()
    assert (found <= 0).all()
    assert (np.diff(found) <= 0).all()
    assert found[0] == 0.0
    assert math.copysign(1, found[0]) == 1
    assert found[bits] == pytest.approx(-bits * math.log(2), rel=1e-15)


def test_log_p_agrees_with_scipy_where_scipy_does_not_underflow() -> None:
    for bits in (64, 100, 256):
        matches = np.arange(1, bits + 1)
        expected = stats.binom.logsf(matches - 1, bits, 0.5)
        # SciPy's own rounding near p = 1 is about 1e-16.
        np.testing.assert_allclose(log_p_value(matches, bits), expected, rtol=1e-10, atol=1e-14)


def test_log_p_holds_far_below_the_smallest_float() -> None:
    log_p = log_p_value(4900, 5000)
    assert log_p < -2000
    assert log_p == pytest.approx(exact_log(exact_p(4900, 5000)), rel=1e-13)


def test_log_p_takes_any_shape_and_gives_floats_for_numbers() -> None:
    matches = np.array([[40, 45], [51, 56], [0, 64]], dtype=np.uint8)
    found = log_p_value(matches, 64)
    assert found.shape == (3, 2)
    for index in np.ndindex(3, 2):
        single = log_p_value(int(matches[index]), 64)
        assert type(single) is float
        assert single == found[index]
    assert type(log_p_value(np.int64(40), 64)) is float
    assert log_p_value(np.empty((0, 3), dtype=int), 64).shape == (0, 3)


def test_a_result_may_be_changed_without_changing_the_next() -> None:
    log_p_value(np.arange(65), 64)[:] = 1
    assert log_p_value(64, 64) == pytest.approx(-64 * math.log(2))


@pytest.mark.parametrize(
    ("matches", "bits", "found"),
    [
        (-1, 64, "from -1 to -1, expected 0 to 64"),
        (65, 64, "from 65 to 65"),
        ([3, 65], 64, "from 3 to 65"),
        (0, 0, "bits: found 0"),
        (3.0, 64, "float64 values"),
        (float("nan"), 64, "float64 values"),
        ([True, False], 64, "bool values"),
    ],
)
def test_log_p_refuses_what_is_no_count(matches: Any, bits: int, found: str) -> None:
    with pytest.raises(ValueError, match=found):
        log_p_value(matches, bits)


@pytest.mark.parametrize(
    ("bits", "expected"),
    [(64, [40, 45, 51, 56]), (100, [59, 66, 74, 80]), (128, [74, 82, 92, 98])],
)
def test_minimum_matches_gives_the_known_table(bits: int, expected: Any) -> None:
    assert [minimum_matches(bits, alpha) for alpha in (0.05, 1e-3, 1e-6, 1e-9)] == expected


@pytest.mark.parametrize("bits", [1, 8, 33, 100, 256])
@pytest.mark.parametrize("alpha", [1.0, 0.5, 0.05, 1e-3, 1e-6, 1e-9, 1e-30])
def test_minimum_matches_is_the_smallest_that_suffices(bits: int, alpha: float) -> None:
    least = minimum_matches(bits, alpha)
    if least <= bits:
        assert exact_p(least, bits) <= Fraction(alpha)
    else:
        assert least == bits + 1
    if least > 0:
        assert exact_p(least - 1, bits) > Fraction(alpha)


def test_minimum_matches_is_exact_at_equality() -> None:
    assert minimum_matches(8, 2.0**-8) == 8
    assert minimum_matches(8, math.nextafter(2.0**-8, 0)) == 9
    assert minimum_matches(8, 9 / 256) == 7
    assert minimum_matches(8, 1.0) == 0


@pytest.mark.parametrize("alpha", [0.0, -0.1, 1.5, float("nan"), float("inf")])
def test_minimum_matches_refuses_what_is_no_level(alpha: Any) -> None:
    with pytest.raises(ValueError, match="alpha: found"):
        minimum_matches(64, alpha)
    with pytest.raises(ValueError, match="bits: found 0"):
        minimum_matches(0, 0.05)


@pytest.mark.parametrize("bits", [1, 7, 64, 100, 256])
def test_log_p_inverted_is_the_exact_lower_tail(bits: int) -> None:
    found = log_p_inverted(np.arange(bits + 1, dtype=np.uint16), bits)
    for matches in range(bits + 1):
        lower = Fraction(sum(math.comb(bits, k) for k in range(matches + 1)), 2**bits)
        assert found[matches] == pytest.approx(exact_log(lower), rel=1e-14, abs=0)
    assert found[bits] == 0.0
    assert type(log_p_inverted(0, bits)) is float


def test_small_unsigned_counts_do_not_wrap_around() -> None:
    matches = np.array([[0, 200], [256, 255]], dtype=np.uint16)
    expected = log_p_value(256 - matches.astype(int), 256)
    np.testing.assert_array_equal(log_p_inverted(matches, 256), expected)


def test_matches_of_words_and_keys_are_counted_by_hand() -> None:
    rng = np.random.default_rng(3)
    words, keys = rng.integers(0, 2, (5, 37)), rng.integers(0, 2, (3, 37), dtype=np.uint8)
    found = count_matches(words, keys)
    assert found.shape == (5, 3)
    for n, k in np.ndindex(5, 3):
        assert found[n, k] == sum(int(a == b) for a, b in zip(words[n], keys[k], strict=True))
    np.testing.assert_array_equal(count_matches(words, keys[1]), found[:, 1])
    np.testing.assert_array_equal(count_matches(words[2], keys), found[2])
    assert count_matches(words[2] == 1, keys[1]) == found[2, 1]
    assert log_p_value(found, 37).shape == (5, 3)


@pytest.mark.parametrize(
    ("words", "keys", "found"),
    [
        ([[0.2, 1.0]], [0, 1], "decoded: found values other than 0 and 1"),
        ([0, 1], [0, 2], "fingerprints: found values other"),
        ([0, 1, 1], [0, 1], "found 2 bits, expected 3"),
        ([], [], "found shape"),
        (np.zeros((1, 1, 2)), [0, 1], "found shape"),
    ],
)
def test_what_is_no_word_is_refused(words: Any, keys: Any, found: str) -> None:
    with pytest.raises(ValueError, match=found):
        count_matches(words, keys)


@pytest.mark.parametrize("bits", [16, 40])
def test_a_constant_word_passes_for_as_many_keys_as_the_level_allows(bits: int) -> None:
    rng = np.random.default_rng(5)
    keys = rng.integers(0, 2, (100_000, bits), dtype=np.uint8)
    log_p = log_p_value(count_matches(np.ones(bits, int), keys), bits)
    for level in (1e-1, 1e-2, 1e-3, 1e-4):
        hits = int(np.sum(log_p <= math.log(level)))
        attained = float(exact_p(minimum_matches(bits, level), bits))
        assert attained <= level
        assert stats.binom.cdf(hits, len(keys), attained) > 1e-4
        assert stats.binom.sf(hits - 1, len(keys), attained) > 1e-4
