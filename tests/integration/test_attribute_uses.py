"""`artfp attribute localise`, `cluster` and `remove`, inside this process."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from artfp.core.errors import UserError
from artfp.data.pixels import as_batch
from artfp.metrics.fidelity import psnr
from artfp.passive.attributors.bundle import FittedAttributor, save_attributor
from artfp.passive.attributors.correlation import ResidualCorrelation
from artfp.passive.attributors.mean_residual import read_mean_residual
from artfp.passive.attributors.score_model import ScoreModel
from artfp.passive.attributors.window import ALIGNED, WindowPolicy
from artfp.passive.residuals import load_extractor
from artfp.passive.residuals.residual_fingerprint import ResidualFingerprint
from artfp.passive_studies.removal.settings import AttackSettings

Call = Callable[..., tuple[int, list[str], list[str]]]

SIDE, EACH = 24, 40


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two generators with a pattern each, and real images without one."""
    root = tmp_path_factory.mktemp("sources")
    rng = np.random.default_rng(0)
    for name, strength in (("one", 9.0), ("two", 9.0), ("real", 0.0)):
        (root / name).mkdir()
        pattern = strength * rng.standard_normal((SIDE, SIDE, 3))
        for number in range(EACH):
            pixels = 128 + pattern + 12 * rng.standard_normal((SIDE, SIDE, 3))
            path = root / name / f"{name}{number:02}.png"
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path)
    return root


