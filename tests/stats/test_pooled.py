"""Rates over all keys of a calibration: what is counted, and how often the bounds hold."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from scipy import stats

from artfp.stats import calibrate_decoder
from artfp.stats.decoder_health import pooled_rates


def fair(rng: Any, images: Any, bits: int = 64) -> Any:
    return rng.integers(0, 2, (images, bits))


def alike(rng: Any, images: Any, bits: int = 64) -> Any:
    """Twenty words, each decoded from many images."""
    return np.repeat(fair(rng, 20, bits), images // 20, axis=0)


def constant(rng: Any, images: Any, bits: int = 64) -> Any:
    return np.repeat(fair(rng, 1, bits), images, axis=0)


def test_hits_are_counted_over_all_keys() -> None:
    rng = np.random.default_rng(0)
    words, keys = fair(rng, 300), fair(rng, 40)
    matches = (words[:, None] == keys).sum(axis=2)
    for rate in pooled_rates(calibrate_decoder(words, keys, "")):
        hits = matches >= rate.threshold
        assert (rate.hits, rate.tests) == (hits.sum(), 12_000)
        assert rate.rate == hits.mean() and rate.worst == hits.sum(axis=0).max()
        assert rate.attained == pytest.approx(stats.binom.sf(rate.threshold - 1, 64, 0.5))
        assert rate.lower <= rate.rate <= rate.upper


def test_independent_images_give_the_interval_of_clopper_and_pearson_or_a_wider_one() -> None:
    rng = np.random.default_rng(1)
    found = pooled_rates(calibrate_decoder(fair(rng, 500), fair(rng, 50), ""))
    for rate in found[:2]:
        exact = stats.binomtest(rate.hits, rate.tests).proportion_ci(0.95)
        assert rate.lower <= exact.low + 1e-12 and rate.upper >= exact.high - 1e-12
        assert rate.upper - rate.lower < 1.6 * (exact.high - exact.low)


@pytest.mark.parametrize("images", [fair, alike, constant])
def test_the_bounds_hold_at_their_level(images: Any) -> None:
    """Also where images decode alike, which bounds for independent tests would not survive."""
    rng = np.random.default_rng(2)
    runs, missed, naive = 150, np.zeros(4), 0
    for _ in range(runs):
        found = pooled_rates(calibrate_decoder(images(rng, 200), fair(rng, 100), ""))
        missed += [not rate.lower <= rate.attained <= rate.upper for rate in found]
        exact = stats.binomtest(found[0].hits, found[0].tests).proportion_ci(0.95)
        naive += not exact.low <= found[0].attained <= exact.high
    assert all(stats.binom.sf(count - 1, runs, 0.05) > 1e-3 for count in missed)
    if images is not fair:
        assert naive > runs / 4


def test_no_hits_bound_by_what_is_independent() -> None:
    words = np.zeros((200, 64), int)
    keys = np.ones((3, 64), int)
    for rate in pooled_rates(calibrate_decoder(words, keys, "")):
        assert (rate.hits, rate.lower) == (0, 0.0)
        assert rate.upper == pytest.approx(1 - 0.025 ** (1 / 3))  # as if of three images in all
    (rate,) = pooled_rates(calibrate_decoder(words, keys, "", levels=(1.0,)))
    assert (rate.rate, rate.upper) == (1.0, 1.0)


def test_fewer_than_two_keys_have_no_pooled_rate() -> None:
    rng = np.random.default_rng(0)
    found = calibrate_decoder(fair(rng, 10), fair(rng, 1), "")
    assert pooled_rates(found) == pooled_rates(dataclasses.replace(found, keys=())) == []
