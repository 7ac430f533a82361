"""S-CIELAB, the visible difference of two images at a viewing distance (Zhang and Wandell 1996).

Both images are blurred as the eye blurs them: in an opponent space, luminance little, red-green and
blue-yellow more. What is left differs, at every pixel, by a CIEDE2000. PSNR and SSIM weigh coarse
and fine errors alike; the eye sees coarse ones, and colour only when coarse.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from artfp.metrics.colour_difference import ciede2000, lab_of_xyz

VISIBLE_DIFFERENCE = 2.0
"""Difference over which a pixel counts as visibly changed."""

_FILTERS = (
    ((0.921, 0.0283), (0.105, 0.133), (-0.108, 4.336)),
    ((0.531, 0.0392), (0.330, 0.494)),
    ((0.488, 0.0536), (0.371, 0.386)),
)
"""Luminance, red-green, blue-yellow: weights and spreads s in degrees of Gaussians exp(-r^2 / s^2),
each of sum 1 (Zhang and Wandell 1996, the table of filters)."""

_XYZ_OF_RGB = (
    (0.412453, 0.357580, 0.180423),
    (0.212671, 0.715160, 0.072169),
    (0.019334, 0.119193, 0.950227),
)
"""Linear sRGB to XYZ of D65."""

_OPPONENT_OF_XYZ = ((0.279, 0.720, -0.107), (-0.449, 0.290, -0.077), (0.086, -0.590, 0.501))
"""XYZ to luminance, red-green, blue-yellow (Poirson and Wandell 1993; Zhang and Wandell 1996)."""

_NARROW = 2.5
"""Deviation in pixels up to which a Gaussian is summed tap by tap; wider ones by their cosines."""

_CUTOFF = 4.3
"""Wide Gaussians keep the cosines whose gain is over exp(-_CUTOFF^2 / 2), a ten-thousandth."""

_PIXELS_AT_ONCE = 1 << 16
"""Pixels of colour arithmetic at once: its steps make a hundred planes."""


@dataclass(frozen=True)
class Visibility:
    """How visible a change is, per image.

    Args:
        p95: 95th percentile of the S-CIELAB difference, (N,).
        share: Share of pixels whose difference is over 2, (N,).
    """

    p95: Tensor
    share: Tensor


def visibility(x: Tensor, y: Tensor, pixels_per_degree: float = 60.0) -> Visibility:
    """Return how visible the change from one image to another is.

    Args:
        x: Images (N, 3, H, W) in [0, 1], sRGB.
        y: Images of the same shape.
        pixels_per_degree: Pixels in a degree of the visual angle: 60 for a sharp screen at arm's
            length, 20 when zoomed in.

    Returns:
        Percentile and share for each image, without gradients.

    Example:
        >>> x = torch.full((1, 3, 32, 32), 0.5)
        >>> found = visibility(x, x + 0.01, 60.0)
        >>> round(found.p95.item(), 2), found.share.item()
        (0.96, 0.0)
    """
    with torch.no_grad():
        return summarise_visibility(scielab_map(x, y, pixels_per_degree))


def summarise_visibility(difference: Tensor) -> Visibility:
    """Return percentile and share of maps (N, H, W) of S-CIELAB differences.

    Args:
        difference: What `scielab_map` returns.

    Example:
        >>> summarise_visibility(torch.tensor([[[0.0, 1.0, 4.0]]])).share.item()
        0.3333333432674408
    """
    flat = difference.flatten(1)
    kth = max(1, math.ceil(0.95 * flat.shape[1]))
    return Visibility(
        flat.kthvalue(kth, dim=1).values, (flat > VISIBLE_DIFFERENCE).float().mean(dim=1)
    )


def scielab_map(x: Tensor, y: Tensor, pixels_per_degree: float = 60.0) -> Tensor:
    """Return the S-CIELAB difference of two images at every pixel.

    Gradients reach both images, once, and are finite everywhere: also for equal images and at gray,
    black and white. Computed in float32 whatever the surrounding precision. Edges are reflected.

    Args:
        x: Images (N, 3, H, W) in [0, 1], sRGB; values beyond are continued.
        y: Images of the same shape.
        pixels_per_degree: Pixels in a degree of the visual angle, over 0.

    Returns:
        CIEDE2000 (N, H, W) after the filters of the eye.

    Raises:
        ValueError: shapes that differ or are not of colour images, or no positive scale.

    Example:
        >>> x = torch.full((1, 3, 32, 32), 0.5)
        >>> fine, coarse = x.clone(), x.clone()
        >>> fine[..., ::2] += 0.02
        >>> coarse[..., 16:] += 0.02
        >>> bool(scielab_map(x, fine, 60.0).mean() < scielab_map(x, coarse, 60.0).mean())
        True
    """
    if x.shape != y.shape or x.dim() != 4 or x.shape[1] != 3:
        raise ValueError(f"images of shapes {tuple(x.shape)} and {tuple(y.shape)}")
    if not pixels_per_degree > 0.0:
        raise ValueError(f"{pixels_per_degree} pixels per degree")
    first, second = (_seen(image, float(pixels_per_degree)) for image in (x, y))
    found: Tensor = _Difference.apply(first, second)  # type: ignore[no-untyped-call]
    return found


def _seen(image: Tensor, pixels_per_degree: float) -> Tensor:
    """Return an image as the eye has it: filtered opponent colours."""
    linear: Tensor = _Linear.apply(image.float())  # type: ignore[no-untyped-call]
    with torch.autocast(image.device.type, enabled=False):
        matrix = torch.tensor(_OPPONENT_OF_XYZ, device=image.device) @ torch.tensor(
            _XYZ_OF_RGB, device=image.device
        )
        opponent = torch.matmul(matrix, linear.flatten(2)).view_as(linear)
    found: Tensor = _Filter.apply(opponent, pixels_per_degree)  # type: ignore[no-untyped-call]
    return found


class _Linear(torch.autograd.Function):
    """sRGB to linear light; a power is taken once for the value and its derivative."""

    @staticmethod
    def forward(ctx: Any, image: Tensor) -> Tensor:
        base = (image.clamp_min(0.04045) + 0.055) / 1.055
        power = torch.exp(torch.log(base) * 1.4)  # several times faster than a power
        dark = image <= 0.04045
        if ctx.needs_input_grad[0]:
            ctx.save_for_backward((power * (2.4 / 1.055)).masked_fill_(dark, 1.0 / 12.92))
        return torch.where(dark, image / 12.92, power * base)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        slope: Tensor = ctx.saved_tensors[0]
        return gradient * slope


class _Filter(torch.autograd.Function):
    """The filters of the eye; each is symmetric, so the gradient passes the same filters."""

    @staticmethod
    def forward(ctx: Any, opponent: Tensor, pixels_per_degree: float) -> Tensor:
        ctx.pixels_per_degree = pixels_per_degree
        return _filter(opponent, pixels_per_degree)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return _filter(gradient, ctx.pixels_per_degree), None


class _Difference(torch.autograd.Function):
    """CIEDE2000 of filtered colours; pixels stand alone, so the gradient is found in the forward
    pass, a cacheful of pixels at a time, and only it is kept."""

    @staticmethod
    def forward(ctx: Any, first: Tensor, second: Tensor) -> Tensor:
        needed = [tensor for tensor in (0, 1) if ctx.needs_input_grad[tensor]]
        both = (first, second)
        gradients = {which: torch.empty_like(both[which]) for which in needed}
        found = first.new_empty(first.shape[0], *first.shape[2:])
        rows = max(1, _PIXELS_AT_ONCE // first.shape[-1])
        for image in range(len(first)):
            for start in range(0, first.shape[2], rows):
                part = (image, slice(None), slice(start, start + rows))
                chunks = [tensor[part].detach() for tensor in both]
                with torch.enable_grad():
                    leaves = [chunks[which].requires_grad_() for which in needed]
                    difference = _difference(chunks[0], chunks[1])
                    if needed:
                        own = torch.autograd.grad(difference.sum(), leaves)
                        for which, each in zip(needed, own, strict=True):
                            gradients[which][part] = each
                found[image, part[2]] = difference.detach()
        ctx.needed = needed
        ctx.save_for_backward(*gradients.values())
        return found

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        found: list[Tensor | None] = [None, None]
        for which, saved in zip(ctx.needed, ctx.saved_tensors, strict=True):
            found[which] = saved * gradient.unsqueeze(1)
        return tuple(found)


def _difference(first: Tensor, second: Tensor) -> Tensor:
    """Return CIEDE2000 (H, W) of opponent colours (3, H, W)."""
    with torch.autocast(first.device.type, enabled=False):
        relative = _relative_of_opponent(first.device)
        labs = []
        for colours in (first, second):
            x, y, z = (relative @ colours.flatten(1)).unflatten(1, colours.shape[1:])
            labs.append(lab_of_xyz(x, y, z))
        return ciede2000(labs[0], labs[1])


@lru_cache(maxsize=8)
def _relative_of_opponent(device: torch.device) -> Tensor:
    """Return the matrix from opponent colours to XYZ divided by the white's."""
    with torch.inference_mode(False), torch.no_grad():
        white = torch.tensor(_XYZ_OF_RGB, dtype=torch.float64).sum(dim=1, keepdim=True)
        inverse = torch.linalg.inv(torch.tensor(_OPPONENT_OF_XYZ, dtype=torch.float64))
        matrix: Tensor = inverse / white
        return matrix.float().to(device)


