from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms, PngImagePlugin, TiffImagePlugin
from skimage import data as samples

from artfp.data import decode, image_files
from artfp.data.decode import decode_image, image_size
from artfp.data.image_files import ImageError, image_format

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def encoded(image: Image.Image, format: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(
    width: int, height: int, depth: int, colour: int, rows: list[bytes], extra: bytes = b""
) -> bytes:
    """Write a PNG by hand, independently of Pillow."""
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
        + extra
        + chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows)))
        + chunk(b"IEND", b"")
    )


def png16(levels: np.ndarray, colour: int, extra: bytes = b"") -> bytes:
    height, width = levels.shape[:2]
    return png(width, height, 16, colour, [row.astype(">u2").tobytes() for row in levels], extra)


def tiff(levels: np.ndarray, **options: Any) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, levels, **options)
    return buffer.getvalue()


def gray(levels: np.ndarray) -> np.ndarray:
    return np.stack([levels.astype(np.uint8)] * 3, axis=-1)


def over_white(colour: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    a = alpha.astype(np.float64)[..., None] / 255
    return colour.astype(np.float64) * a + 255 * (1 - a)


@pytest.mark.parametrize("format", ["PNG", "BMP", "TIFF", "WEBP"])
def test_lossless_rgb_comes_back_exactly(format: str) -> None:
    pixels = samples.astronaut()[:70, :50]
    options = {"lossless": True} if format == "WEBP" else {}
    picture = decode_image(encoded(Image.fromarray(pixels), format, **options))
    np.testing.assert_array_equal(picture.pixels, pixels)
    assert picture.pixels.dtype == np.uint8
    assert picture.pixels.flags.c_contiguous and picture.pixels.flags.writeable


def test_jpeg_is_close_to_the_original() -> None:
    pixels = samples.coffee()[:64, :96]
    picture = decode_image(encoded(Image.fromarray(pixels), "JPEG", quality=98, subsampling=0))
    assert np.abs(picture.pixels.astype(int) - pixels).mean() < 2


# Where the value for orientation o at (row, column) of the upright image lies in the stored one.
UPRIGHT: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: np.rot90(a, 1),
}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["PNG", "TIFF", "WEBP", "JPEG"])
def test_exif_orientation(orientation: int, format: str) -> None:
    blocks = np.array([[0, 80, 160], [40, 120, 240]], np.uint8)
    stored = gray(np.kron(blocks, np.ones((8, 8), np.uint8)))
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if format == "WEBP" else {}
    data = encoded(Image.fromarray(stored), format, exif=exif.tobytes(), **options)
    decoded = decode_image(data).pixels
    expected = UPRIGHT[orientation](stored)
    assert decoded.shape == expected.shape
    assert np.abs(decoded.astype(int) - expected).max() <= (3 if format == "JPEG" else 0)


def test_orientation_turns_16_bit_gray(rng: np.random.Generator) -> None:
    levels = rng.integers(0, 65536, (3, 5), np.uint16)
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(Image.fromarray(levels), "PNG", exif=exif.tobytes())
    np.testing.assert_array_equal(
        decode_image(data).pixels, gray(np.rot90(np.round(levels / 257), -1))
    )


@pytest.mark.parametrize("block", [b"", b"Exif\0\0", b"Exif\0\0MM\0*\xff\xff\xff\xff", b"x" * 40])
def test_broken_exif_is_no_orientation(block: bytes) -> None:
    pixels = samples.astronaut()[:9, :7]
    data = png(7, 9, 8, 2, [row.tobytes() for row in pixels], chunk(b"eXIf", block))
    np.testing.assert_array_equal(decode_image(data).pixels, pixels)


def odd_exif(tag: int, value: bytes, kind: int, count: int) -> bytes:
    """Return an EXIF block with orientation 6 and one value of an odd type."""
    entries = sorted([(0x0112, 3, 1, struct.pack("<HH", 6, 0)), (tag, kind, count, value)])
    packed = b"".join(struct.pack("<HHI", *entry[:3]) + entry[3] for entry in entries)
    return b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", 2) + packed + bytes(4)


