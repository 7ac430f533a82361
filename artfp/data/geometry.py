"""Crops and resizes of 8-bit pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from artfp.core.errors import UserError
from artfp.data.image_files import ImageError

_CELEBA_CROP = 148
_CELEBA_RESOLUTION = 128


@dataclass(frozen=True)
class Geometry:
    """Crop and resize between file and network; by default neither.

    An odd pixel left over by a crop is lost at the right and the bottom.

    Args:
        image_resolution: Side in pixels to which the largest centre square is resized.
        celeba: Whether the square is the middle 148 x 148 instead, the crop that the literature
            uses on CelebA; it is resized to 128 unless `image_resolution` is given.

    Raises:
        UserError: a resolution below 1.

    Example:
        >>> Geometry(64)(np.zeros((100, 200, 3), np.uint8)).shape
        (64, 64, 3)
    """

    image_resolution: int | None = None
    celeba: bool = False

    def __post_init__(self) -> None:
        if self.image_resolution is not None and self.image_resolution < 1:
            raise UserError(
                f"image resolution is {self.image_resolution}; give the side in pixels, 1 or more"
            )

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """Map (H, W, 3) uint8 to (H', W', 3) uint8.

        Raises:
            ImageError: a picture too small for the CelebA crop.
        """
        height, width = pixels.shape[:2]
        if self.celeba:
            if min(height, width) < _CELEBA_CROP:
                raise ImageError(
                    f"{width}x{height} is too small for the CelebA crop, "
                    f"which needs {_CELEBA_CROP}x{_CELEBA_CROP}"
                )
            side = self.image_resolution or _CELEBA_RESOLUTION
            return resize(_centre_crop(pixels, _CELEBA_CROP, _CELEBA_CROP), (side, side))
        if self.image_resolution is None:
            return pixels
        shorter = min(height, width)
        square = _centre_crop(pixels, shorter, shorter)
        return resize(square, (self.image_resolution, self.image_resolution))

    def describe(self) -> str:
        """Return the geometry in words, for logs and reports."""
        if self.celeba:
            side = self.image_resolution or _CELEBA_RESOLUTION
            return (
                f"centre crop {_CELEBA_CROP}x{_CELEBA_CROP} (CelebA), "
                f"bicubic resize to {side}x{side}"
            )
        if self.image_resolution is None:
            return "unchanged"
        side = self.image_resolution
        return f"centre crop to a square, bicubic resize to {side}x{side}"


def resize(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize an image by antialiased bicubic interpolation, as Pillow does it.

    Args:
        pixels: (H, W, 3) uint8.
        size: (height, width) in pixels.

    Returns:
        (height, width, 3) uint8; `pixels` itself if the size is right.

    Example:
        >>> resize(np.zeros((100, 200, 3), np.uint8), (50, 60)).shape
        (50, 60, 3)
    """
    if pixels.shape[:2] == size:
        return pixels
    height, width = size
    image = Image.fromarray(np.ascontiguousarray(pixels))
    return np.array(image.resize((width, height), Image.Resampling.BICUBIC))


def crop_to_shape(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Cut the largest centre of the shape of `size` (height, width), and `resize` it to it."""
    height, width = pixels.shape[:2]
    scale = min(height / size[0], width / size[1])
    crop = (max(1, round(size[0] * scale)), max(1, round(size[1] * scale)))
    return resize(_centre_crop(pixels, *crop), size)


def _centre_crop(pixels: np.ndarray, rows: int, columns: int) -> np.ndarray:
    height, width = pixels.shape[:2]
    top, left = (height - rows) // 2, (width - columns) // 2
    return np.ascontiguousarray(pixels[top : top + rows, left : left + columns])
