"""Fingerprints, scores and hits of planted patterns, against SciPy and NumPy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from artfp.core.errors import UserError
from artfp.data.sources import open_sources
from artfp.passive.residuals import load_extractor
from artfp.passive_studies.marra2019.images import SourceImages
from artfp.passive_studies.marra2019.measure import (
    MeasurementPlan,
    ResidualMeasurements,
    measure_sources,
    split_counts,
)
from tests.passive_studies.marra2019.planted import (
    COUNT,
    ESTIMATE,
    NAMES,
    SIDE,
    correlate,
    residuals_of,
)


def test_fingerprints_and_scores(folder: Path, measured: ResidualMeasurements) -> None:
    residuals = [residuals_of(folder, name) for name in NAMES]
    means = np.stack([each[:ESTIMATE].mean(0) for each in residuals])
    for i, name in enumerate(NAMES):
        np.testing.assert_allclose(measured.fingerprints[i].mean.numpy(), means[i], atol=1e-6)
        tests = residuals[i][ESTIMATE:]
        expected = correlate(tests, means)
        np.testing.assert_allclose(measured.scores.values[i], expected, atol=1e-5)
        for quality, scores in measured.jpeg.items():
            coded = residuals_of(folder, name, quality)[ESTIMATE:]
            np.testing.assert_allclose(scores.values[i], correlate(coded, means), atol=1e-5)
        blurred = correlate(residuals_of(folder, name, blur=1.0)[ESTIMATE:], means)
        np.testing.assert_allclose(measured.perturbed["blur@1"].values[i], blurred, atol=1e-3)
        middle = (..., slice(6, 18), slice(6, 18))
        expected = correlate(tests[middle], means[middle])
        np.testing.assert_allclose(measured.crops[12, 12].values[i], expected, atol=1e-5)
    assert list(measured.crops) == [(24, 24), (18, 18), (12, 12), (6, 6)]
    assert measured.images == ESTIMATE and measured.test_counts == (COUNT - ESTIMATE,) * 4
    assert list(measured.jpeg) == [95, 60] and measured.size == (SIDE, SIDE)


def test_attribution_by_fingerprints_of_few_images(
    folder: Path, measured: ResidualMeasurements
) -> None:
    residuals = [residuals_of(folder, name) for name in NAMES]
    assert {n: len(hits) for n, hits in measured.numbers.items()} == {1: 4, 2: 4, 4: 4, 8: 2, 16: 1}
    for count, hits in measured.numbers.items():
        for draw, found in enumerate(hits):
            block = slice(draw * count, (draw + 1) * count)
            means = np.stack([each[block].mean(0) for each in residuals])
            for i, each in enumerate(residuals):
                best = correlate(each[ESTIMATE:], means).argmax(1)
                assert found[i] == (best == i).sum()


def test_split() -> None:
    class Sources(SourceImages):
        def __init__(self, smallest: int) -> None:
            self._smallest = smallest

        def smallest(self) -> int:
            return self._smallest

    assert split_counts(Sources(1000), None, None) == (512, 488)
    assert split_counts(Sources(999), None, None) == (499, 500)
    assert split_counts(Sources(2000), None, None) == (512, 1488)
    assert split_counts(Sources(6), None, None) == (4, 2)
    assert split_counts(Sources(100), 70, 20) == (70, 20)
    for smallest, count, tests, told in (
        (5, None, None, "a source has 5 images"),
        (100, 99, None, "99 images for each fingerprint; the smallest source has 100: .* 4 to 98"),
        (100, 3, None, "3 images for each"),
        (100, 60, 41, "41 test images of each source; 40 are left"),
    ):
        with pytest.raises(UserError, match=told):
            split_counts(Sources(smallest), count, tests)


def test_too_few_that_can_be_read_flat_ones_and_small_ones(folder: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    for number in range(8):
        Image.new("RGB", (16, 16)).save(tmp_path / "a" / f"{number}.png")
        (tmp_path / "b" / f"{number}.png").write_bytes(b"no image")
    extractor = load_extractor("gaussian")
    with pytest.raises(UserError, match="a: the mean residual is 0 everywhere"):
        measure_sources(SourceImages(open_sources(tmp_path), 0), extractor, MeasurementPlan(4, 4))
    sources = open_sources(tmp_path)
    with pytest.raises(UserError, match="b: 0 images can be read; 4 are needed"):
        measure_sources(SourceImages({"b": sources["b"]}, 0), extractor, MeasurementPlan(4, 4))
    for path in (tmp_path / "a").iterdir():
        Image.new("RGB", (16, 7)).save(path)
    with pytest.raises(UserError, match="a: images of 16x7 pixels; expected 8 a side"):
        measure_sources(SourceImages(open_sources(tmp_path), 0), extractor, MeasurementPlan(4, 4))
