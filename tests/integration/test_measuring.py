"""`artfp measure`, inside this process."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from artfp.metrics.perceptual import effnet_installed
from artfp.metrics.visibility_models import visibility_models_installed
from artfp.watermark import build_pair, save_network
from artfp.watermark.measure_conditions import measured_conditions

Call = Callable[..., tuple[int, list[str], list[str]]]
DISTANCE = ["effnet_distance"] if effnet_installed() else []
MODELS = ["ssimulacra2", "ssimulacra2_worst", "cvvdp", "cvvdp_worst"]
FIGURES = [
    "images",
    "psnr",
    "ssim",
    *DISTANCE,
    "bit_accuracy",
    *(f"bit_accuracy_{name}" for name in measured_conditions()),
    "bit_accuracy_unmarked",
    "bit_accuracy_mean",
    "psnr_worst",
    "perfect_share",
    "scielab_p95_60",
    "scielab_p95_60_worst",
    "scielab_over2_60",
    "scielab_p95_20",
    "scielab_p95_20_worst",
    "scielab_over2_20",
    *(MODELS * visibility_models_installed()),
]


@pytest.fixture
def words(weights: Path, photo_folder: Path) -> list[object]:
    """Arguments that work, on a few images."""
    network = weights / "encoder.safetensors"
    return ["--encoder_path", network, "--data_dir", photo_folder, "--limit", 6]


def cells(lines: list[str]) -> list[list[str]]:
    """What stands in the tables, row by row."""
    return [line.split("\t") for line in lines if "\t" in line]


def test_figures_on_screen_and_in_the_file(call: Call, words: list[object], tmp_path: Path) -> None:
    code, out, err = call("measure", *words, "--output", tmp_path / "figures.json")
    assert (code, err) == (0, [])
    written = json.loads((tmp_path / "figures.json").read_text())
    assert list(written["figures"]) == ["own size"] and written["data"].startswith("photos")
    figures = written["figures"]["own size"]
    assert list(figures) == FIGURES and figures["images"] == 6
    assert figures["bit_accuracy"] > 0.95 and 15 < figures["psnr"] < 60
    shown = cells(out)
    assert shown[0] == ["figure", "own size"]
    assert {name: float(value) for name, value in shown[1:]} == {
        name: pytest.approx(value, abs=5.1e-5) for name, value in figures.items()
    }
    assert 0 < figures["scielab_p95_60"] < figures["scielab_p95_60_worst"]
    worst = written["worst"]["own size"]
    assert worst.endswith(".png") and out[-1] == f"most visible at own size: {worst}"


def test_without_the_extra(
    call: Call, words: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says what is missing, and how to get it; the rest is there."""
    monkeypatch.setattr("artfp.watermark.measure.effnet_installed", lambda: False)
    code, out, err = call("measure", *words, "--strengths", 1)
    assert code == 0 and err == ["without effnet_distance; for it: pip install 'artfp[features]'"]
    assert [row[0] for row in cells(out)[2:-2]] == [f for f in FIGURES if f not in DISTANCE]
    assert "effnet distance" not in cells(out)[-2]


def test_a_latent_autoencoder_is_one_more_condition(
    call: Call, words: list[object], autoencoder_folder: Path, tmp_path: Path
) -> None:
    """The other figures stay; the file names the weights."""
    plain, file = tmp_path / "plain.json", tmp_path / "figures.json"
    given = ["--latent_autoencoder", autoencoder_folder]
    call("measure", *words, "--limit", 2, "--output", plain)
    code, out, err = call("measure", *words, "--limit", 2, *given, "--output", file)
    assert (code, err) == (0, [])
    found = json.loads(file.read_text())
    assert list(found["latent_autoencoder"]) == ["encoder.pth", "decoder.pth"]
    figures = found["figures"]["own size"]
    assert 0.0 <= figures.pop("bit_accuracy_latent") < 1.0  # an untrained one leaves little
    assert figures == json.loads(plain.read_text())["figures"]["own size"]
    assert "bit_accuracy_latent" in [row[0] for row in cells(out)]


