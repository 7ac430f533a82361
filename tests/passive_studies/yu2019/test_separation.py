"""Frechet distances between and within sources, against SciPy's root of a matrix."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import linalg
from sklearn.decomposition import PCA

from artfp.passive_studies.yu2019.separation import _principal, measure_separation


def frechet(x: np.ndarray, y: np.ndarray) -> float:
    a, b = np.cov(x.T), np.cov(y.T)
    root = linalg.sqrtm(a @ b).real
    return float(((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(a + b - 2.0 * root))


def sources(counts: tuple[int, ...], width: int, apart: float) -> tuple[np.ndarray, np.ndarray]:
    """Normal features with means and scales of their own, mixed."""
    random = np.random.default_rng(4)
    labels = np.repeat(np.arange(len(counts)), counts)
    means = apart * random.standard_normal((len(counts), width))
    rows = means[labels] + (1.0 + 0.2 * labels[:, None]) * random.standard_normal(
        (len(labels), width)
    )
    order = random.permutation(len(labels))
    return rows[order], labels[order]


def test_distances_are_those_of_equal_sets() -> None:
    x, labels = sources((60, 80, 51), 4, 1.0)
    found = measure_separation(x, labels, seed=3)
    random = np.random.default_rng(3)
    sets = []
    for k in range(3):
        drawn = x[random.permutation(np.flatnonzero(labels == k))]
        sets.append((drawn[:25], drawn[25:50]))
    assert (found.images, found.dimensions) == (25, 4)
    np.testing.assert_allclose(found.halves, [frechet(*pair) for pair in sets], rtol=1e-6)
    expected = [frechet(sets[i][0], sets[j][0]) for i, j in ((0, 1), (0, 2), (1, 2))]
    np.testing.assert_allclose(found.pairs[[0, 0, 1], [1, 2, 2]], expected, rtol=1e-6)
    assert (found.pairs == found.pairs.T).all() and not np.diag(found.pairs).any()
    ratio = np.mean(expected) / np.mean(found.halves)
    assert found.ratio == pytest.approx(ratio) and found.between / found.within == found.ratio


def test_it_tells_sources_from_none() -> None:
    x, labels = sources((400, 400, 400), 5, 3.0)
    assert measure_separation(x, labels).ratio > 50.0
    mixed = np.random.default_rng(0).permutation(labels)
    assert 0.5 < measure_separation(x, mixed).ratio < 2.0


def test_scale_turn_and_shift_do_not_matter() -> None:
    x, labels = sources((40, 40), 6, 1.0)
    turn, _ = np.linalg.qr(np.random.default_rng(1).standard_normal((6, 6)))
    other = measure_separation(7.0 * x @ turn + 100.0, labels)
    assert other.ratio == pytest.approx(measure_separation(x, labels).ratio, rel=1e-6)


@pytest.mark.parametrize("width", [30, 500])
def test_few_images_are_reduced_first(width: int) -> None:
    x, labels = sources((48, 50), width, 1.0)
    found = measure_separation(x, labels)
    assert (found.images, found.dimensions) == (24, 6)
    reduced = PCA(6, svd_solver="full").fit_transform(x)
    assert measure_separation(reduced, labels).ratio == pytest.approx(found.ratio, rel=1e-6)
    np.testing.assert_allclose(np.abs(_principal(x, 6)), np.abs(reduced), atol=1e-8)


def test_features_that_do_not_vary_within() -> None:
    labels = np.arange(40) % 2
    assert measure_separation(labels[:, None] * np.ones(3), labels).ratio == np.inf


def test_bad_input() -> None:
    with pytest.raises(ValueError, match=r"\[40\]; each of two or more takes 8"):
        measure_separation(np.ones((40, 3)), np.zeros(40, int))
    with pytest.raises(ValueError, match=r"\[35, 5\]"):
        measure_separation(np.ones((40, 3)), np.arange(40) // 35)
    with pytest.raises(ValueError, match="expected finite"):
        measure_separation(np.full((40, 3), np.nan), np.arange(40) % 2)
    with pytest.raises(ValueError, match="features"):
        measure_separation(np.ones((40, 3)), np.arange(30) % 2)
