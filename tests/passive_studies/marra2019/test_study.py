"""A passive study of planted patterns, against SciPy, NumPy and Pillow."""

from __future__ import annotations

import csv
import hashlib
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
import torch
from matplotlib.figure import Figure
from PIL import Image
from scipy.ndimage import gaussian_filter

from artfp.core.errors import UserError
from artfp.data.sources import (
    open_sources,
)
from artfp.passive.residuals import load_extractor
from artfp.passive.residuals.residual_fingerprint import ResidualFingerprint
from artfp.passive_studies.marra2019.analyses import ANALYSES
from artfp.passive_studies.marra2019.images import (
    SourceImages,
)
from artfp.passive_studies.marra2019.measure import (
    MeasurementPlan,
    ResidualMeasurements,
    measure_sources,
    split_counts,
)
from artfp.passive_studies.marra2019.settings import Marra2019Settings
from artfp.passive_studies.marra2019.study import marra2019_study, read_metadata
from artfp.perturbations.conditions import choose
from tests.progress import recorded_progress

SIDE, COUNT, ESTIMATE = 24, 30, 16
CONDITIONS = tuple(choose(["blur", "noise"], {"blur": [1.0], "noise": [0.1]}))[1:]
NAMES = ("dcgan.a", "dcgan.b", "progan", "real")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of noise with a pattern for each generator; the two dcgans share half of theirs."""
    root = tmp_path_factory.mktemp("sources")
    rng = np.random.default_rng(0)
    shared, *own = rng.standard_normal((4, SIDE, SIDE, 3))
    patterns = (own[0] + shared, own[1] + shared, 1.4 * own[2], 0.0 * shared)
    for name, pattern in zip(NAMES, patterns, strict=True):
        (root / name).mkdir()
        for number in range(COUNT):
            pixels = 128.0 + 8.0 * pattern + 20.0 * rng.standard_normal((SIDE, SIDE, 3))
            image = Image.fromarray(pixels.clip(0, 255).round().astype(np.uint8))
            image.save(root / name / f"{number:02}.png")
    return root


@pytest.fixture(scope="module")
def measured(folder: Path) -> ResidualMeasurements:
    images = SourceImages(open_sources(folder), seed=3)
    wanted = MeasurementPlan(
        ESTIMATE, COUNT - ESTIMATE, (95, 60), numbers=True, crops=True, conditions=CONDITIONS
    )
    return measure_sources(images, load_extractor("gaussian"), wanted)


def _settings(folder: Path, output: Path, **more: Any) -> Marra2019Settings:
    return Marra2019Settings(
        data_dir=folder, output_dir=output, extractor="gaussian", cuda=-1, **more
    )


def _residuals(
    folder: Path, name: str, quality: int | None = None, blur: float | None = None
) -> np.ndarray:
    """All residuals (N, 3, H, W) of a source in the study's order, by SciPy."""

    def drawn(path: Path) -> bytes:
        return hashlib.blake2b(f"3 {path.name}".encode(), digest_size=8).digest()

    found = []
    for path in sorted((folder / name).iterdir(), key=drawn):
        image = Image.open(path)
        if quality is not None:
            file = io.BytesIO()
            image.save(file, "JPEG", quality=quality, subsampling=2)
            image = Image.open(file)
        x = np.asarray(image).astype(np.float64).transpose(2, 0, 1) / 255.0
        if blur is not None:
            x = np.stack([gaussian_filter(plane, blur, mode="mirror", truncate=3.0) for plane in x])
            x = (255.0 * x).round() / 255.0
        low = [gaussian_filter(plane, 1.0, mode="reflect", truncate=4.0) for plane in x]
        found.append(x - np.stack(low))
    return np.stack(found)


def _correlations(residuals: np.ndarray, fingerprints: np.ndarray) -> np.ndarray:
    """Pearson's, (N, K)."""
    rows = np.concatenate([each.reshape(len(each), -1) for each in (residuals, fingerprints)])
    return np.asarray(np.corrcoef(rows)[: len(residuals), len(residuals) :])


def test_fingerprints_and_scores(folder: Path, measured: ResidualMeasurements) -> None:
    residuals = [_residuals(folder, name) for name in NAMES]
    means = np.stack([each[:ESTIMATE].mean(0) for each in residuals])
    for i, name in enumerate(NAMES):
        np.testing.assert_allclose(measured.fingerprints[i].mean.numpy(), means[i], atol=1e-6)
        tests = residuals[i][ESTIMATE:]
        expected = _correlations(tests, means)
        np.testing.assert_allclose(measured.scores.values[i], expected, atol=1e-5)
        for quality, scores in measured.jpeg.items():
            coded = _residuals(folder, name, quality)[ESTIMATE:]
            np.testing.assert_allclose(scores.values[i], _correlations(coded, means), atol=1e-5)
        blurred = _correlations(_residuals(folder, name, blur=1.0)[ESTIMATE:], means)
        np.testing.assert_allclose(measured.perturbed["blur@1"].values[i], blurred, atol=1e-3)
        middle = (..., slice(6, 18), slice(6, 18))
        expected = _correlations(tests[middle], means[middle])
        np.testing.assert_allclose(measured.crops[12, 12].values[i], expected, atol=1e-5)
    assert list(measured.crops) == [(24, 24), (18, 18), (12, 12), (6, 6)]
    assert measured.images == ESTIMATE and measured.test_counts == (COUNT - ESTIMATE,) * 4
    assert list(measured.jpeg) == [95, 60] and measured.size == (SIDE, SIDE)


