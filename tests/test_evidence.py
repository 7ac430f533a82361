"""p-values against exact fractions and the published table."""

import math
from decimal import Decimal, localcontext
from fractions import Fraction

import numpy as np
import pytest
from scipy import stats

from artfp.evidence import format_p, log_p_value, minimum_matches


def exact_p(matches: int, bits: int) -> Fraction:
    return Fraction(sum(math.comb(bits, k) for k in range(matches, bits + 1)), 2**bits)


def exact_log(p: Fraction) -> float:
    with localcontext() as context:
        context.prec = 400
        return float((Decimal(p.numerator) / Decimal(p.denominator)).ln())


@pytest.mark.parametrize("bits", [1, 2, 3, 8, 9, 32, 64, 100, 127, 128, 256])
def test_log_p_is_exact_for_all_matches(bits):
    found = log_p_value(np.arange(bits + 1), bits)
    assert found.shape == (bits + 1,)
    for matches in range(bits + 1):
        expected = exact_log(exact_p(matches, bits))
        assert found[matches] == pytest.approx(expected, rel=1e-14, abs=0)


@pytest.mark.parametrize("bits", [*range(8, 257, 31), 1000, 5000])
def test_log_p_keeps_its_bounds(bits):
    found = log_p_value(np.arange(bits + 1), bits)
    assert np.isfinite(found).all()
    assert (found <= 0).all()
    assert (np.diff(found) <= 0).all()
    assert found[0] == 0.0
    assert math.copysign(1, found[0]) == 1
    assert found[bits] == pytest.approx(-bits * math.log(2), rel=1e-15)


def test_log_p_agrees_with_scipy_where_scipy_does_not_underflow():
    for bits in (64, 100, 256):
        matches = np.arange(1, bits + 1)
        expected = stats.binom.logsf(matches - 1, bits, 0.5)
        # SciPy's own rounding near p = 1 is about 1e-16.
        np.testing.assert_allclose(log_p_value(matches, bits), expected, rtol=1e-10, atol=1e-14)


def test_log_p_holds_far_below_the_smallest_float():
    log_p = log_p_value(4900, 5000)
    assert log_p < -2000
    assert log_p == pytest.approx(exact_log(exact_p(4900, 5000)), rel=1e-13)


def test_log_p_takes_any_shape_and_gives_floats_for_numbers():
    matches = np.array([[40, 45], [51, 56], [0, 64]], dtype=np.uint8)
    found = log_p_value(matches, 64)
    assert found.shape == (3, 2)
    for index in np.ndindex(3, 2):
        single = log_p_value(int(matches[index]), 64)
        assert type(single) is float
        assert single == found[index]
    assert type(log_p_value(np.int64(40), 64)) is float
    assert log_p_value(np.empty((0, 3), dtype=int), 64).shape == (0, 3)


def test_a_result_may_be_changed_without_changing_the_next():
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
def test_log_p_refuses_what_is_no_count(matches, bits, found):
    with pytest.raises(ValueError, match=found):
        log_p_value(matches, bits)


@pytest.mark.parametrize(
    ("bits", "expected"),
    [(64, [40, 45, 51, 56]), (100, [59, 66, 74, 80]), (128, [74, 82, 92, 98])],
)
def test_minimum_matches_gives_the_known_table(bits, expected):
    assert [minimum_matches(bits, alpha) for alpha in (0.05, 1e-3, 1e-6, 1e-9)] == expected


@pytest.mark.parametrize("bits", [1, 8, 33, 100, 256])
@pytest.mark.parametrize("alpha", [1.0, 0.5, 0.05, 1e-3, 1e-6, 1e-9, 1e-30])
def test_minimum_matches_is_the_smallest_that_suffices(bits, alpha):
    least = minimum_matches(bits, alpha)
    if least <= bits:
        assert exact_p(least, bits) <= Fraction(alpha)
    else:
        assert least == bits + 1
    if least > 0:
        assert exact_p(least - 1, bits) > Fraction(alpha)


def test_minimum_matches_is_exact_at_equality():
    assert minimum_matches(8, 2.0**-8) == 8
    assert minimum_matches(8, math.nextafter(2.0**-8, 0)) == 9
    assert minimum_matches(8, 9 / 256) == 7
    assert minimum_matches(8, 1.0) == 0


@pytest.mark.parametrize("alpha", [0.0, -0.1, 1.5, float("nan"), float("inf")])
def test_minimum_matches_refuses_what_is_no_level(alpha):
    with pytest.raises(ValueError, match="alpha: found"):
        minimum_matches(64, alpha)
    with pytest.raises(ValueError, match="bits: found 0"):
        minimum_matches(0, 0.05)


@pytest.mark.parametrize(
    ("log_p", "text"),
    [
        (0.0, "1"),
        (math.log(0.5), "0.5"),
        (math.log(0.0284), "0.028"),
        (math.log(0.00123), "0.0012"),
        (math.log(0.000999), "1.0e-3"),
        (math.log(0.00004), "4.0e-5"),
        (math.log(1.3e-27), "1.3e-27"),
        (math.log(9.96e-28), "1.0e-27"),
        (-1234 * math.log(10) + math.log(4), "4.0e-1234"),
        (-1e-300, "1"),
    ],
)
def test_p_values_are_written_for_people(log_p, text):
    assert format_p(log_p) == text


def test_a_written_p_value_can_be_read_back():
    for matches in range(257):
        log_p = log_p_value(matches, 256)
        assert float(format_p(log_p)) == pytest.approx(math.exp(log_p), rel=0.051)


@pytest.mark.parametrize("log_p", [1e-9, -math.inf, math.nan])
def test_what_is_no_log_p_value_is_not_written(log_p):
    with pytest.raises(ValueError, match="log p-value: found"):
        format_p(log_p)
