"""False positives of real decoders on unmarked photographs, over random keys, at 1e-1 to 1e-5.

Keys alone are random: each image or group of images meets keys of its own, so the tests are
independent and their number of false positives is binomial, however alike the images are. Beside
each right rule stands a wrong one, which the same check has to find out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import stats

from artfp.stats import (
    Policy,
    bonferroni,
    count_matches,
    decide_image,
    decide_source,
    evaluate_source,
    log_p_soft,
    log_p_value,
    minimum_matches,
)
from artfp.stats.binomial import log_p_inverted
from artfp.stats.multiple_testing import benjamini_yekutieli
from artfp.stats.pooling import majority_bits, mean_logits
from artfp.watermark import load_decoder

LEVELS = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5)
SURE = 1e-6
"""A count is contradicted if chance gives as many less often than this."""
MILLION = 1_000_000

Array = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Decoded:
    """Logits (N, bits) of crops of four photographs in turn, and of 50 gray images."""

    logits: NDArray[np.float32]
    gray: NDArray[np.float32]

    @property
    def words(self) -> NDArray[np.uint8]:
        return (self.logits > 0).astype(np.uint8)

    @property
    def bits(self) -> int:
        return int(self.logits.shape[1])

    def keys(self, count: int, rng: np.random.Generator) -> NDArray[np.uint8]:
        return rng.integers(0, 2, (count, self.bits), dtype=np.uint8)

    def matches(self, total: int, rng: np.random.Generator) -> Iterator[NDArray[np.int64]]:
        """Matches of each image with keys of its own, so many tests in all or some more."""
        for word in self.words:
            yield count_matches(word, self.keys(-(-total // len(self.words)), rng))


@pytest.fixture(scope="module", params=["photo128", "cifar32"])
def decoded(request: pytest.FixtureRequest, photo_crops: Callable[..., torch.Tensor]) -> Decoded:
    plain, _ = load_decoder(request.param, realign=False)
    realigning, _ = load_decoder(request.param)
    side = plain.resolution
    crops = photo_crops(240, side, seed=9).float() / 255
    gray = torch.linspace(0, 1, 50).view(-1, 1, 1, 1).expand(-1, 3, side, side)
    with torch.inference_mode():
        # Most as they are, as that is quicker.
        logits = torch.cat([realigning(crops[:16]), plain(crops[16:])])
        return Decoded(logits.numpy(), plain(gray).numpy())


def excess(hits: int, tests: int, level: float) -> float:
    """How often chance gives so many false positives or more, were the rate the level."""
    return float(stats.binom.sf(hits - 1, tests, level))


def contradicted(log_p: Array) -> list[float]:
    """The levels at which p-values that were random over keys have a rate surely above the level.

    Hits are counted with a margin of a relative 1e-12, for levels that are attained exactly.
    """
    hits = [int((log_p <= math.log(level) + 1e-12).sum()) for level in LEVELS]
    return [
        level
        for level, count in zip(LEVELS, hits, strict=True)
        if excess(count, log_p.size, level) < SURE
    ]


def missed(log_p: Array, bits: int, keys: int = 1) -> list[float]:
    """The levels at which the rate of counted bits is surely not what the binomial gives.

    That is the largest tail at most the level; for the best of so many keys, of level / keys.
    """
    tail = stats.binom.sf(np.arange(-1, bits), bits, 0.5)  # of at least 0, ..., bits matches
    found = []
    for level in LEVELS:
        rate = -np.expm1(keys * np.log1p(-tail[tail * keys <= level].max()))
        hits = int((log_p <= math.log(level)).sum())
        too_few = float(stats.binom.cdf(hits, log_p.size, rate))
        if min(too_few, excess(hits, log_p.size, rate)) < SURE:
            found.append(level)
    return found


def test_one_image_and_one_key(decoded: Decoded) -> None:
    found = np.concatenate(list(decoded.matches(MILLION, np.random.default_rng(0))))
    assert found.size >= MILLION
    log_p = np.asarray(log_p_value(found, decoded.bits))
    assert contradicted(log_p) == []
    assert missed(log_p, decoded.bits) == []
    inverted = np.asarray(log_p_inverted(found, decoded.bits))
    assert contradicted(inverted) == []
    assert missed(inverted, decoded.bits) == []
    for level in LEVELS:
        threshold = minimum_matches(decoded.bits, level)
        np.testing.assert_array_equal(found >= threshold, log_p <= math.log(level))

    for off_by in (1, -1):  # a threshold that is one bit too low, or too high
        shifted = np.clip(found + off_by, 0, decoded.bits)
        wrong = np.asarray(log_p_value(shifted, decoded.bits))
        # The rarer levels take more than a million tests: of 64 bits, 47 have 1.13e-4.
        assert missed(wrong, decoded.bits)[:3] == list(LEVELS[:3])
        assert contradicted(wrong)[:3] == (list(LEVELS[:3]) if off_by == 1 else [])


def test_one_image_and_one_key_by_logits(decoded: Decoded) -> None:
    rng = np.random.default_rng(1)
    count = -(-MILLION // len(decoded.logits))
    log_p = np.concatenate(
        [np.asarray(log_p_soft(row, decoded.keys(count, rng))) for row in decoded.logits]
    )
    assert log_p.size >= MILLION and contradicted(log_p) == []
    # Nor is it much below: the bound is tight.
    for level in LEVELS[:3]:
        assert (log_p <= math.log(level)).mean() > 0.85 * level
    lower = np.concatenate(
        [np.asarray(log_p_soft(-row, decoded.keys(500, rng))) for row in decoded.logits]
    )
    assert contradicted(lower) == []

    # Logits taken for the log odds that they are not: a normal law with too small a variance.
    bold = stats.norm.logsf(-1.15 * stats.norm.ppf(np.exp(log_p)))
    assert contradicted(bold) != []


@pytest.mark.parametrize("keys", [100, 1000])
def test_the_best_of_many_keys(decoded: Decoded, keys: int) -> None:
    rng = np.random.default_rng(keys)
    families = -(-MILLION // (keys * len(decoded.words)))
    every = np.stack(list(decoded.matches(families * keys * len(decoded.words), rng)))
    assert every.size >= MILLION
    found = every.reshape(-1, keys)
    best = np.asarray(log_p_value(found.max(axis=1), decoded.bits))
    log_p = np.asarray(bonferroni(best, keys))
    assert contradicted(log_p) == []
    assert missed(log_p, decoded.bits, keys) == []
    for matches, expected in zip(found[:40], log_p, strict=False):
        verdict = decide_image(matches, decoded.bits, policy=Policy(alpha=0.1, remarkable=0.1))
        assert verdict.log_p_corrected == pytest.approx(expected)
        assert (verdict.outcome == "match") == (expected <= math.log(0.1))

    assert contradicted(best)[:4] == list(LEVELS[:4])


def test_the_best_of_images_with_one_key_for_all(decoded: Decoded) -> None:
    """A test is a key here; it finds any image or none, and all that it finds is false."""
    matches = count_matches(decoded.words, decoded.keys(5000, np.random.default_rng(4)))
    assert matches.size >= MILLION
    each = np.asarray(log_p_value(matches, decoded.bits))
    assert contradicted(np.asarray(bonferroni(each.min(axis=0), len(each)))) == []
    for level in LEVELS[:2]:
        hits = sum(benjamini_yekutieli(column, level).any() for column in each.T)
        assert excess(int(hits), each.shape[1], level) > SURE

    assert contradicted(each.min(axis=0))[:4] == list(LEVELS[:4])


def spoken_alike(decoded: Decoded, word: Array, share: float, rng: np.random.Generator) -> Array:
    """50 images of the word's signs, each bit kept with a probability; as sure as real ones are."""
    sizes = np.abs(decoded.logits[rng.choice(len(decoded.logits), 50)])
    return np.where((rng.random(sizes.shape) < share) == (word > 0), sizes, -sizes)


