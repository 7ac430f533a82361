"""Images of a source as one tensor."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from artfp.core.errors import UserError
from artfp.data.decode import ImageError, decode_image
from artfp.data.geometry import Geometry
from artfp.data.sources import ImageSource

Failed = list[tuple[str, str]]
"""Names of images that could not be used, with the reasons."""


def stacked(source: ImageSource, geometry: Geometry, count: int) -> tuple[Tensor, Failed]:
    """The first images (N, 3, H, W), 8-bit, of a source, and those that were unusable.

    Raises UserError: none can be used, or they are of several sizes.
    """
    found, failed = [], []
    for index, name in enumerate(source.names[:count]):
        try:
            found.append(geometry(decode_image(source.read(index)).pixels))
        except ImageError as error:
            failed.append((name, str(error)))
    if not found:
        raise UserError(f"{source.location}: no image can be read ({failed[0][1]})")
    sizes = {image.shape for image in found}
    if len(sizes) > 1:
        raise UserError(f"{source.location}: images of {len(sizes)} sizes; give --image_resolution")
    return torch.from_numpy(np.stack(found)).permute(0, 3, 1, 2).contiguous(), failed
