"""Safe decoding: bytes of an image file to 8-bit RGB pixels, or to the reason why not.

Kinds of pictures and their 8-bit RGB:

- 1-bit and gray: the value is replicated.
- gray with alpha, RGBA, palette, and any picture with a transparent colour: composited over white.
- CMYK, YCbCr, LAB, HSV: converted by Pillow (CMYK without its ICC profile).
- 16-bit gray: ``round(value / 257)``; 12-bit gray: ``round(value * 255 / 4095)``.
- 16-bit RGB and RGBA: Pillow keeps the upper byte of each value, at most one level from the above.
- 32-bit integers are read as 16-bit gray and refused outside 0..65535; floating point is refused.

EXIF orientation is applied; a broken EXIF block counts as none. Of several frames the first is
taken.

No other module opens image files: here the formats are named (Pillow would run Ghostscript on
PostScript that is called x.png), and what a header declares is bounded before it is allocated.
"""

from __future__ import annotations

import io
import logging
import re
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import numpy as np
from PIL import Image, PngImagePlugin, TiffImagePlugin, UnidentifiedImageError, features

from artfp.core.errors import UserError, one_line

_AVIF = "avif" in features.modules and bool(features.check("avif"))  # from Pillow 11.3 on

IMAGE_SUFFIXES = frozenset(
    (".png .jpg .jpeg .jpe .jfif .mpo .webp .bmp .tif .tiff" + _AVIF * " .avif").split()
)
"""File name endings, in lower case, that make a file an image; others are asked by content."""

MAX_PIXELS = 100_000_000
"""Width times height above which a picture is refused, from its header alone."""

MAX_SIDE = 65_535
"""Width or height above which a picture is refused, from its header alone."""

HEAD_BYTES = 18
"""Bytes at the beginning of a file that show its format."""

MAX_ICC_BYTES = 16 * 1024 * 1024
"""Size of an ICC profile above which it is left out; those of scanners have up to 3 MB."""

MAX_SCANS = 100
"""Scans of a progressive JPEG above which it is refused; encoders write about ten."""

MAX_BYTES = 512 * 1024 * 1024
"""Size of a file above which it is refused unread."""

_SCANNED_PIXELS = 3_000_000_000
"""Scans times pixels above which a progressive JPEG is refused: some 30 seconds."""

# JPEG includes the MPO files of phones.
_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", *(["AVIF"] if _AVIF else []))
_READABLE = f"PNG, JPEG, WebP, BMP{', AVIF' if _AVIF else ''} or TIFF"

# Pillow refuses a whole PNG for a profile or a text (of a workflow, say) over 1 MiB.
PngImagePlugin.MAX_TEXT_CHUNK = max(PngImagePlugin.MAX_TEXT_CHUNK, MAX_ICC_BYTES)

_TAG_WIDTH, _TAG_HEIGHT, _TAG_BITS, _TAG_PHOTOMETRIC = 256, 257, 258, 262
_TAG_PLANES, _TAG_SAMPLE_FORMAT = 284, 339
_WHITE_IS_ZERO, _SEPARATE_PLANES, _SIGNED = 0, 2, 2
_TAG_ORIENTATION = 0x0112
_TAGS_OF_DIRECTORIES = (0x8769, 0x8825, 0xA005)  # EXIF, GPS, interoperability
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_TURNED_BACK = {6: 8, 8: 6}
_log = logging.getLogger("artfp")

_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd7\xff]")
_BMP_HEADERS = (12, 40, 52, 56, 64, 108, 124)


class ImageError(ValueError):
    """An image that could not be used; the message is the reason, one line without a path.

    Args:
        reason: Why it could not be used.

    Example:
        >>> print(ImageError("the file is empty"))
        the file is empty
    """

    def __init__(self, reason: str) -> None:
        super().__init__(one_line(reason))


