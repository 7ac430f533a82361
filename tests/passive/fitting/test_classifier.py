"""Networks trained on folders of sources, and what is held out of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from artfp.core.errors import UserError
from artfp.data.pixels import to_unit
from artfp.data.sources import (
    open_sources,
)
from artfp.passive.attributors.bundle import load_attributor, save_attributor
from artfp.passive.attributors.score_model import ScoreModel
from artfp.passive.attributors.window import ALIGNED, WindowPolicy
from artfp.passive.fitting.classifier import (
    choose_held_out,
    deal_groups,
    load_initial_network,
    network_side,
    perturb_copies,
    train_classifier,
)
from artfp.passive.fitting.cross_validation import cross_fit
from artfp.passive.fitting.image_set import ImageSet
from artfp.passive.settings import ClassifierSettings
from artfp.passive.training.classifier import Immunisation
from artfp.passive.training.labelled import LabelledImages


def test_side_for() -> None:
    for window, side in (((32, 32), 32), ((63, 90), 32), ((64, 300), 64), ((256, 256), 256)):
        assert network_side(WindowPolicy(ALIGNED, window, window)) == side
    with pytest.raises(UserError, match="images of 40x31 are too small: networks take 32"):
        network_side(WindowPolicy(ALIGNED, (31, 40), (31, 40)))


@pytest.fixture(scope="module")
def image_set(tmp_path_factory: pytest.TempPathFactory) -> ImageSet:
    """Two sources, of 400 and of 80 images; those of the second are named as some of the first."""
    folder = tmp_path_factory.mktemp("sources")
    for name, count in (("many", 400), ("few", 80)):
        (folder / name).mkdir()
        for number in range(count):
            Image.new("RGB", (32, 32), (number % 256, 9, 9)).save(folder / name / f"{number}.png")
    return ImageSet(open_sources(folder))


def test_held_out_rows(image_set: ImageSet) -> None:
    held = choose_held_out(image_set)
    few, many = (held[image_set.labels == k] for k in range(2))
    assert few.sum() >= 0.4 * 80 and many.sum() >= 50  # half of the folds, for the smaller one
    assert {fold for fold in image_set.folds[held]} == set(range(5))
    assert not set(image_set.folds[held]) & set(image_set.folds[~held])
    assert 0.4 < choose_held_out(image_set, 0.5).mean() < 0.6
    for share in (0.0, 0.6, float("nan")):
        with pytest.raises(UserError, match="it must be from"):
            choose_held_out(image_set, share)


def test_a_share_is_enough_where_there_are_many(image_set: ImageSet) -> None:
    class Many:
        sources = ("a", "b")
        labels = np.repeat([0, 1], 1000)
        folds = np.tile(np.arange(10), 200)

    held = choose_held_out(Many())  # type: ignore[arg-type]
    assert set(Many.folds[held]) == {0, 1} and held.sum() == 400


def test_cross_fitting_against_a_loop() -> None:
    rng = np.random.default_rng(0)
    labels = rng.permutation(np.repeat(np.arange(3), 15))
    scores = rng.standard_normal((45, 3)) + np.eye(3)[labels]
    logs, fits = cross_fit(scores, labels, deal_groups(labels))
    row = 7
    turn = int((labels[:row] == labels[row]).sum()) % 5
    others = [
        other for other in range(45) if int((labels[:other] == labels[other]).sum()) % 5 != turn
    ]
    model = ScoreModel.fit(scores[others], labels[others])
    assert np.allclose(logs[row], model.limited(model.log_likelihoods(scores[[row]]))[0])
    assert np.allclose(fits[row], model.p_values(scores[[row]])[0])


def test_copies_are_judged_by_models_without_their_originals() -> None:
    rng = np.random.default_rng(1)
    own = np.repeat(np.arange(2), 20)
    labels, states = np.tile(own, 2), np.repeat([0, 1], 40)
    scores = rng.standard_normal((80, 2)) + np.eye(2)[labels] * (1 + states[:, None])
    logs, fits = cross_fit(scores, labels, deal_groups(labels, states), states)
    others = [other for other in range(80) if (other % 20) % 5 != 3]
    model = ScoreModel.fit(scores[others], labels[others], states[others])
    for row in (23, 63):  # the fourth image of the second source, and its copy
        assert np.allclose(logs[row], model.limited(model.log_likelihoods(scores[[row]]))[0])
        assert np.allclose(fits[row], model.p_values(scores[[row]])[0])


def planted(count: int, seed: int) -> LabelledImages:
    """Two sources at 32 px: noise, and a pattern in each."""
    rng = np.random.default_rng((5, seed))
    patterns = 14.0 * np.random.default_rng(0).standard_normal((2, 1, 3, 32, 32))
    labels = np.repeat([0, 1], count)
    x = 128.0 + 8.0 * rng.standard_normal((2 * count, 3, 32, 32)) + patterns[labels, 0]
    pixels = torch.from_numpy(x.round().clip(0, 255).astype(np.uint8))
    return LabelledImages(pixels, torch.from_numpy(labels))


def _write(images: LabelledImages, folder: Path) -> None:
    """As files, in a subfolder for each source."""
    for number, (image, label) in enumerate(zip(images.pixels, images.labels, strict=True)):
        (folder / str(int(label))).mkdir(parents=True, exist_ok=True)
        pixels = image.permute(1, 2, 0).numpy()
        Image.fromarray(pixels).save(folder / str(int(label)) / f"{number % 100}.png")


@pytest.mark.filterwarnings("ignore:.*GPU available but not used.*")
def test_images_of_another_source_are_told_by_their_traits(tmp_path: Path) -> None:
    _write(planted(100, 0), tmp_path / "sources")
    settings = ClassifierSettings(
        output_dir=tmp_path / "out",
        max_steps=15,
        mirror=False,
        cuda=-1,
    )
    found = train_classifier(ImageSet(open_sources(tmp_path / "sources")), settings, held_out=0.5)
    assert found is not None
    save_attributor(found.attributor, tmp_path)
    attributor = load_attributor(tmp_path)
    fresh = planted(100, 1)
    x, rows, labels = to_unit(fresh.pixels), np.arange(200), fresh.labels.numpy()
    vectors = attributor.score_vectors(x)
    assert np.allclose(vectors, found.attributor.score_vectors(x))
    assert vectors.shape == (200, 4) and (attributor.scores(x).numpy().argmax(1) == labels).all()
    own = attributor.p_values(vectors)[rows, labels]
    assert float((own <= 0.1).mean()) < 0.25
    known = planted(100, 0)  # half of them trained the network and say what is usual
    vectors, labels = attributor.score_vectors(to_unit(known.pixels)), known.labels.numpy()
    assert float((attributor.p_values(vectors)[rows, labels] <= 0.1).mean()) < 0.2
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(3))
    rougher = (x + 0.04 * noise).clamp(0, 1)
    other = attributor.p_values(attributor.score_vectors(rougher)).max(1)
    assert float((other <= 0.1).mean()) > 0.9


@pytest.mark.filterwarnings("ignore:.*GPU available but not used.*")
def test_immunised_networks_are_calibrated_for_perturbed_images(tmp_path: Path) -> None:
    _write(planted(100, 0), tmp_path / "sources")
    image_set = ImageSet(open_sources(tmp_path / "sources"))
    settings = ClassifierSettings(
        output_dir=tmp_path / "out",
        max_steps=15,
        immunise=("noise", "jpeg"),
        mirror=False,
        cuda=-1,
    )
    found = train_classifier(image_set, settings, held_out=0.5)
    assert found is not None
    model, facts = found.attributor.ood_model, found.attributor.metadata
    assert model is not None and found.attributor.model.means.shape[0] == 2
    assert model.means.shape[0] == 3 and facts["perturbed_validation"]["accuracy"] > 0.8
    fresh = planted(100, 1)
    changed = perturb_copies(fresh, Immunisation(("noise", "jpeg")), 7)
    again = perturb_copies(fresh, Immunisation(("noise", "jpeg")), 7)
    assert torch.equal(changed.pixels, again.pixels)
    assert not torch.equal(changed.pixels, fresh.pixels)
    labels = fresh.labels.numpy()
    traits = found.attributor.score_vectors(to_unit(changed.pixels))[:, 2:]
    rows = np.arange(len(labels))
    plain = ScoreModel(
        model.means[:1], model.precision[:1], model.inverse_temperature[:1], model.distances[:1]
    )
    unfit, before = (float((m.p_values(traits)[rows, labels] <= 0.1).mean())
                     for m in (model, plain))  # fmt: skip
    assert unfit < 0.2 < before  # 0.1 is meant; unperturbed images alone do not know of it
    clean = found.attributor.score_vectors(to_unit(fresh.pixels))
    fits = found.attributor.p_values(clean)
    assert np.array_equal(fits, model.p_values(clean[:, 2:]))
    assert float((fits[rows, labels] <= 0.1).mean()) < 0.2


def test_init_needs_an_attributor(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no attributor at"):
        load_initial_network(tmp_path, ("a", "b"))
