"""Residuals of simple low-pass filters; edges are mirrored, their pixels doubled."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor

from artfp.core.errors import UserError

_AT_WORK = {"cpu": 1 << 20, "cuda": 1 << 26}
"""About how many pixels are at work at once where a filter takes much memory for each."""
_IN_CACHE = {"cpu": 1 << 17, "cuda": 1 << 26}
"""The same where a filter takes many passes over little memory."""


def gaussian_residual(sigma: float = 1.0) -> Callable[[Tensor], Tensor]:
    """What a Gaussian of `sigma` pixels, cut at four of them, takes away.

    Raises UserError: sigma not over 0.
    """
    if not sigma > 0:
        raise UserError(f"extractor gaussian: sigma is {sigma:g}; it must be over 0")
    reach = max(1, round(4.0 * sigma))
    at = torch.arange(-reach, reach + 1, dtype=torch.float64)
    kernel = (-0.5 * (at / sigma).square()).exp()
    middle, *side = (kernel / kernel.sum()).tolist()[reach:]

    def noise(planes: Tensor) -> Tensor:
        low = mirror_padded(planes, reach)
        for dim in (2, 3):
            size = planes.shape[dim]
            padded = low
            low = middle * padded.narrow(dim, reach, size)
            for i, weight in enumerate(side, 1):
                both = padded.narrow(dim, reach - i, size) + padded.narrow(dim, reach + i, size)
                low.add_(both, alpha=weight)
        return planes - low

    return lambda x: by_planes(noise, x, _IN_CACHE)


def wiener_residual(side: int = 3, sigma: float = 5.0) -> Callable[[Tensor], Tensor]:
    """What the adaptive Wiener filter of `side` x `side` pixels takes for noise of `sigma`.

    With the mean m and the variance s of a window, and the noise's variance v, the residual of its
    middle pixel is (x - m) v / s, at most x - m (Lim, Two-dimensional signal and image processing,
    1990, equations 9.44 to 9.46; `scipy.signal.wiener`). `sigma` is in grey levels; 0 takes the
    mean of s over each plane for v, as SciPy does by itself. SciPy has black around an image, which
    makes for a frame that all residuals share; here edges are mirrored.

    Raises UserError: a side that is even or under 3, or sigma under 0.
    """
    _check_side("wiener", side)
    if not sigma >= 0:
        raise UserError(f"extractor wiener: sigma is {sigma:g}; it must be 0 or more")
    variance = (sigma / 255.0) ** 2

    def noise(planes: Tensor) -> Tensor:
        # A variance that is a difference of means takes the digits of float64.
        padded = mirror_padded(planes.double(), side // 2)
        mean = _box(padded, side)
        spread = (_box(padded.square(), side) - mean.square()).clamp_(min=0.0)
        least = spread.mean((2, 3), keepdim=True) if sigma == 0 else variance
        share = (least / spread).nan_to_num_(nan=1.0).clamp_(max=1.0)
        return ((planes - mean) * share).float()

    return lambda x: by_planes(noise, x)


def median_residual(side: int = 3) -> Callable[[Tensor], Tensor]:
    """An image less its median over `side` x `side` pixels.

    Raises UserError: a side that is even or under 3.
    """
    _check_side("median", side)

    def noise(planes: Tensor) -> Tensor:
        padded = mirror_padded(planes, side // 2)
        height, width = planes.shape[2:]
        offsets = [(i, j) for i in range(side) for j in range(side)]
        shifted = [padded[..., i : i + height, j : j + width] for i, j in offsets]
        return planes - _middle(shifted)

    return lambda x: by_planes(noise, x)


def _check_side(name: str, side: int) -> None:
    if side < 3 or side % 2 == 0:
        raise UserError(f"extractor {name}: side is {side}; it must be an odd number from 3 on")


def by_planes(
    filtered: Callable[[Tensor], Tensor], x: Tensor, at_work: Mapping[str, int] = _AT_WORK
) -> Tensor:
    """A function of planes (P, 1, H, W) on images (N, C, H, W), some planes after another."""
    planes = x.flatten(0, 1)[:, None]
    size = max(1, planes[0:1].numel())
    step = max(1, at_work.get(x.device.type, 1 << 20) // size)
    return torch.cat([filtered(part) for part in planes.split(step)]).view_as(x)


def _box(planes: Tensor, side: int) -> Tensor:
    """Means over side x side windows of planes (P, 1, H, W), where whole windows are inside."""
    for dim in (2, 3):
        windows = planes.unfold(dim, planes.shape[dim] - side + 1, 1)
        planes = windows.transpose(dim, -1).sum(-1) / side
    return planes


def _middle(values: list[Tensor]) -> Tensor:
    """The median of an odd number of tensors, place by place.

    By forgetful selection: of more than half the values the least and the greatest cannot be the
    median. They are found by exchanges and dropped, the next value comes in, and so on.
    """
    count = len(values)
    kept, rest = values[: count // 2 + 2], values[count // 2 + 2 :]
    while True:
        half = len(kept) // 2
        for i in range(half):
            _order(kept, i, len(kept) - 1 - i)
        # The least is in the first half now, the greatest in the second; an odd one may be either.
        for i in range(1, len(kept) - half):
            _order(kept, 0, i)
        for i in range(half, len(kept) - 1):
            _order(kept, i, len(kept) - 1)
        kept = kept[1:-1]
        if not rest:
            return kept[0]
        kept.append(rest.pop(0))


def _order(values: list[Tensor], low: int, high: int) -> None:
    """Puts the lesser of two values at `low`, the greater at `high`."""
    one, other = values[low], values[high]
    values[low], values[high] = torch.minimum(one, other), torch.maximum(one, other)


def mirror_padded(planes: Tensor, reach: int) -> Tensor:
    """Planes (N, 1, H, W) extended by `reach` on each side, the border's pixels doubled."""
    for dim in (2, 3):
        size = planes.shape[dim]
        at = torch.arange(-reach, size + reach, device=planes.device) % (2 * size)
        planes = planes.index_select(dim, torch.where(at < size, at, 2 * size - 1 - at))
    return planes


def nonlocal_means_residual(
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
