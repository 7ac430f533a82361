"""The soft p-value: valid for every key, the binomial where it should be, sharper elsewhere."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy import stats

from artfp.stats import count_matches, log_p_soft, log_p_value
from artfp.stats.pooling import CLIP, clip_logits
from artfp.stats.sign_tails import log_tail_hoeffding

LEVELS = (1e-1, 1e-2, 1e-3, 1e-4)


def all_keys(bits: int) -> np.ndarray:
    return np.arange(2**bits)[:, None] >> np.arange(bits) & 1


def logit_families(bits: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Random and adversarial logits, with signs at random."""
    sizes = {
        "equal": np.full(bits, 3.7),
        "one dominates": np.array([19.0] + [1e-3] * (bits - 1)),
        "one above clip": np.array([1e9] + [2.0] * (bits - 1)),
        "geometric": 0.5 ** np.arange(bits),
        "ties": rng.integers(0, 3, bits) * 1.0,
        "tenths": rng.integers(1, 5, bits) * 0.1,
        "normal": np.abs(rng.normal(0, 5, bits)),
        "heavy": np.abs(rng.standard_cauchy(bits)),
        "log uniform": 10 ** rng.uniform(-8, 8, bits),
        "infinite": np.where(rng.random(bits) < 0.3, np.inf, 1.5),
    }
    return {name: size * rng.choice([-1, 1], bits) for name, size in sizes.items()}


@pytest.mark.parametrize("bits", [8, 10, 12])
def test_p_at_most_alpha_has_at_most_probability_alpha_over_all_keys(bits: int) -> None:
    rng = np.random.default_rng(bits)
    keys = all_keys(bits)
    for _ in range(2):
        for name, logits in logit_families(bits, rng).items():
            log_p = np.sort(log_p_soft(logits, keys))
            # At every alpha that is attained: at most alpha of all keys.
            share = np.searchsorted(log_p, log_p + 1e-12, side="right") / len(keys)
            assert (np.log(share) <= log_p + 1e-9).all(), name
            assert (log_p <= 0).all()


@pytest.mark.slow
@pytest.mark.parametrize("bits", [16, 17, 18])
def test_p_at_most_alpha_has_at_most_probability_alpha_over_all_keys_of_longer_words(
    bits: int,
) -> None:
    rng = np.random.default_rng(bits)
    for name, logits in logit_families(bits, rng).items():
        log_p = np.sort(log_p_soft(logits, all_keys(bits)))
        share = np.searchsorted(log_p, log_p + 1e-12, side="right") / len(log_p)
        assert (np.log(share) <= log_p + 1e-9).all(), name


def false_positives(bits: int, keys: int, seed: int) -> None:
    """Rates over random keys, against the level; and not far below it, where it can be reached."""
    rng = np.random.default_rng(seed)
    drawn = rng.integers(0, 2, (keys, bits), dtype=np.uint8)
    for name, logits in logit_families(bits, rng).items():
        log_p = log_p_soft(logits, drawn)
        for level in LEVELS:
            hits = int(np.sum(log_p <= math.log(level)))
            assert stats.binom.sf(hits - 1, keys, level) > 1e-5, (name, level)
            if name in ("normal", "heavy"):
                assert stats.binom.cdf(hits, keys, 0.9 * level) > 1e-5, (name, level)


@pytest.mark.parametrize("bits", [64, 100])
def test_false_positives_over_random_keys_stay_at_the_level(bits: int) -> None:
    false_positives(bits, 30_000, bits)


@pytest.mark.slow
@pytest.mark.parametrize(("bits", "keys"), [(32, 400_000), (100, 200_000), (256, 50_000)])
def test_false_positives_over_many_random_keys_stay_at_the_level(bits: int, keys: int) -> None:
    false_positives(bits, keys, bits)


def test_unsure_bits_alone_are_forgiven() -> None:
    key = np.ones(64, int)
    logits = np.full(64, 8.0)
    logits[:20] = -0.3  # twenty wrong bits, none of them sure
    sure_wrong = logits.copy()
    sure_wrong[:20] = -8.0
    counted = log_p_value(44, 64)
    assert log_p_soft(logits, key) < -40 * math.log(2) < counted
    assert log_p_soft(sure_wrong, key) == pytest.approx(counted, rel=1e-9)