@contextmanager
def image_errors() -> Iterator[None]:
    """Turn whatever goes wrong with one image, memory included, into an ImageError.

    Raises:
        ImageError: anything but a UserError was raised inside.
    """
    try:
        yield
    except (ImageError, UserError):
        raise
    except UnidentifiedImageError:
        raise ImageError(f"not a readable {_READABLE} image") from None
    except Image.DecompressionBombError as error:
        raise ImageError(f"too many pixels: {error}") from None
    except MemoryError:
        raise ImageError("not enough memory for the image") from None
    except Exception as error:  # Pillow's plugins raise nearly every built-in exception
        raise ImageError(f"damaged image: {error or type(error).__name__}") from None


@dataclass(frozen=True)
class Picture:
    """Decoded pixels with the ICC profile that they are expressed in.

    Attributes:
        pixels: (H, W, 3) uint8, RGB.
        icc_profile: Bytes of the profile; None if there is none.
        composited: Whether the file has transparent pixels, which were composited over white.

    Example:
        >>> Picture(np.zeros((4, 6, 3), np.uint8)).pixels.shape
        (4, 6, 3)
    """

    pixels: np.ndarray
    icc_profile: bytes | None = None
    composited: bool = False


def decode_image(data: bytes, max_pixels: int = MAX_PIXELS, orientation: bool = True) -> Picture:
    """Decode one PNG, JPEG, WebP, BMP, TIFF or (where Pillow can) AVIF file.

    Args:
        data: The bytes of the file.
        max_pixels: Width times height above which the image is refused.
        orientation: Whether EXIF orientation is applied; False keeps the frame of the sensor.

    Returns:
        Pixels, and the ICC profile where the pixels still are in its space: the file held RGB,
        RGBA or palette colours, and the profile is an RGB one.

    Raises:
        ImageError: empty, truncated, damaged, not an image, of a kind that has no 8-bit rendering,
            more than `MAX_BYTES` bytes, more than `max_pixels` pixels or `MAX_SIDE` a side, or a
            JPEG of more than `MAX_SCANS` scans.

    Example:
        >>> Image.new("L", (6, 4), 200).save(file := io.BytesIO(), "PNG")
        >>> decode_image(file.getvalue()).pixels[0, 0]
        array([200, 200, 200], dtype=uint8)
    """
    with open_image(data, max_pixels) as image:
        return decode_picture(image, max_pixels, orientation)


def log_composited(images: int) -> None:
    """Log that images of a run had transparent pixels, if any had."""
    if images:
        several = "s" if images > 1 else ""
        _log.warning("%d transparent image%s composited over white", images, several)


@contextmanager
def open_image(data: bytes, max_pixels: int = MAX_PIXELS) -> Iterator[Image.Image]:
    """Open an image file with Pillow, in the formats and within the limits of `decode_image`.

    Pixels are not decoded before they are used; what goes wrong then is an ImageError too.

    Args:
        data: The bytes of the file.
        max_pixels: Width times height above which the image is refused.

    Raises:
        ImageError: as `decode_image`.

    Example:
        >>> Image.new("L", (6, 4)).save(file := io.BytesIO(), "PNG")
        >>> with open_image(file.getvalue()) as image:
        ...     print(image.size)
        (6, 4)
    """
    if not data:
        raise ImageError("the file is empty")
    if len(data) > MAX_BYTES:
        raise ImageError(f"the file has {len(data)} bytes, more than the limit of {MAX_BYTES}")
    with warnings.catch_warnings(), image_errors():
        warnings.simplefilter("ignore")  # Pillow's bomb warning: max_pixels decides here
        _check_size(_webp_canvas(data) or (1, 1), max_pixels)  # is allocated when opened
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            _check_size(image.size, max_pixels)
            _check_scans(data, image)
            yield image