@pytest.fixture(scope="module")
def fingerprint(sources: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the first generator, from half of its images."""
    extractor = load_extractor("gaussian:sigma=1")
    found = ResidualFingerprint.empty((3, SIDE, SIDE), extractor.text, "one")
    for path in sorted((sources / "one").iterdir())[: EACH // 2]:
        found.add(extractor(as_batch(pixels_of(path))))
    path = tmp_path_factory.mktemp("prints") / "one.safetensors"
    found.save(path)
    return path


def attribute(call: Call, *words: object) -> tuple[int, list[str], list[str]]:
    return call("attribute", *words, "--cuda", -1)


def pixels_of(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.array(image.convert("RGB"))


def test_a_splice_is_where_the_heat_map_is_cold(
    call: Call, sources: Path, fingerprint: Path, tmp_path: Path
) -> None:
    images = tmp_path / "images"
    images.mkdir()
    spliced = pixels_of(sources / "one" / "one30.png")
    spliced[12:, :12] = pixels_of(sources / "two" / "two30.png")[12:, :12]
    wide = np.zeros((SIDE, SIDE + 9, 3), np.uint8)
    wide[:, :SIDE] = spliced
    Image.fromarray(wide).save(images / "spliced.png")
    Image.fromarray(spliced[:10]).save(images / "small.png")
    options = ("--residual_fingerprint", fingerprint, "--output_dir", tmp_path / "out")
    code, out, err = attribute(
        call, "localise", images, *options, "--threshold", 0.2, "--window", 8
    )
    assert code == 1 and err[0] == "unusable: small.png: 24x10 is smaller than 24x24"
    told = json.loads((tmp_path / "out" / "localise.json").read_text())
    (image,) = told["images"]
    assert (told["window"], told["fingerprint"]["source"]) == (8, "one")
    assert image["lowest"]["row"] >= 9 and image["lowest"]["column"] <= 7
    assert 0.1 < image["fraction_below_threshold"] < 0.45
    with (tmp_path / "out" / "windows.csv").open() as file:
        rows = list(csv.DictReader(file))
    places = [(int(row["row"]), int(row["column"])) for row in rows]
    assert places == [(i, j) for i in (0, 4, 8, 12, 16) for j in (0, 4, 8, 12, 16)]
    values = {place: float(row["correlation"]) for place, row in zip(places, rows, strict=True)}
    assert max(values[16, 0], values[16, 4]) < 0.2 < min(values[0, 0], values[16, 16])
    with Image.open(tmp_path / "out" / "heatmaps" / "spliced.png") as picture:
        assert picture.width > 800
    assert "spliced.png" in "".join(out)
    (images / "small.png").unlink()
    code, _, err = attribute(call, "localise", images, *options)
    assert code == 2 and "'data_sha256' is that of other files" in err[0]


def test_clusters_with_truth_and_scores(call: Call, sources: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    scores = tmp_path / "scores.csv"
    lines = [
        f"{path.name},{rng.normal() + 1.2 * (path.parent.name != 'real'):.4f}"
        for path in sorted(sources.rglob("*.png"))
    ]
    scores.write_text("file,score\n" + "\n".join(lines) + "\n")
    options = ("--extractor", "gaussian:sigma=1", "--truth", "--real", "real", "--scores", scores)
    code, out, err = attribute(call, "cluster", sources, "--output_dir", tmp_path / "out", *options)
    assert (code, err) == (0, [])
    told = json.loads((tmp_path / "out" / "clusters.json").read_text())
    assert told["agreement"]["rand"] > 0.95 and told["agreement"]["clusters"] == 3
    assert sum(row["images"] for row in told["clusters"]) == told["images"] == 3 * EACH
    assert 0.7 < told["fusion"]["auc_before"] < 0.9 < told["fusion"]["auc_after"]
    with (tmp_path / "out" / "clusters.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["file"] for row in rows] == sorted(row["file"] for row in rows)
    assert {row["source"] for row in rows} == {"one", "two", "real"}
    assert all(np.isfinite(float(row["fused"])) for row in rows)
    with Image.open(tmp_path / "out" / "clusters.png") as picture:
        assert picture.width > 1000
    text = "\n".join(out)
    assert "3 clusters of 3 sources" in text and "AUC of the scores" in text


def test_clusters_of_an_unlabelled_folder(call: Call, sources: Path, tmp_path: Path) -> None:
    options = ("--output_dir", tmp_path, "--extractor", "gaussian:sigma=1", "--size", 16)
    code, out, err = attribute(call, "cluster", sources / "one", *options)
    assert (code, err) == (0, [])
    assert any(line == "1 cluster: nothing stable was found inside" for line in out)
    told = json.loads((tmp_path / "clusters.json").read_text())
    assert told["clusters"] == [{"cluster": 0, "images": EACH, "stability": None}]
    assert set(told) & {"agreement", "fusion"} == set()


@pytest.mark.parametrize("mode", ["mean", "projection"])
def test_removal_and_its_cost(
    call: Call, sources: Path, fingerprint: Path, tmp_path: Path, mode: str
) -> None:
    options = ("--residual_fingerprint", fingerprint, "--output_dir", tmp_path, "--mode", mode)
    code, out, err = attribute(call, "remove", sources / "one", *options)
    assert (code, err) == (0, [])
    told = json.loads((tmp_path / "removal.json").read_text())
    assert told["correlation_before"] > 0.4 > 0.15 > abs(told["correlation_after"])
    with (tmp_path / "removal.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == EACH == len(list((tmp_path / "images").iterdir()))
    for row in rows[::9]:
        pair = (sources / "one" / row["file"], tmp_path / "images" / row["file"])
        before, after = (as_batch(pixels_of(path)) for path in pair)
        assert float(row["psnr"]) == pytest.approx(float(psnr(before, after)), abs=1e-4)
    mean = np.mean([float(row["psnr"]) for row in rows])
    assert told["psnr"] == pytest.approx(mean, abs=1e-3) and f"PSNR {mean:.2f} dB" in out[0]
    with Image.open(tmp_path / "removal.png") as picture:
        assert picture.width > 500
    code, _, err = attribute(call, "remove", sources / "two", *options)
    assert code == 2 and "'data_sha256' is that of other files" in err[0]


def test_nothing_is_removed_at_strength_0(
    call: Call, sources: Path, fingerprint: Path, tmp_path: Path
) -> None:
    options = ("--residual_fingerprint", fingerprint, "--output_dir", tmp_path, "--strength", 0)
    assert attribute(call, "remove", sources / "two", *options)[0] == 0
    for path in (sources / "two").iterdir():
        assert (pixels_of(path) == pixels_of(tmp_path / "images" / path.name)).all()
    assert json.loads((tmp_path / "removal.json").read_text())["psnr"] == 99.0


@pytest.fixture
def attributor(tmp_path: Path) -> tuple[Path, torch.Tensor]:
    """The folder of an attributor as `fit` writes it, and its fingerprints."""
    rng = np.random.default_rng(2)
    names, size = ("one", "two"), (SIDE, SIDE)
    prints = torch.from_numpy(rng.normal(size=(2, 3, SIDE, SIDE))).float()
    power = torch.eye(3).expand(SIDE, SIDE // 2 + 1, 3, 3).to(torch.complex64)
    part = ResidualCorrelation(names, load_extractor("gaussian:sigma=1"), prints, power, size)
    labels = np.repeat([0, 1], 30)
    model = ScoreModel.fit(rng.normal(size=(60, 2)) + np.eye(2)[labels], labels)
    fitted = FittedAttributor("fitted", [part], model, WindowPolicy(ALIGNED, size, size))
    save_attributor(fitted, tmp_path)
    return tmp_path, prints


def test_fingerprints_of_an_attributor(
    call: Call, attributor: tuple[Path, torch.Tensor], sources: Path
) -> None:
    place, prints = attributor
    found = read_mean_residual(place, "two")
    assert (found.source, found.size, found.exact) == ("two", (SIDE, SIDE), True)
    assert found.extractor.text == "gaussian:sigma=1" and torch.equal(found.mean, prints[1])
    for source, said in ((None, "no source was named"), ("three", "no source 'three'")):
        words = ("--residual_fingerprint", place, *(("--source", source) if source else ()))
        code, _, err = attribute(call, "localise", sources, *words, "--output_dir", place)
        assert code == 2 and said in err[0] and "one of one, two" in err[0]


def test_strength_must_be_a_number() -> None:
    with pytest.raises(UserError, match="--strength is inf; it must be a finite number"):
        AttackSettings(strength=float("inf"))


@pytest.mark.parametrize(
    ("action", "words", "said"),
    [
        ("localise", ["--window", 3], "window is 3; images of 24x24 take 4 to 24"),
        ("localise", ["--window", 25], "window is 25"),
        ("localise", ["--source", "two"], "holds the fingerprint of one, not of two"),
        ("remove", ["--mode", "all"], "--mode: expected one of 'mean', 'projection'; found all"),
        (
            "remove",
            ["--rounding", "up"],
            "--rounding: expected one of 'random', 'nearest'; found up",
        ),
    ],
)
def test_refused_with_a_fingerprint(
    call: Call, sources: Path, fingerprint: Path, tmp_path: Path, action: str,
    words: list[object], said: str,
) -> None:  # fmt: skip
    options = ("--residual_fingerprint", fingerprint, "--output_dir", tmp_path)
    code, out, err = attribute(call, action, sources / "one", *options, *words)
    assert code == 2 and out == [] and len(err) == 1 and said in err[0]


@pytest.mark.parametrize(
    ("text", "words", "said"),
    [
        ("name,score\n", ["--truth"], "found the columns name, score; expected file and score"),
        ("file,score\none00.png,x\n", ["--truth"], "row 2: 'x' is no score of an image"),
        ("file,score\none00.png,1\n", ["--truth"], "no score of one/one01.png"),
        (None, ["--real", "real"], "--real goes with --truth and --scores"),
        (None, ["--min_images", "1"], "--min_images is 1; it must be 2 or more"),
        (None, ["--size", "7"], "--size is 7; it must be 8 or more"),
        (None, ["--size", "25"], "0 images can be used; it takes two"),
    ],
)
def test_clusters_refused(
    call: Call, sources: Path, tmp_path: Path, text: str | None, words: list[str], said: str
) -> None:
    if text is not None:
        (tmp_path / "scores.csv").write_text(text)
        words = [*words, "--scores", str(tmp_path / "scores.csv")]
    code, out, err = attribute(call, "cluster", sources, "--output_dir", tmp_path, *words)
    assert code == 2 and out == [] and len(err) == 1 and said in err[0]
