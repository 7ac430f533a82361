"""A set of images is read in one way: what cannot be used is named, the rest comes in order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from artfp.core.errors import UserError
from artfp.core.progress import Progress
from artfp.data.geometry import Geometry
from artfp.data.image_files import ImageError
from artfp.data.reading import (
    Failed,
    UpperLeft,
    batch_images,
    load_images,
    read_images,
    stack_pixels,
)
from artfp.data.sources import ImageSource, open_source
from artfp.data.writing import encode_image


def image(height: int, width: int, level: int = 0) -> np.ndarray:
    pixels = np.full((height, width, 3), level, np.uint8)
    pixels[0, 0] = 255
    return pixels


@pytest.fixture
def source(tmp_path: Path) -> ImageSource:
    for name, pixels in (
        ("a.png", image(4, 6, 1)),
        ("c.png", image(5, 7, 2)),
        ("d.png", image(3, 9, 3)),
    ):
        (tmp_path / name).write_bytes(encode_image(pixels))
    (tmp_path / "b.png").write_bytes(b"none")
    return open_source(tmp_path)


def test_usable_images_in_order_and_the_others_with_reasons(source: ImageSource) -> None:
    failed: Failed = []
    progress = Progress("Reading", len(source))
    seen = []
    for loaded in read_images(source, failed, progress=progress):
        seen.append((loaded.index, loaded.name, loaded.size, progress.done))
        assert loaded.data == source.read(loaded.index)
        assert loaded.pixels.shape == (*loaded.size, 3)
    assert seen == [(0, "a.png", (4, 6), 0), (2, "c.png", (5, 7), 2), (3, "d.png", (3, 9), 3)]
    assert [name for name, _ in failed] == ["b.png"] and progress.done == 4


def test_chosen_images_as_they_are_prepared(source: ImageSource) -> None:
    def prepare(pixels: np.ndarray) -> np.ndarray:
        if pixels.shape[0] == 5:
            raise ImageError("five rows")
        return Geometry(2)(pixels)

    failed: Failed = []
    found = list(read_images(source, failed, [3, 2, 0], prepare))
    assert [(each.name, each.pixels.shape, each.size) for each in found] == [
        ("d.png", (2, 2, 3), (3, 9)),
        ("a.png", (2, 2, 3), (4, 6)),
    ]
    assert failed == [("c.png", "five rows")]


@pytest.mark.parametrize(
    ("cut", "used"),
    [
        (UpperLeft(), ["a.png", "c.png"]),
        (UpperLeft((3, 6)), ["a.png", "c.png", "d.png"]),
        (UpperLeft(exact=True), ["a.png"]),
        (UpperLeft((5, 7), exact=True), ["c.png"]),
    ],
)
def test_upper_left(source: ImageSource, cut: UpperLeft, used: list[str]) -> None:
    failed: Failed = []
    found = list(read_images(source, failed, prepare=cut))
    assert [each.name for each in found] == used
    for each in found:
        assert each.pixels.shape[:2] == cut.size and (each.pixels[0, 0] == 255).all()
    relation = "not" if cut.exact else "is smaller than"
    assert ("d.png" in used) or dict(failed)["d.png"].startswith(f"9x3 {relation} ")


def shapes(batches: list[list[np.ndarray]]) -> list[list[tuple[int, ...]]]:
    return [[each.shape[:2] for each in batch] for batch in batches]


def test_batches_of_one_shape() -> None:
    images = [image(4, 4, 1), image(2, 2, 1), image(4, 4, 2), image(4, 4, 3), image(2, 2, 2)]
    found = list(batch_images(images, most=2))
    assert shapes(found) == [[(4, 4)] * 2, [(2, 2)] * 2, [(4, 4)]]
    assert [int(each[-1, -1, 0]) for batch in found for each in batch] == [1, 2, 1, 2, 3]
    assert shapes(list(batch_images(images[2:4], pixels=31))) == [[(4, 4)], [(4, 4)]]
    assert next(batch_images([image(9, 9)], pixels=1))[0].shape == (9, 9, 3)


def test_what_waits_is_bounded() -> None:
    images = [image(4, width) for width in range(1, 40)]
    passed = 0
    for number, batch in enumerate(batch_images(iter(images), pixels=40)):
        passed += len(batch)
        assert number < len(images)
    assert passed == len(images)


def test_images_as_one_tensor(source: ImageSource) -> None:
    pixels, failed = load_images(source, Geometry(2), 3)
    assert pixels.shape == (2, 3, 2, 2) and [name for name, _ in failed] == ["b.png"]
    with pytest.raises(UserError, match="images of 2 sizes; give --image_resolution"):
        load_images(source, Geometry(), 3)


def test_no_image_can_be_read(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(UserError, match="no image can be read \\(the file is empty"):
        load_images(open_source(tmp_path), Geometry(), 5)


def test_stacked_channels_first() -> None:
    found = stack_pixels([image(2, 3, 5), image(2, 3, 6)])
    assert found.shape == (2, 3, 2, 3) and found.is_contiguous()
    assert found[:, :, 1, 1].tolist() == [[5] * 3, [6] * 3]


def test_transparent_images_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name, alpha in (("a", 255), ("b", 100), ("c", 0)):
        Image.new("RGBA", (8, 8), (9, 9, 9, alpha)).save(tmp_path / f"{name}.png")
    assert len(list(read_images(open_source(tmp_path), []))) == 3
    assert caplog.messages == ["2 transparent images composited over white"]


def test_orientation_may_be_left_out(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (6, 4)).save(tmp_path / "a.png", exif=exif)
    source = open_source(tmp_path)
    assert [image.size for image in read_images(source, [])] == [(6, 4)]
    assert [image.size for image in read_images(source, [], orientation=False)] == [(4, 6)]
