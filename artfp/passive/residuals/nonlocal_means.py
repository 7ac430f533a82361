"""Residuals of non-local means."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from artfp.core.errors import UserError


def nonlocal_means(
    sigma: float = 5.0, strength: float = 0.8, patch: int = 5, distance: int = 6
) -> Callable[[Tensor], Tensor]:
    """What scikit-image's non-local means (Buades et al. 2005) takes for noise of `sigma`.

    In its fast mode, plane by plane, on the CPU whatever the device of the images. `sigma` is in
    grey levels, `strength` times `sigma` is the cut-off h of a patch's distance, `patch` the side
    of a patch, `distance` how far away in pixels the patches may be that are compared with it.

    Raises UserError: sigma or strength not over 0, a patch or a distance under 1.
    """
    for name, value in (("sigma", sigma), ("strength", strength)):
        if not value > 0:
            raise UserError(f"extractor nonlocal_means: {name} is {value:g}; it must be over 0")
    for name, pixels in (("patch", patch), ("distance", distance)):
        if pixels < 1:
            raise UserError(f"extractor nonlocal_means: {name} is {pixels}; it must be 1 or more")
    level = sigma / 255.0

    def residual(x: Tensor) -> Tensor:
        from skimage.restoration import denoise_nl_means

        planes = x.detach().flatten(0, 1).cpu().double().numpy()
        found = np.empty(planes.shape, np.float32)
        for plane, out in zip(planes, found, strict=True):
            out[:] = plane - denoise_nl_means(plane, patch, distance, strength * level, True, level)
        return torch.from_numpy(found).to(x.device).view_as(x)

    return residual