def groups(scene: str, decoded: Decoded, rng: np.random.Generator) -> Iterator[Array]:
    """Ten groups of images (n, bits) of which the suspect is said to have made each."""
    for number in range(10):
        row = decoded.logits[number]
        if scene == "one image 50 times":
            yield np.tile(row, (50, 1))
        elif scene == "gray":
            yield decoded.gray
        elif scene == "one photograph":
            yield rng.permutation(decoded.logits[number % 4 :: 4])[:50]
        else:
            yield spoken_alike(decoded, row, 1.0 if scene == "one word" else 0.8, rng)


SCENES = ("one image 50 times", "one word", "nearly one word", "gray", "one photograph")


@pytest.mark.parametrize("scene", SCENES)
def test_images_of_one_source(decoded: Decoded, scene: str) -> None:
    """Five scenes of a quarter of a million groups and keys."""
    rng = np.random.default_rng(5)
    weighed, voted = [], []
    for logits in groups(scene, decoded, rng):
        keys = decoded.keys(25_000, rng)
        word = majority_bits(logits > 0)
        weighed.append(np.asarray(log_p_soft(mean_logits(logits), keys, clip=None)))
        voted.append(np.asarray(log_p_value(count_matches(word, keys), decoded.bits)))
        whole = evaluate_source(logits, keys[:3])
        np.testing.assert_allclose(whole.log_p, weighed[-1][:3], atol=1e-9)
        np.testing.assert_allclose(whole.log_p_majority, voted[-1][:3])
        verdict = decide_source(evaluate_source(logits, keys[0]), Policy(alpha=0.1, remarkable=0.1))
        assert (verdict.outcome == "match") == (weighed[-1][0] <= math.log(0.1))
    assert contradicted(np.concatenate(weighed)) == []
    assert contradicted(np.concatenate(voted)) == []
    assert missed(np.concatenate(voted), decoded.bits) == []

    if scene in (SCENES[0], SCENES[-1]):  # where the two differ, the smaller is no p-value
        smaller = np.minimum(np.concatenate(weighed), np.concatenate(voted))
        assert contradicted(smaller)[:2] == [1e-1, 1e-2]


