"""The library behind `artfp attribute`: from folders to attributors, predictions and reports."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from artfp.cli.main import main
from artfp.core.errors import UserError
from artfp.passive import (
    AssessAttributorSettings,
    FitAttributorSettings,
    FitBaselineSettings,
    PredictSourcesSettings,
    assess_attributor,
    fit_attributor,
    fit_baseline_attributor,
    predict_sources,
)
from tests.progress import recorded_progress

SIDE, NAMES = 16, ("bright", "dark")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty images of each of two sources, which differ in brightness and a pattern."""
    root = tmp_path_factory.mktemp("sources")
    for number, name in enumerate(NAMES):
        (root / name).mkdir()
        rng = np.random.default_rng(number)
        pattern = 12.0 * rng.standard_normal((SIDE, SIDE, 3))
        for image in range(40):
            pixels = 150 - 50 * number + pattern + 6.0 * rng.standard_normal((SIDE, SIDE, 3))
            Image.fromarray(pixels.round().clip(0, 255).astype(np.uint8)).save(
                root / name / f"{image:02}.png"
            )
    return root


def test_fit_predict_and_assess(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with recorded_progress() as lines:
        fit = fit_attributor(
            FitAttributorSettings(
                data_dir=folder,
                output_dir=tmp_path / "a",
                method="matched",
                extractor="gaussian:sigma=1",
                recompress=False,
                cuda=-1,
            )
        )
    assert {"Comparing files", "Reading sizes", "Reading images"} <= {
        line.caption for line in lines
    }
    assert all(line.done == line.total for line in lines)
    assert fit.chosen == "matched" and fit.images == 80 and fit.failed == [] and fit.leakage == ()
    assert all((tmp_path / "a" / file).is_file() for file in fit.files)
    assert fit.attributor.metadata["settings"]["method"] == "matched"

    with recorded_progress() as lines:
        found = predict_sources(
            PredictSourcesSettings(
                data_dir=str(folder / "dark"),
                attributor=tmp_path / "a",
                same_source=True,
                csv=str(tmp_path / "dark.csv"),
                cuda=-1,
            )
        )
    assert [(line.caption, line.done, line.total) for line in lines] == [("Attributing", 40, 40)]
    assert {each.source for each in found.images.predictions} == {"dark"}
    assert found.group is not None and found.group.source == "dark" and found.group.images == 40
    assert (tmp_path / "dark.csv").read_text() == found.to_csv()

    report = assess_attributor(
        AssessAttributorSettings(
            data_dir=folder, attributor=tmp_path / "a", output_dir=tmp_path / "r", limit=20, cuda=-1
        )
    )
    assert report.assessment.mean_accuracy == 1.0 and report.failed == []
    assert [each.images for each in report.assessment.folders] == [20, 20]
    assert all((tmp_path / "r" / file).is_file() for file in report.files)
    assert capsys.readouterr().out == ""  # a library prints nothing


def test_one_photo_without_options(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A positional path and the attributor of the working folder are enough."""
    monkeypatch.chdir(tmp_path)
    fit_baseline_attributor(
        FitBaselineSettings(
            data_dir=folder, output_dir=tmp_path / "attributor", kind="nearest", cuda=-1
        )
    )
    before = sorted(path.name for path in tmp_path.iterdir())
    photo = str(folder / "dark" / "00.png")
    assert main(["attribute", "predict", photo]) == 0
    out = capsys.readouterr().out
    assert "00.png" in out and "dark" in out and "1 image: " in out
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_settings_are_checked(folder: Path) -> None:
    with pytest.raises(UserError, match=r"--alpha is 1\.0; it must be above 0 and below 1"):
        FitAttributorSettings(data_dir=folder, alpha=1.0)
    with pytest.raises(UserError, match="--method is 'best'; choose from plain, matched"):
        FitAttributorSettings(data_dir=folder, method="best")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="only one of them can go to standard output"):
        PredictSourcesSettings(data_dir="photos", json="-", csv="-")
