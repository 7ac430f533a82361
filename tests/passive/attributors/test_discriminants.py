"""Linear discriminants against scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.covariance import LedoitWolf
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from artfp.passive.attributors.discriminants import Discriminants


@pytest.fixture
def features() -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]]:
    """Features (240, 12), labels and parts; sources are of different sizes."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(4), (30, 90, 60, 60))
    values = rng.standard_normal((240, 12)) @ rng.standard_normal((12, 12))
    values += 5 + rng.standard_normal((4, 12))[labels]
    return values.astype(np.float32), labels, rng.integers(0, 3, 240)


@pytest.mark.parametrize("without", [None, 1])
def test_they_are_those_of_scikit_learn(
    features: tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]],
    without: int | None,
) -> None:
    """With the covariance given: scikit-learn shrinks each class by itself, we the pooled one."""
    values, labels, parts = features
    means = np.stack([values[labels == k].mean(0) for k in range(4)])
    rows = values - means[labels]
    scale = np.sqrt((rows.astype(np.float64) ** 2).mean(0))
    shrinkage = LedoitWolf(assume_centered=True).fit(rows / scale).shrinkage_
    kept = parts != (-1 if without is None else without)
    own = np.stack([values[kept & (labels == k)].mean(0) for k in range(4)])
    within = ((values - own[labels])[kept] / scale).astype(np.float64)
    covariance = within.T @ within / kept.sum()
    target = np.eye(12) * np.trace(covariance) / 12
    pooled = ((1 - shrinkage) * covariance + shrinkage * target) * np.outer(scale, scale)

    class Given(LedoitWolf):
        def fit(self, X: object, y: object = None) -> Given:
            self.covariance_ = pooled
            return self

    theirs = LinearDiscriminantAnalysis(
        solver="lsqr", covariance_estimator=Given(), priors=[0.25] * 4
    ).fit(values[kept], labels[kept])
    expected = theirs.decision_function(values[:50])
    weights, bias = Discriminants(values, labels, parts, 4).fit(without)
    found = values[:50] @ weights.numpy() + bias.numpy()
    np.testing.assert_allclose(found, expected - expected.mean(1)[:, None], rtol=1e-3, atol=2e-3)
    assert np.abs(found.mean(1)).max() < 1e-3


def test_features_without_variance_do_no_harm() -> None:
    rng = np.random.default_rng(0)
    features = rng.standard_normal((80, 5)).astype(np.float32)
    features[:, 2] = 3.0
    labels = np.repeat(np.arange(2), 40)
    features[labels == 1, 0] += 3
    weights, bias = Discriminants(features, labels, np.zeros(80, np.int64), 2).fit()
    found = (features @ weights.numpy() + bias.numpy()).argmax(1)
    assert (found == labels).mean() > 0.85


def test_a_source_that_is_left_out_whole() -> None:
    labels = np.repeat(np.arange(2), 10)
    found = Discriminants(np.ones((20, 3), np.float32), labels, labels, 2)
    with pytest.raises(ValueError, match=r"\[10, 0\]"):
        found.fit(without=1)