def test_attribution_by_fingerprints_of_few_images(
    folder: Path, measured: ResidualMeasurements
) -> None:
    residuals = [_residuals(folder, name) for name in NAMES]
    assert {n: len(hits) for n, hits in measured.numbers.items()} == {1: 4, 2: 4, 4: 4, 8: 2, 16: 1}
    for count, hits in measured.numbers.items():
        for draw, found in enumerate(hits):
            block = slice(draw * count, (draw + 1) * count)
            means = np.stack([each[block].mean(0) for each in residuals])
            for i, each in enumerate(residuals):
                best = _correlations(each[ESTIMATE:], means).argmax(1)
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


@pytest.fixture(scope="module")
def output(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The output of a study with all analyses, and its JSON."""
    output = tmp_path_factory.mktemp("study")
    with recorded_progress() as lines:
        found = marra2019_study(_settings(folder, output, images=ESTIMATE, seed=3))
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
    marra2019_study(_settings(folder, tmp_path / "a", validation_images=8, **parts))
    record = json.loads((tmp_path / "a" / "study.json").read_text())
    page = (tmp_path / "a" / "study.md").read_text()
    assert "8 decide thresholds, the validation set (drawn by the seed), 10 others test" in page
    uses = list(csv.DictReader(io.StringIO((tmp_path / "a" / "images.csv").read_text())))
    chosen = [row for row in uses if row["source"] == "progan"]
    counts = Counter(row["used_for"] for row in chosen)
    assert counts == {"fingerprint": 12, "validation": 8, "test": 10}
    residuals = {name: _residuals(folder, name) for name in NAMES}  # in the order of the split
    mean = residuals["progan"][:12].mean(0)[None]
    scores = {name: _correlations(each, mean)[:, 0] for name, each in residuals.items()}
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
    study = _settings(
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
    study = _settings(few, tmp_path / "out")
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


def test_images_of_another_size_are_named(folder: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for number in range(8):
            size = (20, 24) if (name, number) == ("b", 5) else (24, 24)
            Image.new("RGB", size, (number, 9, 9)).save(tmp_path / name / f"{number}.png")
    images = SourceImages(open_sources(tmp_path), 0)
    list(images.take("a", 8))
    told = r"b/5\.png is 20x24, a/\d\.png is 24x24; all images of all sources must have one size"
    with pytest.raises(UserError, match=told):
        list(images.take("b", 8))


def test_each_image_once_and_unusable_ones_named(folder: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for path in (folder / "progan").iterdir():
            (tmp_path / name / path.name).write_bytes(path.read_bytes())
    (tmp_path / "a" / "07.png").write_bytes(b"no image")
    images = SourceImages(open_sources(tmp_path), 0)
    batches = [*images.take("a", 10), *images.take("a", 100)]
    assert len(batches[0]) == 10 and sum(map(len, batches)) == COUNT - 1
    assert len(torch.unique(torch.cat(batches).flatten(1), dim=0)) == COUNT - 1
    assert [name for name, _ in images.failed] == ["a/07.png"]
    assert images.codecs["a"] == {"PNG": COUNT - 1}
    orders = []
    for seed in (0, 0, 1):
        other = SourceImages(open_sources(tmp_path), seed)
        orders.append(torch.cat(list(other.take("b", COUNT))))
    assert torch.equal(orders[0], orders[1]) and not torch.equal(orders[0], orders[2])
    # The same names stay together: what b took first is what a took first, but for the broken one.
    kept = torch.cat(batches)
    assert sum(bool((kept == image).flatten(1).all(1).any()) for image in orders[0]) == COUNT - 1


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


def test_folder_without_sources(tmp_path: Path) -> None:
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "a").mkdir()
    with pytest.raises(UserError, match="found 1 subfolders; expected one for each source"):
        open_sources(tmp_path)
    with pytest.raises(UserError, match="cannot be read"):
        open_sources(tmp_path / "nothing")


def test_files_that_separate_sources_are_named(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "in" / "jpegs").mkdir(parents=True)
    (tmp_path / "in" / "progan").symlink_to(folder / "progan")
    for path in (folder / "dcgan.a").iterdir():
        Image.open(path).save(tmp_path / "in" / "jpegs" / f"{path.stem}.jpg")
    with caplog.at_level(logging.WARNING, "artfp"):
        marra2019_study(_settings(tmp_path / "in", tmp_path / "out", analyses=("matrix",)))
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
