"""Images side by side with a caption under each."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

TALLEST = 240
"""Pixels above which images are shown smaller."""

_GAP, _TEXT, _LEAST = 8, 14, 64


def strip(images: Sequence[np.ndarray], captions: Sequence[str], title: str = "") -> bytes:
    """8-bit images (H, W, 3) of one size with captions and a title, as a PNG file.

    Raises ValueError: no image, or not one caption for each.
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
    file = io.BytesIO()
    canvas.save(file, "PNG")
    return file.getvalue()


def _shown(pixels: np.ndarray) -> Image.Image:
    """The image, smaller if it is tall, and larger by a whole factor if it is tiny."""
    image = Image.fromarray(pixels)
    if image.height > TALLEST:
        width = max(1, round(image.width * TALLEST / image.height))
        return image.resize((width, TALLEST), Image.Resampling.LANCZOS)
    factor = max(1, -(-_LEAST // image.height))
    size = (image.width * factor, image.height * factor)
    return image.resize(size, Image.Resampling.NEAREST)
