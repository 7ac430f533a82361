"""`artfp attribute fingerprint` and `correlate`: files of planted patterns."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from artfp.cli.main import main
from artfp.core.errors import UserError
from artfp.passive.residuals import (
    CorrelateSettings,
    ResidualFingerprintSettings,
    correlate_images,
    make_residual_fingerprint,
)
from artfp.passive.residuals.residual_fingerprint import ResidualFingerprint

SOURCES = ("nikon", "canon")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """30 noisy images of 32 pixels of each source, which adds a pattern of its own to them."""
    folder = tmp_path_factory.mktemp("cameras")
    rng = np.random.default_rng(0)
    for name in SOURCES:
        (folder / name).mkdir()
        pattern = rng.normal(0, 4, (32, 32, 3))
        for index in range(30):
            pixels = 128 + pattern + rng.normal(0, 6, (32, 32, 3))
            Image.fromarray(pixels.round().astype(np.uint8)).save(folder / name / f"{index}.png")
    return folder


def _make(folder: Path, name: str, output: Path, *more: str) -> int:
    action = ["attribute", "fingerprint", str(folder / name), "--output", str(output)]
    return main([*action, *more])


@pytest.fixture(scope="module")
def files(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    made = tmp_path_factory.mktemp("files")
    places = [made / f"{name}.safetensors" for name in SOURCES]
    for name, place in zip(SOURCES, places, strict=True):
        assert _make(folder, name, place, "--weighted") == 0
    return places


def test_images_go_to_their_source(
    folder: Path, files: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    known = ",".join(map(str, files))
    for extras in (
        (),
        ("--zero_mean", "--subtract_grand_mean"),
        ("--maximum_likelihood",),
        ("--pce",),
    ):
        for name in SOURCES:
            given = ["attribute", "correlate", str(folder / name), "--residual_fingerprints", known]
            assert main([*given, *extras]) == 0
            rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
            places = {f"{each} {way}" for each in SOURCES for way in ("down", "right")}
            found = {"image", "highest", *SOURCES} | (places if "--pce" in extras else set())
            assert len(rows) == 30 and set(rows[0]) == found
            assert np.mean([row["highest"] == name for row in rows]) > 0.9, extras


def test_merging_is_as_estimating_at_once(
    folder: Path, files: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    both = ",".join(map(str, files))
    merged, added = tmp_path / "merged.safetensors", tmp_path / "added.safetensors"
    given = ["attribute", "fingerprint", "--merge", both, "--output", str(merged)]
    assert main([*given, "--source", "all"]) == 0
    assert "all: 60 images, 32x32" in capsys.readouterr().out
    assert _make(folder, "canon", added, "--merge", str(files[0]), "--weighted") == 0
    one, two = ResidualFingerprint.load(merged), ResidualFingerprint.load(added)
    assert (one.source, one.count, two.source) == ("all", 60, "added")
    assert one.total.equal(two.total) and one.codecs == {"PNG": 60}


def test_bad_input(
    folder: Path, files: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(*given: str) -> str:
        assert main(["attribute", *given]) == 2
        return capsys.readouterr().err.splitlines()[-1]

    here, file = str(folder / "nikon"), str(files[0])
    assert "give images, or two" in refused("fingerprint", "--output", "x.safetensors")
    assert "end it with .safetensors" in refused("fingerprint", here, "--output", "x.npy")
    assert "each takes its own name" in refused(
        "correlate", here, "--residual_fingerprints", f"{file},{file}"
    )
    assert "two residual fingerprints or more" in refused(
        "correlate", here, "--residual_fingerprints", file, "--subtract_grand_mean"
    )
    other = tmp_path / "other.safetensors"
    assert _make(folder, "canon", other, "--extractor", "gaussian:sigma=1") == 0
    assert "cannot be merged" in refused(
        "fingerprint", "--merge", f"{file},{other}", "--output", str(tmp_path / "x.safetensors")
    )
    Image.new("RGB", (16, 16)).save(tmp_path / "small.png")
    small = str(tmp_path / "small.png")
    assert "no image can be used" in refused("correlate", small, "--residual_fingerprints", file)


def test_programs_get_what_the_commands_give(
    folder: Path, files: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "own.safetensors"
    known, failed = make_residual_fingerprint(
        ResidualFingerprintSettings(
            data_dir=str(folder / "nikon"), output=output, source="nikon", weighted=True
        )
    )
    assert output.read_bytes() == files[0].read_bytes()
    assert known.count == 30 and not failed
    settings = CorrelateSettings(
        data_dir=str(folder / "canon"),
        residual_fingerprints=tuple(map(str, files)),
        output=tmp_path / "scores.csv",
        maximum_likelihood=True,
    )
    table = correlate_images(settings)
    assert capsys.readouterr().out == ""
    words = settings.command_line("attribute correlate").split()
    assert main([word for word in words if "scores.csv" not in word and word != "--output"]) == 0
    written = (tmp_path / "scores.csv").read_text()
    assert written == table.to_csv() == capsys.readouterr().out
    assert table.sources == SOURCES and table.highest("3.png") == "canon"
    with pytest.raises(UserError, match="give images, or two"):
        ResidualFingerprintSettings(output=output)


def test_help_names_what_a_file_is(capsys: pytest.CaptureFixture[str]) -> None:
    for action in ("fingerprint", "correlate"):
        assert main(["attribute", action, "--help"]) == 0
        text = capsys.readouterr().out
        assert f"artfp attribute {action}" in text and "--data_dir" in text
        assert "esidual fingerprint" in text and ("max_shift" in text) == (action == "correlate")