ODD = [
    (0x0103, struct.pack("<f", 6.0), 11, 1),  # compression as a float
    (0x0128, b"2\0\0\0", 2, 2),  # resolution unit as text
    (0x011A, b"72\0\0", 2, 3),  # resolution as text
    (0xA002, struct.pack("<i", -72), 9, 1),  # a negative width
    (0x8769, struct.pack("<I", 4), 4, 1),  # a directory that is none
    (0x8825, b"x\0\0\0", 2, 2),  # the place of a directory as text
]


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
def test_odd_exif_values_do_not_keep_an_image_from_being_read(
    odd: tuple[int, bytes, int, int], format: str
) -> None:
    stored = Image.fromarray(samples.coffee()[:32, :48])
    data = encoded(stored, format, exif=odd_exif(*odd))
    assert decode_image(data).pixels.shape == (48, 32, 3)
    assert image_size(data) == (48, 32)
    assert image_size(data, orientation=False) == (32, 48)


@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
def test_odd_exif_values_in_a_tiff(compression: str | None) -> None:
    info = TiffImagePlugin.ImageFileDirectory_v2()
    info[0x0112] = 6
    if compression is None:
        info[0x8769] = {0x9003: "yesterday", 0xA002: 2**31}
    stored = samples.coffee()[:32, :48]
    data = encoded(Image.fromarray(stored), "TIFF", tiffinfo=info, compression=compression)
    np.testing.assert_array_equal(decode_image(data).pixels, np.rot90(stored, -1))
    raw = decode_image(data, orientation=False).pixels
    np.testing.assert_array_equal(raw, stored)
    assert image_size(data) == (48, 32) and image_size(data, orientation=False) == (32, 48)


@pytest.mark.parametrize("format", ["PNG", "TIFF", "WEBP"])
def test_frame_of_the_sensor(format: str) -> None:
    stored = samples.coffee()[:32, :48]
    exif = Image.Exif()
    exif[0x0112] = 8
    options = {"lossless": True} if format == "WEBP" else {}
    data = encoded(Image.fromarray(stored), format, exif=exif.tobytes(), **options)
    np.testing.assert_array_equal(decode_image(data, orientation=False).pixels, stored)


def test_one_bit_and_gray(rng: np.random.Generator) -> None:
    bits = rng.integers(0, 2, (6, 9)).astype(bool)
    for format in ("PNG", "TIFF", "BMP"):
        decoded = decode_image(encoded(Image.fromarray(bits), format)).pixels
        np.testing.assert_array_equal(decoded, gray(bits * 255))
    levels = rng.integers(0, 256, (6, 9), np.uint8)
    for format in ("PNG", "TIFF", "BMP"):
        decoded = decode_image(encoded(Image.fromarray(levels), format)).pixels
        np.testing.assert_array_equal(decoded, gray(levels))


def test_alpha_is_composited_over_white(rng: np.random.Generator) -> None:
    rgba = rng.integers(0, 256, (16, 16, 4), np.uint8)
    expected = over_white(rgba[..., :3], rgba[..., 3])
    for format in ("PNG", "TIFF"):
        decoded = decode_image(encoded(Image.fromarray(rgba, "RGBA"), format)).pixels
        assert np.abs(decoded - expected).max() <= 0.51
    la = rng.integers(0, 256, (16, 16, 2), np.uint8)
    decoded = decode_image(encoded(Image.fromarray(la, "LA"))).pixels
    assert np.abs(decoded - over_white(gray(la[..., 0]), la[..., 1])).max() <= 0.51


def test_opaque_alpha_changes_nothing() -> None:
    pixels = samples.astronaut()[:20, :20]
    rgba = np.dstack([pixels, np.full((20, 20), 255, np.uint8)])
    np.testing.assert_array_equal(
        decode_image(encoded(Image.fromarray(rgba, "RGBA"))).pixels, pixels
    )


def test_palette_with_and_without_transparency(rng: np.random.Generator) -> None:
    colours = rng.integers(0, 256, (4, 3), np.uint8)
    alphas = np.array([0, 90, 255, 200], np.uint8)
    indices = rng.integers(0, 4, (8, 8), np.uint8)
    rows = [row.tobytes() for row in indices]
    palette = chunk(b"PLTE", colours.tobytes())
    plain = decode_image(png(8, 8, 8, 3, rows, palette)).pixels
    np.testing.assert_array_equal(plain, colours[indices])
    seen = decode_image(png(8, 8, 8, 3, rows, palette + chunk(b"tRNS", alphas.tobytes()))).pixels
    assert np.abs(seen - over_white(colours[indices], alphas[indices])).max() <= 0.51


