"""Calibration on clean images whose law is known."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

import numpy as np
import pytest
from scipy import stats

from artfp.core.errors import UserError
from artfp.stats import Calibration, calibrate_decoder, clopper_pearson, find_alarms, log_p_value
from artfp.stats.decoder_health import count_uneven_bits


def fair(images: int, bits: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2, (images, bits))


@pytest.mark.parametrize(("hits", "trials"), [(0, 50), (1, 50), (17, 50), (49, 50), (50, 50)])
@pytest.mark.parametrize("confidence", [0.95, 0.999])
def test_clopper_pearson_against_its_definition(hits: int, trials: int, confidence: float) -> None:
    lower, upper = clopper_pearson(hits, trials, confidence)
    if hits:
        assert stats.binom.sf(hits - 1, trials, lower) == pytest.approx(1 - confidence)
    else:
        assert lower == 0.0
    if hits < trials:
        assert stats.binom.cdf(hits, trials, upper) == pytest.approx(1 - confidence)
    else:
        assert upper == 1.0
    both = stats.binomtest(hits, trials).proportion_ci(2 * confidence - 1)
    assert (lower, upper) == pytest.approx((both.low, both.high))


def test_none_of_n_bounds_the_rate_by_three_over_n() -> None:
    for trials in (100, 1000, 100_000):
        assert clopper_pearson(0, trials)[1] * trials == pytest.approx(3.0, rel=0.02)
    for hits, trials in ((3, 2), (-1, 5), (0, 0)):
        with pytest.raises(ValueError, match="found"):
            clopper_pearson(hits, trials)


def test_fair_bits_raise_no_alarm_and_are_described_by_hand() -> None:
    words, keys = fair(2000, 64), fair(3, 64, 1)
    found = calibrate_decoder(words, keys, "abc")
    assert (found.decoder_hash, found.images, found.bits) == ("abc", 2000, 64)
    assert [bias.ones for bias in found.biases] == pytest.approx(words.mean(axis=0))
    assert all(bias.lower < bias.ones < bias.upper for bias in found.biases)
    matches = (words[:, None] == keys).sum(axis=2)
    for column, key in zip(matches.T, found.keys, strict=True):
        assert key.mean == pytest.approx(column.mean())
        assert key.dispersion == pytest.approx(column.var(ddof=1) / 16)
        assert key.mean_error == pytest.approx(column.std(ddof=1) / math.sqrt(2000))
        assert key.dispersion_error == pytest.approx(math.sqrt(2 / 2000), rel=0.15)
        for alarm in key.false_alarms:
            log_p = log_p_value(column, 64)
            assert alarm.hits == (log_p <= math.log(alarm.level)).sum()
            assert alarm.rate == alarm.hits / 2000
            assert alarm.attained == pytest.approx(stats.binom.sf(alarm.threshold - 1, 64, 0.5))
            assert alarm.attained <= alarm.level
            assert alarm.lower <= alarm.rate <= alarm.upper
    correlations = np.corrcoef(words.T)
    np.fill_diagonal(correlations, 0)
    assert abs(found.dependence.largest) == pytest.approx(np.abs(correlations).max())
    assert correlations[found.dependence.pair] == pytest.approx(found.dependence.largest)
    assert found.dependence.mean_square < 1e-4
    assert found.dependence.effective_bits == pytest.approx(64, rel=0.01)
    assert find_alarms(found) == []


def test_healthy_decoders_seldom_alarm() -> None:
    # Four kinds of alarm at .05 each, the union bound: at most .2; with margins, far fewer.
    alarmed = sum(
        bool(find_alarms(calibrate_decoder(fair(200, 32, seed), fair(4, 32, seed + 10_000), "")))
        for seed in range(300)
    )
    assert stats.binom.sf(alarmed - 1, 300, 0.2) > 1e-4


def test_biased_bits_are_named() -> None:
    words = fair(1000, 64)
    words[:, 5] = np.random.default_rng(2).random(1000) < 0.9
    words[:, 9] = 1
    found = calibrate_decoder(words, fair(1, 64, 1), "")
    assert found.dependence.constant == 1
    (text,) = find_alarms(found)
    assert text.startswith("bias: 2 of 64 bits")
    assert "bit 9, is 1 in 1000 of 1000" in text
    assert "1 never change" in text


def test_slight_bias_is_described_but_no_alarm_however_sure() -> None:
    words = (np.random.default_rng(4).random((20_000, 16)) < 0.56).astype(int)
    found = calibrate_decoder(words, np.arange(16) % 2, "")
    assert all(0.53 < bias.lower < bias.upper < 0.59 for bias in found.biases)
    assert not any(text.startswith("bias") for text in find_alarms(found))


def test_copied_bits_are_dependent_and_overdispersed_for_an_unlucky_key() -> None:
    half = fair(3000, 32)
    words = np.hstack([half, half])
    aligned = np.ones(64, int)
    crossed = np.repeat([1, 0], 32)  # what one half gains, the other loses
    found = calibrate_decoder(words, np.stack([aligned, crossed]), "")
    assert found.dependence.largest == pytest.approx(1.0)
    assert abs(found.dependence.pair[0] - found.dependence.pair[1]) == 32
    assert found.dependence.effective_bits == pytest.approx(32, rel=0.01)
    assert found.keys[0].dispersion == pytest.approx(2.0, rel=0.1)
    assert found.keys[1].dispersion == 0.0
    texts = find_alarms(found)
    assert any(
        text.startswith("over-dispersion: the matches with fingerprint 1 of 2") for text in texts
    )
    assert any(text.startswith("false alarms:") and "fingerprint 1 of 2" in text for text in texts)
    assert not any("fingerprint 2 of 2" in text for text in texts)


def test_a_constant_decoder_alarms_for_the_key_it_leans_to_though_random_keys_are_safe() -> None:
    words = np.ones((500, 100), int)
    near = np.arange(100) < 70
    found = calibrate_decoder(words, np.stack([near, ~near]).astype(int), "")
    texts = find_alarms(found)
    assert any("lean to fingerprint 1 of 2" in text and "70.0 of 100" in text for text in texts)
    assert any("500 of 500 clean images pass for fingerprint 1 of 2" in text for text in texts)
    assert not any("fingerprint 2 of 2" in text for text in texts)
    assert found.dependence.effective_bits == 0.0
    # Over uniform keys the rate is the level all the same.
    keys = fair(50_000, 100, 3)
    hits = int((log_p_value(keys.sum(axis=1), 100) <= math.log(0.01)).sum())
    assert stats.binom.sf(hits - 1, len(keys), 0.01) > 1e-4


def test_of_many_keys_with_one_alarm_the_worst_is_told() -> None:
    words = np.ones((500, 100), int)
    keys = np.array([np.arange(100) < agreeing for agreeing in (62, 75, 68, 40)]).astype(int)
    texts = find_alarms(calibrate_decoder(words, keys, "", levels=(1e-2,)))
    (lean,) = [text for text in texts if text.startswith("clean images lean")]
    assert "fingerprint 2 of 4" in lean and lean.endswith(
        "; 2 more fingerprints with the same alarm"
    )
    (passing,) = [text for text in texts if text.startswith("false alarms")]
    assert passing.endswith("; 1 more fingerprint with the same alarm")


def test_a_rate_slightly_above_its_level_is_no_alarm_however_sure() -> None:
    rng = np.random.default_rng(6)
    key = np.zeros(64, int)
    for share, alarmed in ((0.485, False), (0.45, True)):
        words = (rng.random((50_000, 64)) < share).astype(int)
        found = calibrate_decoder(words, key, "", levels=(0.1,))
        (rate,) = found.keys[0].false_alarms
        assert rate.lower > rate.level  # surely too often
        texts = [text for text in find_alarms(found) if text.startswith("false alarms")]
        assert bool(texts) == alarmed == (rate.lower > 0.15)


def test_uneven_bits_are_counted_whether_they_matter_or_not() -> None:
    rng = np.random.default_rng(5)
    words = rng.integers(0, 2, (20_000, 32))
    words[:, :3] = rng.random((20_000, 3)) < 0.54
    words[:, 3] = rng.random(20_000) < 0.3
    found = calibrate_decoder(words, fair(1, 32, 1), "")
    assert count_uneven_bits(found) == 4
    (text,) = [text for text in find_alarms(found) if text.startswith("bias")]
    assert text.startswith("bias: 1 of 32")
    uneven = [
        count_uneven_bits(calibrate_decoder(fair(200, 32, seed), fair(1, 32), ""))
        for seed in range(200)
    ]
    assert stats.binom.sf(np.count_nonzero(uneven) - 1, 200, 0.05) > 1e-4


def test_calibrations_travel_as_json() -> None:
    found = calibrate_decoder(fair(50, 16), fair(2, 16, 1), "sha256:12", levels=(0.1, 1e-9))
    content = found.to_dict()
    assert json.loads(json.dumps(content)) == content
    again = Calibration.from_dict(json.loads(json.dumps(content)), "sha256:12")
    assert again == found
    assert find_alarms(again) == find_alarms(found)
    assert dataclasses.asdict(found)["keys"][0]["false_alarms"][1]["threshold"] == 17
    with pytest.raises(UserError, match="made for decoder sha256:12, not for other"):
        Calibration.from_dict(content, "other")


def change(**fields: Any) -> Any:
    return lambda content: {**content, **fields}


@pytest.mark.parametrize(
    "spoil",
    [
        change(version=2),
        change(artfp="key"),
        change(images="many"),
        change(images=True),
        change(bits=15),
        change(biases=[{"ones": 0.5}]),
        change(biases=3),
        change(dependence=None),
        change(keys=[{"mean": math.nan}]),
        lambda content: {k: v for k, v in content.items() if k != "keys"},
        lambda content: [content],
    ],
)
def test_what_is_no_calibration_is_refused(spoil: Any) -> None:
    content = calibrate_decoder(fair(50, 16), fair(1, 16, 1), "x").to_dict()
    with pytest.raises(UserError, match="calibration: ") as caught:
        Calibration.from_dict(spoil(content))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("words", "keys", "found"),
    [
        (fair(1, 8), fair(1, 8), "images > 1"),
        (fair(1, 8)[0], fair(1, 8), "images > 1"),
        (fair(5, 8) * 2, fair(1, 8), "other than 0 and 1"),
        (fair(5, 8), fair(1, 9), "found 9 bits, expected 8"),
    ],
)
def test_what_cannot_be_calibrated_is_refused(words: Any, keys: Any, found: str) -> None:
    with pytest.raises(ValueError, match=found):
        calibrate_decoder(words, keys, "")
