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
"""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageOps, TiffImagePlugin, UnidentifiedImageError

from artfp.core.errors import one_line

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"})
"""File name endings, in lower case, that make a file an image."""

MAX_PIXELS = 100_000_000
"""Width times height above which a picture is refused, from its header alone."""

MAX_BYTES = 512 * 1024 * 1024
"""Size of a file above which it is refused unread."""

_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF")  # JPEG includes the MPO files of phones
_TAG_BITS, _TAG_PHOTOMETRIC, _TAG_PLANES, _TAG_SAMPLE_FORMAT = 258, 262, 284, 339
_WHITE_IS_ZERO, _SEPARATE_PLANES, _SIGNED = 0, 2, 2
_TAG_ORIENTATION = 0x0112


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


@dataclass(frozen=True)
class Picture:
    """Decoded pixels with the ICC profile that they are expressed in.

    Attributes:
        pixels: (H, W, 3) uint8, RGB.
        icc_profile: Bytes of the profile; None if there is none.

    Example:
        >>> Picture(np.zeros((4, 6, 3), np.uint8)).pixels.shape
        (4, 6, 3)
    """

    pixels: np.ndarray
    icc_profile: bytes | None = None


def decode_image(data: bytes, max_pixels: int = MAX_PIXELS) -> Picture:
    """Decode one PNG, JPEG, WebP, BMP or TIFF file.

    Args:
        data: The bytes of the file.
        max_pixels: Width times height above which the image is refused.

    Returns:
        Pixels, and the ICC profile where the pixels still are in its space: the file held RGB,
        RGBA or palette colours, and the profile is an RGB one.

    Raises:
        ImageError: empty, truncated, damaged, not an image, of a kind that has no 8-bit rendering,
            more than `MAX_BYTES` bytes, or more than `max_pixels` pixels.

    Example:
        >>> Image.new("L", (6, 4), 200).save(file := io.BytesIO(), "PNG")
        >>> decode_image(file.getvalue()).pixels[0, 0]
        array([200, 200, 200], dtype=uint8)
    """
    if not data:
        raise ImageError("the file is empty")
    if len(data) > MAX_BYTES:
        raise ImageError(f"the file has {len(data)} bytes, more than the limit of {MAX_BYTES}")
    with warnings.catch_warnings():  # Pillow's bomb warning: max_pixels decides here
        warnings.simplefilter("ignore")
        try:
            with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
                return decode_picture(image, max_pixels)
        except ImageError:
            raise
        except UnidentifiedImageError:
            raise ImageError("not a readable PNG, JPEG, WebP, BMP or TIFF image") from None
        except Image.DecompressionBombError as error:
            raise ImageError(f"too many pixels: {error}") from None
        except MemoryError:
            raise ImageError("not enough memory to decode the image") from None
        except Exception as error:  # Pillow's plugins raise nearly every built-in exception
            raise ImageError(f"damaged image: {error or type(error).__name__}") from None


def decode_picture(image: Image.Image, max_pixels: int = MAX_PIXELS) -> Picture:
    """Turn a Pillow image of any mode upright and into RGB, as `decode_image` does.

    Raises:
        ImageError: it has no 8-bit rendering, or too many pixels.
    """
    width, height = image.size
    if width < 1 or height < 1:
        raise ImageError(f"the image has no pixels ({width}x{height})")
    if width * height > max_pixels:
        raise ImageError(
            f"{width}x{height} is {width * height} pixels, more than the limit of {max_pixels}"
        )
    white, inverted = 65535, False
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        white, inverted = _tiff_levels(image)
    elif image.mode == "RGB" and "transparency" in image.info and _is_16_bit(image):
        raise ImageError("16-bit RGB with a transparent colour is not supported")
    mode, profile = image.mode, image.info.get("icc_profile")
    image.load()
    upright = _upright(image)
    if mode == "F":
        raise ImageError("floating-point pixels have no defined 8-bit rendering")
    if mode.startswith("I"):
        pixels = _scaled_gray(upright, white, inverted, image.info.get("transparency"))
    else:
        pixels = np.array(_to_rgb(upright))
    in_profile = mode in ("RGB", "RGBA", "P") and profile is not None and profile[16:20] == b"RGB "
    return Picture(pixels, profile if in_profile else None)


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


def _upright(image: Image.Image) -> Image.Image:
    """Apply EXIF orientation. Pillow has already turned TIFF files, and cleared their tag."""
    try:
        orientation = image.getexif().get(_TAG_ORIENTATION, 1)
    except Exception:  # a broken EXIF block says nothing about the pixels
        return image
    return ImageOps.exif_transpose(image) if orientation in range(2, 9) else image


def _scaled_gray(image: Image.Image, white: int, inverted: bool, transparent: object) -> np.ndarray:
    """Scale integer gray with levels 0..white to (H, W, 3) uint8; the transparent level to 255."""
    levels = np.asarray(image)
    low, high = int(levels.min()), int(levels.max())
    if low < 0 or high > white:
        raise ImageError(f"integer pixels from {low} to {high}, outside 0..{white}")
    # Every level's rendering is looked up: no wide intermediate image.
    table = np.round(np.arange(white + 1) * (255.0 / white)).astype(np.uint8)
    if inverted:
        table = table[::-1].copy()
    if isinstance(transparent, int) and 0 <= transparent <= white:
        table[transparent] = 255
    return np.repeat(table[levels][:, :, None], 3, axis=2)


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        alpha = rgba.getchannel("A")
        if alpha.getextrema() == (255, 255):
            return rgba.convert("RGB")
        canvas = Image.new("RGB", rgba.size, (255, 255, 255))
        canvas.paste(rgba, mask=alpha)
        return canvas
    return image if image.mode == "RGB" else image.convert("RGB")