@pytest.mark.parametrize("scene", SCENES[:2])
def test_what_must_not_be_done_with_images_of_one_source(decoded: Decoded, scene: str) -> None:
    rng = np.random.default_rng(6)
    pooled, fisher = [], []
    for logits in groups(scene, decoded, rng):
        matches = count_matches((logits > 0).astype(np.uint8), decoded.keys(300, rng))
        each = np.asarray(log_p_value(matches, decoded.bits))
        pooled.append(log_p_value(matches.sum(axis=0), decoded.bits * len(logits)))
        fisher.append(stats.chi2.logsf(-2 * each.sum(axis=0), 2 * len(logits)))
    for log_p in (pooled, fisher):
        assert contradicted(np.concatenate(log_p)) == list(LEVELS)


def test_p_values_at_the_extremes(decoded: Decoded) -> None:
    """256 of 256 bits, and 10,000 images, alike or not."""
    for stack in (
        np.resize(decoded.logits, (1, 256)),
        np.resize(decoded.logits, (10_000, decoded.bits)),
        np.tile(np.resize(decoded.logits, (1, 256)), (10_000, 1)),
    ):
        word, bits = majority_bits(stack > 0), stack.shape[1]
        nearest = (mean_logits(stack) > 0).astype(np.uint8)
        found = evaluate_source(stack, np.stack([word, nearest, 1 - nearest]), tries=MILLION)
        for log_p in (
            *(found.log_p, found.log_p_inverted, found.log_p_majority, found.corrected),
            *(log_p_value(np.arange(bits + 1), bits), log_p_inverted(np.arange(bits + 1), bits)),
        ):
            assert np.isfinite(log_p).all() and (np.asarray(log_p) <= 0).all()
        assert found.log_p_majority[0] == pytest.approx(-bits * math.log(2))
        # Logits below the grid of `log_tail` count as 0, a factor of 2 each.
        assert found.log_p[1] == pytest.approx(-bits * math.log(2), rel=0.05)
        assert found.log_p[1] > -bits * math.log(2) * (1 + 1e-9)
        assert found.log_p_inverted[2] == pytest.approx(found.log_p[1])
        assert found.log_p[2] == 0.0
        assert decide_source(found).outcome == "match"
