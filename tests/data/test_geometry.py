from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from skimage import data as samples

from artfp.core.errors import UserError
from artfp.data.geometry import Geometry, resize
from artfp.data.image_files import ImageError


def test_unchanged_by_default() -> None:
    pixels = samples.astronaut()
    assert Geometry()(pixels) is pixels
    assert Geometry().describe() == "unchanged"


@pytest.mark.parametrize(("height", "width"), [(218, 178), (148, 148), (149, 301)])
def test_celeba_crop(height: int, width: int) -> None:
    pixels = samples.astronaut()[:height, :width]
    top, left = (height - 148) // 2, (width - 148) // 2
    crop = pixels[top : top + 148, left : left + 148]
    np.testing.assert_array_equal(Geometry(148, celeba=True)(pixels), crop)
    resized = np.asarray(Image.fromarray(crop).resize((128, 128), Image.Resampling.BICUBIC))
    np.testing.assert_array_equal(Geometry(celeba=True)(pixels), resized)
    assert Geometry(64, celeba=True)(pixels).shape == (64, 64, 3)


def test_too_small_for_celeba() -> None:
    with pytest.raises(ImageError, match="200x147 is too small"):
        Geometry(celeba=True)(np.zeros((147, 200, 3), np.uint8))


@pytest.mark.parametrize(("height", "width"), [(7, 4), (4, 7), (5, 5), (512, 300)])
def test_square_crop_is_centred(height: int, width: int) -> None:
    pixels = samples.astronaut()[:height, :width]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    cropped = Geometry(side)(pixels)
    np.testing.assert_array_equal(cropped, pixels[top : top + side, left : left + side])
    assert Geometry(32)(pixels).shape == (32, 32, 3)


def test_resize_is_antialiased() -> None:
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    small = Geometry(16)(stripes)[2:-2, 2:-2]
    assert np.abs(small.astype(int) - 127).max() < 12  # without a filter: all 0 or all 255


def test_fit() -> None:
    pixels = samples.coffee()
    assert resize(pixels, pixels.shape[:2]) is pixels
    assert resize(pixels, (30, 50)).shape == (30, 50, 3)
    assert resize(pixels[::2, ::-1], (30, 50)).dtype == np.uint8


def test_bad_resolution() -> None:
    with pytest.raises(UserError, match="resolution is 0"):
        Geometry(0)


def test_describe_tells_them_apart() -> None:
    all_of_them = [Geometry(), Geometry(64), Geometry(celeba=True), Geometry(64, celeba=True)]
    assert len({geometry.describe() for geometry in all_of_them}) == 4