def test_strengths(call: Call, words: list[object], tmp_path: Path) -> None:
    """The table of the trade comes last; 1 gives what a run without strengths gives."""
    file, plain = tmp_path / "figures.json", tmp_path / "plain.json"
    code, out, err = call("measure", *words, "--strengths", "0.5, 1,2,1.0", "--output", file)
    assert (code, err) == (0, [])
    figures = json.loads(file.read_text())["figures"]
    assert list(figures) == ["strength 0.5", "strength 1", "strength 2"]
    assert [each["strength"] for each in figures.values()] == [0.5, 1.0, 2.0]
    loss = [each["psnr"] for each in figures.values()]
    assert loss[0] - loss[1] > 4 and loss[1] - loss[2] > 4
    shown = cells(out)
    heading = ["at", "strength", "PSNR dB", "SSIM", "S-CIELAB p95", "worst"]
    heading += ["SSIMULACRA2", "ColorVideoVDP"] * visibility_models_installed()
    heading += ["effnet distance"] * bool(DISTANCE)
    assert shown[-4] == [*heading, "mean bit accuracy"]
    for row, each in zip(shown[-3:], figures.values(), strict=True):
        assert row[0] == "own size" and float(row[1]) == each["strength"]
        assert float(row[2]) == pytest.approx(each["psnr"], abs=0.006)
        assert float(row[-1]) == pytest.approx(each["bit_accuracy_mean"], abs=6e-5)
    call("measure", *words, "--output", plain)
    once = json.loads(plain.read_text())["figures"]["own size"]
    assert {"strength": 1.0, **once} == figures["strength 1"]


def test_strengths_at_sizes(call: Call, words: list[object], tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    options = ["--sizes", "40x30,64x64", "--strengths", "1,2", "--limit", 2, "--output", file]
    code, out, _ = call("measure", *words, *options)
    assert code == 0
    labels = ["40x30, strength 1", "40x30, strength 2", "64x64, strength 1", "64x64, strength 2"]
    assert list(json.loads(file.read_text())["figures"]) == labels
    headings = [row for row in cells(out) if row[0] == "figure"]
    assert headings == [["figure", *labels[:2]], ["figure", *labels[2:]]]
    assert [row[:2] for row in cells(out)[-4:]] == [
        ["40x30", "1"], ["40x30", "2"], ["64x64", "1"], ["64x64", "2"],
    ]  # fmt: skip


def test_images_that_cannot_be_used(call: Call, words: list[object], tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    Image.fromarray(pixels).save(folder / "good.png")
    Image.fromarray(pixels[:4]).save(folder / "flat.png")
    (folder / "bad.png").write_bytes(b"no image")
    code, out, err = call("measure", *words, "--data_dir", folder)
    assert code == 1 and ["images", "1.0000"] in cells(out)
    assert "unusable: flat.png: 32x4 is too small, 11 a side is least" in err
    assert err[-1] == "2 images could not be used" and "bad.png" in err[0]


def refused(call: Call, *arguments: object) -> str:
    """The one line with which it refuses."""
    code, out, err = call("measure", *arguments)
    assert code == 2 and out == [] and len(err) == 1 and err[0].startswith("artfp measure: error: ")
    return err[0]


@pytest.mark.parametrize("text", ["0", "-1", "x", "nan", "inf", "1e400"])
def test_refused_strengths(text: str, call: Call, words: list[object]) -> None:
    assert "--strengths" in refused(call, *words, f"--strengths={text}")


@pytest.mark.parametrize("text", ["12", "0x5", "axb", "3x4,5"])
def test_refused_sizes(text: str, call: Call, words: list[object]) -> None:
    assert "--sizes: found" in refused(call, *words, f"--sizes={text}")


@pytest.mark.parametrize("floor", ["-1", "101"])
def test_refused_min_psnr(floor: str, call: Call, words: list[object]) -> None:
    assert "it must be 0 or more and at most 100" in refused(call, *words, f"--min_psnr={floor}")


@pytest.mark.parametrize("limit", [0, -3])
def test_refused_limit(limit: int, call: Call, words: list[object]) -> None:
    assert f"--limit is {limit}; it must be 1 or more" in refused(call, *words, "--limit", limit)


def test_sizes_too_small_to_measure(call: Call, words: list[object]) -> None:
    line = refused(call, *words, "--sizes", "300x5")
    assert "none of 6 images can be used; the first: 300x5 is too small" in line


def test_networks_of_two_trainings(call: Call, words: list[object], tmp_path: Path) -> None:
    save_network(build_pair("residual", 24, 32)[1], tmp_path / "other.safetensors")
    line = refused(call, *words, "--decoder_path", tmp_path / "other.safetensors")
    assert "embeds 16 bits" in line and "decodes 24" in line
