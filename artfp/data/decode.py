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

Files are opened by `artfp.data.image_files`.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
from PIL import Image, TiffImagePlugin

from artfp.data.image_files import (
    MAX_ICC_BYTES,
    MAX_PIXELS,
    ImageError,
    check_size,
    forget_directories,
    open_image,
)

_TAG_WIDTH, _TAG_HEIGHT, _TAG_BITS, _TAG_PHOTOMETRIC = 256, 257, 258, 262
_TAG_PLANES, _TAG_SAMPLE_FORMAT = 284, 339
_WHITE_IS_ZERO, _SEPARATE_PLANES, _SIGNED = 0, 2, 2
_TAG_ORIENTATION = 0x0112
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
        >>> import io
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


def decode_picture(
    image: Image.Image, max_pixels: int = MAX_PIXELS, orientation: bool = True
) -> Picture:
    """Turn a Pillow image of any mode upright and into RGB, as `decode_image` does.

    Raises:
        ImageError: it has no 8-bit rendering, or too many pixels.
    """
    check_size(image.size, max_pixels)
    white, inverted = 65535, False
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        white, inverted = _tiff_levels(image)
    elif image.mode == "RGB" and "transparency" in image.info and _is_16_bit(image):
        raise ImageError("16-bit RGB with a transparent colour is not supported")
    turn = _orientation(image)
    if isinstance(image, TiffImagePlugin.TiffImageFile):  # which Pillow turns when it loads them
        forget_directories(image)
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
