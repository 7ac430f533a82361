"""Safe opening of image files: formats that are allowed, and limits that headers are held to.

No other module opens image files: here the formats are named (Pillow would run Ghostscript on
PostScript that is called x.png), and what a header declares is bounded before it is allocated.
"""

from __future__ import annotations

import io
import re
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from PIL import Image, PngImagePlugin, UnidentifiedImageError, features

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

# Pillow refuses a whole PNG for a profile or a text (of a workflow, say) over 1 MiB.
PngImagePlugin.MAX_TEXT_CHUNK = max(PngImagePlugin.MAX_TEXT_CHUNK, MAX_ICC_BYTES)

MAX_SCANS = 100
"""Scans of a progressive JPEG above which it is refused; encoders write about ten."""

MAX_BYTES = 512 * 1024 * 1024
"""Size of a file above which it is refused unread."""

_SCANNED_PIXELS = 3_000_000_000
"""Scans times pixels above which a progressive JPEG is refused: some 30 seconds."""

# JPEG includes the MPO files of phones.
_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", *(["AVIF"] if _AVIF else []))

_READABLE = f"PNG, JPEG, WebP, BMP{', AVIF' if _AVIF else ''} or TIFF"
_TAGS_OF_DIRECTORIES = (0x8769, 0x8825, 0xA005)  # EXIF, GPS, interoperability
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
        check_size(_webp_canvas(data) or (1, 1), max_pixels)  # is allocated when opened
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            check_size(image.size, max_pixels)
            _check_scans(data, image)
            yield image


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


def check_size(size: tuple[int, int], max_pixels: int) -> None:
    """Raise an ImageError for a (width, height) without pixels, or with too many."""
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


def forget_directories(image: Image.Image) -> None:
    """Keep Pillow from reading the EXIF and GPS values of a TIFF file, odd ones, as it loads it."""
    with suppress(Exception):  # loading tells what is wrong with the file
        exif = image.getexif()
        for tag in _TAGS_OF_DIRECTORIES:
            if tag in exif:
                del exif[tag]
