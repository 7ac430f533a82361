"""Correlations by what pairs of sources difference in."""

from __future__ import annotations

import numpy as np
import pytest

from artfp.passive.roc import CorrelationScores
from artfp.passive_studies.marra2019.dependence import RUN, SAME, compare_pairs, name_difference

METADATA = {
    "a0": {"model": "a", "data": "x"},
    "a1": {"model": "a", "data": "x"},
    "b0": {"model": "b", "data": "x"},
    "b2": {"model": "b", "data": "y"},
}
MEANS = np.array(
    [
        [0.50, 0.30, 0.10, 0.00],
        [0.30, 0.50, 0.10, 0.00],
        [0.12, 0.10, 0.50, 0.20],
        [0.00, 0.02, 0.20, 0.50],
    ]
)
NOISE, IMAGES = 0.1, 200


@pytest.fixture
def scores() -> CorrelationScores:
    rng = np.random.default_rng(0)
    values = tuple(MEANS[i] + NOISE * rng.standard_normal((IMAGES, 4)) for i in range(4))
    return CorrelationScores(tuple(METADATA), values)


def test_what_differs() -> None:
    assert name_difference(METADATA["a0"], METADATA["a1"]) == RUN
    assert name_difference(METADATA["a0"], METADATA["b0"]) == "model"
    assert name_difference(METADATA["b2"], METADATA["a0"]) == "model, data"


def test_kinds_of_pairs_and_their_means(scores: CorrelationScores) -> None:
    found = compare_pairs(scores, METADATA)
    assert [each.difference for each in found] == [SAME, RUN, "model", "data", "model, data"]
    assert [len(each.pairs) for each in found] == [4, 2, 4, 2, 4]
    for each, expected in zip(found, (0.5, 0.3, 0.105, 0.2, 0.005), strict=True):
        assert each.mean == pytest.approx(expected, abs=0.01)
        assert each.mean == pytest.approx(np.mean(list(each.pairs.values())))
    assert found[1].pairs["a1", "a0"] == pytest.approx(scores.values[1][:, 0].mean())


def test_intervals_are_those_of_means_of_so_many_images(scores: CorrelationScores) -> None:
    for each in compare_pairs(scores, METADATA):
        # All pairs here are independent: the noise of each score is its own.
        expected = 2 * 1.96 * NOISE / np.sqrt(IMAGES * len(each.pairs))
        assert each.low < each.mean < each.high
        assert each.high - each.low == pytest.approx(expected, rel=0.2)


def test_pairs_that_share_images_are_drawn_together() -> None:
    """Scores of an image with two fingerprints that are one: the interval is no narrower."""
    column = np.random.default_rng(1).standard_normal((50, 1))
    scores = CorrelationScores(
        ("a", "b", "c"), (np.repeat(column, 3, axis=1), np.zeros((9, 3)), np.zeros((9, 3)))
    )
    metadata = {name: {"model": name} for name in "abc"}
    other = compare_pairs(scores, metadata)[1]
    assert other.difference == "model" and len(other.pairs) == 6
    # Two of six pairs carry the same noise: one third of it.
    assert other.high - other.low == pytest.approx(2 * 1.96 * column.std() / 50**0.5 / 3, rel=0.15)


def test_only_sources_with_metadata_take_part(scores: CorrelationScores) -> None:
    found = compare_pairs(scores, {name: METADATA[name] for name in ("a0", "b0")})
    assert [(each.difference, len(each.pairs)) for each in found] == [(SAME, 2), ("model", 2)]
    for wrong in ({"a0": METADATA["a0"]}, {**METADATA, "other": {"model": "c"}}):
        with pytest.raises(ValueError, match="metadata of"):
            compare_pairs(scores, wrong)
