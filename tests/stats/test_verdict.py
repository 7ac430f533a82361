"""Outcomes where they are due, and what is said of them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from artfp.stats import (
    Policy,
    Verdict,
    bonferroni,
    decide_image,
    decide_source,
    evaluate_source,
    log_p_value,
)
from artfp.stats.power import power_one_image, power_soft
from artfp.stats.verdict import log_bayes_factor_bound, log_posterior_odds_bound


def test_the_bound_of_the_bayes_factor_against_its_formula_and_its_class() -> None:
    for p in (0.3, 0.05, 0.01, 1e-6):
        found = math.exp(log_bayes_factor_bound(math.log(p)))
        assert found == pytest.approx(1 / (-math.e * p * math.log(p)))
        # The largest density x p^(x-1) over 0 < x <= 1, by a fine grid.
        grid = np.linspace(1e-4, 1, 200_000)
        assert found == pytest.approx((grid * p ** (grid - 1)).max(), rel=1e-4)
    assert math.exp(log_bayes_factor_bound(math.log(0.05))) == pytest.approx(2.456, abs=1e-3)
    for p in (1 / math.e, 0.5, 1.0):
        assert log_bayes_factor_bound(math.log(p)) == 0.0
    assert log_bayes_factor_bound(-1e5) == pytest.approx(1e5 - 1 - math.log(1e5))
    assert log_bayes_factor_bound(-1.0 - 1e-9) == pytest.approx(0.0, abs=1e-12)


def test_the_odds_start_from_the_prior() -> None:
    assert log_posterior_odds_bound(0.0, 0.01) == pytest.approx(-math.log(99))
    found = log_posterior_odds_bound(math.log(1e-6), 0.5)
    assert found == log_bayes_factor_bound(math.log(1e-6))
    for prior in (0.0, 1.0, math.nan):
        with pytest.raises(ValueError, match="prior: found"):
            log_posterior_odds_bound(-5.0, prior)


def sensible(verdict: Verdict) -> None:
    """What holds of every verdict."""
    text = str(verdict)
    assert "%" not in text
    assert text.startswith(verdict.outcome.capitalize())
    assert f"alpha = {verdict.policy.alpha:g}" in verdict.explanation
    assert f"prior probability of {verdict.policy.prior:g}" in text
    assert verdict.explanation.endswith(".")
    assert ". " not in verdict.explanation
    for value in (verdict.log_p, verdict.log_p_corrected, verdict.log_p_tampered):
        assert math.isfinite(value)
        assert value <= 0
    assert math.isfinite(verdict.log_odds_at_most)
    assert dataclasses.asdict(verdict)["policy"]["alpha"] == verdict.policy.alpha


@pytest.mark.parametrize("bits", [8, 16, 64, 100, 128, 256])
@pytest.mark.parametrize("tests", [1, 1000])
def test_every_number_of_matches_gets_the_outcome_of_the_rules(bits: int, tests: int) -> None:
    policy = Policy()
    power = power_one_image(bits, policy.accuracy, policy.alpha / tests)
    for matches in range(bits + 1):
        verdict = decide_image(matches, bits, tests, policy)
        sensible(verdict)
        upper = bonferroni(log_p_value(matches, bits), tests)
        lower = bonferroni(log_p_value(bits - matches, bits), tests)
        assert verdict.tampered == (lower <= math.log(1e-4))
        if upper <= math.log(1e-4):
            expected = "match"
        elif lower <= math.log(1e-4) or upper <= math.log(0.01) or power < 0.9:
            expected = "inconclusive"
        else:
            expected = "no match"
        assert verdict.outcome == expected
        assert (verdict.log_p_corrected, verdict.power) == (upper, power)


def test_too_few_bits_never_give_no_match() -> None:
    outcomes = {decide_image(m, 64).outcome for m in range(65)}
    assert outcomes == {"match", "inconclusive"}
    assert "probability of only 0.5" in decide_image(32, 64).explanation
    assert decide_image(50, 100).outcome == "no match"
    assert decide_image(50, 100, tests=10**6).outcome == "inconclusive"
    assert decide_image(8, 8).outcome == "inconclusive"  # 2^-8 is above alpha


def test_no_match_is_as_rare_as_promised_where_the_key_is_there() -> None:
    rng = np.random.default_rng(0)
    matches = rng.binomial(128, 0.75, 2000)
    missed = np.mean([decide_image(int(m), 128).outcome == "no match" for m in matches])
    assert missed <= 0.1


def test_the_best_of_several_keys_is_judged_for_all() -> None:
    verdict = decide_image(np.array([[50, 48], [92, 51]]), 100)
    assert (verdict.outcome, verdict.best, verdict.tests) == ("match", 2, 4)
    assert verdict.log_p_corrected == pytest.approx(log_p_value(92, 100) + math.log(4))
    assert "92 of 100 bits" in verdict.explanation
    assert "after correction for 4 tests" in verdict.explanation
    assert "not who put it there" in verdict.limits
    assert decide_image(70, 100).outcome == "match"
    assert decide_image([70, 50], 100, tests=1000).outcome == "inconclusive"


def test_inverted_words_speak_of_tampering_not_of_absence() -> None:
    verdict = decide_image(6, 100)
    assert (verdict.outcome, verdict.tampered) == ("inconclusive", True)
    assert "tampering, not of absence" in verdict.limits
    both = decide_image([95, 4], 100)
    assert (both.outcome, both.tampered) == ("match", True)
    assert not decide_image(40, 100).tampered


def test_near_misses_are_not_called_absent() -> None:
    verdict = decide_image(66, 100)
    assert verdict.outcome == "inconclusive"
    assert "too small to be dismissed" in verdict.explanation


def sources() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    key = np.ones(128)
    single = rng.normal(0, 3, (40, 128))
    single[3] = key * 3
    return {
        "match": 0.4 * key + rng.normal(0, 1, (40, 128)),
        "no match": rng.normal(0, 3, (40, 128)),
        "inverted": -3 * key + rng.normal(0, 1, (40, 128)),
        "single": single,
        "short": rng.normal(0, 3, (40, 32)),
    }


@pytest.mark.parametrize(
    ("name", "outcome", "said"),
    [
        ("match", "match", "40 images together"),
        ("no match", "no match", "would be found"),
        ("inverted", "inconclusive", "far fewer bits agree than by chance"),
        ("single", "inconclusive", "1 of 40 images are significant"),
        ("short", "inconclusive", "is required"),
    ],
)
def test_sources_get_their_verdicts(name: str, outcome: str, said: str) -> None:
    logits = sources()[name]
    verdict = decide_source(evaluate_source(logits, np.ones(logits.shape[1], int)))
    sensible(verdict)
    assert verdict.outcome == outcome
    assert said in verdict.explanation
    assert verdict.tampered == (name == "inverted")
    assert "of 40 images are significant on their own" in str(verdict)


def test_more_images_do_not_make_absence_surer_unless_they_are_said_to_be_independent() -> None:
    evidence = evaluate_source(sources()["short"], np.ones(32, int))
    one, many = decide_source(evidence), decide_source(evidence, Policy(independent_images=40))
    assert (one.outcome, many.outcome) == ("inconclusive", "no match")
    assert one.power < 0.3 < 0.99 < many.power


def test_the_power_of_a_source_pays_for_all_tests() -> None:
    evidence = evaluate_source(sources()["no match"], np.ones(128, int), tries=10**6)
    verdict = decide_source(evidence)
    alpha = 1e-4 / 10**6
    expected = min(power_one_image(128, 0.75, alpha), power_soft(128, 0.75, alpha))
    assert verdict.power == pytest.approx(expected)
    assert (verdict.outcome, verdict.tests) == ("inconclusive", 10**6)


def test_one_image_with_logits_is_a_source_of_one() -> None:
    rng = np.random.default_rng(2)
    keys = rng.integers(0, 2, (3, 128))
    verdict = decide_source(evaluate_source((2 * keys[2] - 1) * 4.0, keys))
    sensible(verdict)
    assert (verdict.outcome, verdict.best, verdict.tests) == ("match", 2, 3)
    assert "1 image," in verdict.explanation
    assert "A claim apart" not in str(verdict)


def test_extremes_are_finite() -> None:
    key = np.ones(256, int)
    for verdict in (
        decide_image(256, 256),
        decide_image(0, 256),
        decide_source(evaluate_source(np.tile(key * 30.0, (10_000, 1)), key)),
    ):
        sensible(verdict)


@pytest.mark.parametrize(
    "fields",
    [
        {"alpha": 0.0},
        {"power": 1.0},
        {"accuracy": 0.5},
        {"prior": 0.0},
        {"alpha": 0.05},
        {"independent_images": 0},
    ],
)
def test_policies_refuse(fields: Any) -> None:
    with pytest.raises(ValueError, match="found"):
        Policy(**fields)


def test_judging_refuses() -> None:
    calls: tuple[Callable[[], object], ...] = (
        lambda: decide_image([], 64),
        lambda: decide_image([1, 2], 64, tests=1),
        lambda: decide_image(65, 64),
    )
    for call in calls:
        with pytest.raises(ValueError, match="found"):
            call()
