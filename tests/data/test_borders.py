"""Borders, frames and the pictures of collages are found, and only where there are some."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageOps

from artfp.data.borders import MAX_PICTURES, find_pictures


def picture(height: int = 60, width: int = 90, seed: int = 1) -> np.ndarray:
    noise = np.random.default_rng(seed).integers(0, 256, (height // 4, width // 4, 3), np.uint8)
    return np.array(Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC))


@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (240, 240, 240), (20, 90, 160)])
def test_a_frame_is_found_to_the_pixel(colour: tuple[int, int, int]) -> None:
    framed = np.array(ImageOps.expand(Image.fromarray(picture()), (3, 7, 11, 2), colour))
    assert (7, 67, 3, 93) in find_pictures(framed)


def test_a_letterbox_and_a_screenshot() -> None:
    for size, at in (((90, 90), (0, 15)), ((140, 120), (14, 9))):
        canvas = Image.new("RGB", size, (240, 240, 240))
        canvas.paste(Image.fromarray(picture()), at)
        assert (at[1], at[1] + 60, at[0], at[0] + 90) in find_pictures(np.array(canvas))


def test_two_colours_of_border() -> None:
    framed = ImageOps.expand(ImageOps.expand(Image.fromarray(picture()), 5, "white"), 9, "black")
    assert (14, 74, 14, 104) in find_pictures(np.array(framed))


@pytest.mark.parametrize("quality", [90, 60])
def test_jpeg_leaves_ripples(quality: int) -> None:
    framed = ImageOps.expand(Image.fromarray(picture(120, 180)), 16, "black")
    framed.save(file := io.BytesIO(), "JPEG", quality=quality)
    boxes = find_pictures(np.array(Image.open(file)))
    assert (
        min(max(abs(a - b) for a, b in zip(box, (16, 136, 16, 196), strict=True)) for box in boxes)
        <= 1
    )


def test_no_border_no_box() -> None:
    assert find_pictures(picture()) == []
    assert find_pictures(np.full((50, 50, 3), 7, np.uint8)) == []
    assert find_pictures(np.zeros((1, 1, 3), np.uint8)) == []
    tiny = np.array(ImageOps.expand(Image.fromarray(picture(20, 20)), 5, "black"))
    assert find_pictures(tiny) == []


@pytest.mark.parametrize("quality", [None, 85])
def test_two_pictures_side_by_side(quality: int | None) -> None:
    one, other = picture(96, 96, seed=1), picture(96, 128, seed=2)
    for axis, expected in ((1, (0, 96, 0, 96)), (0, (0, 96, 0, 96))):
        second = other if axis == 1 else other.swapaxes(0, 1)
        collage = Image.fromarray(np.concatenate([one, second], axis=axis))
        if quality:
            collage.save(file := io.BytesIO(), "JPEG", quality=quality)
            collage = Image.open(file)
        assert expected in find_pictures(np.array(collage))


@pytest.mark.parametrize("quality", [None, 85])
@pytest.mark.parametrize("gap", [0, 3, 16, 30])
@pytest.mark.parametrize(("rows", "columns"), [(1, 2), (1, 3), (3, 1), (2, 2)])
def test_the_pictures_of_a_collage(rows: int, columns: int, gap: int, quality: int | None) -> None:
    height, width = 96, 128
    canvas = Image.new(
        "RGB", (columns * (width + gap) - gap, rows * (height + gap) - gap), (250, 250, 250)
    )
    expected = []
    for number in range(rows * columns):
        top, left = number // columns * (height + gap), number % columns * (width + gap)
        canvas.paste(Image.fromarray(picture(height, width, seed=number + 1)), (left, top))
        expected.append((top, top + height, left, left + width))
    found = find_pictures(_saved(canvas, quality))
    assert len(found) <= MAX_PICTURES
    for box in expected:
        assert min(np.abs(np.subtract(box, other)).max() for other in found) <= 2


@pytest.mark.parametrize("quality", [None, 85])
def test_a_smooth_frame(quality: int | None) -> None:
    row, column = np.mgrid[:200, :260]
    frame = np.stack([row, column // 2, 255 - row], axis=2).astype(np.uint8)
    frame[50:146, 66:194] = picture(96, 128)
    boxes = find_pictures(_saved(Image.fromarray(frame), quality))
    assert min(np.abs(np.subtract(box, (50, 146, 66, 194))).max() for box in boxes) <= 1


def _saved(image: Image.Image, quality: int | None) -> np.ndarray:
    if quality is not None:
        image.save(file := io.BytesIO(), "JPEG", quality=quality)
        image = Image.open(file)
    return np.array(image)
