"""Where a calibration lies, and what a run is told of it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from artfp.core.errors import UserError
from artfp.data.bundle import find_weights, shipped_weights
from artfp.data.paths import file_hash
from artfp.stats import calibrate_decoder
from artfp.watermark.calibrate import default_calibration_path, read_calibration, write_calibration

BITS = 40
HASH = "h" * 64
KEYS = np.random.default_rng(1).integers(0, 2, (1, BITS))


@pytest.fixture
def words() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 2, (300, BITS))


def write(path: Path, words: np.ndarray, **made: object) -> str:
    write_calibration(path, calibrate_decoder(words, KEYS, HASH), made)
    return str(path)


@pytest.mark.parametrize(
    ("decoder", "name"),
    [
        ("photo128_decoder.safetensors", "photo128_calibration.json"),
        ("decoder.safetensors", "decoder_calibration.json"),
        ("my.decoder.pth", "my.decoder_calibration.json"),
    ],
)
def test_the_name_of_the_file(decoder: str, name: str, tmp_path: Path) -> None:
    assert default_calibration_path(tmp_path / decoder) == tmp_path / name


def test_a_calibration_that_is_named(tmp_path: Path, words: np.ndarray) -> None:
    weights = tmp_path / "decoder.safetensors"
    path = write(tmp_path / "given.json", words)
    facts, warnings = read_calibration(path, weights, HASH, BITS)
    assert warnings == [] and facts == {"file": path, "decoder": HASH, "images": 300}
    for digest, bits in (("0" * 64, BITS), (HASH, 32)):
        facts, (warning,) = read_calibration(path, weights, digest, bits)
        assert facts is None and "another decoder" in warning
    words[:, 0] = 1
    path = write(tmp_path / "given.json", words)
    assert "Calibration: bias: 1 of 40 bits" in read_calibration(path, weights, HASH, BITS)[1][0]


def test_a_calibration_beside_the_decoder(tmp_path: Path, words: np.ndarray) -> None:
    weights, beside = tmp_path / "a_decoder.safetensors", tmp_path / "a_calibration.json"
    facts, warnings = read_calibration(None, weights, HASH, BITS)
    assert facts is None and "not checked" in warnings[0]
    write(beside, words)
    facts, warnings = read_calibration(None, weights, HASH, BITS)
    assert facts == {"file": "a_calibration.json", "decoder": HASH, "images": 300}
    assert warnings == []
    facts, warnings = read_calibration(None, weights, "0" * 64, BITS)
    assert facts is None and "a_calibration.json is of another decoder" in warnings[0]
    beside.write_text("{}")
    facts, warnings = read_calibration(None, weights, HASH, BITS)
    assert facts is None and "cannot be used" in warnings[0]
    given = write(tmp_path / "given.json", words)
    assert read_calibration(given, weights, HASH, BITS)[1] == []


def test_realignment_makes_it_another_reading(tmp_path: Path, words: np.ndarray) -> None:
    weights = tmp_path / "decoder.safetensors"
    path = write(tmp_path / "c.json", words, realign=True)
    assert read_calibration(path, weights, HASH, BITS, realign=True)[1] == []
    (warning,) = read_calibration(path, weights, HASH, BITS, realign=False)[1]
    assert "with realignment, and here it decodes without" in warning
    path = write(tmp_path / "c.json", words, realign=False)
    (warning,) = read_calibration(path, weights, HASH, BITS, realign=True)[1]
    assert "without realignment, and here it decodes with" in warning


def test_what_is_no_calibration(tmp_path: Path) -> None:
    path, weights = tmp_path / "c.json", tmp_path / "decoder.safetensors"
    for text in ("no", "[]", "{}", "[" * 100_000):
        path.write_text(text)
        with pytest.raises(UserError, match="calibration"):
            read_calibration(str(path), weights, HASH, BITS)
    with pytest.raises(UserError, match="No such file"):
        read_calibration(str(tmp_path / "none"), weights, HASH, BITS)
    with pytest.raises(UserError, match="cannot be written"):
        write_calibration(
            path / "below.json", calibrate_decoder(np.eye(8), np.ones(8, int), HASH), {}
        )


@pytest.mark.parametrize("name", shipped_weights())
def test_a_shipped_calibration_is_that_of_the_shipped_decoder(name: str) -> None:
    weights = find_weights(name, "decoder")
    beside = default_calibration_path(weights)
    if not beside.exists():
        pytest.skip(f"{name} has no calibration")
    bits = json.loads(beside.read_text())["bits"]
    facts, warnings = read_calibration(None, weights, file_hash(weights), bits)
    assert facts is not None and int(str(facts["images"])) >= 1000
    assert all(warning.startswith("Calibration: ") for warning in warnings)
