from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import ImageCms
from skimage import data as samples

from artfp.core.errors import UserError
from artfp.data.decode import decode_image
from artfp.data.image_files import ImageError
from artfp.data.sources import open_source
from artfp.data.writing import FORMATS, encode_image, pack_zip, suffix_of

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@pytest.mark.parametrize("format", FORMATS)
def test_formats_keep_what_they_promise(format: str) -> None:
    pixels = samples.coffee()[:50, :70]
    picture = decode_image(encode_image(pixels, format, SRGB))
    if FORMATS[format].lossless:
        np.testing.assert_array_equal(picture.pixels, pixels)
    else:
        assert 0 < np.abs(picture.pixels.astype(int) - pixels).mean() < 3
    assert picture.icc_profile == (SRGB if FORMATS[format].keeps_icc else None)
    assert decode_image(encode_image(pixels, format)).icc_profile is None


def test_encoding_takes_any_memory_layout() -> None:
    pixels = samples.coffee()[:51:2, 60:3:-2]
    np.testing.assert_array_equal(decode_image(encode_image(pixels, "png")).pixels, pixels)


def test_unknown_format_and_too_large() -> None:
    assert suffix_of("jpeg") == ".jpg"
    with pytest.raises(UserError, match="'gif'; choose one of png"):
        suffix_of("gif")
    with pytest.raises(ImageError, match="17000x1 cannot be written as webp"):
        encode_image(np.zeros((1, 17000, 3), np.uint8), "webp")


def test_pack_zip_is_stored_and_deterministic(picture_folder: Path, tmp_path: Path) -> None:
    names = ["3.png", "0.png"]
    labels = {"labels": [["0.png", 1], ["3.png", 0], ["5.png", 7]]}
    pack_zip(picture_folder, names, tmp_path / "one.zip", labels)
    os.utime(picture_folder / "0.png", (1, 1))
    pack_zip(picture_folder, names, tmp_path / "two.zip", labels)
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "one.zip") as archive:
        assert all(m.compress_type == zipfile.ZIP_STORED for m in archive.infolist())
        assert archive.read("3.png") == (picture_folder / "3.png").read_bytes()
        assert json.loads(archive.read("dataset.json")) == {"labels": [["0.png", 1], ["3.png", 0]]}
    source = open_source(tmp_path / "one.zip")
    assert source.names == ["0.png", "3.png"]
    pack_zip(picture_folder, names, tmp_path / "bare.zip", None)
    with zipfile.ZipFile(tmp_path / "bare.zip") as archive:
        assert archive.namelist() == names


def test_pack_zip_takes_names_that_are_not_utf8(
    bytes_path: Path, picture_bytes: Callable[..., bytes]
) -> None:
    bytes_path.write_bytes(picture_bytes())
    destination = bytes_path.parent / "out.zip"
    labels = {"labels": [[bytes_path.name, 4]]}
    pack_zip(bytes_path.parent, [bytes_path.name], destination, labels)
    source = open_source(destination)
    assert source.names == ["odd-%FF%FE.png"]
    assert source.dataset_json == {"labels": [["odd-%FF%FE.png", 4]]}


def test_pack_zip_without_a_file_leaves_nothing(picture_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"No such file.*missing\.png"):
        pack_zip(picture_folder, ["0.png", "missing.png"], tmp_path / "out.zip", None)
    assert os.listdir(tmp_path) == ["pictures"]
