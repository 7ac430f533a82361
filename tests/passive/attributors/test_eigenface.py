"""Eigenfaces, against scikit-learn's PCA and distances in float64 by SciPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from sklearn.decomposition import PCA

from artfp.data.pixels import to_unit
from artfp.passive.attributors import eigenface
from artfp.passive.attributors.base import Attributor
from artfp.passive.attributors.eigenface import EUCLIDEAN, MAHALANOBIS, Eigenface, Eigenfaces

SOURCES = ("a", "b", "c")
COUNT, SIDE, KEPT = 240, 6, 12


def pixels(count: int = COUNT, seed: int = 0) -> tuple[torch.Tensor, np.ndarray]:
    """8-bit images (count, 3, 6, 6), correlated, of three sources with means of their own."""
    random = np.random.default_rng(seed)
    mix = np.random.default_rng(77).normal(size=(108, 108)) * np.linspace(3, 0.3, 108)[:, None]
    own = np.arange(count) % 3
    means = 4.0 * np.random.default_rng(78).normal(size=(3, 108))
    rows = 128 + random.normal(size=(count, 108)) @ mix + means[own]
    whole = rows.round().clip(0, 255).astype(np.uint8)
    return torch.from_numpy(whole.reshape(count, 3, SIDE, SIDE)), own


@pytest.fixture(scope="module")
def faces() -> Eigenfaces:
    return Eigenfaces(*pixels(), 30)


def reference(x: torch.Tensor, distance: str, components: int) -> np.ndarray:
    """By distances from the means of the sources, of coordinates whitened by PCA or not."""
    known, own = pixels()
    rows = known.flatten(1).numpy().astype(np.float64)
    pca = PCA(components, svd_solver="full", whiten=distance == MAHALANOBIS).fit(rows)
    z = pca.transform(rows)
    means = np.stack([z[own == k].mean(0) for k in range(3)])
    found = cdist(pca.transform(x.flatten(1).numpy().astype(np.float64)), means)
    if distance == MAHALANOBIS:
        found *= np.sqrt(COUNT / (COUNT - 1))  # scikit-learn divides by one image less
    return scores_of(found / np.sqrt(components))


def scores_of(distances: np.ndarray) -> np.ndarray:
    return np.asarray(distances.mean(1, keepdims=True) - distances)


@pytest.mark.parametrize("distance", [EUCLIDEAN, MAHALANOBIS])
def test_as_scikit_learn(faces: Eigenfaces, distance: str) -> None:
    x, _ = pixels(40, 5)
    part = faces.fit(SOURCES, distance, KEPT)
    assert isinstance(part, Attributor)
    found = part.scores(to_unit(x)).double().numpy()
    np.testing.assert_allclose(found, reference(x, distance, KEPT), atol=2e-4)


def test_random_projections_find_the_same_strong_components(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(eigenface, "_EXACT", 0)
    x, _ = pixels(40, 5)
    found = Eigenfaces(*pixels(), 30).fit(SOURCES, MAHALANOBIS, 4).scores(to_unit(x))
    np.testing.assert_allclose(found.numpy(), reference(x, MAHALANOBIS, 4), atol=1e-3)


def test_card_and_tensors_bring_it_back(faces: Eigenfaces) -> None:
    part = faces.fit(SOURCES, MAHALANOBIS, KEPT)
    again = Eigenface.load(SOURCES, part.card(), part.tensors())
    x = to_unit(pixels(9, 2)[0])
    assert torch.equal(again.scores(x), part.scores(x))
    assert again.card() == {"kind": "eigenface", "distance": MAHALANOBIS, "components": KEPT}


def test_bad_input(faces: Eigenfaces) -> None:
    part = faces.fit(SOURCES, EUCLIDEAN, KEPT)
    with pytest.raises(ValueError, match=r"images \(2, 3, 9, 9\)"):
        part.scores(torch.zeros(2, 3, 9, 9))
    with pytest.raises(ValueError, match="distance 'cosine'"):
        Eigenface(SOURCES, part.mean, part.axes, part.centres, "cosine")
    with pytest.raises(ValueError, match="3 sources"):
        Eigenface(SOURCES, part.mean, part.axes[:5], part.centres)
    with pytest.raises(ValueError, match="components of 240 images of 108"):
        Eigenfaces(*pixels(), 108)


@pytest.mark.gpu
def test_on_a_gpu(faces: Eigenfaces) -> None:
    part, x = faces.fit(SOURCES, MAHALANOBIS, KEPT), to_unit(pixels(9, 2)[0])
    torch.testing.assert_close(part.scores(x.cuda()).cpu(), part.scores(x), rtol=1e-4, atol=1e-4)
