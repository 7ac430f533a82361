"""What a study of learned attributors measures, on attributors whose answers are known."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import roc_auc_score
from torch import Tensor

from artfp.core.errors import UserError
from artfp.data.pixels import to_unit
from artfp.data.sources import (
    open_sources,
)
from artfp.passive.attributors.bundle import FittedAttributor
from artfp.passive.attributors.classifier import NetworkAttributor
from artfp.passive.attributors.score_model import ScoreModel, Values
from artfp.passive.attributors.window import ALIGNED, WindowPolicy
from artfp.passive.fitting.cache import CacheSettings, cached_attributor
from artfp.passive.fitting.image_set import ImageSet
from artfp.passive.networks.classifier import ClassifierDesign
from artfp.passive_studies.yu2019.measure import (
    feature_separation_of,
    learned_features,
    measure_features,
    measure_open_set,
    measure_perturbed,
    open_set_result_of,
    perturbed_result_of,
    published_conditions,
)
from artfp.passive_studies.yu2019.separation import measure_separation
from artfp.perturbations.conditions import Condition

NAMES, EACH, SIDE = ("blue", "green", "red"), 12, 32


class Colour:
    """Scores are means of colours, so that a source's images are those of its colour."""

    def __init__(self, sources: tuple[str, ...] = NAMES) -> None:
        self.sources = sources

    def scores(self, x: Tensor) -> Tensor:
        shown = x.mean((2, 3))[:, [("red", "green", "blue").index(name) for name in self.sources]]
        return shown - shown.mean(1, keepdim=True)


def coloured(sources: tuple[str, ...], name: str = "colour") -> FittedAttributor:
    """Calibrated on images of its colours that are brighter by 0.3 in their own, give or take."""
    rng = np.random.default_rng(3)
    labels = np.repeat(np.arange(len(sources)), 60)
    z = 0.3 * np.eye(len(sources))[labels] + 0.04 * rng.standard_normal((len(labels), len(sources)))
    policy = WindowPolicy(ALIGNED, (SIDE, SIDE), (SIDE, SIDE))
    part = Colour(sources)
    model = ScoreModel.fit(z - z.mean(1, keepdims=True), labels)
    return FittedAttributor(name, [part], model, policy)  # type: ignore[list-item]


@pytest.fixture(scope="module")
def image_set(tmp_path_factory: pytest.TempPathFactory) -> ImageSet:
    """Images of a colour each; the last two of `red` are blue."""
    folder = tmp_path_factory.mktemp("colours")
    rng = np.random.default_rng(4)
    for name in NAMES:
        (folder / name).mkdir()
        for number in range(EACH):
            shown = "blue" if name == "red" and number >= EACH - 2 else name
            pixels = np.full((SIDE, SIDE, 3), 90.0) + rng.normal(0, 6, (SIDE, SIDE, 3))
            pixels[:, :, ("red", "green", "blue").index(shown)] += 76
            image = Image.fromarray(pixels.round().clip(0, 255).astype(np.uint8))
            image.save(folder / name / f"{number:02}.png")
    return ImageSet(open_sources(folder), min_images=8)


def test_what_is_tested() -> None:
    assert [condition.group for condition in published_conditions()] == [
        "identity", "relight", "random_crop", "blur", "jpeg", "noise", "combination"]  # fmt: skip


def test_rows(image_set: ImageSet) -> None:
    (row,) = measure_perturbed([coloured(NAMES)], image_set, Condition(), 0)
    assert row.confusion == ((12, 0, 0), (0, 12, 0), (2, 0, 10))
    assert row.likeliest == (12, 12, 10) and sum(row.rejected) < 8
    assert row.accuracy.overall == row.likeliest_accuracy.overall == 34 / 36
    assert row.rejection == sum(row.rejected) / 36
    assert perturbed_result_of(json.loads(json.dumps(asdict(row)))) == row


