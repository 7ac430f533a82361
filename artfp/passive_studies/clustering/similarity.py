"""What images of one source share, found without knowing the sources: patterns and spectra.

Each comes as the inner products of all pairs of images, with those of a like set that shares
nothing, and becomes vectors, in the space of the principal components that stand out from chance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import linalg
from torch import Tensor

__all__ = ["Evidence", "directions", "log_powers", "of_patterns", "of_spectra", "whitened"]

Array = NDArray[np.float64]

MARGIN = 3.0
"""How far above the largest eigenvalue by chance others stand out, in units of what this is above
their mean over N^(2/3): about how largest eigenvalues of noise scatter (Johnstone 2001)."""

WEIGHT = 0.6
"""Length of an image's vector of spectra, where that of its pattern is 1."""

BANDS = 32
"""Frequencies down and across that log powers are told of, at most; more are averaged."""

_FLOOR = 0.01
"""Share of the largest amplitude of the mean spectrum that whitening does not go below."""
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Evidence:
    """What images share, as inner products (N, N), and what they would by chance."""

    shared: Array
    chance: Array
    equal: bool
    """Whether components count alike, whatever their eigenvalues are."""
    weight: float

    def of(self, members: NDArray[np.intp]) -> Evidence:
        """Of some of the images."""
        part = np.ix_(members, members)
        return Evidence(self.shared[part], self.chance[part], self.equal, self.weight)


def whitened(residuals: Tensor) -> Tensor:
    """Residuals (N, C, H, W) divided, frequency by frequency, by their mean amplitude; float32.

    Each image counts alike in the mean, whatever its residual's energy. Amplitudes below `_FLOOR`
    of the largest one are taken for that.
    """
    spectra = torch.fft.rfft2(residuals.float())
    power = spectra.abs().square()
    each = power.sum((1, 2, 3), keepdim=True)
    amplitude = (power / each.clamp_min(1e-30)).mean(0, keepdim=True).sqrt()
    amplitude = amplitude.clamp_min(_FLOOR * amplitude.amax()).clamp_min(1e-30)
    return torch.fft.irfft2(spectra / amplitude, s=residuals.shape[-2:])


def log_powers(residuals: Tensor) -> Array:
    """Log powers (N, F) of residuals (N, C, H, W), less each image's mean over all of them.

    Powers are averaged over neighbouring frequencies where there are more than BANDS. A millionth
    of the image's mean power is added to each.
    """
    power = torch.fft.rfft2(residuals.float()).abs().square()
    height, width = power.shape[-2:]
    bands = min(height, BANDS), min(width, BANDS // 2 + 1)
    power = torch.nn.functional.adaptive_avg_pool2d(power, bands).flatten(1).double()
    mean = power.mean(1, keepdim=True)
    logs = (power + 1e-6 * mean).clamp_min(1e-30).log()
    return np.asarray((logs - logs.mean(1, keepdim=True)).cpu().numpy())


def of_patterns(residuals: Tensor, rng: np.random.Generator) -> Evidence:
    """Correlations of whitened residuals (N, C, H, W), and of the same ones moved at random.

    Of the moved ones, each plane of an image is shifted by the same rows and columns, in a circle,
    and its sign is drawn.
    """
    white = whitened(residuals)
    height, width = white.shape[-2:]
    shared = _products(white)
    for image in white:
        shift = (int(rng.integers(height)), int(rng.integers(width)))
        sign = 1.0 if rng.random() < 0.5 else -1.0
        image.copy_(sign * image.roll(shift, (-2, -1)))
    return Evidence(shared, _products(white), False, 1.0)


def of_spectra(residuals: Tensor, rng: np.random.Generator) -> Evidence:
    """Inner products of log powers of residuals (N, C, H, W), less their means over all images.

    By chance: each log power exchanged between the images at random.
    """
    logs = log_powers(residuals)
    logs -= logs.mean(0)
    mixed = rng.permuted(logs, axis=0)
    return Evidence(logs @ logs.T, mixed @ mixed.T, True, WEIGHT)


def directions(evidence: Sequence[Evidence], components: float = 2.0) -> Array | None:
    """Unit vectors (N, D) of images by all that they share; None where nothing stands out."""
    found = [_vectors(each, components) for each in evidence]
    if all(vectors is None for vectors in found):
        return None
    z = np.concatenate([vectors for vectors in found if vectors is not None], 1)
    return _normed(z)


def _vectors(evidence: Evidence, components: float) -> Array | None:
    """Vectors of length `weight` in the space of the components that stand out, and more."""
    count = len(evidence.shared)
    rows = evidence.shared.mean(0)
    centred = evidence.shared - rows - rows[:, None] + rows.mean()
    last = [count - 1, count - 1]
    chance = linalg.eigh(
        evidence.chance, eigvals_only=True, subset_by_index=last, check_finite=False
    )
    edge, mean = float(chance[0]), float(np.trace(evidence.chance)) / count
    edge += MARGIN * max(0.0, edge - mean) * count ** (-2.0 / 3.0)
    values, vectors = linalg.eigh(centred, check_finite=False)
    standing = int((values > edge).sum())
    if not standing:
        return None
    kept = min(round(standing * components), count - 1)
    z = vectors[:, -kept:]
    if not evidence.equal:
        z = z * np.sqrt(values[-kept:].clip(0.0))
    return evidence.weight * _normed(z)


def _normed(z: Array) -> Array:
    norm = np.sqrt((z**2).sum(1, keepdims=True))
    return np.asarray(z / norm.clip(_ROUNDING))


def _products(x: Tensor) -> Array:
    """Inner products (N, N) of arrays (N, ...) without their means, of unit norm."""
    rows = x.flatten(1)
    rows = rows - rows.mean(1, keepdim=True)
    rows /= rows.norm(dim=1, keepdim=True).clamp_min(1e-30)
    return np.asarray((rows @ rows.T).double().cpu().numpy())
