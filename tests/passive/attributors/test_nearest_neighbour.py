"""The nearest known image, against scikit-learn's classifier."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier

from artfp.data.pixels import to_unit
from artfp.passive.attributors import nearest_neighbour as neighbours
from artfp.passive.attributors.base import Attributor
from artfp.passive.attributors.nearest_neighbour import NearestNeighbour

SOURCES = ("a", "b", "c")


def pixels(count: int, seed: int, height: int = 5, width: int = 7) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, height, width), generator=generator, dtype=torch.uint8)


def labels(count: int) -> torch.Tensor:
    """Mixed, each source's own number of images."""
    generator = torch.Generator().manual_seed(9)
    return torch.tensor([0, 1, 2, 2, 1, 2])[torch.randint(0, 6, (count,), generator=generator)]


def flat(x: torch.Tensor) -> np.ndarray:
    return x.flatten(1).double().numpy()


@pytest.mark.parametrize("block", [1 << 26, 1000])
def test_as_scikit_learn(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "_BLOCK", block)  # in how many pieces is nobody's concern
    known, own, x = pixels(200, 0), labels(200), pixels(50, 1)
    part = NearestNeighbour(SOURCES, known, own)
    assert isinstance(part, Attributor)
    scores = part.scores(to_unit(x)).double().numpy()
    classifier = KNeighborsClassifier(1, algorithm="brute").fit(flat(known), own.numpy())
    assert (scores.argmax(1) == classifier.predict(flat(x))).all()
    for k in range(3):
        alone = KNeighborsClassifier(1).fit(flat(known[own == k]), own[own == k].numpy())
        distances = alone.kneighbors(flat(x))[0][:, 0] / np.sqrt(3 * 5 * 7)
        np.testing.assert_allclose(-scores[:, k], distances, rtol=1e-6)


def test_a_known_image_is_at_distance_zero() -> None:
    known, own = pixels(60, 0), labels(60)
    scores = NearestNeighbour(SOURCES, known, own).scores(to_unit(known))
    found = scores[torch.arange(60), own]
    assert float(found.abs().max()) < 1e-4 and int((scores.argmax(1) == own).sum()) == 60


def test_held_out_scores_are_those_of_the_other_folds() -> None:
    known, own = pixels(300, 0), labels(300).sort().values
    folds = torch.randint(0, 4, (300,), generator=torch.Generator().manual_seed(5))
    scores = NearestNeighbour(SOURCES, known, own).held_out(folds)
    for fold in range(4):
        rest = folds != fold
        other = NearestNeighbour(SOURCES, known[rest], own[rest])
        torch.testing.assert_close(
            scores[~rest], other.scores(to_unit(known[~rest])), rtol=1e-5, atol=1e-5
        )


def test_card_and_tensors_bring_it_back() -> None:
    part = NearestNeighbour(SOURCES, pixels(30, 0), labels(30))
    again = NearestNeighbour.load(SOURCES, part.card(), part.tensors())
    x = to_unit(pixels(9, 2))
    assert torch.equal(again.scores(x), part.scores(x))
    assert part.tensors()["pixels"].dtype == torch.uint8
    assert again.card() == part.card() == {"kind": "nearest", "images": part.counts.tolist()}


def test_bad_input() -> None:
    known, own = pixels(30, 0), labels(30)
    with pytest.raises(ValueError, match=r"\[30, 0, 0\] images of 3"):
        NearestNeighbour(SOURCES, known, torch.zeros(30, dtype=torch.int64))
    with pytest.raises(ValueError, match="float32"):
        NearestNeighbour(SOURCES, to_unit(known), own)
    part = NearestNeighbour(SOURCES, known, own)
    with pytest.raises(ValueError, match=r"images \(2, 3, 9, 9\)"):
        part.scores(torch.zeros(2, 3, 9, 9))
    with pytest.raises(ValueError, match="in one fold"):
        part.held_out(torch.zeros(30, dtype=torch.int64))


@pytest.mark.gpu
def test_on_a_gpu() -> None:
    known, own, x = pixels(200, 0), labels(200).sort().values, to_unit(pixels(50, 1))
    part = NearestNeighbour(SOURCES, known, own)
    there = NearestNeighbour(SOURCES, known.cuda(), own)
    torch.testing.assert_close(part.scores(x.cuda()).cpu(), part.scores(x))
    folds = torch.arange(200) % 3
    torch.testing.assert_close(there.held_out(folds.cuda()).cpu(), part.held_out(folds))
