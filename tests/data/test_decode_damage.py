from __future__ import annotations

import contextlib
import io
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image
from skimage import data as samples

from artfp.core.errors import UserError
from artfp.data import decode, image_files
from artfp.data.decode import decode_image
from artfp.data.image_files import ImageError


def encoded(image: Image.Image, format: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format)
    return buffer.getvalue()


def gray_png(width: int, height: int, pixels: bytes) -> bytes:
    """Write a PNG header of any size by hand, with one row or less behind it."""
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)),
        (b"IDAT", zlib.compress(b"\0" + pixels)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"hello, this is no image at all", "not a readable"),
        (b"\x89PNG\r\n\x1a\n", "not a readable|damaged"),
        (b"GIF89a" + bytes(100), "not a readable"),
        (b"BM" + bytes(60), "not a readable|damaged|no pixels"),
        (b"II*\0" + bytes(30), "not a readable|damaged"),
    ],
)
def test_not_an_image(data: bytes, reason: str) -> None:
    with pytest.raises(ImageError, match=reason):
        decode_image(data)


FORMATS = ["PNG", "JPEG", "WEBP", "BMP", "TIFF", *(["AVIF"] if image_files._AVIF else [])]


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("part", [0.02, 0.3, 0.6, 0.95])
def test_truncated(format: str, part: float) -> None:
    data = encoded(Image.fromarray(samples.coffee()[:80, :80]), format)
    with pytest.raises(ImageError) as caught:
        decode_image(data[: int(len(data) * part)])
    assert "\n" not in str(caught.value) and "0x" not in str(caught.value)


def test_bytes_changed_at_random_never_escape(rng: np.random.Generator) -> None:
    for format in FORMATS:
        data = encoded(Image.fromarray(samples.coffee()[:24, :24]), format)
        for _ in range(60):
            broken = bytearray(data)
            for where in rng.integers(0, len(data), 5):
                broken[where] = rng.integers(0, 256)
            with contextlib.suppress(ImageError):
                assert decode_image(bytes(broken), max_pixels=10**6).pixels.dtype == np.uint8


def test_bomb_is_refused_from_its_header() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ImageError, match="pixels"):
            decode_image(gray_png(60000, 60000, b""))
        # Above the size at which Pillow warns, below that at which it refuses.
        with pytest.raises(ImageError, match="9500x10000 is 95000000 pixels"):
            decode_image(gray_png(9500, 10000, b""), max_pixels=90_000_000)
        assert decode_image(gray_png(4, 1, b"abcd"), max_pixels=4).pixels.shape == (1, 4, 3)
        with pytest.raises(ImageError, match="limit of 3"):
            decode_image(gray_png(4, 1, b"abcd"), max_pixels=3)


def test_too_many_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_files, "MAX_BYTES", 20)
    with pytest.raises(ImageError, match="limit of 20"):
        decode_image(encoded(Image.new("RGB", (4, 4))))


def test_pillow_is_left_as_it_was() -> None:
    before = Image.MAX_IMAGE_PIXELS, list(warnings.filters)
    decode_image(encoded(Image.new("RGB", (4, 4))))
    assert (Image.MAX_IMAGE_PIXELS, list(warnings.filters)) == before


def jpeg_with_scans(scans: int) -> bytes:
    """Write a progressive JPEG with its last scan many times."""
    image = io.BytesIO()
    Image.fromarray(samples.camera()[:32, :32]).save(image, "JPEG", progressive=True)
    data = image.getvalue()
    last = data.rindex(b"\xff\xda")
    return data[:last] + (data[last:-2]) * scans + data[-2:]


def test_scans_of_a_jpeg_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    assert decode_image(jpeg_with_scans(20)).pixels.shape == (32, 32, 3)
    with pytest.raises(ImageError, match="more than 100 scans"):
        decode_image(jpeg_with_scans(9000))
    monkeypatch.setattr(image_files, "_SCANNED_PIXELS", 32 * 32 * 15)
    with pytest.raises(ImageError, match="more than 15 scans"):
        decode_image(jpeg_with_scans(20))


def test_scans_are_counted_in_the_image_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    buffer = io.BytesIO()
    image = Image.fromarray(samples.camera()[:32, :32])
    image.save(buffer, "JPEG", comment=b"\xff\xda" * 300)
    assert decode_image(buffer.getvalue() + b"\xff\xda" * 300).pixels.shape == (32, 32, 3)


@pytest.mark.parametrize(
    "body",
    [
        b"VP8X" + struct.pack("<I", 10) + bytes(4) + b"\xff\x3f\0\xff\x3f\0",
        b"VP8L" + struct.pack("<I", 10) + b"\x2f\xff\xff\xff\x0f" + bytes(5),
        b"VP8 " + struct.pack("<I", 10) + bytes(3) + b"\x9d\x01\x2a\xff\x3f\xff\x3f",
    ],
)
def test_canvas_of_a_webp_is_bounded_before_it_is_allocated(
    body: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def opened(*arguments: object, **options: object) -> None:
        raise AssertionError("opened by Pillow")

    monkeypatch.setattr(Image, "open", opened)
    with pytest.raises(ImageError, match=r"1638[34]x1638[34] is"):
        decode_image(b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body)


def test_webp_canvas_is_that_of_the_picture() -> None:
    image = Image.fromarray(samples.coffee()[:24, :40])
    frames: list[dict[str, object]] = [
        {},
        {"lossless": True},
        {"save_all": True, "append_images": [image.rotate(180)]},
        {"exif": b"Exif\0\0II*\0"},
    ]
    for options in frames:
        buffer = io.BytesIO()
        image.save(buffer, "WEBP", **options)
        assert image_files._webp_canvas(buffer.getvalue()) == (40, 24), options


def test_long_sides_are_refused() -> None:
    with pytest.raises(ImageError, match="1x70000000 has a side over the limit of 65535"):
        decode_image(gray_png(1, 70_000_000, b"a"))


def test_postscript_is_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    data = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n"
    with pytest.raises(ImageError, match="not a readable"):
        decode.image_size(data)


def test_any_error_of_one_image_is_its_own() -> None:
    for error in (MemoryError(), struct.error("x"), OverflowError("side"), AttributeError()):
        with pytest.raises(ImageError) as caught, image_files.image_errors():
            raise error
        assert "\n" not in str(caught.value)
    with pytest.raises(UserError), image_files.image_errors():
        raise UserError("a setting")
