"""Fitting baselines to folders of noise with patterns."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from sklearn.decomposition import PCA
from sklearn.neighbors import KNeighborsClassifier

from artfp.core.errors import UserError
from artfp.data.pixels import to_unit
from artfp.passive.attributors.bundle import load_attributor, save_attributor
from artfp.passive.attributors.eigenface import Eigenface
from artfp.passive.fitting.baselines import fit_baseline
from artfp.passive.fitting.cross_validation import spare_fold
from artfp.passive.fitting.image_set import ImageSet

NAMES, COUNT, SIDE = ("a", "b", "c"), 60, 10


def images(source: int, seed: int) -> np.ndarray:
    """(COUNT, SIDE, SIDE, 3), 8-bit: ramps of any strength with noise and the source's pattern."""
    random = np.random.default_rng((seed, source))
    noise = 6.0 * random.standard_normal((COUNT, SIDE, SIDE, 3))
    noise += 3.0 * np.random.default_rng(50 + source).standard_normal((SIDE, SIDE, 3))
    noise += np.linspace(-1, 1, SIDE)[:, None] * random.uniform(-60, 60, (COUNT, 1, 1, 1))
    return (128 + noise).round().clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def image_set(image_set_of: Callable[..., ImageSet]) -> ImageSet:
    return image_set_of({name: images(number, 1) for number, name in enumerate(NAMES)})


def test_pixels_are_those_of_the_files(image_set: ImageSet) -> None:
    expected = np.concatenate([images(number, 1) for number in range(3)]).transpose(0, 3, 1, 2)
    assert (image_set.stack_windows().numpy() == expected).all()


def test_held_out_figures_are_scikit_learns(image_set: ImageSet) -> None:
    found = fit_baseline(image_set, "nearest")
    rows, labels, folds = (
        image_set.stack_windows().flatten(1).numpy(),
        image_set.labels,
        image_set.folds,
    )
    right = np.empty(len(labels), bool)
    for fold in np.unique(folds):
        own = folds == fold
        judge = KNeighborsClassifier(1).fit(rows[~own].astype(float), labels[~own])
        right[own] = judge.predict(rows[own].astype(float)) == labels[own]
    assert found.methods[0].largest == pytest.approx(right.mean())
    assert found.methods[0].images == 180 and found.extractors == {}


@pytest.mark.parametrize("kind", ["nearest", "eigenface"])
def test_a_folder_that_can_be_read_again(image_set: ImageSet, kind: str, tmp_path: Path) -> None:
    found = fit_baseline(image_set, kind, name="mine")
    assert found.attributor.name == "mine" and found.chosen == kind
    assert [sum(row) for row in found.validation.confusion] == [COUNT] * 3
    save_attributor(found.attributor, tmp_path)
    again = load_attributor(tmp_path)
    shares = []
    for number in range(3):
        x = to_unit(torch.from_numpy(images(number, 2)).permute(0, 3, 1, 2))
        scores = again.scores(x)
        assert torch.equal(scores, found.attributor.scores(x))
        shares.append(float((scores.argmax(1) == number).double().mean()))
    # What is said of held out images holds for others.
    assert np.mean(shares) == pytest.approx(found.validation.accuracy, abs=0.1)
    assert np.mean(shares) > 0.6


def test_the_best_eigenfaces_are_kept(image_set: ImageSet) -> None:
    found = fit_baseline(image_set, "eigenface")
    trials = found.extractors["eigenface"]
    assert {trial.what for trial in trials} == {
        f"{distance}, 22 components" for distance in ("euclidean", "mahalanobis")
    }  # no more than an eighth of 180 images
    assert trials[0].log_loss == min(trial.log_loss for trial in trials)
    assert trials[0].log_loss == found.methods[0].log_loss == found.validation.log_loss
    part = found.attributor.card()["parts"][0]
    assert trials[0].what == f"{part['distance']}, {part['components']} components"
    asked = fit_baseline(image_set, "eigenface", components=5).extractors["eigenface"]
    assert {trial.what.split(", ")[1] for trial in asked} == {"5 components"}


def test_eigenfaces_are_those_of_the_other_folds(image_set: ImageSet) -> None:
    """Components, means and deviations know nothing of the images that they score."""
    rows = image_set.stack_windows().flatten(1).numpy().astype(float)
    labels, folds = image_set.labels, image_set.folds
    found = fit_baseline(image_set, "eigenface", components=5)
    for trial in found.extractors["eigenface"]:
        right = np.empty(len(labels), bool)
        for fold in np.unique(folds):
            own = folds == fold
            pca = PCA(5, svd_solver="full", whiten="mahalanobis" in trial.what).fit(rows[~own])
            z = pca.transform(rows)
            means = np.stack([z[~own & (labels == k)].mean(0) for k in range(3)])
            right[own] = cdist(z[own], means).argmin(1) == labels[own]
        assert trial.largest == pytest.approx(right.mean())
    part = found.attributor.parts[0]
    assert isinstance(part, Eigenface)
    kept = rows[folds != spare_fold(labels, folds)]
    np.testing.assert_allclose(part.mean.flatten(), kept.mean(0), rtol=1e-5)


@pytest.mark.parametrize("kind", ["nearest", "eigenface"])
def test_known_sources_are_rejected_as_often_as_alpha_says(
    image_set_of: Callable[..., ImageSet], kind: str
) -> None:
    p_values = []
    for seed in range(3, 9, 2):
        known = image_set_of({name: images(k, seed) for k, name in enumerate(NAMES)})
        attributor = fit_baseline(known, kind).attributor
        for number in range(3):
            x = to_unit(torch.from_numpy(images(number, seed + 1)).permute(0, 3, 1, 2))
            p_values.append(attributor.p_values(attributor.score_vectors(x))[:, number])
    found = np.concatenate(p_values)
    # Eigenfaces of all images had .07 and .85.
    assert found.mean() > 0.45 and (found <= 0.1).mean() < 0.14


def test_bad_input(image_set: ImageSet) -> None:
    with pytest.raises(UserError, match=r"choose from nearest, eigenface$"):
        fit_baseline(image_set, "knn")
    with pytest.raises(UserError, match="found 23, expected 1 to 22"):
        fit_baseline(image_set, "eigenface", components=23)
