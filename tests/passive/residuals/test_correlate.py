"""Search for cropped images in the residual fingerprints of sources."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from artfp.core.errors import UserError
from artfp.data.pixels import as_batch
from artfp.passive.residuals.correlate import correlate_images, place_of
from artfp.passive.residuals.extractor import load_extractor
from artfp.passive.residuals.residual_fingerprint import ResidualFingerprint
from artfp.passive.residuals.settings import CorrelateSettings

HEIGHT, WIDTH = 48, 40
CROPS = {"whole.png": (0, 0, 48, 40), "crop.png": (17, 5, 31, 32), "end.png": (20, 12, 28, 28)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Pieces of one photograph with the pattern of the first of two sources."""
    rng = np.random.default_rng(3)
    (tmp_path / "in").mkdir()
    patterns = 12.0 * rng.standard_normal((2, HEIGHT, WIDTH, 3))
    for number, pattern in enumerate(patterns):
        known = ResidualFingerprint.empty((3, HEIGHT, WIDTH), "gaussian", f"camera{number}")
        for _ in range(6):
            x = 128 + pattern + 8.0 * rng.standard_normal(pattern.shape)
            known.add(load_extractor("gaussian")(as_batch(x.round().clip(0, 255).astype(np.uint8))))
        known.save(tmp_path / f"camera{number}.safetensors")
    x = 128 + patterns[0] + 8.0 * rng.standard_normal(patterns[0].shape)
    pixels = x.round().clip(0, 255).astype(np.uint8)
    for name, (top, left, height, width) in CROPS.items():
        piece = pixels[top : top + height, left : left + width]
        Image.fromarray(piece).save(tmp_path / "in" / name)
    Image.fromarray(np.roll(pixels, (-3, 4), (0, 1))).save(tmp_path / "in" / "rolled.png")
    wide = np.pad(pixels, ((0, 30), (0, 9), (0, 0)), constant_values=90)
    Image.fromarray(wide).save(tmp_path / "in" / "larger.png")
    Image.fromarray(pixels[:12]).save(tmp_path / "in" / "small.png")
    return tmp_path


def settings(folder: Path, **more: object) -> CorrelateSettings:
    files = tuple(str(folder / f"camera{number}.safetensors") for number in range(2))
    return CorrelateSettings(
        data_dir=str(folder / "in"),
        residual_fingerprints=files,
        cuda=-1,
        **more,  # type: ignore[arg-type]
    )


def direct_pce(residual: np.ndarray, pattern: np.ndarray) -> tuple[float, tuple[int, int]]:
    """PCE and shift from the definition: every circular shift of the padded residual by itself."""
    padded = np.zeros(pattern.shape)
    padded[:, : residual.shape[1], : residual.shape[2]] = residual - residual.mean()
    other = pattern - pattern.mean()
    shifts = [(down, right) for down in range(HEIGHT) for right in range(WIDTH)]
    c = np.array([np.vdot(np.roll(padded, s, (1, 2)), other) for s in shifts])
    c = c.reshape(HEIGHT, WIDTH)
    down, right = (int(place) for place in np.unravel_index(c.argmax(), c.shape))
    rows, columns = (
        np.minimum((np.arange(side) - at) % side, (at - np.arange(side)) % side) > 5
        for side, at in ((HEIGHT, down), (WIDTH, right))
    )
    energy = (c[rows[:, None] | columns] ** 2).mean()
    peak = c[down, right]
    return float(np.sign(peak) * peak**2 / energy), (down, right)


def test_crops_are_found_where_they_come_from(folder: Path) -> None:
    found = correlate_images(settings(folder, pce=True, output=folder / "scores.csv"))
    places = {name: shifts[0] for name, shifts in found.shifts.items()}
    assert places == {
        **{name: (top, left) for name, (top, left, _, _) in CROPS.items()},
        "rolled.png": (3, -4), "larger.png": (0, 0),
    }  # fmt: skip
    assert all(scores[0] > 60 > scores[1] for scores in found.scores.values())
    assert [name for name, _ in found.failed] == ["small.png"]
    patterns = [
        ResidualFingerprint.load(folder / f"camera{k}.safetensors").mean.double().numpy()
        for k in range(2)
    ]
    rows = {row["image"]: row for row in csv.DictReader((folder / "scores.csv").open())}
    for name in CROPS:
        pixels = np.array(Image.open(folder / "in" / name))
        residual = load_extractor("gaussian")(as_batch(pixels))[0].double().numpy()
        for k, pattern in enumerate(patterns):
            ratio, (down, right) = direct_pce(residual, pattern)
            assert float(rows[name][f"camera{k}"]) == pytest.approx(ratio, rel=1e-3)
            assert int(rows[name][f"camera{k} down"]) % HEIGHT == down
            assert int(rows[name][f"camera{k} right"]) % WIDTH == right
    assert rows["crop.png"]["highest"] == "camera0"
    # Without the search a crop is too small, and the table is as it was.
    plain = correlate_images(settings(folder))
    assert list(plain.scores) == ["larger.png", "rolled.png", "whole.png"] and not plain.shifts
    (heads, *_) = csv.reader(io.StringIO(plain.to_csv()))
    assert heads == ["image", "highest", "camera0", "camera1"]
    assert plain.scores["rolled.png"][0] < 0.1 < plain.scores["whole.png"][0]


def test_shifts_may_be_bounded(folder: Path) -> None:
    near = correlate_images(settings(folder, pce=True, max_shift=4))
    assert near.shifts["rolled.png"][0] == (3, -4) and near.scores["rolled.png"][0] > 60
    assert near.scores["crop.png"][0] < 60
    with pytest.raises(UserError, match="--max_shift belongs to --pce"):
        settings(folder, max_shift=4)


@pytest.mark.parametrize("side", [1, 24, 47, 48])
def test_places_lie_inside_where_they_can(side: int) -> None:
    for start in range(48 - side + 1):
        assert place_of(start, side, 48) == place_of(start - 48, side, 48) == start
    assert torch.tensor([abs(place_of(k, 48, 48)) for k in range(48)]).max() == 24