def _filter(opponent: Tensor, pixels_per_degree: float) -> Tensor:
    """Apply each channel's sum of Gaussians, (N, 3, H, W) to the same."""
    size = (int(opponent.shape[2]), int(opponent.shape[3]))
    found = torch.empty_like(opponent, memory_format=torch.contiguous_format)
    with torch.autocast(opponent.device.type, enabled=False):
        for channel, gaussians in enumerate(_FILTERS):
            plane = opponent[:, channel].contiguous()
            total = sum(weight for weight, _ in gaussians)
            scaled = [
                (weight / total, spread * pixels_per_degree / math.sqrt(2.0))
                for weight, spread in gaussians
            ]
            narrow = [each for each in scaled if _is_narrow(each[1], size)]
            wide = tuple(each for each in scaled if not _is_narrow(each[1], size))
            out = _spectral(plane, wide) if wide else torch.zeros_like(plane)
            for weight, deviation in narrow:
                taps = _taps(deviation)
                out.add_(_sum_taps(_sum_taps(plane, taps, 2), taps, 1), alpha=weight)
            found[:, channel] = out
    return found


def _is_narrow(deviation: float, size: tuple[int, int]) -> bool:
    return deviation <= _NARROW and len(_taps(deviation)) <= min(size)


@lru_cache(maxsize=256)
def _taps(deviation: float) -> tuple[float, ...]:
    """Return a Gaussian at 0, 1, ... pixels, up to four deviations; of sum 1 with its mirror."""
    taps = [
        math.exp(-0.5 * (place / deviation) ** 2) for place in range(int(4.0 * deviation + 0.5) + 1)
    ]
    total = taps[0] + 2.0 * sum(taps[1:])
    return tuple(tap / total for tap in taps)


