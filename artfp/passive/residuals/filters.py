"""Noise residuals of low-pass filters and of non-local means; edges are mirrored."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor

from artfp.core.errors import UserError

_CHUNK = {"cpu": 1 << 20, "cuda": 1 << 26}
"""Pixels that are filtered at once, about, where a filter takes much memory for each."""
_CACHE_CHUNK = {"cpu": 1 << 17, "cuda": 1 << 26}
"""The same where a filter makes many passes over little memory."""


def gaussian_residual(sigma: float = 1.0) -> Callable[[Tensor], Tensor]:
    """Return image minus its Gaussian blur of `sigma` pixels, truncated at 4 sigma, as a function.

    Raises:
        UserError: sigma not over 0.
    """
    if not sigma > 0:
        raise UserError(f"extractor gaussian: sigma is {sigma:g}; it must be over 0")
    radius = max(1, round(4.0 * sigma))
    offsets = torch.arange(-radius, radius + 1, dtype=torch.float64)
    kernel = (-0.5 * (offsets / sigma).square()).exp()
    centre, *side = (kernel / kernel.sum()).tolist()[radius:]

    def residual(planes: Tensor) -> Tensor:
        # The kernel is separable and symmetric: columns, then rows, two taps by one weight.
        low = mirror_padded(planes, radius)
        for dim in (2, 3):
            size = planes.shape[dim]
            padded = low
            low = centre * padded.narrow(dim, radius, size)
            for i, weight in enumerate(side, 1):
                pair = padded.narrow(dim, radius - i, size) + padded.narrow(dim, radius + i, size)
                low.add_(pair, alpha=weight)
        return planes - low

    return lambda x: by_planes(residual, x, _CACHE_CHUNK)


def wiener_residual(side: int = 3, sigma: float = 5.0) -> Callable[[Tensor], Tensor]:
    """Return image minus its adaptive Wiener filter over `side` x `side` pixels, as a function.

    With the mean m and the variance s of a window, and the noise's variance v, the residual of its
    middle pixel is (x - m) v / s, at most x - m (Lim, Two-dimensional signal and image processing,
    1990, equations 9.44 to 9.46; `scipy.signal.wiener`). `sigma` is in grey levels; 0 takes the
    mean of s over each plane for v, as SciPy does by itself. SciPy pads an image with black, which
    makes a frame that all residuals share; here edges are mirrored.

    Raises:
        UserError: a side that is even or under 3, or sigma under 0.
    """
    _check_side("wiener", side)
    if not sigma >= 0:
        raise UserError(f"extractor wiener: sigma is {sigma:g}; it must be 0 or more")
    variance = (sigma / 255.0) ** 2

    def residual(planes: Tensor) -> Tensor:
        # A variance that is a difference of means takes the digits of float64.
        padded = mirror_padded(planes.double(), side // 2)
        mean = _window_mean(padded, side)
        local = (_window_mean(padded.square(), side) - mean.square()).clamp_(min=0.0)
        noise = local.mean((2, 3), keepdim=True) if sigma == 0 else variance
        gain = (noise / local).nan_to_num_(nan=1.0).clamp_(max=1.0)
        return ((planes - mean) * gain).float()

    return lambda x: by_planes(residual, x)


def median_residual(side: int = 3) -> Callable[[Tensor], Tensor]:
    """Return image minus its median over `side` x `side` pixels, as a function.

    Raises:
        UserError: a side that is even or under 3.
    """
    _check_side("median", side)

    def residual(planes: Tensor) -> Tensor:
        padded = mirror_padded(planes, side // 2)
        height, width = planes.shape[2:]
        offsets = [(i, j) for i in range(side) for j in range(side)]
        shifted = [padded[..., i : i + height, j : j + width] for i, j in offsets]
        return planes - _median(shifted)

    return lambda x: by_planes(residual, x)


def _check_side(name: str, side: int) -> None:
    if side < 3 or side % 2 == 0:
        raise UserError(f"extractor {name}: side is {side}; it must be an odd number from 3 on")


def by_planes(
    filtered: Callable[[Tensor], Tensor], x: Tensor, chunk: Mapping[str, int] = _CHUNK
) -> Tensor:
    """Apply a function of planes (P, 1, H, W) to images (N, C, H, W), in chunks of planes."""
    planes = x.flatten(0, 1)[:, None]
    size = max(1, planes[0:1].numel())
    step = max(1, chunk.get(x.device.type, 1 << 20) // size)
    return torch.cat([filtered(part) for part in planes.split(step)]).view_as(x)


def _window_mean(planes: Tensor, side: int) -> Tensor:
    """Return means over side x side windows of planes (P, 1, H, W), without padding."""
    for dim in (2, 3):
        windows = planes.unfold(dim, planes.shape[dim] - side + 1, 1)
        planes = windows.transpose(dim, -1).sum(-1) / side
    return planes


def _median(values: list[Tensor]) -> Tensor:
    """Return the median of an odd number of tensors, element by element.

    Forgetful selection: of more than half the values the least and the greatest cannot be the
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
    """Exchange two values so that the lesser is at `low`."""
    one, other = values[low], values[high]
    values[low], values[high] = torch.minimum(one, other), torch.maximum(one, other)


def mirror_padded(planes: Tensor, pad: int) -> Tensor:
    """Extend planes (N, 1, H, W) by `pad` on each side; the border's pixels come twice."""
    for dim in (2, 3):
        size = planes.shape[dim]
        index = torch.arange(-pad, size + pad, device=planes.device) % (2 * size)
        planes = planes.index_select(dim, torch.where(index < size, index, 2 * size - 1 - index))
    return planes


def nonlocal_means_residual(
    sigma: float = 5.0, strength: float = 0.8, patch: int = 5, distance: int = 6
) -> Callable[[Tensor], Tensor]:
    """Return image minus scikit-image's non-local means (Buades et al. 2005), as a function.

    In its fast mode, plane by plane, on the CPU whatever the device of the images. `sigma`, of the
    noise, is in grey levels; `strength` times `sigma` is the cut-off h of a patch's distance,
    `patch` the side of a patch, `distance` the radius in pixels of the search for similar patches.

    Raises:
        UserError: sigma or strength not over 0, a patch or a distance under 1.
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
