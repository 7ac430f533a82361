"""Networks trained on folders of sources, and what is held out of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from artfp.attribution.likelihoods import ScoreModel
from artfp.attribution.policy import ALIGNED, Policy
from artfp.errors import UserError
from artfp.studies.attribute_material import Material
from artfp.studies.attribute_train import cross_fitted, held_out_rows, network_of, side_for
from artfp.studies.passive_images import sources_in


def test_side_for() -> None:
    for window, side in (((32, 32), 32), ((63, 90), 32), ((64, 300), 64), ((256, 256), 256)):
        assert side_for(Policy(ALIGNED, window, window)) == side
    with pytest.raises(UserError, match="images of 40x31 are too small: networks take 32"):
        side_for(Policy(ALIGNED, (31, 40), (31, 40)))


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Material:
    """Two sources, of 400 and of 80 images; those of the second are named as some of the first."""
    folder = tmp_path_factory.mktemp("sources")
    for name, count in (("many", 400), ("few", 80)):
        (folder / name).mkdir()
        for number in range(count):
            Image.new("RGB", (32, 32), (number % 256, 9, 9)).save(folder / name / f"{number}.png")
    return Material(sources_in(folder))


def test_held_out_rows(material: Material) -> None:
    held = held_out_rows(material)
    few, many = (held[material.labels == k] for k in range(2))
    assert few.sum() >= 0.4 * 80 and many.sum() >= 50  # half of the folds, for the smaller one
    assert {fold for fold in material.folds[held]} == set(range(5))
    assert not set(material.folds[held]) & set(material.folds[~held])
    assert 0.4 < held_out_rows(material, 0.5).mean() < 0.6
    for share in (0.0, 0.6, float("nan")):
        with pytest.raises(UserError, match="it must be from"):
            held_out_rows(material, share)


def test_a_share_is_enough_where_there_are_many(material: Material) -> None:
    class Many:
        sources = ("a", "b")
        labels = np.repeat([0, 1], 1000)
        folds = np.tile(np.arange(10), 200)

    held = held_out_rows(Many())  # type: ignore[arg-type]
    assert set(Many.folds[held]) == {0, 1} and held.sum() == 400


def test_cross_fitting_against_a_loop() -> None:
    rng = np.random.default_rng(0)
    labels = rng.permutation(np.repeat(np.arange(3), 15))
    scores = rng.standard_normal((45, 3)) + np.eye(3)[labels]
    logs, fits = cross_fitted(scores, labels)
    row = 7
    turn = int((labels[:row] == labels[row]).sum()) % 5
    others = [
        other for other in range(45) if int((labels[:other] == labels[other]).sum()) % 5 != turn
    ]
    model = ScoreModel.fit(scores[others], labels[others])
    assert np.allclose(logs[row], model.limited(model.log_likelihoods(scores[[row]]))[0])
    assert np.allclose(fits[row], model.p_values(scores[[row]])[0])


def test_init_needs_an_attributor(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no attributor at"):
        network_of(tmp_path, ("a", "b"))
