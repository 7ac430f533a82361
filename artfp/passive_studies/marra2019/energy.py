"""Energy of averaged residuals by number of images, and autocorrelation (Marra et al. 2019).

Of N residuals that share a fingerprint F and are independent otherwise, the mean has the expected
energy |F|^2 + s / N, s the energy of what is not shared. This is no model: over all subsets of a
set of images the mean energy is exactly A + B / N, A the mean product of two different residuals.
The paper writes Einf + E0 2^-N; both are fitted. (With the number of doublings, log2 N, in the
place of N the two are the same.) Upsampling leaves peaks in the autocorrelation at its period.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

SHAPES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "averaging": lambda n: 1.0 / n,
    "halving": lambda n: 2.0**-n,
}
"""Decay of the energy above its limit with N: 1 / N, or the paper's 2^-N."""

GREY_LEVELS = 255.0**2
"""Squared grey levels in the square of a unit of [0, 1]."""


@dataclass(frozen=True)
class BlockMeans:
    """Means of blocks of N consecutive residuals of a stream, N = 1, 2, 4, ... and all of them."""

    count: int
    """Number of residuals."""
    energies: dict[int, list[float]] = field(default_factory=dict)
    """Energy of every block's mean by N: mean square over its values, grey levels^2."""
    means: dict[int, list[Tensor]] = field(default_factory=dict)
    """Means (C, H, W), float32, of the first blocks by N."""

    def mean_energies(self) -> dict[int, float]:
        """Return the mean energy of the blocks of each N, from small N to large."""
        return {count: float(np.mean(self.energies[count])) for count in sorted(self.energies)}


def block_means(batches: Iterable[Tensor], keep: int = 0) -> BlockMeans:
    """Average the residuals (N, C, H, W) of batches over blocks of 1, 2, 4, ... in their order.

    Blocks of one N share no image; those of N lie whole in those of 2 N. One sum for each N is in
    memory, and the means of the first `keep` blocks. Residuals have the unit of pixels in [0, 1].
    """
    found = BlockMeans(0)
    open_sums: dict[int, Tensor] = {}
    count = 0
    for batch in batches:
        for residual in batch.double():
            size, total = 1, residual
            _record(found, size, total, keep)
            while size in open_sums:
                total = open_sums.pop(size) + total
                size *= 2
                _record(found, size, total, keep)
            open_sums[size] = total
            count += 1
    if count and count not in found.energies:
        _record(found, count, sum(open_sums.values(), total * 0.0), keep)
    return BlockMeans(count, found.energies, found.means)


def _record(found: BlockMeans, size: int, total: Tensor, keep: int) -> None:
    mean = total / size
    found.energies.setdefault(size, []).append(float(mean.square().mean()) * GREY_LEVELS)
    means = found.means.setdefault(size, [])
    if len(means) < keep:
        means.append(mean.float())


@dataclass(frozen=True)
class EnergyFit:
    """Fit limit + excess * shape(N) of the energies, with its residual error."""

    shape: str
    relative: bool
    """True if the squared relative deviations were minimised, False if the plain ones were."""
    limit: float
    """Einf, grey levels^2."""
    excess: float
    """E0, grey levels^2."""
    rms: float
    """Root mean square of fit minus energy, grey levels^2."""
    relative_rms: float
    """Root mean square of fit / energy - 1."""

    def at(self, counts: Iterable[float]) -> np.ndarray:
        """Return the fit's energies at numbers of images."""
        return self.limit + self.excess * SHAPES[self.shape](np.asarray(list(counts), np.float64))


def fit_energies(
    counts: Sequence[int], energies: Sequence[float], shape: str, relative: bool
) -> EnergyFit:
    """Fit a shape to energies over 0 at two numbers of images or more, by least squares."""
    n, measured = np.asarray(counts, np.float64), np.asarray(energies, np.float64)
    columns = np.stack([np.ones_like(n), SHAPES[shape](n)], 1)
    weight = 1.0 / measured if relative else np.ones_like(measured)
    limit, excess = np.linalg.lstsq(columns * weight[:, None], measured * weight, rcond=None)[0]
    error = columns @ (limit, excess) - measured
    rms, relative_rms = (float(np.sqrt(np.mean(np.square(d)))) for d in (error, error / measured))
    return EnergyFit(shape, relative, float(limit), float(excess), rms, relative_rms)


