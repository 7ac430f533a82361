"""p-values and odds as text."""

from __future__ import annotations

import math
from typing import Any

import pytest

from artfp.stats import format_p, log_p_value
from artfp.stats.formatting import format_odds


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
def test_p_values_are_written_for_people(log_p: Any, text: str) -> None:
    assert format_p(log_p) == text


def test_a_written_p_value_can_be_read_back() -> None:
    for matches in range(257):
        log_p = log_p_value(matches, 256)
        assert float(format_p(log_p)) == pytest.approx(math.exp(log_p), rel=0.051)


@pytest.mark.parametrize("log_p", [1e-9, -math.inf, math.nan])
def test_what_is_no_log_p_value_is_not_written(log_p: Any) -> None:
    with pytest.raises(ValueError, match="log p-value: found"):
        format_p(log_p)


@pytest.mark.parametrize("log_p", [0.1, -math.inf, math.nan])
def test_what_is_no_p_value_is_not_written(log_p: Any) -> None:
    with pytest.raises(ValueError, match="log p-value: found"):
        format_p(log_p)


@pytest.mark.parametrize(
    ("log_odds", "text"),
    [
        (0.0, "1 to 1"),
        (math.log(99), "99 to 1"),
        (-math.log(99), "1 to 99"),
        (math.log(266.4), "270 to 1"),
        (math.log(9.97), "10 to 1"),
        (-math.log(1.72), "1 to 1.7"),
        (math.log(1.9e13), "1.9e13 to 1"),
        (1234 * math.log(10) + math.log(4), "4.0e1234 to 1"),
    ],
)
def test_odds_are_written_for_people(log_odds: Any, text: str) -> None:
    assert format_odds(log_odds) == text


def test_what_is_no_odds_is_not_written() -> None:
    with pytest.raises(ValueError, match="log odds: found inf"):
        format_odds(math.inf)
