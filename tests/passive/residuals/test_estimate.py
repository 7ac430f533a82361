"""Fingerprints from image files."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from artfp.core.errors import UserError
from artfp.data.sources import open_source
from artfp.passive.fitting.image_set import ImageSet
from artfp.passive.residuals import load_extractor
from artfp.passive.residuals.estimate import codec_of, estimate_fingerprint
from artfp.passive.residuals.prnu import grey
from tests.progress import recorded_progress

EXTRACTOR = load_extractor("gaussian")


def _files(folder: Path, count: int, height: int = 24, width: int = 20) -> np.ndarray:
    """Noise images in PNG; pixels (N, H, W, 3)."""
    folder.mkdir(exist_ok=True)
    pixels = np.random.default_rng(0).integers(0, 256, (count, height, width, 3), np.uint8)
    for number, image in enumerate(pixels):
        Image.fromarray(image).save(folder / f"{number:03}.png")
    return pixels


def _unit(pixels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).double() / 255.0


def test_mean_of_the_residuals_of_all_files(tmp_path: Path) -> None:
    pixels = _files(tmp_path / "a", 9)
    with recorded_progress() as lines:
        found, failed = estimate_fingerprint(open_source(tmp_path / "a"), EXTRACTOR, "noise")
    expected = EXTRACTOR(_unit(pixels)).double().mean(0)
    torch.testing.assert_close(found.mean.double(), expected, atol=1e-7, rtol=0)
    assert found.count == 9 and not failed and (lines[0].done, lines[0].total) == (9, 9)
    assert found.source == "noise" and found.extractor == "gaussian:sigma=1"
    assert found.codecs == Counter(PNG=9) and found.sizes == Counter({"20x24": 9})


def test_many_small_batches_give_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _files(tmp_path / "a", 7)
    whole, _ = estimate_fingerprint(open_source(tmp_path / "a"), EXTRACTOR, "noise", weighted=True)
    monkeypatch.setattr("artfp.passive.residuals.estimate._BATCH_PIXELS", 24 * 20 * 2)
    parts, _ = estimate_fingerprint(open_source(tmp_path / "a"), EXTRACTOR, "noise", weighted=True)
    torch.testing.assert_close(parts.total, whole.total, atol=1e-6, rtol=0)
    assert parts.square is not None and whole.square is not None
    assert torch.equal(parts.square, whole.square)


def test_larger_images_are_cut_and_what_cannot_be_used_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "a"
    pixels = _files(folder, 4)
    wide = np.random.default_rng(1).integers(0, 256, (30, 50, 3), np.uint8)
    Image.fromarray(wide).save(folder / "wide.bmp")
    Image.fromarray(wide[:, :19]).save(folder / "narrow.jpg")
    (folder / "broken.png").write_bytes(b"no image")
    found, failed = estimate_fingerprint(open_source(folder), EXTRACTOR, "noise")
    expected = EXTRACTOR(_unit(np.concatenate([pixels, wide[None, :24, :20]]))).double().mean(0)
    torch.testing.assert_close(found.mean.double(), expected, atol=1e-7, rtol=0)
    assert found.codecs == Counter(PNG=4, BMP=1)
    assert found.sizes == Counter({"20x24": 4, "50x30": 1})
    assert [name for name, _ in failed] == ["broken.png", "narrow.jpg"]
    assert failed[1][1] == "19x30 is smaller than 20x24"
    small, failed = estimate_fingerprint(open_source(folder), EXTRACTOR, "noise", size=(16, 12))
    assert small.shape == (3, 16, 12) and small.count == 6 and len(failed) == 1


def test_grey(tmp_path: Path) -> None:
    pixels = _files(tmp_path / "a", 3)
    found, _ = estimate_fingerprint(
        open_source(tmp_path / "a"), EXTRACTOR, "noise", prepare=grey, weighted=True
    )
    x = grey(_unit(pixels))
    torch.testing.assert_close(found.mean.double(), EXTRACTOR(x).double().mean(0))
    assert found.square is not None
    torch.testing.assert_close(found.square, x.square().sum(0), atol=1e-5, rtol=0)


def test_nothing_to_use(tmp_path: Path) -> None:
    _files(tmp_path / "a", 2)
    with pytest.raises(UserError, match=r"no image can be used \(000.png: 20x24 is smaller"):
        estimate_fingerprint(open_source(tmp_path / "a"), EXTRACTOR, "noise", size=(64, 64))


@pytest.mark.parametrize("codec", ["JPEG", "PNG", "WEBP", "BMP", "TIFF"])
def test_codecs_by_their_first_bytes(tmp_path: Path, codec: str) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a", codec)
    assert codec_of((tmp_path / "a").read_bytes()) == codec
    assert codec_of(b"") == codec_of(b"GIF89a") == "unknown"


def test_orientation_is_not_applied(tmp_path: Path) -> None:
    pixels = _files(tmp_path / "plain", 4)
    (tmp_path / "tagged").mkdir()
    for number, image in enumerate(pixels):
        exif = Image.Exif()
        exif[0x0112] = (6, 3, 1, 8)[number]
        Image.fromarray(image).save(tmp_path / "tagged" / f"{number:03}.png", exif=exif)
    plain, tagged = (
        estimate_fingerprint(open_source(tmp_path / name), EXTRACTOR, "noise")
        for name in ("plain", "tagged")
    )
    assert torch.equal(plain[0].total, tagged[0].total) and plain[0].sizes == tagged[0].sizes
    sizes = {
        name: ImageSet(
            {each: open_source(tmp_path / name) for each in ("a", "b")},
            policy="aligned",
            min_images=1,
        )
        for name in ("plain", "tagged")
    }
    with sizes["plain"] as first, sizes["tagged"] as second:
        assert first.policy == second.policy and first.sizes == second.sizes
        for (_, x), (_, y) in zip(first.batches(), second.batches(), strict=True):
            assert torch.equal(x, y)