def image_size(data: bytes, orientation: bool = True) -> tuple[int, int]:
    """Return (height, width) of an image file as `decode_image` gives it, from its header.

    Raises:
        ImageError: as `decode_image`.
    """
    with open_image(data) as image:
        width, height = image.size
        if isinstance(image, TiffImagePlugin.TiffImageFile):  # Pillow 11.3 has turned their size
            width, height = image.tag_v2[_TAG_WIDTH], image.tag_v2[_TAG_HEIGHT]
        turned = orientation and _orientation(image) >= 5
        return (width, height) if turned else (height, width)


def image_format(head: bytes) -> str | None:
    """Return Pillow's name of the format that a file's first `HEAD_BYTES` show; None: not one read.

    Args:
        head: The first bytes of the file.

    Example:
        >>> image_format(b"\\xff\\xd8\\xff\\xe0"), image_format(b"GIF89a")
        ('JPEG', None)
    """
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if head.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    if head[4:12] in (b"ftypavif", b"ftypavis"):
        return "AVIF" if _AVIF else None
    if head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in _BMP_HEADERS:
        return "BMP"
    return "TIFF" if head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+") else None


def decode_picture(
    image: Image.Image, max_pixels: int = MAX_PIXELS, orientation: bool = True
) -> Picture:
    """Turn a Pillow image of any mode upright and into RGB, as `decode_image` does.

    Raises:
        ImageError: it has no 8-bit rendering, or too many pixels.
    """
    _check_size(image.size, max_pixels)
    white, inverted = 65535, False
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        white, inverted = _tiff_levels(image)
    elif image.mode == "RGB" and "transparency" in image.info and _is_16_bit(image):
        raise ImageError("16-bit RGB with a transparent colour is not supported")
    turn = _orientation(image)
    if isinstance(image, TiffImagePlugin.TiffImageFile):  # which Pillow turns when it loads them
        _forget_directories(image)
        turn = 1 if orientation else _TURNED_BACK.get(turn, turn)
    elif not orientation:
        turn = 1
    mode, profile = image.mode, image.info.get("icc_profile")
    image.load()
    upright = image.transpose(_TURNS[turn]) if turn in _TURNS else image
    if mode == "F":
        raise ImageError("floating-point pixels have no defined 8-bit rendering")
    if mode.startswith("I"):
        pixels, composited = _scaled_gray(upright, white, inverted, image.info.get("transparency"))
    else:
        rgb, composited = _to_rgb(upright)
        pixels = np.array(rgb)
    in_profile = (
        mode in ("RGB", "RGBA", "P")
        and profile is not None
        and profile[16:20] == b"RGB "
        and len(profile) <= MAX_ICC_BYTES
    )
    return Picture(pixels, profile if in_profile else None, composited)


def _check_size(size: tuple[int, int], max_pixels: int) -> None:
    width, height = size
    if width < 1 or height < 1:
        raise ImageError(f"the image has no pixels ({width}x{height})")
    if max(size) > MAX_SIDE:
        raise ImageError(f"{width}x{height} has a side over the limit of {MAX_SIDE} pixels")
    if width * height > max_pixels:
        raise ImageError(
            f"{width}x{height} is {width * height} pixels, more than the limit of {max_pixels}"
        )


def _webp_canvas(data: bytes) -> tuple[int, int] | None:
    """Return the (width, height) that a WebP file declares; None: not WebP, or not understood.

    Pillow allocates it, eight bytes a pixel, when it opens the file.
    """
    if image_format(data[:HEAD_BYTES]) != "WEBP" or len(data) < 30:
        return None
    kind, body = data[12:16], data[20:30]
    if kind == b"VP8X":
        width, height = (int.from_bytes(body[at : at + 3], "little") + 1 for at in (4, 7))
    elif kind == b"VP8L":
        packed = int.from_bytes(body[1:5], "little")
        width, height = (packed & 0x3FFF) + 1, (packed >> 14 & 0x3FFF) + 1
    elif kind == b"VP8 ":
        width, height = (side & 0x3FFF for side in struct.unpack("<HH", body[6:10]))
    else:
        return None
    return width, height


