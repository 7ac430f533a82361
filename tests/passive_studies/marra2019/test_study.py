"""A study of planted patterns: its files, uses of images, thresholds and choices."""

from __future__ import annotations

import csv
import io
import json
import logging
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from artfp.core.errors import UserError
from artfp.passive.residuals.residual_fingerprint import ResidualFingerprint
from artfp.passive_studies.marra2019.analyses import ANALYSES
from artfp.passive_studies.marra2019.measure import ResidualMeasurements
from artfp.passive_studies.marra2019.study import marra2019_study, read_metadata
from tests.passive_studies.marra2019.planted import (
    COUNT,
    ESTIMATE,
    NAMES,
    SIDE,
    correlate,
    residuals_of,
    study_settings,
)
from tests.progress import recorded_progress


@pytest.fixture(scope="module")
def output(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The output of a study with all analyses, and its JSON."""
    output = tmp_path_factory.mktemp("study")
    with recorded_progress() as lines:
        found = marra2019_study(study_settings(folder, output, images=ESTIMATE, seed=3))
    assert list(found.results) == list(ANALYSES) and not found.left_out and not found.failed
    measuring = [line for line in lines if line.caption == "Measuring"]
    assert [(line.done, line.total) for line in measuring] == [(4 * COUNT, 4 * COUNT)]
    return output, json.loads((output / "study.json").read_text())


def test_every_analysis_leaves_a_picture_a_table_and_a_section(
    output: tuple[Path, dict[str, Any]], folder: Path
) -> None:
    place, record = output
    page = (place / "study.md").read_text()
    assert list(record["analyses"]) == list(ANALYSES)
    for name, analysis in ANALYSES.items():
        with Image.open(place / f"{name}.png") as picture:
            assert picture.format == "PNG" and min(picture.size) > 200
        rows = list(csv.DictReader(io.StringIO((place / f"{name}.csv").read_text())))
        assert len(rows) == len(record["analyses"][name]["rows"]) > 0
        assert set(rows[0]) == set(record["analyses"][name]["rows"][0])
        assert f"## {analysis.title}\n" in page and f"]({name}.png)" in page
        assert record["analyses"][name]["text"] in page
    assert "4 sources of 24x24 pixels: fingerprints of 16 images each, 14 test images" in page
    assert str(folder) not in json.dumps(record) and record["leakage"] == []
    kept = ResidualFingerprint.load(place / "fingerprints" / "progan.safetensors")
    assert kept.count == ESTIMATE and kept.source == "progan" and kept.codecs == {"PNG": ESTIMATE}


def test_figures_are_those_of_what_was_measured(
    output: tuple[Path, dict[str, Any]], measured: ResidualMeasurements
) -> None:
    found = {name: each["rows"] for name, each in output[1]["analyses"].items()}
    values = measured.scores.values
    hits = [int((v.argmax(1) == i).sum()) for i, v in enumerate(values)]
    for i, row in enumerate(found["confusion"]):
        counts = np.bincount(values[i].argmax(1), minlength=4).tolist()
        assert [row[name] for name in NAMES] == counts and row["test images of"] == NAMES[i]
    names = [f"{kind}@{at}" for kind, at in (("resize", 0.5), ("blur", 1), ("noise", 0.02))]
    assert [r["test_images"] for r in found["perturbed"]][::5] == ["unperturbed", *names]
    points = [row for row in found["roc"] if row["fingerprint_of"] == "progan"]
    cross = np.concatenate([values[i][:, 2] for i in (0, 1, 3)])
    for row in points:  # a point of the curve, by its definition
        at = [t for t in (*values[2][:, 2], *cross, np.inf)
              if (cross >= t).mean() == pytest.approx(row["false_positive_rate"], abs=1e-4)
              and (values[2][:, 2] >= t).mean() == pytest.approx(row["true_positive_rate"],
                                                                 abs=1e-4)]  # fmt: skip
        assert at
    plain = [row for row in found["jpeg"] if row["test_images"] == "unperturbed"]
    assert [row["source"] for row in plain] == ["all", *NAMES]
    assert [row["accuracy"] for row in plain[1:]] == pytest.approx([h / 14 for h in hits], rel=1e-4)
    assert plain[0]["accuracy"] == pytest.approx(sum(hits) / 56, rel=1e-4)
    row = next(r for r in found["matrix"] if r["test images of"] == "dcgan.b")
    assert row["dcgan.a"] == pytest.approx(values[1][:, 0].mean(), rel=1e-3, abs=1e-5)
    last = [row for row in found["number"] if row["fingerprint_images"] == ESTIMATE]
    assert last[0]["accuracy"] == plain[0]["accuracy"] and last[0]["draws"] == 1
    whole = [row for row in found["size"] if row["width"] == SIDE]
    assert [row["accuracy"] for row in whole] == [row["accuracy"] for row in plain]
    kinds = {row["relation"]: row for row in found["dependence"]}
    assert list(kinds) == ["same source", "another run", "other group"]
    expected = np.mean([values[0][:, 1].mean(), values[1][:, 0].mean()])
    assert kinds["another run"]["mean"] == pytest.approx(expected, rel=1e-3)
    assert kinds["another run"]["low"] > kinds["other group"]["high"]  # they share a pattern
    assert found["real"][0]["auc"] > 0.9 and found["real"][0]["real_images"] == 14
    assert len(found["histograms"]) == 1 + 4 + 12 and len(found["energy"]) == 4 * 4


def test_every_image_has_one_use(output: tuple[Path, dict[str, Any]]) -> None:
    rows = list(csv.DictReader(io.StringIO((output[0] / "images.csv").read_text())))
    assert {(row["source"], row["image"]) for row in rows} == {
        (name, f"{number:02}.png") for name in NAMES for number in range(COUNT)
    }
    assert len(rows) == 4 * COUNT
    for name in NAMES:
        uses = [row["used_for"] for row in rows if row["source"] == name]
        assert sorted(uses) == ["fingerprint"] * ESTIMATE + ["test"] * (COUNT - ESTIMATE)
    assert (
        "no image decides anything, so there is no validation set"
        in (output[0] / "study.md").read_text()
    )


def test_thresholds_are_of_a_validation_set_alone(folder: Path, tmp_path: Path) -> None:
    parts = {"analyses": ("roc",), "images": 12, "seed": 3, "fpr": 0.1}
    marra2019_study(study_settings(folder, tmp_path / "a", validation_images=8, **parts))
    record = json.loads((tmp_path / "a" / "study.json").read_text())
    page = (tmp_path / "a" / "study.md").read_text()
    assert "8 decide thresholds, the validation set (drawn by the seed), 10 others test" in page
    uses = list(csv.DictReader(io.StringIO((tmp_path / "a" / "images.csv").read_text())))
    chosen = [row for row in uses if row["source"] == "progan"]
    counts = Counter(row["used_for"] for row in chosen)
    assert counts == {"fingerprint": 12, "validation": 8, "test": 10}
    residuals = {name: residuals_of(folder, name) for name in NAMES}  # in the order of the split
    mean = residuals["progan"][:12].mean(0)[None]
    scores = {name: correlate(each, mean)[:, 0] for name, each in residuals.items()}
    others = np.sort(np.concatenate([s[12:20] for n, s in scores.items() if n != "progan"]))
    threshold = others[-2]  # of 24 + 1, two may lie above: 0.1 of 25
    tested = np.concatenate([s[20:] for n, s in scores.items() if n != "progan"])
    row = record["analyses"]["roc"]["by_source"][2]
    assert row["threshold"] == pytest.approx(threshold, abs=1e-4)
    assert row["false_positive_rate"] == pytest.approx((tested > threshold).mean(), abs=1e-4)
    assert row["true_positive_rate"] == pytest.approx(
        (scores["progan"][20:] > threshold).mean(), abs=1e-4
    )
    # The same by a folder of its own; one that shares an image is refused.
    for use in ("validation", "others"):
        for use_row in uses:
            if (use_row["used_for"] == "validation") == (use == "validation"):
                path = tmp_path / use / use_row["source"] / use_row["image"]
                path.parent.mkdir(parents=True, exist_ok=True)
                path.symlink_to(folder / use_row["source"] / use_row["image"])
    study = study_settings(
        tmp_path / "others", tmp_path / "b", validation_dir=tmp_path / "validation", **parts
    )
    found = marra2019_study(study).results["roc"].values["by_source"][2]
    assert found["threshold"] == pytest.approx(threshold, abs=1e-6)
    assert "the validation set (validation), 10 others" in (tmp_path / "b/study.md").read_text()
    same = tmp_path / "validation" / "progan" / "same.png"
    same.symlink_to(next((tmp_path / "others" / "progan").iterdir()))
    with pytest.raises(UserError, match=r"progan/same.png is the same file as progan/\d\d.png"):
        marra2019_study(replace(study, output_dir=tmp_path / "c"))
    with pytest.raises(UserError, match=r"takes 1000 validation images .* there are 24"):
        marra2019_study(replace(study, fpr=0.001))
    with pytest.raises(UserError, match="give one of them"):
        replace(study, validation_images=3)
    (tmp_path / "validation" / "real").rename(tmp_path / "validation" / "photos")
    with pytest.raises(UserError, match=r"no subfolder is called 'real'; found dcgan\.a"):
        marra2019_study(study)


def test_chosen_analyses_and_left_out_ones(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Figure, "savefig", lambda *_, **__: None)  # which takes most of the time
    few = tmp_path / "few"
    few.mkdir()
    for name in ("dcgan.a", "progan"):
        (few / name).symlink_to(folder / name)
    study = study_settings(few, tmp_path / "out")
    chosen = marra2019_study(replace(study, analyses=("matrix", "energy")))
    assert list(chosen.results) == ["energy", "matrix"] and not chosen.left_out
    assert not (tmp_path / "out" / "jpeg.png").exists()
    every = marra2019_study(study)
    assert list(every.left_out) == ["real", "dependence"] and "jpeg" in every.results
    assert "Left out:\n\n- Real against" in (tmp_path / "out" / "study.md").read_text()
    for wrong, told in (
        ({"analyses": ("real",)}, "--analyses real: no source is named as real"),
        ({"analyses": ("dependence",)}, "--analyses dependence: no two sources"),
        (
            {"analyses": ("energies",)},
            "--analyses: 'energies' is unknown; choose from fingerprints",
        ),
        ({"real": ("camera",)}, "--real: no source is called 'camera'; found dcgan.a, progan"),
        ({"real": ("dcgan.a", "progan")}, "--real: all sources are real"),
        ({"images": 10}, "other images"),
    ):
        with pytest.raises(UserError, match=told if "images" not in wrong else "out"):
            marra2019_study(replace(study, **wrong))
    (few / "progan").unlink()
    shutil.copytree(folder / "progan", few / "progan")
    last = sorted((few / "progan").iterdir())[-1]
    shutil.copy(sorted((few / "progan").iterdir())[0], last)
    with pytest.raises(UserError, match="'data_sha256' is that of other files"):
        marra2019_study(replace(study, analyses=("matrix",)))


def test_files_that_separate_sources_are_named(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "in" / "jpegs").mkdir(parents=True)
    (tmp_path / "in" / "progan").symlink_to(folder / "progan")
    for path in (folder / "dcgan.a").iterdir():
        Image.open(path).save(tmp_path / "in" / "jpegs" / f"{path.stem}.jpg")
    with caplog.at_level(logging.WARNING, "artfp"):
        marra2019_study(study_settings(tmp_path / "in", tmp_path / "out", analyses=("matrix",)))
    assert "format alone identifies the source of 100%" in caplog.text
    record = json.loads((tmp_path / "out" / "study.json").read_text())
    assert record["leakage"] and record["leakage"][0] in caplog.text
    assert "files alone separate the sources" in (tmp_path / "out" / "study.md").read_text()


def test_metadata_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "groups.json"
    path.write_text('{"a": {"model": "x", "seed": 1}, "b": {"seed": 2, "model": "x"}}')
    assert read_metadata(path, "abc")["a"] == {"model": "x", "seed": "1"}
    path.write_text('{"a": "x", "c": "y"}')
    assert read_metadata(path, "abc") == {"a": {"group": "x"}, "c": {"group": "y"}}
    for text, told in (
        ("[", "cannot be read as JSON"),
        ('{"a": "x"}', "expected an object with two sources"),
        ('{"a": "x", "d": "y"}', "no source is called 'd'; found a, b, c"),
        ('{"a": "x", "b": 3}', "b is 3; expected a group"),
        ('{"a": "x", "b": {"model": "x"}}', "b has model, a has group; give the same keys"),
    ):
        path.write_text(text)
        with pytest.raises(UserError, match=told):
            read_metadata(path, "abc")
