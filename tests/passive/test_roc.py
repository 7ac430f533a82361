"""Figures of correlations against scikit-learn and counts by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn import metrics

from artfp.passive.roc import (
    CorrelationScores,
    attribution_accuracy,
    count_correct,
    estimate_auc,
    mean_correlations,
    one_vs_rest_auc,
    pairwise_auc,
    pooled_auc,
    roc_curve,
)
from artfp.stats.intervals import auc_interval


@pytest.fixture
def scores() -> CorrelationScores:
    """Three sources with 40, 50 and 60 test images; own fingerprints correlate with 0.04 more."""
    rng = np.random.default_rng(0)
    own = 0.04 * np.eye(3)
    values = (rng.normal(own[i], 0.03, (count, 3)) for i, count in enumerate((40, 50, 60)))
    return CorrelationScores(("a", "b", "c"), tuple(values))


def _by_sklearn(negatives: np.ndarray, positives: np.ndarray) -> float:
    labels = [0] * len(negatives) + [1] * len(positives)
    return float(metrics.roc_auc_score(labels, np.concatenate([negatives, positives])))


def test_mean_matrix(scores: CorrelationScores) -> None:
    expected = [[np.mean(scores.values[i][:, j]) for j in range(3)] for i in range(3)]
    np.testing.assert_allclose(mean_correlations(scores), expected)


def test_areas_of_pairs_of_own_and_of_all(scores: CorrelationScores) -> None:
    values = scores.values
    pairs = pairwise_auc(scores)
    assert list(pairs) == [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)]
    for (i, j), found in pairs.items():
        expected = _by_sklearn(values[j][:, i], values[i][:, i])
        assert found.value == pytest.approx(expected)
        assert (found.negatives, found.positives) == (len(values[j]), len(values[i]))
        assert (found.low, found.high) == auc_interval(found.value, len(values[j]), len(values[i]))
    own = one_vs_rest_auc(scores)[1]
    rest = np.concatenate([values[0][:, 1], values[2][:, 1]])
    assert own.value == pytest.approx(_by_sklearn(rest, values[1][:, 1]))
    assert (own.negatives, own.positives) == (100, 50)
    same = np.concatenate([values[i][:, i] for i in range(3)])
    cross = np.concatenate([np.delete(values[i], i, axis=1).ravel() for i in range(3)])
    pooled = pooled_auc(scores)
    assert pooled.value == pytest.approx(_by_sklearn(cross, same))
    assert (pooled.low, pooled.high) == auc_interval(pooled.value, 150, 150)


def test_an_area_of_one_has_an_interval() -> None:
    found = estimate_auc([0.1, 0.2], [0.3, 0.4])
    assert found.value == 1.0 and 0.0 < found.low < 1.0 == found.high


def test_roc_like_scikit_learn() -> None:
    rng = np.random.default_rng(3)
    negatives, positives = rng.integers(0, 9, 40), rng.integers(3, 12, 30)  # many ties
    labels = [0] * 40 + [1] * 30
    expected = metrics.roc_curve(
        labels, np.concatenate([negatives, positives]), drop_intermediate=False
    )
    for found, wanted in zip(roc_curve(negatives, positives), expected, strict=False):
        np.testing.assert_allclose(found, wanted)


def test_attribution_to_the_largest(scores: CorrelationScores) -> None:
    found = attribution_accuracy(scores)
    expected = [int((v.argmax(1) == i).sum()) for i, v in enumerate(scores.values)]
    assert found.hits == tuple(expected) and found.images == (40, 50, 60)
    assert found.overall == sum(expected) / 150 and found.fraction(2) == expected[2] / 60
    interval = binomtest(expected[1], 50).proportion_ci(0.95, "exact")
    assert found.interval(1) == pytest.approx((interval.low, interval.high))
    interval = binomtest(sum(expected), 150).proportion_ci(0.95, "exact")
    assert found.interval() == pytest.approx((interval.low, interval.high))


def test_a_tie_is_no_attribution_and_draws_are_counted_apart() -> None:
    assert count_correct(np.zeros((5, 3)), 0) == 0
    values = np.array([[[0.1, 0.2], [0.3, 0.2]], [[0.1, 0.0], [0.3, 0.3]]])
    assert count_correct(values, 0).tolist() == [1, 1] and count_correct(values, 1).tolist() == [
        1,
        0,
    ]
