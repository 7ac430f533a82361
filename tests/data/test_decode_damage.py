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

from artfp.data import decode
from artfp.data.decode import ImageError, decode_image


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


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "BMP", "TIFF"])
@pytest.mark.parametrize("part", [0.02, 0.3, 0.6, 0.95])
def test_truncated(format: str, part: float) -> None:
    data = encoded(Image.fromarray(samples.coffee()[:80, :80]), format)
    with pytest.raises(ImageError) as caught:
        decode_image(data[: int(len(data) * part)])
    assert "\n" not in str(caught.value) and "0x" not in str(caught.value)


def test_bytes_changed_at_random_never_escape(rng: np.random.Generator) -> None:
    for format in ("PNG", "JPEG", "WEBP", "BMP", "TIFF"):
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
    monkeypatch.setattr(decode, "MAX_BYTES", 20)
    with pytest.raises(ImageError, match="limit of 20"):
        decode_image(encoded(Image.new("RGB", (4, 4))))


def test_pillow_is_left_as_it_was() -> None:
    before = Image.MAX_IMAGE_PIXELS, list(warnings.filters)
    decode_image(encoded(Image.new("RGB", (4, 4))))
    assert (Image.MAX_IMAGE_PIXELS, list(warnings.filters)) == before