def _sum_taps(plane: Tensor, taps: tuple[float, ...], dim: int) -> Tensor:
    """Filter along a side with the edges reflected (d c b a | a b c d | d c b a)."""
    reach, length = len(taps) - 1, plane.shape[dim]
    if reach == 0:
        return plane
    before = plane.narrow(dim, 0, reach).flip(dim)
    after = plane.narrow(dim, length - reach, reach).flip(dim)
    padded = torch.cat((before, plane, after), dim=dim)
    found = plane * taps[0]
    for place, tap in enumerate(taps[1:], 1):
        found.add_(padded.narrow(dim, reach - place, length), alpha=tap)
        found.add_(padded.narrow(dim, reach + place, length), alpha=tap)
    return found


def _spectral(plane: Tensor, gaussians: tuple[tuple[float, float], ...]) -> Tensor:
    """Filter with wide Gaussians by the cosine transform, whose edges are reflected likewise.

    Of their cosines only the slow ones are left, so the transform is two small products.
    """
    height, width = plane.shape[1:]
    rows, columns, gain = _cosines(height, width, gaussians, plane.device)
    coefficients = (rows @ plane @ columns.T) * gain
    found: Tensor = rows.T @ (coefficients @ columns)
    return found


@lru_cache(maxsize=64)
def _cosines(
    height: int, width: int, gaussians: tuple[tuple[float, float], ...], device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the cosines of rows (K, H) and columns (L, W) and the filters' gain (K, L)."""
    with torch.inference_mode(False), torch.no_grad():
        narrowest = min(deviation for _, deviation in gaussians)
        bases, frequencies = [], []
        for length in (height, width):
            count = min(length, math.ceil(_CUTOFF * length / (math.pi * narrowest)) + 1)
            orders = torch.arange(count, dtype=torch.float64)
            places = (torch.arange(length, dtype=torch.float64) + 0.5) / length
            basis = torch.cos(math.pi * orders[:, None] * places) * math.sqrt(2.0 / length)
            basis[0] *= math.sqrt(0.5)
            bases.append(basis.float().to(device))
            frequencies.append(math.pi * orders / length)
        square = frequencies[0][:, None] ** 2 + frequencies[1] ** 2
        gain = torch.zeros_like(square)
        for weight, deviation in gaussians:
            gain += weight * torch.exp(-0.5 * deviation**2 * square)
        return bases[0], bases[1], gain.float().to(device)
