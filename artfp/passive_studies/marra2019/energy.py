"""How the energy of an averaged residual falls with the number of images (Marra et al. 2019).

Of N residuals that share a fingerprint F and are independent otherwise, the mean has the expected
energy |F|^2 + s / N, s the energy of what is not shared. This is no model: over all subsets of a
set of images the mean energy is exactly A + B / N, A the mean product of two different residuals.
The paper writes Einf + E0 2^-N; both are fitted. (With the number of doublings, log2 N, in the
place of N the two are one.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor

SHAPES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "averaging": lambda n: 1.0 / n,
    "halving": lambda n: 2.0**-n,
}
"""What the energy above its limit is proportional to: 1 / N, or the paper's 2^-N."""

GREY_LEVELS = 255.0**2
"""From the square of a unit in [0, 1] to squared grey levels."""


@dataclass(frozen=True)
class Blocks:
    """Of blocks of N consecutive residuals of a stream, N = 1, 2, 4, ... and all of them."""

    count: int
    """Number of residuals."""
    energies: dict[int, list[float]] = field(default_factory=dict)
    """Of each N the energy of every block's mean: mean square over its values, grey levels^2."""
    means: dict[int, list[Tensor]] = field(default_factory=dict)
    """Of each N the means (C, H, W), float32, of the first blocks, as many as were to be kept."""

    def energy(self) -> dict[int, float]:
        """Mean energy of the blocks of each N, from small N to large."""
        return {count: float(np.mean(self.energies[count])) for count in sorted(self.energies)}


def block_means(batches: Iterable[Tensor], keep: int = 0) -> Blocks:
    """Average the residuals (N, C, H, W) of batches over blocks of 1, 2, 4, ... in their order.

    Blocks of one N share no image; those of N lie whole in those of 2 N. One sum for each N is in
    memory, and the means of the first `keep` blocks. Residuals are in [0, 1]'s units.
    """
    found = Blocks(0)
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
    return Blocks(count, found.energies, found.means)


def _record(found: Blocks, size: int, total: Tensor, keep: int) -> None:
    mean = total / size
    found.energies.setdefault(size, []).append(float(mean.square().mean()) * GREY_LEVELS)
    kept = found.means.setdefault(size, [])
    if len(kept) < keep:
        kept.append(mean.float())


@dataclass(frozen=True)
class Fit:
    """limit + excess times a shape of N, and how far from it the energies are."""

    shape: str
    relative: bool
    """Whether the sum of squared relative deviations was made least, or that of plain ones."""
    limit: float
    """Einf, grey levels^2."""
    excess: float
    """E0, grey levels^2."""
    rms: float
    """Root mean square of fit minus energy, grey levels^2."""
    relative_rms: float
    """Root mean square of fit / energy - 1."""

    def at(self, counts: Iterable[float]) -> np.ndarray:
        """The fit's energies at numbers of images."""
        return self.limit + self.excess * SHAPES[self.shape](np.asarray(list(counts), np.float64))


def fit(counts: Sequence[int], energies: Sequence[float], shape: str, relative: bool) -> Fit:
    """The least-squares fit of a shape to energies over 0 at numbers of images, two or more."""
    n, measured = np.asarray(counts, np.float64), np.asarray(energies, np.float64)
    columns = np.stack([np.ones_like(n), SHAPES[shape](n)], 1)
    weight = 1.0 / measured if relative else np.ones_like(measured)
    limit, excess = np.linalg.lstsq(columns * weight[:, None], measured * weight, rcond=None)[0]
    off = columns @ (limit, excess) - measured
    rms, relative_rms = (float(np.sqrt(np.mean(np.square(d)))) for d in (off, off / measured))
    return Fit(shape, relative, float(limit), float(excess), rms, relative_rms)


@dataclass(frozen=True)
class Energy:
    """The energy of a source's averaged residuals, with its fits."""

    source: str
    energies: dict[int, float]
    """Mean energy of blocks of N residuals, by N, grey levels^2."""
    fits: tuple[Fit, ...]
    """Of each shape, by relative deviations and by plain ones."""
    shared: float
    """Mean product of two different residuals: Einf without a fit, and without bias."""

    def fit(self, shape: str, relative: bool = True) -> Fit:
        """The fit of a shape."""
        return next(f for f in self.fits if (f.shape, f.relative) == (shape, relative))

    def better(self, relative: bool = True) -> str:
        """The shape that fits better, by the deviations that were made least."""
        chosen = [each for each in self.fits if each.relative == relative]
        return min(chosen, key=lambda f: f.relative_rms if relative else f.rms).shape


def energy_of(source: str, blocks: Blocks) -> Energy:
    """Fit both shapes to what `block_means` found on four images or more.

    Raises ValueError: fewer images, or residuals that are all 0.
    """
    energies = blocks.energy()
    if blocks.count < 4 or min(energies.values()) <= 0:
        raise ValueError(f"{source}: energies of {blocks.count} images; expected 4, and over 0")
    counts, values = list(energies), list(energies.values())
    fits = tuple(fit(counts, values, shape, rel) for shape in SHAPES for rel in (True, False))
    all_of = blocks.count
    shared = (all_of * energies[all_of] - energies[1]) / (all_of - 1)
    return Energy(source, energies, fits, shared)