@dataclass(frozen=True)
class EnergyCurve:
    """Energy of a source's averaged residuals, with its fits."""

    source: str
    energies: dict[int, float]
    """Mean energy of blocks of N residuals, by N, grey levels^2."""
    fits: tuple[EnergyFit, ...]
    """Fits of each shape, by relative deviations and by plain ones."""
    shared: float
    """Mean product of two different residuals: Einf without a fit, and without bias."""

    def fit(self, shape: str, relative: bool = True) -> EnergyFit:
        """Return the fit of a shape."""
        return next(f for f in self.fits if (f.shape, f.relative) == (shape, relative))

    def better(self, relative: bool = True) -> str:
        """Return the shape that fits better, by the deviations that were minimised."""
        chosen = [each for each in self.fits if each.relative == relative]
        return min(chosen, key=lambda f: f.relative_rms if relative else f.rms).shape


def fit_energy_curve(source: str, blocks: BlockMeans) -> EnergyCurve:
    """Fit both shapes to the block means of four images or more.

    Raises:
        ValueError: fewer images, or residuals that are all 0.
    """
    energies = blocks.mean_energies()
    if blocks.count < 4 or min(energies.values()) <= 0:
        raise ValueError(f"{source}: energies of {blocks.count} images; expected 4, and over 0")
    counts, values = list(energies), list(energies.values())
    fits = tuple(
        fit_energies(counts, values, shape, rel) for shape in SHAPES for rel in (True, False)
    )
    # The square of the sum of N residuals has N squares and N (N - 1) products of two.
    n = blocks.count
    shared = (n * energies[n] - energies[1]) / (n - 1)
    return EnergyCurve(source, energies, fits, shared)


@dataclass(frozen=True)
class Peak:
    """Autocorrelation of the largest magnitude away from shift 0."""

    value: float
    down: int
    """Shift in rows, 0 or more: the other half is the same mirrored."""
    right: int
    """Shift in columns."""


def autocorrelation(fingerprints: Tensor) -> Tensor:
    """Return autocorrelations (K, 2H - 1, 2W - 1) of (K, C, H, W), float64 on the CPU.

    Sums of products over the pixels that overlap and over channels, of the fingerprint with the
    mean over all its values subtracted; 1 at shift 0, which is in the middle. A constant one has 0
    everywhere.
    """
    x = fingerprints.cpu().double()
    x = x - x.mean((1, 2, 3), keepdim=True)
    height, width = x.shape[-2:]
    size = (2 * height - 1, 2 * width - 1)
    power = torch.fft.rfft2(x, s=size).abs().square().sum(1)
    found = torch.fft.fftshift(torch.fft.irfft2(power, s=size), dim=(1, 2))
    energy = x.square().sum((1, 2, 3))[:, None, None]
    return torch.where(energy > 0, found / energy.clamp_min(1e-300), 0.0)


def crop_shifts(surface: NDArray[np.float64], max_shift: int) -> NDArray[np.float64]:
    """Return the middle of an autocorrelation: shifts of up to `max_shift` pixels."""
    rows, columns = (
        slice(max(0, s // 2 - max_shift), s // 2 + max_shift + 1) for s in surface.shape
    )
    return surface[rows, columns]


def strongest_peak(surface: NDArray[np.float64], min_shift: int, max_shift: int) -> Peak:
    """Find the value of the largest magnitude at shifts from `min_shift` to `max_shift` pixels.

    Raises:
        ValueError: there is no such shift.
    """
    middle = crop_shifts(surface, max_shift)
    rows, columns = (np.arange(side) - side // 2 for side in middle.shape)
    far = np.maximum(np.abs(rows)[:, None], np.abs(columns)) >= min_shift
    far[rows < 0] = False
    if not far.any():
        raise ValueError(f"shifts from {min_shift} to {max_shift} in a surface of {surface.shape}")
    y, x = np.unravel_index(np.argmax(np.where(far, np.abs(middle), -1.0)), middle.shape)
    return Peak(float(middle[y, x]), int(rows[y]), int(columns[x]))
