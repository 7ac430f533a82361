"""Attribution by matching bits, of readers whose answers are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import binom

from artfp.passive.attributors.base import Attributor, ExactAttributor
from artfp.robustness.matching import MatchingBits

BITS = 20


@pytest.fixture
def words() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 2, (5, BITS), np.uint8)


def test_scores_count_matching_bits(words: np.ndarray) -> None:
    found = torch.from_numpy(np.random.default_rng(1).integers(0, 2, (7, BITS)))
    attributor = MatchingBits("a", lambda x: found, words, "vwxyz")
    scores = attributor.scores(torch.zeros(7, 3, 4, 4))
    expected = [[sum(f == w for f, w in zip(row, word, strict=True)) for word in words] for row in
                found.tolist()]  # fmt: skip
    assert scores.tolist() == expected
    assert attributor.sources == ("v", "w", "x", "y", "z") and attributor.bits == BITS


def test_log_p_is_the_binomial_tail(words: np.ndarray) -> None:
    attributor = MatchingBits("a", lambda x: x, words, "vwxyz")
    scores = torch.arange(BITS + 1.0).view(-1, 1).expand(-1, 5)
    expected = binom.logsf(np.arange(BITS + 1) - 1, BITS, 0.5)
    found = attributor.log_p(scores)
    assert found.dtype == torch.float64 and found.shape == (BITS + 1, 5)
    np.testing.assert_allclose(found[:, 2], expected, rtol=1e-10, atol=1e-12)


def test_protocols(words: np.ndarray) -> None:
    attributor = MatchingBits("a", lambda x: x, words, "vwxyz")
    assert isinstance(attributor, Attributor) and isinstance(attributor, ExactAttributor)

    class Plain:
        name, sources = "plain", ("s",)

        def scores(self, x: torch.Tensor) -> torch.Tensor:
            return x

    assert isinstance(Plain(), Attributor) and not isinstance(Plain(), ExactAttributor)


@pytest.mark.parametrize(
    ("fingerprints", "sources"),
    [
        ([[0, 1]], "ab"),
        ([[0, 2]], "a"),
        ([0, 1], "a"),
        (np.zeros((0, 4)), ""),
    ],
)
def test_refuses_words_that_are_none(fingerprints: object, sources: str) -> None:
    with pytest.raises(ValueError, match="fingerprints"):
        MatchingBits("a", lambda x: x, fingerprints, sources)  # type: ignore[arg-type]


def test_refuses_readers_of_other_lengths(words: np.ndarray) -> None:
    attributor = MatchingBits("a", lambda x: torch.zeros(len(x), 3), words, "vwxyz")
    with pytest.raises(ValueError, match="expected 20 bits"):
        attributor.scores(torch.zeros(2, 3, 4, 4))