def test_open_set(image_set: ImageSet) -> None:
    one = coloured(("blue", "green"))
    found = measure_open_set(one, "red", image_set, 0)
    assert len(found.known) == 24 and len(found.unknown) == EACH
    assert found.accuracy == 1.0 and found.rejected[0] < 0.3
    # Ten of the unknown are red, which is neither; two are blue, which is known.
    assert found.rejected[1] == pytest.approx(10 / 12, abs=2 / 12)
    truth = np.repeat([0, 1], (24, 12))
    expected = roc_auc_score(truth, [-p for p in (*found.known, *found.unknown)])
    assert found.auc.value == pytest.approx(expected) and expected > 0.8
    false, true = found.curve
    assert (false[0], true[0], false[-1], true[-1]) == (0, 0, 1, 1)
    at = np.searchsorted(false, np.mean([p <= 0.05 for p in found.known]), side="right") - 1
    assert true[at] >= found.rejected[1]
    assert open_set_result_of(json.loads(json.dumps(asdict(found)))) == found


def test_features(image_set: ImageSet) -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 40)
    values = rng.standard_normal((80, 5)) + 4.0 * labels[:, None]
    found = measure_features("some", values, labels, 1)
    assert found.ratio == measure_separation(values, labels, 1).ratio and found.ratio > 5
    assert found.labels == tuple(labels) and len(found.points) == 80
    assert feature_separation_of(json.loads(json.dumps(asdict(found)))) == found


def test_learned_features_against_the_network(image_set: ImageSet) -> None:
    network = ClassifierDesign("compact", SIDE).build(3)
    part = NetworkAttributor(NAMES, network)
    policy = WindowPolicy(ALIGNED, (SIDE, SIDE), (SIDE, SIDE))
    model = ScoreModel.fit(np.random.default_rng(0).standard_normal((30, 3)), np.arange(30) % 3)
    attributor = FittedAttributor("net", [part], model, policy)
    values, labels = learned_features(attributor, image_set)
    assert labels.tolist() != sorted(labels) and np.bincount(labels).tolist() == [12] * 3
    x = next(image_set.batches(np.array([int(np.flatnonzero(image_set.labels == 1)[0])])))[1]
    expected = network.features(x).numpy()
    assert np.isclose(values[labels == 1], expected, rtol=1e-4, atol=1e-5).all(1).sum() == 1
    with pytest.raises(ValueError, match="colour is not a network"):
        learned_features(coloured(NAMES), image_set)


def test_kept_attributors_are_not_made_again(tmp_path: Path) -> None:
    policy = WindowPolicy(ALIGNED, (SIDE, SIDE), (SIDE, SIDE))
    made: list[str] = []

    def maker(name: str) -> Callable[[], FittedAttributor]:
        def make() -> FittedAttributor:
            made.append(name)
            scores: Values = np.random.default_rng(0).standard_normal((30, 3))
            part = NetworkAttributor(NAMES, ClassifierDesign("compact", SIDE).build(3))
            return FittedAttributor(name, [part], ScoreModel.fit(scores, np.arange(30) % 3), policy)

        return make

    first, seconds = cached_attributor(tmp_path / "first", maker("first"))
    again, same = cached_attributor(tmp_path / "first", maker("again"))
    _, longer = cached_attributor(tmp_path / "second", maker("second"), tmp_path / "first")
    assert made == ["first", "second"] and seconds == same < longer
    x = to_unit(Tensor(np.random.default_rng(0).integers(0, 256, (2, 3, SIDE, SIDE))))
    assert again.name == first.name == "first"
    assert np.allclose(again.score_vectors(x), first.score_vectors(x))


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"network": "vgg"}, "--network is 'vgg'"),
        ({"steps": 0}, "max_steps is 0"),
        ({"immunise_steps": -1}, "max_steps is -1"),
        ({"precision": "64"}, "--precision is '64'"),
    ],
)
def test_settings_that_no_training_takes(
    more: dict[str, object], said: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=said):
        CacheSettings(tmp_path, **more)  # type: ignore[arg-type]