def test_soft_evidence_beats_counting_where_reliability_varies() -> None:
    # Logits are log odds: bit i is right with probability 1 / (1 + exp(-|l_i|)).
    rng = np.random.default_rng(1)
    runs, bits = 300, 64
    sizes = np.where(rng.random((runs, bits)) < 0.5, 0.1, 2.0) * rng.exponential(1, (runs, bits))
    right = rng.random((runs, bits)) < 1 / (1 + np.exp(-sizes))
    keys = rng.integers(0, 2, (runs, bits))
    logits = np.where(right, sizes, -sizes) * (2 * keys - 1)
    soft = np.array([log_p_soft(row, key) for row, key in zip(logits, keys, strict=True)])
    hard = log_p_value(
        np.array([(a == b).sum() for a, b in zip(logits > 0, keys, strict=True)]), 64
    )
    for level in (1e-2, 1e-3, 1e-4):
        by_soft, by_hard = np.mean(soft <= math.log(level)), np.mean(hard <= math.log(level))
        assert by_soft > by_hard + 0.15, (level, by_soft, by_hard)


def test_it_is_sharper_than_hoeffding_and_agrees_with_it_in_order() -> None:
    rng = np.random.default_rng(2)
    logits = rng.normal(1.0, 2.0, 100)
    keys = (rng.random((50, 100)) < np.linspace(0.5, 1, 50)[:, None]).astype(int)
    found = np.asarray(log_p_soft(logits, keys))
    held = np.where(logits < 0, -1, 1) * (2 * keys - 1)
    assert (found <= log_tail_hoeffding(np.abs(logits), held) + 1e-9).all()


def test_shapes_and_agreement_with_single_calls() -> None:
    rng = np.random.default_rng(3)
    logits, keys = rng.normal(0, 4, (3, 40)).astype(np.float32), rng.integers(0, 2, (5, 40))
    found = np.asarray(log_p_soft(logits, keys))
    assert found.shape == (3, 5)
    assert np.shape(log_p_soft(logits, keys[0])) == (3,)
    assert np.shape(log_p_soft(logits[0], keys)) == (5,)
    for n, k in np.ndindex(3, 5):
        single = log_p_soft(logits[n], keys[k])
        assert type(single) is float
        # Which keys are asked about together must not matter, but for rounding.
        assert single == pytest.approx(found[n, k], abs=1e-9)
    assert log_p_soft(-logits, 1 - keys) == pytest.approx(found)


@pytest.mark.parametrize("bits", [8, 40, 100, 256, 600])
def test_equal_logits_give_the_count_and_extremes_stay_finite(bits: int) -> None:
    rng = np.random.default_rng(bits)
    words = rng.integers(0, 2, (4, bits))
    key = words[0]
    logits = (2.0 * words - 1) * 7.3
    found = np.asarray(log_p_soft(logits, key))
    assert np.isfinite(found).all()
    assert (found <= 0).all()
    if bits <= 512:
        expected = log_p_value(count_matches(words, key), bits)
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)
    assert log_p_soft(-logits[0], key) == 0.0
    assert log_p_soft(np.where(key, 1e300, -np.inf), key) == pytest.approx(found[0])


def test_the_scale_of_logits_does_not_matter_but_the_clip_does() -> None:
    rng = np.random.default_rng(5)
    logits, key = rng.normal(0, 5, 64), rng.integers(0, 2, 64)
    assert log_p_soft(logits * 1e-9, key) == pytest.approx(log_p_soft(logits, key, None), rel=0.01)
    spoiled = np.where(key, 3.0, -3.0)
    spoiled[0] *= -1e6
    assert log_p_soft(spoiled, key, clip=None) > math.log(0.5)
    assert log_p_soft(spoiled, key) < -20
    assert log_p_soft(np.zeros(64), key) == 0.0


def test_clipping() -> None:
    np.testing.assert_array_equal(clip_logits([-np.inf, 3, 1e9]), [-CLIP, 3.0, CLIP])
    np.testing.assert_array_equal(clip_logits([1e9], None), [1e9])
    assert clip_logits(np.array([1.5], np.float16)).dtype == np.float64


@pytest.mark.parametrize(
    ("logits", "clip", "found"),
    [
        ([math.nan, 1], 20.0, "found nan"),
        ([math.inf, 1], None, "infinite values, which need a clip"),
        ([1.0, 1], 0.0, "clip: found 0.0"),
        ([1.0, 1], math.inf, "clip: found inf"),
        ([True, False], 20.0, "found bool values"),
        ([[]], 20.0, "found shape"),
        (3.0, 20.0, "found shape"),
    ],
)
def test_what_is_no_logit_is_refused(logits: Any, clip: Any, found: str) -> None:
    with pytest.raises(ValueError, match=found):
        log_p_soft(logits, [0, 1], clip)
    with pytest.raises(ValueError, match="expected 2 as decoded"):
        log_p_soft([1.0, 2.0], [0, 1, 1])
