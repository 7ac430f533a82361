"""The pixels that are written, against a computation by hand."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

import artfp.data.predict_module
from artfp.data import Geometry
from artfp.watermark import Watermark
from artfp.watermark.embed_job import EmbeddingJob
from artfp.watermark.embed_run import run_embedding
from artfp.watermark.networks.base import add_residual, resize_residual
from artfp.watermark.prediction_loop import make_trainer
from artfp.watermark.settings import FINGERPRINTED_FOLDER
from tests.watermark.embedded import ONE, Jobs

ROUNDING = 0.501  # half a level, and what float32 leaves


def _weights(length: int, target: int) -> np.ndarray:
    """Matrix (target, length) of bicubic interpolation, a = -0.75, edges repeated (Keys 1981)."""
    a, matrix = -0.75, np.zeros((target, length))
    for row in range(target):
        centre = (row + 0.5) * length / target - 0.5
        for tap in range(int(np.floor(centre)) - 1, int(np.floor(centre)) + 3):
            d = abs(centre - tap)
            near = (a + 2) * d**3 - (a + 3) * d**2 + 1
            far = a * (d**3 - 5 * d**2 + 8 * d - 4)
            matrix[row, min(max(tap, 0), length - 1)] += near if d <= 1 else far
    return matrix


def _expected(pair: Watermark, original: np.ndarray, strength: float = 1.0) -> np.ndarray:
    """The original (H, W, 3) plus its residual, in float64, clipped and not rounded."""
    small = np.array(Image.fromarray(original).resize((32, 32), Image.Resampling.BICUBIC))
    x = torch.from_numpy(small).permute(2, 0, 1)[None].float() / 255.0
    bits = torch.from_numpy(ONE.of_image("")).float()[None]
    with torch.no_grad():
        residual = pair.encoder.residual(x, bits)[0].double().numpy()
    height, width = original.shape[:2]
    if height >= residual.shape[1] and width >= residual.shape[2]:
        down, across = _weights(residual.shape[1], height), _weights(residual.shape[2], width)
        grown = np.einsum("yh,chw,xw->yxc", down, residual, across)
    else:  # antialiased bicubic, as Pillow does it in floating point
        planes = (Image.fromarray(plane.astype(np.float32)) for plane in residual)
        size = (width, height)
        grown = np.stack(
            [np.asarray(p.resize(size, Image.Resampling.BICUBIC)) for p in planes], axis=2
        )
    result: np.ndarray = np.clip(original + 255.0 * strength * grown, 0.0, 255.0)
    return result


def _read(job: EmbeddingJob, name: str) -> np.ndarray:
    return np.array(Image.open(job.output / FINGERPRINTED_FOLDER / name))


def test_images_too_large_to_wait_are_read_again_and_come_out_equal(
    job: Jobs, tmp_path: Path, photographs: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in").mkdir(exist_ok=True)
    Image.fromarray(photographs[0]).save(tmp_path / "in" / "x.png")
    Image.fromarray(photographs[1][:50]).save(tmp_path / "in" / "y.png")
    found = []
    for waiting in (0, 1 << 26):
        monkeypatch.setattr(artfp.data.predict_module, "_WAITING_PIXELS", waiting)
        this = replace(job(tmp_path / "in"), output=tmp_path / f"out{waiting}")
        run_embedding(this, ONE)
        found.append([_read(this, name) for name in ("x.png", "y.png")])
    for again, waited in zip(*found, strict=True):
        np.testing.assert_array_equal(again, waited)


def test_residual_is_added_channel_by_channel_as_in_one(photographs: list[np.ndarray]) -> None:
    pixels = torch.from_numpy(photographs[0]).permute(2, 0, 1)[None]
    residual = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(1)) / 50
    whole = resize_residual(residual, (pixels.shape[-2], pixels.shape[-1]))
    expected = (whole * 255.0 + pixels).round().clamp(0, 255).to(torch.uint8)
    assert torch.equal(add_residual(pixels, residual), expected)


@pytest.mark.parametrize("strength", [1.0, 0.3])
@pytest.mark.parametrize(
    "size", [(32, 32), (77, 200), (64, 32), (301, 40), (31, 33), (6, 90), (7, 6)]
)
def test_any_size_keeps_its_size_and_gets_its_residual(
    job: Jobs,
    pair: Watermark,
    tmp_path: Path,
    photographs: list[np.ndarray],
    size: tuple[int, int],
    strength: float,
) -> None:
    original = np.ascontiguousarray(photographs[1][100 : 100 + size[0], 200 : 200 + size[1]])
    path = tmp_path / "x.png"
    Image.fromarray(original).save(path)
    run_embedding(this := job(path, strength=strength), ONE)
    written = _read(this, "x.png")
    assert written.shape == original.shape
    assert np.abs(written - _expected(pair, original, strength)).max() < ROUNDING
    if min(size) > 30:
        assert (written != original).mean() > 0.1


def _gray(pixels: np.ndarray) -> tuple[Image.Image, np.ndarray]:
    gray = pixels[:, :, 1]
    return Image.fromarray(gray), np.repeat(gray[:, :, None], 3, axis=2)


def _gray16(pixels: np.ndarray) -> tuple[Image.Image, np.ndarray]:
    gray = pixels[:, :, 1]
    return Image.fromarray(gray.astype(np.uint16) * 257), np.repeat(gray[:, :, None], 3, axis=2)


def _rgba(pixels: np.ndarray) -> tuple[Image.Image, np.ndarray]:
    alpha = np.repeat(np.arange(0, 256, 8, dtype=np.uint8)[None, :, None], 32, axis=0)
    share = alpha / 255.0
    over_white = np.round(pixels * share + 255.0 * (1.0 - share)).astype(np.uint8)
    return Image.fromarray(np.concatenate([pixels, alpha], axis=2)), over_white


def _palette(pixels: np.ndarray) -> tuple[Image.Image, np.ndarray]:
    image = Image.fromarray(pixels).quantize(40)
    colours = np.array(image.getpalette(), np.uint8).reshape(-1, 3)
    return image, colours[np.asarray(image)]


@pytest.mark.parametrize("kind", [_gray, _gray16, _rgba, _palette])
def test_other_kinds_of_picture(
    job: Jobs,
    pair: Watermark,
    tmp_path: Path,
    photographs: list[np.ndarray],
    kind: Callable[[np.ndarray], tuple[Image.Image, np.ndarray]],
) -> None:
    image, rgb = kind(photographs[0][100:132, 200:232])
    image.save(path := tmp_path / "x.png")
    run_embedding(this := job(path), ONE)
    slack = 1.0 if kind is _rgba else 0.0  # Pillow composites in integers
    assert np.abs(_read(this, "x.png") - _expected(pair, rgb)).max() < ROUNDING + slack


def test_the_geometry_comes_before_the_fingerprint(
    job: Jobs, pair: Watermark, tmp_path: Path, photographs: list[np.ndarray]
) -> None:
    original = np.ascontiguousarray(photographs[1][:218, :178])
    Image.fromarray(original).save(path := tmp_path / "x.png")
    run_embedding(square := job(path, output=tmp_path / "s", geometry=Geometry(40)), ONE)
    cut = Image.fromarray(original[20:198]).resize((40, 40), Image.Resampling.BICUBIC)
    assert np.abs(_read(square, "x.png") - _expected(pair, np.array(cut))).max() < ROUNDING
    run_embedding(celeba := job(path, output=tmp_path / "c", geometry=Geometry(celeba=True)), ONE)
    cut = Image.fromarray(original[35:183, 15:163]).resize((128, 128), Image.Resampling.BICUBIC)
    assert np.abs(_read(celeba, "x.png") - _expected(pair, np.array(cut))).max() < ROUNDING


def test_images_too_small_for_the_geometry_are_named(
    job: Jobs, tmp_path: Path, photographs: list[np.ndarray]
) -> None:
    for name, side in (("small", 100), ("wide", 200)):
        (tmp_path / "in").mkdir(exist_ok=True)
        Image.fromarray(photographs[0][:side, :side]).save(tmp_path / f"in/{name}.png")
    done = run_embedding(job(tmp_path / "in", geometry=Geometry(celeba=True)), ONE)
    assert done is not None and done.written == 1
    assert [name for name, _ in done.failed] == ["small.png"]


def test_jpeg_is_near_and_still_read(
    job: Jobs, pair: Watermark, tmp_path: Path, photographs: list[np.ndarray]
) -> None:
    original = np.ascontiguousarray(photographs[3][:200, :300])
    Image.fromarray(original).save(path := tmp_path / "x.png")
    run_embedding(this := job(path, format="jpeg"), ONE)
    image = Image.open(this.output / FINGERPRINTED_FOLDER / "x.jpg")
    assert image.format == "JPEG"
    assert np.abs(np.asarray(image) - _expected(pair, original)).mean() < 4
    assert pair.detect(image, ONE.of_image("")).matches >= 15


def test_orientation_is_applied_and_the_profile_kept(
    job: Jobs, pair: Watermark, tmp_path: Path, photographs: list[np.ndarray]
) -> None:
    original = np.ascontiguousarray(photographs[0][100:150, 200:280])
    exif, profile = Image.Exif(), ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    exif[0x0112] = 6  # to be turned a quarter clockwise
    path = tmp_path / "x.png"
    Image.fromarray(original).save(path, exif=exif, icc_profile=profile.tobytes())
    run_embedding(this := job(path), ONE)
    turned = np.ascontiguousarray(np.rot90(original, -1))
    image = Image.open(this.output / FINGERPRINTED_FOLDER / "x.png")
    assert np.abs(np.asarray(image) - _expected(pair, turned)).max() < ROUNDING
    assert image.info["icc_profile"] == profile.tobytes()
    assert image.getexif().get(0x0112, 1) == 1


@pytest.mark.parametrize("precision", ["64-true", "bf16-true", "bf16-mixed"])
def test_other_precisions_are_near(
    job: Jobs, pair: Watermark, tmp_path: Path, photographs: list[np.ndarray], precision: str
) -> None:
    original = np.ascontiguousarray(photographs[1][:60, :80])
    Image.fromarray(original).save(path := tmp_path / "x.png")
    this = replace(
        job(path), encoder=deepcopy(pair.encoder), trainer=make_trainer(precision=precision)
    )
    run_embedding(this, ONE)
    written = _read(this, "x.png")
    assert np.abs(written - _expected(pair, original)).mean() < 0.7  # rounding alone makes 0.25
    assert pair.detect(Image.fromarray(written), ONE.of_image("")).matches >= 15
