"""Pictures of originals, fingerprinted images and residuals."""

from __future__ import annotations

import io

import torch
from PIL import Image
from torch import Tensor
from torchvision.utils import make_grid

from artfp.data.pixels import to_bytes

AMPLIFICATION = 10.0
"""Factor by which residuals are shown."""


def fingerprint_grid(originals: Tensor, marked: Tensor) -> Tensor:
    """Three rows: original, fingerprinted, residual x10 on gray; (3, h, w) in [0, 1].

    Args: both (N, 3, H, W) in [0, 1].
    """
    residuals = ((marked - originals) * AMPLIFICATION + 0.5).clamp(0.0, 1.0)
    rows = torch.cat([originals, marked, residuals])
    return make_grid(rows.detach().cpu().float(), nrow=len(originals), padding=2, pad_value=1.0)


def to_png(picture: Tensor) -> bytes:
    """A picture (3, h, w) in [0, 1] as a PNG file."""
    file = io.BytesIO()
    pixels = to_bytes(picture.clone()).permute(1, 2, 0).contiguous().numpy()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()
