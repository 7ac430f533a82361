"""Many images of one source: the faults of the peers, and rates over random keys."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from artfp.stats import count_matches, evaluate_source, log_p_soft, log_p_value
from artfp.stats.pooling import majority_bits, mean_logits

LEVELS = (1e-1, 1e-2, 1e-3, 1e-4)


def key_with(matches: int, word: np.ndarray) -> np.ndarray:
    """A key that agrees with a word in so many bits."""
    return np.where(np.arange(len(word)) < matches, word, 1 - word)


def test_fifty_images_of_one_constant_word_prove_no_more_than_one() -> None:
    rng = np.random.default_rng(0)
    word = rng.integers(0, 2, 100)
    logits = np.tile((2.0 * word - 1) * 6, (50, 1)) * rng.uniform(0.9, 1.1, (50, 1))
    found = evaluate_source(logits, key_with(60, word))
    pooled = log_p_value(60 * 50, 100 * 50)
    assert pooled < -45 * math.log(10)  # what must not come out
    assert found.matches[0] == 60
    assert found.log_p_majority[0] == pytest.approx(math.log(0.0284), abs=0.01)
    assert found.log_p[0] == pytest.approx(math.log(0.0284), abs=0.01)
    assert found.alone[0].significant == 0


def test_one_image_fifty_times_is_one_image() -> None:
    rng = np.random.default_rng(1)
    image, keys = rng.normal(0, 5, 64), rng.integers(0, 2, (20, 64))
    once, often = evaluate_source(image, keys), evaluate_source(np.tile(image, (50, 1)), keys)
    np.testing.assert_array_equal(often.log_p, once.log_p)
    np.testing.assert_array_equal(often.log_p_majority, once.log_p_majority)
    np.testing.assert_allclose(once.log_p, log_p_soft(image, keys))
    assert (once.images, often.images, often.bits, often.tests) == (1, 50, 64, 20)


def scenes(bits: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Images of which no two are independent, or that are chosen badly."""
    common = rng.normal(0, 3, bits)
    sparse = np.where(rng.random((40, bits)) < 0.02, 1e4, 0.01) * rng.choice([-1, 1], (40, bits))
    return {
        "constant word": np.ones((50, bits)) * 5,
        "one image fifty times": np.tile(rng.normal(0, 5, bits), (50, 1)),
        "correlated": common + rng.normal(0, 1, (30, bits)),
        "half one word, half its opposite": np.outer(np.arange(20) % 2 * 2 - 1, common) + 0.01,
        "one image shouts": np.vstack([rng.normal(0, 1e5, bits), rng.normal(0, 0.1, (9, bits))]),
        "two clusters": np.repeat(rng.normal(0, 4, (2, bits)), [30, 20], axis=0),
        "few sure bits": sparse,
        "independent": rng.normal(0, 5, (25, bits)),
    }


@pytest.mark.parametrize("bits", [20, 64])
def test_false_positives_over_random_keys_stay_under_the_level(bits: int) -> None:
    check_rates(bits, 20_000)


@pytest.mark.slow
@pytest.mark.parametrize("bits", [16, 64, 128])
def test_false_positives_over_many_random_keys_stay_under_the_level(bits: int) -> None:
    check_rates(bits, 150_000)


def check_rates(bits: int, count: int) -> None:
    rng = np.random.default_rng(bits)
    keys = rng.integers(0, 2, (count, bits), dtype=np.uint8)
    for name, logits in scenes(bits, rng).items():
        soft = log_p_soft(mean_logits(logits), keys, clip=None)
        vote = log_p_value(count_matches(majority_bits(logits > 0), keys), bits)
        for log_p in (soft, vote):
            for level in LEVELS:
                hits = int(np.sum(log_p <= math.log(level)))
                assert stats.binom.sf(hits - 1, count, level) > 1e-5, (name, level)


def test_the_pooled_test_would_fail_these_rates() -> None:
    # The check itself must be able to fail: pooling on a constant word.
    rng = np.random.default_rng(2)
    keys = rng.integers(0, 2, (20_000, 64))
    matches = count_matches(np.ones(64, int), keys)
    hits = int(np.sum(log_p_value(matches * 50, 64 * 50) <= math.log(1e-4)))
    assert stats.binom.sf(hits - 1, len(keys), 1e-4) < 1e-100


def test_images_that_share_a_weak_key_convince_together() -> None:
    rng = np.random.default_rng(3)
    keys = rng.integers(0, 2, (5, 64))
    logits = 0.25 * (2 * keys[3] - 1) + rng.normal(0, 1, (60, 64))
    found = evaluate_source(logits, keys, tries=2)
    assert (found.best, found.tests) == (3, 10)
    assert found.corrected[3] < math.log(1e-9)
    assert found.log_p_majority[3] < math.log(1e-4)
    assert found.alone[3].fraction < 0.1
    assert (found.corrected[[0, 1, 2, 4]] > math.log(1e-3)).all()
    np.testing.assert_allclose(found.corrected, np.minimum(found.log_p + math.log(10), 0))


def test_one_strong_image_of_fifty_stands_alone() -> None:
    rng = np.random.default_rng(4)
    key = rng.integers(0, 2, 100)
    logits = rng.normal(0, 5, (50, 100))
    logits[7] = (2 * key - 1) * 10
    found = evaluate_source(logits, key)
    assert found.alone[0].significant == 1
    assert found.log_p[0] > math.log(1e-6)


def test_inverted_images_show_in_the_lower_tail() -> None:
    rng = np.random.default_rng(5)
    key = rng.integers(0, 2, 64)
    logits = -3.0 * (2 * key - 1) + rng.normal(0, 1, (10, 64))
    found = evaluate_source(logits, key)
    assert found.log_p_inverted[0] < -40
    assert found.log_p[0] > -1e-9


def test_ten_thousand_images_and_all_bits_neither_underflow_nor_exceed_one() -> None:
    rng = np.random.default_rng(6)
    key = rng.integers(0, 2, 256)
    found = evaluate_source(np.tile((2.0 * key - 1) * 30, (10_000, 1)), np.stack([key, 1 - key]))
    for log_p in (found.log_p, found.log_p_inverted, found.log_p_majority, found.corrected):
        assert np.isfinite(log_p).all()
        assert (log_p <= 0).all()
    assert found.log_p[0] == pytest.approx(-256 * math.log(2))
    assert found.log_p[1] == 0.0
    assert found.alone[0].fraction == 1.0


def test_the_majority_by_hand_with_ties() -> None:
    words = [[1, 1, 0, 0], [1, 0, 1, 0], [0, 1, 1, 0], [1, 0, 0, 0]]
    np.testing.assert_array_equal(majority_bits(words), [1, 0, 0, 0])
    np.testing.assert_array_equal(majority_bits(words[:3]), [1, 1, 1, 0])
    np.testing.assert_array_equal(majority_bits(words[0]), words[0])


def test_no_image_has_more_than_one_voice() -> None:
    logits = np.vstack([np.full((3, 4), -20.0), np.full((1, 4), 1e12)])
    np.testing.assert_array_equal(mean_logits(logits), np.full(4, -10.0))


def test_sources_refuse_bad_input() -> None:
    with pytest.raises(ValueError, match="found nan"):
        evaluate_source([[math.nan]], [1])
    with pytest.raises(ValueError, match="0 tries"):
        evaluate_source([[1.0]], [1], tries=0)
    with pytest.raises(ValueError, match="level: found 0"):
        evaluate_source([[1.0]], [1], level=0.0)
    with pytest.raises(ValueError, match="found shape"):
        evaluate_source(np.empty((0, 5)), [1] * 5)
