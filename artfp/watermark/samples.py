"""Sample pictures of an embedding: clean images, fingerprinted ones and their differences."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torchvision.utils import make_grid

from artfp.data.geometry import Geometry
from artfp.data.pixels import as_batch
from artfp.reporting.image_grid import AMPLIFICATION, encode_picture


def sample_pictures(pairs: Sequence[tuple[np.ndarray, np.ndarray]], side: int) -> dict[str, bytes]:
    """Return the three sample pictures of the published embedding script, as PNG files by name.

    Args:
        pairs: Images (H, W, 3), 8-bit, before and after the fingerprint was embedded.
        side: Pixels a side to which the centre square of each is resized.

    Returns:
        Grids, as square as can be: clean images, fingerprinted ones, and their residuals on gray,
        ten times as strong.
    """
    square = Geometry(side)
    clean, marked = (
        torch.cat([as_batch(square(image)) for image in images])
        for images in zip(*pairs, strict=True)
    )
    residual = ((marked - clean) * AMPLIFICATION + 0.5).clamp(0.0, 1.0)
    rows = {"clean": clean, "fingerprinted": marked, "residual": residual}
    across = math.ceil(math.sqrt(len(pairs)))
    return {
        f"test_samples_{name}.png": encode_picture(make_grid(images, across, pad_value=1.0))
        for name, images in rows.items()
    }
