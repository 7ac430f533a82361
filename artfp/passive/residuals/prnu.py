"""Additions of camera forensics to mean and correlation: clean-up, weighting, peak search.

Chen, Fridrich, Goljan and Lukas 2008 (IEEE TIFS 3(1)), and Goljan, Fridrich and Filler 2009 (SPIE
7254) for the peak-to-correlation energy. All are optional (`PrnuSettings`). Clean-up removes what
is periodic: in cameras that is what all units of a model share, in images of a generator it is much
of the fingerprint. As measured by `benchmarks/cameras.py` and `benchmarks/generators.py`, zero mean
and DFT-Wiener raise the AUC of cameras a little and lower that of generators, grey and maximum
likelihood gain nothing with either, and subtracting the grand mean raises both.
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
"""Side in pixels of the square around the peak that does not count towards the energy in `pce`."""


class Peaks(NamedTuple):
    """Highest correlations over all shifts, of each of N arrays with each of K."""

    pce: Tensor
    """Peak-to-correlation energy (N, K), with the sign of the correlation at the peak."""
    correlation: Tensor
    """Correlation at the peak (N, K)."""
    shift: Tensor
    """Rows and columns (N, K, 2) by which the second is moved down and right to give the first."""


def grey(x: Tensor) -> Tensor:
    """Return luminance (N, 1, H, W) of images or residuals (N, 3, H, W); else UserError."""
    if x.ndim != 4 or x.shape[1] != 3:
        raise UserError(f"grey: found shape {tuple(x.shape)}; expected (N, 3, H, W)")
    return (x * x.new_tensor(LUMA)[:, None, None]).sum(1, keepdim=True)


def zero_mean(x: Tensor) -> Tensor:
    """Subtract means of rows and columns from residuals or fingerprints (N, C, H, W), by parity.

    In each of the four sub-lattices of even and odd rows and columns, on which the colours of a
    Bayer sensor lie. Removes stripes and demosaicing patterns, and the mean (Chen et al. 2008).
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
    """Suppress the peaks of the spectra of residuals or fingerprints (N, C, H, W), plane by plane.

    Each frequency is scaled by v / (v + s), where v = sigma^2 and s is the excess of the power
    around it over v: the smallest max(0, mean - v) over windows of 3, 5, 7 and 9 frequencies a
    side, which continue on the other side of the spectrum (Chen et al. 2008). `sigma` is in the
    units of `x`; None takes each plane's own standard deviation.
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
    cleaned: Tensor = torch.fft.ifft2(spectrum * gain).real
    return cleaned


def maximum_likelihood(fingerprint: ResidualFingerprint) -> Tensor:
    """Return the maximum-likelihood estimate (C, H, W) of K in image (1 + K) + noise.

    It is sum W I / sum I^2, of residuals W and images I in [0, 1] (Chen et al. 2008). K is a
    factor: in an image I it amounts to I K, with which a residual of I is to be correlated.

    Raises:
        UserError: the fingerprint was not estimated with `weighted`.
    """
    product, square = fingerprint.product, fingerprint.square
    if product is None or square is None:
        raise UserError(
            f"fingerprint of {fingerprint.source}: maximum likelihood needs one that was estimated "
            "with weighted=True"
        )
    dark = square <= 0  # black in all images: W holds nothing of K there
    return torch.where(dark, 0.0, product / torch.where(dark, 1.0, square)).float()


def pce(a: Tensor, b: Tensor, max_shift: int | None = None) -> Peaks:
    """Return the peak-to-correlation energy (PCE) of arrays with arrays.

    c(s) is the circular cross-correlation at shift s, of arrays minus their means, summed over
    channels; the peak is its maximum. The energy is the mean of c^2 outside the 11x11 shifts around
    the peak; PCE = sign(c) c^2 / energy at the peak (Goljan, Fridrich and Filler 2009). Smaller
    arrays are extended by zeros below and at the right.

    Args:
        a: Residuals (N, C, H, W).
        b: Residual fingerprints (K, C, H', W').
        max_shift: Pixels each way of the shifts that are searched; 0 for no shift, None for all.

    Returns:
        PCE (N, K), the correlation at the peak (N, K), and the shift there (N, K, 2).

    Raises:
        UserError: channels differ, or arrays of no more than the neighbourhood.

    Example:
        >>> import torch
        >>> a = torch.randn(1, 1, 32, 32, generator=torch.Generator().manual_seed(0))
        >>> found = pce(a.roll((2, -3), (2, 3)), a)
        >>> found.shift.tolist(), bool(found.pce > 500)
        ([[[2, -3]]], True)
    """
    if a.ndim != 4 or b.ndim != 4 or a.shape[1] != b.shape[1]:
        raise UserError(
            f"pce of {tuple(a.shape)} and {tuple(b.shape)}: "
            "expected (N, C, H, W) and (K, C, H', W')"
        )
    height, width = (max(a.shape[dim], b.shape[dim]) for dim in (2, 3))
    nearby = [torch.arange(min(NEIGHBOURHOOD, side), device=a.device) for side in (height, width)]
    outside = height * width - len(nearby[0]) * len(nearby[1])
    if outside < 1:
        raise UserError(f"pce of {width}x{height}: larger than {NEIGHBOURHOOD} pixels needed")
    left, right = (_unit(x.to(a.device)) for x in (a, b))
    size = (height, width)
    spectra = torch.fft.rfft2(right, s=size).conj()
    allowed = _within(height, max_shift, a.device)[:, None] & _within(width, max_shift, a.device)
    found = []
    for row in left:
        # Cross-correlations of one array with all K, by the correlation theorem; then their peaks.
        product = (torch.fft.rfft2(row, s=size) * spectra).sum(1)
        surface = torch.fft.irfft2(product, s=size)
        place = surface.masked_fill(~allowed, -torch.inf).flatten(1).argmax(1)
        y, x = place // width, place % width
        peak = surface.flatten(1).gather(1, place[:, None])[:, 0]
        # The energy is taken outside the neighbourhood of the peak, which wraps around.
        around_y = (y[:, None] + nearby[0] - len(nearby[0]) // 2) % height
        around_x = (x[:, None] + nearby[1] - len(nearby[1]) // 2) % width
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
    """Return the least mean over 3x3, 5x5, 7x7, 9x9 around each value of circular planes."""
    largest = 4
    height, width = planes.shape[-2:]
    for dim, size in ((-2, height), (-1, width)):
        index = torch.arange(-largest, size + largest, device=planes.device) % size
        planes = planes.index_select(dim, index)
    # Each window is the one before and a frame around it: the sums over columns are kept.
    column = planes.narrow(-2, largest, height).clone()
    least = torch.full_like(column.narrow(-1, largest, width), torch.inf)
    for radius in range(1, largest + 1):
        column += planes.narrow(-2, largest - radius, height)
        column += planes.narrow(-2, largest + radius, height)
        window = column.narrow(-1, largest, width).clone()
        for offset in range(1, radius + 1):
            window += column.narrow(-1, largest - offset, width)
            window += column.narrow(-1, largest + offset, width)
        least = torch.minimum(least, window.div_((2 * radius + 1) ** 2))
    return least


def _unit(x: Tensor) -> Tensor:
    centred = x.float() - x.float().mean((1, 2, 3), keepdim=True)
    norm = centred.square().sum((1, 2, 3), keepdim=True).sqrt()
    return centred / norm.clamp_min(1e-30)


def _within(side: int, max_shift: int | None, device: torch.device) -> Tensor:
    shift = torch.arange(side, device=device)
    return torch.minimum(shift, side - shift) <= (side if max_shift is None else max_shift)


def _signed(shift: Tensor, side: int) -> Tensor:
    return torch.where(shift > side // 2, shift - side, shift)
