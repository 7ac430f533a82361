"""Pictures made of images: grids of originals, marked images and residuals; captioned strips."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torchvision.utils import make_grid

from artfp.data.pixels import to_8bit
from artfp.data.writing import encode_image

AMPLIFICATION = 10.0
"""Factor by which residuals are shown."""


TALLEST = 240
"""Pixels above which images are shown smaller."""

_GAP, _TEXT, _LEAST = 8, 14, 64
_ROWS = ("original", "fingerprinted", f"difference x{AMPLIFICATION:.0f}")
_LEAST_TILE = 96
"""Pixels that a row has at least, so that its name has room."""


def fingerprint_grid(originals: Tensor, marked: Tensor) -> Tensor:
    """Return three rows as one picture: originals, fingerprinted images, residuals x10 on gray.

    Each has its name at the left; tiny images are shown larger, by a whole factor.

    Args:
        originals: Images (N, 3, H, W) in [0, 1].
        marked: The same images with their fingerprints.

    Returns:
        A picture (3, h, w) in [0, 1].
    """
    residuals = ((marked - originals) * AMPLIFICATION + 0.5).clamp(0.0, 1.0)
    rows = torch.cat([originals, marked, residuals]).detach().cpu().float()
    factor = max(1, -(-_LEAST_TILE // rows.shape[-2]))
    rows = rows.repeat_interleave(factor, -2).repeat_interleave(factor, -1)
    grid: Tensor = make_grid(rows, nrow=len(originals), padding=2, pad_value=1.0)
    heights = [grid.shape[1] // 3, grid.shape[1] // 3, grid.shape[1] - 2 * (grid.shape[1] // 3)]
    names = [name_strip(*each).rot90(1, (1, 2)) for each in zip(_ROWS, heights, strict=True)]
    return torch.cat([torch.cat(names, dim=1), grid], dim=2)


def name_strip(name: str, width: int) -> Tensor:
    """Return a name in the middle of a white line as a picture (3, h, width) in [0, 1]."""
    strip = Image.new("RGB", (width, _TEXT + _GAP), "white")
    font = ImageFont.load_default(_TEXT)
    middle = (width / 2, strip.height / 2)
    ImageDraw.Draw(strip).text(middle, name, "black", font, anchor="mm")
    return torch.from_numpy(np.array(strip)).permute(2, 0, 1).float() / 255.0


def encode_picture(picture: Tensor) -> bytes:
    """Return a picture (3, h, w) in [0, 1] as a PNG file."""
    return encode_image(to_8bit(picture.clone()).permute(1, 2, 0).contiguous().numpy())


def image_strip(images: Sequence[np.ndarray], captions: Sequence[str], title: str = "") -> bytes:
    """Return images side by side, each with a caption below, under a title, as a PNG file.

    Args:
        images: 8-bit images (H, W, 3) of one size.
        captions: One for each image.
        title: Line above all.

    Raises:
        ValueError: no image, or not one caption for each.
    """
    if not images or len(images) != len(captions):
        raise ValueError(f"{len(captions)} captions for {len(images)} images")
    shown = [_shown(image) for image in images]
    font = ImageFont.load_default(_TEXT)
    line = _TEXT + _GAP
    widths = [
        max(one.width, int(font.getlength(text))) for one, text in zip(shown, captions, strict=True)
    ]
    height = max(one.height for one in shown)
    across = max(sum(widths) + _GAP * (len(widths) + 1), int(font.getlength(title)) + 2 * _GAP)
    canvas = Image.new("RGB", (across, height + 2 * line + 2 * _GAP), "white")
    draw = ImageDraw.Draw(canvas)
    draw.text((_GAP, _GAP), title, "black", font)
    left, top = _GAP, _GAP + line
    for one, text, width in zip(shown, captions, widths, strict=True):
        canvas.paste(one, (left + (width - one.width) // 2, top))
        draw.text((left + width / 2, top + height + _GAP // 2), text, "black", font, anchor="ma")
        left += width + _GAP
    return encode_image(np.asarray(canvas))


def _shown(pixels: np.ndarray) -> Image.Image:
    """Return the image, smaller if it is tall, and larger by a whole factor if it is tiny."""
    image = Image.fromarray(pixels)
    if image.height > TALLEST:
        width = max(1, round(image.width * TALLEST / image.height))
        return image.resize((width, TALLEST), Image.Resampling.LANCZOS)
    factor = max(1, -(-_LEAST // image.height))
    size = (image.width * factor, image.height * factor)
    return image.resize(size, Image.Resampling.NEAREST)
