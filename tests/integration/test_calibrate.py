"""`artfp calibrate`, and what `detect` makes of its file."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from artfp.data.paths import file_hash
from artfp.watermark import load_decoder, save_network

Words = Callable[..., list[object]]
Call = Callable[..., tuple[int, list[str], list[str]]]


@pytest.fixture
def own(weights: Path, tmp_path: Path) -> Path:
    """A decoder of the user's own, in a folder where nothing else lies."""
    (folder := tmp_path / "own").mkdir()
    shutil.copy(weights / "decoder.safetensors", folder / "my_decoder.safetensors")
    return folder / "my_decoder.safetensors"


@pytest.fixture
def constant(own: Path) -> Path:
    """A decoder in which half of the bits are always 1."""
    decoder, card = load_decoder(own, realign=False)
    with torch.no_grad():
        decoder.get_parameter("bias")[:8] += 1000.0
    path = own.with_name("bad_decoder.safetensors")
    save_network(decoder, path, card)
    return path


@pytest.fixture
def calibrate(call: Call, photo_folder: Path) -> Call:
    def run(decoder: object, *more: object) -> tuple[int, list[str], list[str]]:
        words = ("--decoder_path", decoder, "--data_dir", photo_folder, "--num_workers", 0)
        return call("calibrate", *words, "--realign", "false", *more)

    return run


def test_detect_finds_the_calibration_beside_the_decoder(
    calibrate: Call, call: Call, own: Path, photo_folder: Path, tmp_path: Path
) -> None:
    code, out, err = calibrate(own, "--max_images", 60, "--keys", 20)
    beside = own.with_name("my_calibration.json")
    content = json.loads(beside.read_text())
    assert out[-1] == f"60 images decoded; calibration in {beside}" and err == []
    assert code == int(any(line.startswith("alarm: ") for line in out))
    assert ("no alarm" in out) == (code == 0)
    assert (content["images"], content["bits"], len(content["keys"])) == (60, 16, 20)
    assert content["decoder_hash"] == file_hash(own) and content["made"]["data"] == ["photos0"]
    assert sum("of 16" in line and "of 1200" in line for line in out) == 4
    assert sorted(path.name for path in own.parent.iterdir()) == [beside.name, own.name]

    words: tuple[object, ...]
    words = ("--decoder_path", own, "--data_dir", photo_folder / "000.png", "--fingerprint", "c35a")
    words = (*words, "--num_workers", 0, "--realign", "false", "--output_dir", tmp_path / "found")

    def warned() -> list[str]:
        code, _, err = call("detect", *words, "--json", tmp_path / "r.json")
        assert code == 0
        return err

    alarms = [f"warning: Calibration: {line[7:]}." for line in out if line.startswith("alarm: ")]
    assert warned() == alarms
    facts = json.loads((tmp_path / "r.json").read_text())
    assert facts["calibration"] == {
        "file": "my_calibration.json", "decoder": file_hash(own), "images": 60
    }  # fmt: skip
    beside.write_text(json.dumps({**content, "decoder_hash": "0" * 64}))
    (warning,) = warned()
    assert "my_calibration.json is of another decoder" in warning
    assert json.loads((tmp_path / "r.json").read_text())["calibration"] is None
    beside.unlink()
    (warning,) = warned()
    assert warning.startswith("warning: The decoder was not checked")


def test_an_alarming_decoder(
    calibrate: Call, call: Call, constant: Path, photo_folder: Path, tmp_path: Path
) -> None:
    output, page = tmp_path / "c.json", tmp_path / "r.html"
    code, out, err = calibrate(constant, "--output", output)
    alarms = [line for line in out if line.startswith("alarm: ")]
    assert code == 1 and err == []
    assert "bits lean to one value" in alarms[0] and "8 never change" in alarms[0]
    assert len(alarms) <= 7  # of a hundred keys, the worst of each kind
    assert any("bits that never change" in line and "\t8\t" in line for line in out)
    words: tuple[object, ...]
    words = ("--decoder_path", constant, "--data_dir", photo_folder / "000.png", "--num_workers", 0)
    words = (*words, "--output_dir", tmp_path / "found", "--fingerprint", "c35a")
    code, _, err = call("detect", *words, "--calibration", output, "--report", page)
    assert code == 0 and f"warning: Calibration: {alarms[0][7:]}." in err
    assert any("without realignment, and here it decodes with" in line for line in err)
    assert "8 never change" in page.read_text()


def test_what_cannot_be_used_is_named(
    call: Call, own: Path, tmp_path: Path, photo_folder: Path
) -> None:
    (folder := tmp_path / "some").mkdir()
    for number in range(5):
        shutil.copy(photo_folder / f"{number:03}.png", folder)
    (folder / "x.png").touch()
    code, out, err = call(
        "calibrate", "--decoder_path", own, "--data_dir", folder, photo_folder / "007.png",
        "--num_workers", 0, "--output", tmp_path / "c.json",
    )  # fmt: skip
    assert code == 1 and out[-1].startswith("6 images decoded")
    assert err == ["unusable: some/x.png: the file is empty", "1 image could not be used"]


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["--decoder_path", "photo128"], "missing --output: photo128 comes with artfp"),
        (["--keys", "1"], "--keys is 1"),
        (["--max_images", "1"], "--max_images is 1"),
        (["--output", "/"], "is a folder"),
        (["--logits", "/"], "is a folder"),
        (["--data_dir", "none"], "none: no such file"),
        (["--decoder_path", "none"], "no decoder at none"),
    ],
)
def test_bad_input_is_one_line(calibrate: Call, own: Path, words: list[str], found: str) -> None:
    code, out, err = calibrate(own, *words)
    assert code == 2 and out == [] and len(err) == 1 and found in err[0]
    assert [path.name for path in own.parent.iterdir()] == [own.name]
