"""Pixels that were JPEG once."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from artfp.passive.fitting.jpeg_traces import _tables, comb_statistic, was_jpeg


def picture(seed: int, side: int = 64, kind: str = "texture") -> np.ndarray:
    """A picture (side, side, 3) that never was JPEG."""
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((side, side, 3))
    if kind == "noise":
        return rng.integers(0, 256, (side, side, 3), np.uint8)
    if kind == "walk":
        whole = 128 + 2 * np.cumsum(np.cumsum(noise, 0), 1)
    elif kind == "upsampled":  # as generators do, with a period of 8 pixels
        small = ndimage.gaussian_filter(noise[: side // 8, : side // 8], (1, 1, 0))
        whole = 128 + 400 * small.repeat(8, 0).repeat(8, 1) + 3 * noise
    elif kind == "nearest":
        whole = 128 + 60 * noise[: side // 8, : side // 8].repeat(8, 0).repeat(8, 1)
    else:
        whole = 128 + 300 * ndimage.gaussian_filter(noise, (2, 2, 0)) + 4 * noise[..., :1]
    found: np.ndarray = whole.round().clip(0, 255).astype(np.uint8)
    return found


def through_jpeg(pixels: np.ndarray, quality: int, subsampling: int = 2) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality, subsampling=subsampling)
    return np.array(Image.open(buffer))


@pytest.mark.parametrize("quality", [50, 75, 85, 90, 95])
def test_found_at_usual_qualities(quality: int) -> None:
    for seed in range(10):
        assert was_jpeg(through_jpeg(picture(seed), quality))
        assert was_jpeg(through_jpeg(picture(seed, 32), quality, 0))
        gray = through_jpeg(picture(seed)[..., 0], quality, 0)
        assert was_jpeg(gray) and was_jpeg(np.stack([gray] * 3, -1))


@pytest.mark.parametrize("kind", ["noise", "walk", "upsampled", "nearest", "texture"])
def test_no_false_alarm(kind: str) -> None:
    """None in 100 pictures of each kind and size; the largest is far from the threshold."""
    for side in (32, 128):
        assert max(comb_statistic(picture(seed, side, kind)) for seed in range(100)) < 5.0


def test_what_it_cannot_see() -> None:
    """Resized, cut off the grid, of a quality near 100, or without texture; as its text says."""
    coded = through_jpeg(picture(0, 128), 80)
    assert was_jpeg(coded) and was_jpeg(coded[16:80, 8:])
    for side in (96, 160):
        assert not was_jpeg(np.array(Image.fromarray(coded).resize((side, side))))
    assert not was_jpeg(coded[3:, 5:])
    assert not was_jpeg(through_jpeg(picture(0, 128), 100))
    assert (
        comb_statistic(np.full((64, 64, 3), 90, np.uint8)) == comb_statistic(coded[:7, :7]) == 0.0
    )


def test_tables_are_those_that_pillow_writes() -> None:
    written = []
    for quality in range(30, 97):
        buffer = io.BytesIO()
        Image.new("L", (8, 8)).save(buffer, "JPEG", quality=quality)
        with Image.open(buffer) as image:
            written.append(image.quantization[0][1:])  # type: ignore[attr-defined]
    np.testing.assert_array_equal(np.array(_tables()), np.array(written))