def test_transparent_colour_becomes_white() -> None:
    levels = np.array([[10, 20], [30, 10]], np.uint8)
    key = chunk(b"tRNS", struct.pack(">H", 10))
    decoded = decode_image(png(2, 2, 8, 0, [row.tobytes() for row in levels], key)).pixels
    np.testing.assert_array_equal(decoded[..., 0], [[255, 20], [30, 255]])
    deep = np.array([[10, 2000], [30000, 10]], np.uint16)
    decoded = decode_image(png16(deep, 0, key)).pixels
    np.testing.assert_array_equal(decoded[..., 0], [[255, 8], [117, 255]])
    with pytest.raises(ImageError, match="transparent colour"):
        decode_image(png16(np.zeros((2, 2, 3), np.uint16), 2, chunk(b"tRNS", bytes(6))))


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr", "LAB"])
def test_other_colour_spaces_keep_the_colours(mode: str) -> None:
    colours = np.array([[[255, 255, 255], [0, 0, 0]], [[200, 40, 30], [30, 60, 180]]], np.uint8)
    rgb = Image.fromarray(np.kron(colours, np.ones((8, 8, 1), np.uint8)))
    if mode == "LAB":
        srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        converted = ImageCms.profileToProfile(rgb, srgb, lab, outputMode="LAB")
        assert converted is not None
    else:
        converted = rgb.convert(mode)
    decoded = decode_image(encoded(converted, "TIFF")).pixels.astype(int)
    assert np.abs(decoded - np.asarray(rgb)).max() <= 6


def test_cmyk_jpeg_keeps_the_colours() -> None:
    rgb = Image.new("RGB", (16, 16), (200, 40, 30))
    decoded = decode_image(encoded(rgb.convert("CMYK"), "JPEG", quality=98)).pixels.astype(int)
    assert np.abs(decoded - np.array([200, 40, 30])).max() <= 4


def test_16_bit_gray_against_the_formula(rng: np.random.Generator) -> None:
    levels = rng.integers(0, 65536, (40, 30), np.uint16)
    levels[0, :3] = 0, 65535, 128
    expected = gray(np.floor(levels.astype(np.float64) / 257 + 0.5))
    np.testing.assert_array_equal(decode_image(png16(levels[..., None], 0)).pixels, expected)
    for order in "<>":
        for compression in (None, "zlib"):
            data = tiff(levels, photometric="minisblack", byteorder=order, compression=compression)
            np.testing.assert_array_equal(decode_image(data).pixels, expected)
    inverted = tiff(65535 - levels, photometric="miniswhite")
    np.testing.assert_array_equal(decode_image(inverted).pixels, expected)


def test_16_bit_colour_is_within_one_level(rng: np.random.Generator) -> None:
    levels = rng.integers(0, 65536, (9, 7, 3), np.uint16)
    for data in (
        png16(levels, 2),
        tiff(levels, photometric="rgb"),
        tiff(levels, photometric="rgb", byteorder=">"),
        tiff(levels, photometric="rgb", compression="zlib"),
    ):
        assert np.abs(decode_image(data).pixels - levels / 257.0).max() <= 1
    deep = rng.integers(0, 65536, (9, 7, 2), np.uint16)
    expected = over_white(gray(deep[..., 0] >> 8), deep[..., 1] >> 8)
    assert np.abs(decode_image(png16(deep, 4)).pixels - expected).max() <= 0.51


def test_12_bit_tiff_is_scaled_by_its_own_white() -> None:
    body = bytes.fromhex("fff000800fff")  # 4095, 0, 2048, 4095
    entries = [
        (256, 3, 1, 4), (257, 3, 1, 1), (258, 3, 1, 12), (259, 3, 1, 1),
        (262, 3, 1, 1), (273, 4, 1, 8), (277, 3, 1, 1), (278, 3, 1, 1), (279, 4, 1, 6),
    ]  # fmt: skip
    packed = b"".join(
        struct.pack("<HHI", tag, kind, n)
        + struct.pack("<HH" if kind == 3 else "<I", v, *[0][: kind == 3])
        for tag, kind, n, v in entries
    )
    data = (
        b"II*\0"
        + struct.pack("<I", 14)
        + body
        + struct.pack("<H", len(entries))
        + packed
        + bytes(4)
    )
    np.testing.assert_array_equal(decode_image(data).pixels[0, :, 0], [255, 0, 128, 255])


