"""Rates and intervals against SciPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import binom, binomtest
from torch import Tensor

from artfp.robustness.figures import Counts, wilson
from artfp.robustness.matching import MatchingBits


@pytest.mark.parametrize("count", [1, 7, 200])
def test_wilson(count: int) -> None:
    for hits in {0, 1, count // 2, count - 1, count}:
        expected = binomtest(hits, count).proportion_ci(method="wilson")
        assert wilson(hits, count) == pytest.approx(tuple(expected), abs=1e-12)


@pytest.mark.parametrize("bits", [32, 64, 100])
@pytest.mark.parametrize("fpr", [1e-2, 1e-6, 1e-9])
def test_tpr_is_the_binomial_test(bits: int, fpr: float) -> None:
    rng = np.random.default_rng(bits)
    words = rng.integers(0, 2, (3, bits), np.uint8)
    truth = rng.integers(0, 3, 400)
    read = words[truth] ^ (rng.random((400, bits)) < rng.uniform(0, 0.5, (400, 1)))
    found = iter(torch.from_numpy(read.astype(np.uint8)).split(150))
    counts = Counts(MatchingBits("a", lambda x: next(found), words, "abc"), fpr)
    for part in np.split(truth, [150, 300]):
        counts.add(torch.zeros(len(part), 3, 2, 2), torch.from_numpy(part))
    figures = counts.figures()
    matches = (read == words[truth]).sum(axis=1)
    expected = np.mean(binom.sf(matches - 1, bits, 0.5) <= fpr)
    assert figures.tpr == pytest.approx(expected) and 0.0 < expected < 1.0
    assert figures.bit_accuracy == pytest.approx(np.mean(matches) / bits)
    assert figures.bit_accuracy_q05 == pytest.approx(np.quantile(matches / bits, 0.05))


class Given:
    """Gives the scores that it is given as images."""

    name, sources = "given", ("a", "b", "c")

    def scores(self, x: Tensor) -> Tensor:
        return x.flatten(1)


def score(rows: list[list[float]], truth: list[int] | None, counts: Counts) -> None:
    counts.add(torch.tensor(rows).view(len(rows), 3, 1, 1), None if truth is None else
               torch.tensor(truth))  # fmt: skip


def test_ties_share_the_first_place() -> None:
    counts = Counts(Given(), 0.1)
    score([[1, 1, 0], [2, 2, 2], [0, 5, 1], [0, 5, 1]], [0, 2, 1, 2], counts)
    assert counts.figures().source_accuracy == pytest.approx((1 / 2 + 1 / 3 + 1 + 0) / 4)


def test_thresholds_are_those_of_the_true_source() -> None:
    counts = Counts(Given(), 0.25)
    score([[n, 10 * n, 0] for n in range(8)], None, counts)  # two of eight may pass
    score([[6, 0, 0], [5, 0, 0], [0, 51, 0], [0, 50, 0], [0, 0, 1]], [0, 0, 1, 1, 2], counts)
    figures = counts.figures()
    assert figures.tpr == pytest.approx(3 / 5)
    assert figures.threshold == "negatives"
    assert figures.false_positives == pytest.approx((2 + 2 + 0) / 24)
    assert figures.fpr_high == pytest.approx(wilson(2, 8)[1])


def test_few_negatives_prove_little() -> None:
    counts = Counts(Given(), 1e-6)
    score([[0, 0, 0]] * 20, None, counts)
    score([[1, 0, 0], [0, 0, 0]], [0, 0], counts)
    figures = counts.figures()
    assert figures.tpr == 0.5 and figures.false_positives == 0.0
    assert figures.fpr_high == pytest.approx(wilson(0, 20)[1]) and wilson(0, 20)[1] > 0.1


def test_refuses_scores_that_are_none() -> None:
    counts = Counts(Given(), 0.1)
    with pytest.raises(ValueError, match="no image"):
        counts.figures()
    with pytest.raises(ValueError, match="not numbers"):
        score([[0.0, float("nan"), 1.0]], [0], counts)
    with pytest.raises(ValueError, match="shape"):
        counts.add(torch.zeros(2, 3, 2, 2), torch.tensor([0, 0]))
