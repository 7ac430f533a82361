"""Clusters of planted sources, and the steps on the way against NumPy and SciPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.cluster import hierarchy
from scipy.spatial.distance import squareform
from sklearn import metrics
from torch import Tensor

from artfp.core.errors import UserError
from artfp.passive_studies.clustering import cluster as clustering
from artfp.passive_studies.clustering.cluster import cluster_residuals, measure_agreement
from artfp.passive_studies.clustering.settings import ClusteringOptions
from artfp.passive_studies.clustering.similarity import (
    PairSimilarity,
    embed_images,
    log_powers,
    pattern_similarity,
    spectrum_similarity,
    whiten,
)


def planted(counts: list[int], strength: float, side: int = 16, seed: int = 0) -> Tensor:
    """Coloured noise (N, 3, side, side), with a pattern of its own for each source but the last."""
    rng = np.random.default_rng(seed)
    found = []
    for source, count in enumerate(counts):
        pattern = rng.normal(size=(3, side, side)) * (source < len(counts) - 1)
        noise = rng.normal(size=(count, 3, side, side)) * rng.uniform(0.5, 2.0, (count, 1, 1, 1))
        found.append(strength * pattern + noise)
    x = np.concatenate(found)
    return torch.from_numpy(x + np.roll(x, 1, -1) + np.roll(x, 1, -2)).float()


def sources_of(counts: list[int]) -> list[str]:
    return [f"source {k}" for k, count in enumerate(counts) for _ in range(count)]


def test_planted_sources_are_found_with_their_number() -> None:
    """Five patterns and noise without any: one cluster for each."""
    counts = [60, 40, 50, 30, 70, 45]
    found = cluster_residuals(planted(counts, 0.55))
    agreement = measure_agreement(sources_of(counts), found.labels)
    assert agreement.rand == pytest.approx(1.0, abs=0.03) and agreement.clusters == 6
    np.testing.assert_allclose(found.sizes(), sorted(counts, reverse=True), atol=2)
    assert sum(value is None for value in found.stability) <= 1
    within, between = (
        np.diag(found.mean_correlations()),
        found.mean_correlations()[~np.eye(6, dtype=bool)],
    )
    assert np.sort(within)[1] > 5 * np.abs(between).max()


@pytest.mark.parametrize("counts", [[80, 0], [0, 80]])
def test_one_source_or_none_is_one_cluster(counts: list[int]) -> None:
    for seed in range(6):
        found = cluster_residuals(planted(counts, 0.5, seed=seed))
        assert found.sizes() == [80] and found.stability == (None,)


def test_strong_and_weak_images_of_a_source_stay_together() -> None:
    """Two groups that all of the evidence tells apart, of one pattern; and of two patterns."""
    rng = np.random.default_rng(11)
    one, other = rng.normal(size=(2, 3, 16, 16))
    noise = rng.normal(size=(120, 3, 16, 16))
    strong = np.where(np.arange(120) < 60, 1.5, 0.3)[:, None, None, None]
    assert cluster_residuals(torch.from_numpy(noise + strong * one)).sizes() == [120]
    two = np.where(strong > 1.0, 0.8 * one, 0.8 * other)
    assert cluster_residuals(torch.from_numpy(noise + two)).sizes() == [60, 60]


def test_the_same_settings_give_the_same_clusters() -> None:
    x = planted([40, 40, 40], 0.5, seed=2)
    first, second = cluster_residuals(x), cluster_residuals(x)
    assert (first.labels == second.labels).all() and first.stability == second.stability
    # What residuals are scaled by does not matter, image by image.
    scaled = cluster_residuals(x * torch.linspace(0.1, 10.0, len(x))[:, None, None, None])
    assert (scaled.labels == first.labels).all()


def test_correlations_are_those_of_numpy() -> None:
    x = planted([4, 3], 0.3, seed=3)
    spectra = np.fft.fft2(x.double().numpy())
    power = np.abs(spectra[..., : x.shape[-1] // 2 + 1]) ** 2
    amplitude = np.sqrt((power / power.sum((1, 2, 3), keepdims=True)).mean(0))
    full = np.sqrt(
        (np.abs(spectra) ** 2 / power.sum((1, 2, 3), keepdims=True)).mean(0)
    )  # the half that rfft2 leaves out has the same amplitudes
    white = np.fft.ifft2(spectra / np.maximum(full, 0.01 * amplitude.max())).real
    np.testing.assert_allclose(whiten(x).numpy(), white, rtol=1e-3, atol=1e-3 * white.std())
    found = pattern_similarity(x, np.random.default_rng(0))
    np.testing.assert_allclose(found.shared, np.corrcoef(white.reshape(7, -1)), atol=1e-4)
    np.testing.assert_allclose(np.diag(found.chance), 1.0, atol=1e-5)


def test_moving_takes_away_what_is_shared() -> None:
    found = pattern_similarity(planted([100, 0], 0.5, seed=4), np.random.default_rng(1))
    pairs = ~np.eye(100, dtype=bool)
    assert found.shared[pairs].mean() > 0.1 and abs(found.chance[pairs].mean()) < 0.002


def test_log_powers_are_those_of_numpy() -> None:
    x = planted([3, 2], 0.3, seed=8)
    power = np.abs(np.fft.rfft2(x.double().numpy())) ** 2
    logs = np.log(power + 1e-6 * power.mean((1, 2, 3), keepdims=True)).reshape(5, -1)
    logs -= logs.mean(1, keepdims=True)
    np.testing.assert_allclose(log_powers(x), logs, atol=1e-3)
    # Scale is no matter, and place none.
    moved = 7.0 * x.roll((3, 5), (-2, -1))
    np.testing.assert_allclose(log_powers(moved), logs, atol=1e-3)


def test_many_frequencies_are_averaged() -> None:
    """A spectrum of 80 x 41 in 32 x 17 bands, those of torch's adaptive pooling, in a loop."""
    x = planted([2, 0], 0.3, side=80, seed=9)
    power = np.abs(np.fft.rfft2(x.double().numpy())) ** 2
    banded = np.zeros((2, 3, 32, 17))
    for i in range(32):
        for j in range(17):
            rows = slice(i * 80 // 32, -(-(i + 1) * 80 // 32))
            columns = slice(j * 41 // 17, -(-(j + 1) * 41 // 17))
            banded[:, :, i, j] = power[:, :, rows, columns].mean((2, 3))
    logs = np.log(banded + 1e-6 * banded.mean((1, 2, 3), keepdims=True)).reshape(2, -1)
    np.testing.assert_allclose(log_powers(x), logs - logs.mean(1, keepdims=True), atol=1e-3)


def test_exchanged_log_powers_keep_each_frequency() -> None:
    x = planted([30, 0], 0.5, seed=10)
    found = spectrum_similarity(x, np.random.default_rng(2))
    logs = log_powers(x) - log_powers(x).mean(0)
    np.testing.assert_allclose(found.shared, logs @ logs.T, rtol=1e-9, atol=1e-6)
    assert np.trace(found.chance) == pytest.approx(np.trace(found.shared))


def test_directions_keep_all_angles_of_all_components() -> None:
    """With all components of patterns, the angles are those of the centred correlations."""
    found = pattern_similarity(planted([20, 20, 20], 0.6, seed=5), np.random.default_rng(1))
    z = embed_images([found], 1000.0)
    assert z is not None
    middle = np.eye(60) - 1.0 / 60
    centred = middle @ found.shared @ middle
    scale = np.sqrt(np.diag(centred))
    np.testing.assert_allclose(z @ z.T, centred / np.outer(scale, scale), atol=1e-6)
    kept = embed_images([found], 1.0)
    assert kept is not None and kept.shape[1] == 2  # three sources, one of noise, about their mean


def test_directions_weigh_evidence() -> None:
    """Two kinds of evidence: parts of a unit vector, as long as their weights are to each other."""
    rng = np.random.default_rng(3)
    groups = np.kron(np.eye(2), np.ones((10, 10)))
    noise = rng.normal(size=(20, 500)) / 500**0.5
    shared, chance = groups + noise @ noise.T, noise @ noise.T
    both = [PairSimilarity(shared, chance, False, 1.0), PairSimilarity(shared, chance, True, 0.5)]
    z = embed_images(both, 1.0)
    assert z is not None and z.shape == (20, 2)
    np.testing.assert_allclose(np.abs(z[:, 1] / z[:, 0]), 0.5, rtol=1e-9)
    assert embed_images([PairSimilarity(chance, chance, True, 1.0)]) is None


@pytest.mark.parametrize("clusters", [1, 2, 3, 7, 12])
def test_cuts_are_those_of_scipy(clusters: int) -> None:
    rng = np.random.default_rng(6)
    z = rng.normal(size=(12, 4))
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    distances = 1.0 - z @ z.T
    np.fill_diagonal(distances, 0.0)
    tree = hierarchy.linkage(squareform(distances, checks=False), "average")
    expected = hierarchy.fcluster(tree, clusters, "maxclust")
    (found,) = clustering._cut_trees(z, range(clusters, clusters + 1))
    assert metrics.adjusted_rand_score(expected, found) == 1.0
    assert sorted(set(found)) == list(range(clusters))


def test_jaccard_is_that_of_sets() -> None:
    ours, theirs = np.array([0, 0, 0, 1, 1, 2]), np.array([1, 1, 0, 0, 0, 0])
    assert clustering._jaccard(ours, theirs, 3).tolist() == [2 / 3, 2 / 4, 1 / 4]


def test_agreement_is_that_of_scikit_learn() -> None:
    truth, labels = ["b", "b", "a", "a", "c"], np.array([0, 0, 1, 2, 2])
    found = measure_agreement(truth, labels)
    assert found.rand == pytest.approx(metrics.adjusted_rand_score(truth, labels))
    assert found.homogeneity == pytest.approx(metrics.homogeneity_score(truth, labels))
    assert found.completeness == pytest.approx(metrics.completeness_score(truth, labels))
    assert (found.sources, found.clusters) == (3, 3)


def test_mean_correlations_of_pairs() -> None:
    found = clustering.Clusters(
        np.array([0, 0, 1]),
        (None, None),
        np.eye(3),
        np.array([[1.0, 0.4, 0.1], [0.4, 1.0, 0.3], [0.1, 0.3, 1.0]]),
    )
    np.testing.assert_allclose(found.mean_correlations(), [[0.4, 0.2], [0.2, np.nan]])


def test_images_without_a_residual() -> None:
    """They correlate with nothing, and harm nobody."""
    x = planted([40, 40, 40], 0.55, seed=7)
    x[:5] = 0.0
    truth = sources_of([40, 40, 40])
    assert measure_agreement(truth[5:], cluster_residuals(x).labels[5:]).rand > 0.95
    assert cluster_residuals(torch.zeros(30, 3, 8, 8)).sizes() == [30]


def test_refused() -> None:
    with pytest.raises(UserError, match="1 images; it takes two"):
        cluster_residuals(torch.zeros(1, 3, 8, 8))
    with pytest.raises(UserError, match="not finite"):
        cluster_residuals(torch.full((4, 3, 8, 8), torch.nan))
    with pytest.raises(
        UserError, match=r"stability is 1\.5; it must be 0\.5 or more and at most 1"
    ):
        ClusteringOptions(stability=1.5)
    with pytest.raises(UserError, match="--min_images is 1; it must be 2 or more"):
        ClusteringOptions(min_images=1)
