"""What camera forensics adds to mean and correlation: clean-up, weighting, peak search.

Chen, Fridrich, Goljan and Lukas 2008 (IEEE TIFS 3(1)), and Goljan, Fridrich and Filler 2009 (SPIE
7254) for the peak-to-correlation energy. All are optional. Clean-up takes away what is periodic:
in cameras that is what all units of a model share, in images of a generator it is much of the
fingerprint.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from artfp.core.errors import UserError
from artfp.passive.residuals.residual_fingerprint import ResidualFingerprint, correlation
from artfp.passive.residuals.settings import PrnuSettings
from artfp.perturbations.photometric import LUMA

NEIGHBOURHOOD = 11
"""Pixels a side around the peak that do not count towards the energy in `pce`."""


class Peaks(NamedTuple):
    """The highest of the correlations over all shifts, for each of N arrays with each of K."""

    pce: Tensor
    """Peak-to-correlation energy (N, K), with the sign of the correlation at the peak."""
    correlation: Tensor
    """Correlation at the peak (N, K)."""
    shift: Tensor
    """(N, K, 2): by how many rows and columns the first is the second moved down and right."""


def grey(x: Tensor) -> Tensor:
    """Luminance (N, 1, H, W) of images or residuals (N, 3, H, W). UserError: other channels."""
    if x.ndim != 4 or x.shape[1] != 3:
        raise UserError(f"grey: found shape {tuple(x.shape)}; expected (N, 3, H, W)")
    return (x * x.new_tensor(LUMA)[:, None, None]).sum(1, keepdim=True)


def zero_mean(x: Tensor) -> Tensor:
    """Residuals or fingerprints (N, C, H, W) without the means of rows and columns, by parity.

    For each of the four sub-lattices of even and odd rows and columns, which a Bayer sensor's
    colours lie on. Takes away stripes and demosaicing patterns, and the mean (Chen et al. 2008).
    """
    out = x.clone()
    for row in (0, 1):
        for column in (0, 1):
            part = x[..., row::2, column::2]
            if part.numel():
                rows, columns = part.mean(-1, keepdim=True), part.mean(-2, keepdim=True)
                whole = part.mean((-1, -2), keepdim=True)
                out[..., row::2, column::2] = part - rows - columns + whole
    return out


def wiener_dft(x: Tensor, sigma: float | None = None) -> Tensor:
    """Residuals or fingerprints (N, C, H, W) without the peaks of their spectra, each plane alone.

    Each frequency is scaled by v / (v + s), v = sigma^2 and s what the power around it exceeds v
    by: the smallest max(0, mean - v) over windows of 3, 5, 7 and 9 frequencies a side, which
    continue on the other side of the spectrum (Chen et al. 2008). `sigma` is in
    x's units; None takes each plane's own standard deviation.
    """
    height, width = x.shape[-2:]
    spectrum = torch.fft.fft2(x.float())
    power = spectrum.abs().square() / (height * width)
    if sigma is None:
        noise = x.float().var((-1, -2), correction=0, keepdim=True)
    else:
        noise = x.new_full((1, 1, 1, 1), sigma**2)
    signal = _least_window_mean(power).sub_(noise).clamp_min_(0.0)
    gain = noise / (noise + signal).clamp_min(1e-30)
    return torch.fft.ifft2(spectrum * gain).real


def maximum_likelihood(fingerprint: ResidualFingerprint) -> Tensor:
    """Maximum-likelihood estimate (C, H, W) of K in image (1 + K) + noise: sum W I / sum I^2.

    W are the residuals and I the images in [0, 1] (Chen et al. 2008). K is a factor: in an
    image I it amounts to I K, which is what a residual of I is to be correlated with.

    Raises UserError: the fingerprint was not estimated with `weighted`.
    """
    product, square = fingerprint.product, fingerprint.square
    if product is None or square is None:
        raise UserError(
            f"fingerprint of {fingerprint.source}: maximum likelihood needs one that was estimated "
            "with weighted=True"
        )
    dark = square <= 0  # black in all images: W says nothing of K there
    return torch.where(dark, 0.0, product / torch.where(dark, 1.0, square)).float()


def pce(a: Tensor, b: Tensor, reach: int | None = None) -> Peaks:
    """Peak-to-correlation energy of each of a (N, C, H, W) with each of b (K, C, H', W').

    c(s) is the circular cross-correlation at shift s, of arrays with their means taken off, summed
    over channels; the peak is its maximum. The energy is the mean of c^2 outside the 11x11 shifts
    around the peak; pce = sign(c) c^2 / energy at the peak (Goljan et al. 2009). Smaller
    arrays are extended by zeros below and at the right. `reach` limits the shifts that are
    searched to so many pixels each way; 0: not shifted at all.

    Raises UserError: channels differ, or arrays of no more than the neighbourhood.
    """
    if a.ndim != 4 or b.ndim != 4 or a.shape[1] != b.shape[1]:
        raise UserError(
            f"pce of {tuple(a.shape)} and {tuple(b.shape)}: "
            "expected (N, C, H, W) and (K, C, H', W')"
        )
    height, width = (max(a.shape[dim], b.shape[dim]) for dim in (2, 3))
    near = [torch.arange(min(NEIGHBOURHOOD, side), device=a.device) for side in (height, width)]
    outside = height * width - len(near[0]) * len(near[1])
    if outside < 1:
        raise UserError(f"pce of {width}x{height}: larger than {NEIGHBOURHOOD} pixels needed")
    left, right = (_unit(x.to(a.device)) for x in (a, b))
    size = (height, width)
    spectra = torch.fft.rfft2(right, s=size).conj()
    allowed = _within(height, reach, a.device)[:, None] & _within(width, reach, a.device)
    found = []
    for row in left:
        product = (torch.fft.rfft2(row, s=size) * spectra).sum(1)
        surface = torch.fft.irfft2(product, s=size)
        at = surface.masked_fill(~allowed, -torch.inf).flatten(1).argmax(1)
        y, x = at // width, at % width
        peak = surface.flatten(1).gather(1, at[:, None])[:, 0]
        around_y = (y[:, None] + near[0] - len(near[0]) // 2) % height
        around_x = (x[:, None] + near[1] - len(near[1]) // 2) % width
        energy = surface.square()
        which = torch.arange(len(b), device=a.device)[:, None, None]
        energy[which, around_y[:, :, None], around_x[:, None, :]] = 0.0
        floor = energy.sum((1, 2)) / outside
        ratio = peak.sign() * peak.square() / floor.clamp_min(1e-30)
        moved = torch.stack([_signed(y, height), _signed(x, width)], 1)
        found.append((ratio, peak, moved))
    if not found:
        none = a.new_zeros(0, len(b), dtype=torch.float32)
        return Peaks(none, none, none.new_zeros(0, len(b), 2, dtype=torch.int64))
    return Peaks(*(torch.stack(each) for each in zip(*found, strict=True)))


def reference_patterns(
    fingerprints: Sequence[ResidualFingerprint], settings: PrnuSettings
) -> Tensor:
    """Return what residuals are compared with, (K, C, H, W), one for each of K fingerprints.

    Raises:
        UserError: no fingerprint, several sizes or extractors, one without images, or, for maximum
            likelihood, one that was estimated without `weighted`.
    """
    for what in ("shape", "extractor"):
        values = {getattr(each, what) for each in fingerprints}
        if len(values) != 1:
            found = ", ".join(sorted(map(str, values))) or "none"
            raise UserError(f"fingerprints to compare with: one {what} expected, found {found}")
    estimates = [
        maximum_likelihood(each) if settings.maximum_likelihood else each.mean
        for each in fingerprints
    ]
    cleaned = clean_residuals(torch.stack(estimates), settings)
    return cleaned - cleaned.mean(0) if settings.subtract_grand_mean else cleaned


def clean_residuals(x: Tensor, settings: PrnuSettings) -> Tensor:
    """Clean residuals or estimates (N, C, H, W) for comparison; (N, 1, H, W) if grey."""
    x = grey(x) if settings.grey else x
    x = zero_mean(x) if settings.zero_mean else x
    return wiener_dft(x) if settings.wiener else x


def compare_residuals(cleaned: Tensor, references: Tensor, settings: PrnuSettings) -> Tensor:
    """Return scores (N, K) of cleaned residuals with reference patterns; higher is more likely."""
    if settings.pce:
        return pce(cleaned, references, settings.max_shift).pce
    return correlation(cleaned, references)


def _least_window_mean(planes: Tensor) -> Tensor:
    """Least of the means over 3x3, 5x5, 7x7, 9x9 around each value; borders go on opposite."""
    reach = 4
    height, width = planes.shape[-2:]
    for dim, size in ((-2, height), (-1, width)):
        at = torch.arange(-reach, size + reach, device=planes.device) % size
        planes = planes.index_select(dim, at)
    column = planes.narrow(-2, reach, height).clone()
    least = torch.full_like(column.narrow(-1, reach, width), torch.inf)
    for far in range(1, reach + 1):
        column += planes.narrow(-2, reach - far, height)
        column += planes.narrow(-2, reach + far, height)
        window = column.narrow(-1, reach, width).clone()
        for aside in range(1, far + 1):
            window += column.narrow(-1, reach - aside, width)
            window += column.narrow(-1, reach + aside, width)
        least = torch.minimum(least, window.div_((2 * far + 1) ** 2))
    return least


def _unit(x: Tensor) -> Tensor:
    centred = x.float() - x.float().mean((1, 2, 3), keepdim=True)
    norm = centred.square().sum((1, 2, 3), keepdim=True).sqrt()
    return centred / norm.clamp_min(1e-30)


def _within(side: int, reach: int | None, device: torch.device) -> Tensor:
    at = torch.arange(side, device=device)
    return torch.minimum(at, side - at) <= (side if reach is None else reach)


def _signed(at: Tensor, side: int) -> Tensor:
    return torch.where(at > side // 2, at - side, at)