def test_what_has_no_8_bit_rendering_is_refused() -> None:
    for levels, reason in (
        (np.full((4, 4), 0.5, np.float32), "floating-point"),
        (np.full((4, 4), 70000, np.int32), "from 70000 to 70000"),
        (np.full((4, 4), -1, np.int32), "from -1 to -1"),
        (np.full((4, 4), -5, np.int8), "signed 8-bit"),
    ):
        with pytest.raises(ImageError, match=reason):
            decode_image(tiff(levels, photometric="minisblack"))
    planes = np.zeros((3, 4, 4), np.uint16)
    with pytest.raises(ImageError, match="separate colour planes"):
        decode_image(tiff(planes, photometric="rgb", planarconfig="separate"))
    in_range = tiff(np.full((4, 4), 25700, np.int32), photometric="minisblack")
    assert (decode_image(in_range).pixels == 100).all()


def test_first_frame_is_taken() -> None:
    frames = [Image.new("RGB", (5, 4), (shade, 0, 0)) for shade in (10, 200)]
    for format, options in (("TIFF", {}), ("WEBP", {"lossless": True}), ("PNG", {}), ("MPO", {})):
        data = encoded(frames[0], format, save_all=True, append_images=frames[1:], **options)
        assert (abs(decode_image(data).pixels[..., 0].astype(int) - 10) <= 2).all(), format


def test_icc_profile_is_kept_where_it_still_holds() -> None:
    rgb = Image.new("RGB", (8, 8), (9, 99, 199))
    assert decode_image(encoded(rgb, icc_profile=SRGB)).icc_profile == SRGB
    assert decode_image(encoded(rgb.convert("P"), icc_profile=SRGB)).icc_profile == SRGB
    assert decode_image(encoded(rgb)).icc_profile is None
    cmyk = encoded(rgb.convert("CMYK"), "JPEG", icc_profile=SRGB)
    assert decode_image(cmyk).icc_profile is None
    assert decode_image(encoded(rgb.convert("L"), icc_profile=SRGB)).icc_profile is None
    gray_profile = SRGB[:16] + b"GRAY" + SRGB[20:]
    assert decode_image(encoded(rgb, icc_profile=gray_profile)).icc_profile is None


def test_large_icc_profiles_are_kept_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    rgb = Image.new("RGB", (8, 8), (9, 99, 199))
    large = SRGB + bytes(3_000_000)
    for format in ("PNG", "JPEG", "TIFF", "WEBP"):
        assert decode_image(encoded(rgb, format, icc_profile=large)).icc_profile == large, format
    monkeypatch.setattr(decode, "MAX_ICC_BYTES", 2_000_000)
    picture = decode_image(encoded(rgb, icc_profile=large))
    assert picture.icc_profile is None and picture.pixels.shape == (8, 8, 3)


def test_long_texts_do_not_keep_a_png_from_being_read() -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("workflow", "x" * 3_000_000, zip=True)
    assert decode_image(encoded(Image.new("RGB", (8, 8)), pnginfo=info)).pixels.shape == (8, 8, 3)


def test_whether_something_was_transparent() -> None:
    rgba = Image.new("RGBA", (4, 4), (9, 9, 9, 255))
    assert not decode_image(encoded(rgba)).composited
    assert not decode_image(encoded(rgba.convert("RGB"))).composited
    rgba.putpixel((0, 0), (9, 9, 9, 254))
    assert decode_image(encoded(rgba)).composited
    key = chunk(b"tRNS", struct.pack(">H", 10))
    assert decode_image(png16(np.full((2, 2), 10, np.uint16), 0, key)).composited
    assert not decode_image(png16(np.full((2, 2), 11, np.uint16), 0, key)).composited


@pytest.mark.skipif(not image_files._AVIF, reason="this Pillow reads no AVIF")
def test_avif() -> None:
    pixels = samples.coffee()[:64, :96]
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(Image.fromarray(pixels), "AVIF", quality=95, exif=exif.tobytes())
    decoded = decode_image(data).pixels.astype(int)
    assert np.abs(decoded - np.rot90(pixels, -1)).mean() < 3


def test_formats_are_told_by_content() -> None:
    image = Image.new("RGB", (8, 8))
    for format in ("PNG", "JPEG", "WEBP", "BMP", "TIFF", *(["AVIF"] if image_files._AVIF else [])):
        assert image_format(encoded(image, format)[:18]) == format
    assert image_format(encoded(image, "MPO")[:18]) == "JPEG"
    for data in (encoded(image, "GIF"), b"", b"BMW drives well in the rain", b"%!PS-Adobe"):
        assert image_format(data[:18]) is None