def _check_scans(data: bytes, image: Image.Image) -> None:
    """Refuse a JPEG with so many scans that it takes minutes: each goes over the whole image."""
    most = min(MAX_SCANS, _SCANNED_PIXELS // (image.width * image.height))
    if image.format not in ("JPEG", "MPO") or data.count(b"\xff\xda") <= most:
        return
    scans, at = 0, 2
    while found := _MARKER.search(data, at):
        marker = found.group()[1]
        scans += marker == 0xDA
        if marker == 0xD9 or scans > most:  # the end of the image; others may follow
            break
        at = found.end() + max(2, int.from_bytes(data[found.end() : found.end() + 2], "big"))
    if scans > most:
        raise ImageError(f"a JPEG of more than {most} scans; save it again as baseline JPEG")


def _tiff_levels(image: TiffImagePlugin.TiffImageFile) -> tuple[int, bool]:
    """Return the white level of deep gray and whether 0 is white; refuse what Pillow misreads."""
    tags = image.tag_v2
    bits = max(tags.get(_TAG_BITS, (1,)))
    if bits > 8 and tags.get(_TAG_PLANES) == _SEPARATE_PLANES and len(image.getbands()) > 1:
        raise ImageError(f"{bits}-bit TIFF with separate colour planes is not supported")
    if bits == 8 and _SIGNED in tags.get(_TAG_SAMPLE_FORMAT, ()):
        raise ImageError("TIFF with signed 8-bit values is not supported")
    white = (1 << min(bits, 16)) - 1
    return white, tags.get(_TAG_PHOTOMETRIC) == _WHITE_IS_ZERO


def _is_16_bit(image: Image.Image) -> bool:
    tiles = getattr(image, "tile", ())
    return any("16" in str(tile[3]) for tile in tiles)


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 to 8; 1 if there is none."""
    try:
        orientation = image.getexif().get(_TAG_ORIENTATION, 1)
    except Exception:  # a broken EXIF block says nothing about the pixels
        return 1
    return int(orientation) if orientation in range(1, 9) else 1


def _forget_directories(image: Image.Image) -> None:
    """Keep Pillow from reading the EXIF and GPS values of a TIFF file, odd ones, as it loads it."""
    with suppress(Exception):  # loading tells what is wrong with the file
        exif = image.getexif()
        for tag in _TAGS_OF_DIRECTORIES:
            if tag in exif:
                del exif[tag]


def _scaled_gray(
    image: Image.Image, white: int, inverted: bool, transparent: object
) -> tuple[np.ndarray, bool]:
    """Scale integer gray with levels 0..white to (H, W, 3) uint8; the transparent level to 255.

    Returns the pixels, and whether any was transparent.
    """
    levels = np.asarray(image)
    low, high = int(levels.min()), int(levels.max())
    if low < 0 or high > white:
        raise ImageError(f"integer pixels from {low} to {high}, outside 0..{white}")
    # Every level's rendering is looked up: no wide intermediate image.
    table = np.round(np.arange(white + 1) * (255.0 / white)).astype(np.uint8)
    if inverted:
        table = table[::-1].copy()
    composited = False
    if isinstance(transparent, int) and 0 <= transparent <= white:
        table[transparent] = 255
        composited = bool((levels == transparent).any())
    return np.repeat(table[levels][:, :, None], 3, axis=2), composited


def _to_rgb(image: Image.Image) -> tuple[Image.Image, bool]:
    """Return the image over white in RGB, and whether any pixel was transparent."""
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        alpha = rgba.getchannel("A")
        if alpha.getextrema() == (255, 255):
            return rgba.convert("RGB"), False
        canvas = Image.new("RGB", rgba.size, (255, 255, 255))
        canvas.paste(rgba, mask=alpha)
        return canvas, True
    return image if image.mode == "RGB" else image.convert("RGB"), False
