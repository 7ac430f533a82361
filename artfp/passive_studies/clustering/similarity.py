"""Similarity of images by the patterns and spectra of their noise residuals.

Each is a matrix of inner products of all pairs of images, with that of a surrogate set that shares
nothing, and is embedded in the space of the principal components that exceed chance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import linalg
from torch import Tensor

Array = NDArray[np.float64]

MARGIN = 3.0
"""Margin above the largest eigenvalue by chance, in units of its distance from their mean over
N^(2/3): about the scatter of the largest eigenvalues of noise (Johnstone 2001)."""

WEIGHT = 0.6
"""Length of an image's vector of spectra, where that of its pattern is 1."""

BANDS = 32
"""Frequencies down and across of the log powers, at most; more are averaged."""

_FLOOR = 0.01
"""Smallest amplitude that whitening divides by, as a fraction of the largest."""
_ROUNDING = 1e-12


@dataclass(frozen=True)
class PairSimilarity:
    """Inner products (N, N) of all pairs of images, and of a surrogate that shares nothing."""

    shared: Array
    chance: Array
    equal: bool
    """True if components have equal weights, whatever their eigenvalues are."""
    weight: float

    def of(self, members: NDArray[np.intp]) -> PairSimilarity:
        """Return the similarity of some of the images."""
        part = np.ix_(members, members)
        return PairSimilarity(self.shared[part], self.chance[part], self.equal, self.weight)


def whiten(residuals: Tensor) -> Tensor:
    """Divide residuals (N, C, H, W), frequency by frequency, by their mean amplitude; float32.

    Each image has the same weight in the mean, whatever its residual's energy. Amplitudes below
    `_FLOOR` of the largest one are raised to that.
    """
    spectra = torch.fft.rfft2(residuals.float())
    power = spectra.abs().square()
    each = power.sum((1, 2, 3), keepdim=True)
    amplitude = (power / each.clamp_min(1e-30)).mean(0, keepdim=True).sqrt()
    amplitude = amplitude.clamp_min(_FLOOR * amplitude.amax()).clamp_min(1e-30)
    whitened: Tensor = torch.fft.irfft2(spectra / amplitude, s=residuals.shape[-2:])
    return whitened


def log_powers(residuals: Tensor) -> Array:
    """Return log powers (N, F) of residuals (N, C, H, W), less each image's mean.

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


def pattern_similarity(residuals: Tensor, rng: np.random.Generator) -> PairSimilarity:
    """Correlate whitened residuals (N, C, H, W), and randomly shifted ones as a surrogate.

    In the surrogate each plane of an image is shifted by the same rows and columns, in a circle,
    and its sign is random.
    """
    white = whiten(residuals)
    height, width = white.shape[-2:]
    shared = _products(white)
    for image in white:
        shift = (int(rng.integers(height)), int(rng.integers(width)))
        sign = 1.0 if rng.random() < 0.5 else -1.0
        image.copy_(sign * image.roll(shift, (-2, -1)))
    return PairSimilarity(shared, _products(white), False, 1.0)


def spectrum_similarity(residuals: Tensor, rng: np.random.Generator) -> PairSimilarity:
    """Return inner products of log powers of residuals (N, C, H, W), less their means.

    In the surrogate each log power is permuted between the images.
    """
    logs = log_powers(residuals)
    logs -= logs.mean(0)
    mixed = rng.permuted(logs, axis=0)
    return PairSimilarity(logs @ logs.T, mixed @ mixed.T, True, WEIGHT)


def embed_images(similarities: Sequence[PairSimilarity], components: float = 2.0) -> Array | None:
    """Return unit vectors (N, D) of images by all similarities; None if nothing exceeds chance."""
    found = [_embed(each, components) for each in similarities]
    if all(vectors is None for vectors in found):
        return None
    z = np.concatenate([vectors for vectors in found if vectors is not None], 1)
    return _normalise(z)


def _embed(similarities: PairSimilarity, components: float) -> Array | None:
    """Return vectors of length `weight` in the space of the components that exceed chance."""
    count = len(similarities.shared)
    rows = similarities.shared.mean(0)
    centred = similarities.shared - rows - rows[:, None] + rows.mean()
    last = [count - 1, count - 1]
    chance = linalg.eigh(
        similarities.chance, eigvals_only=True, subset_by_index=last, check_finite=False
    )
    edge, mean = float(chance[0]), float(np.trace(similarities.chance)) / count
    edge += MARGIN * max(0.0, edge - mean) * count ** (-2.0 / 3.0)
    values, vectors = linalg.eigh(centred, check_finite=False)
    standing = int((values > edge).sum())
    if not standing:
        return None
    kept = min(round(standing * components), count - 1)
    z = vectors[:, -kept:]
    if not similarities.equal:
        z = z * np.sqrt(values[-kept:].clip(0.0))
    return similarities.weight * _normalise(z)


def _normalise(z: Array) -> Array:
    norm = np.sqrt((z**2).sum(1, keepdims=True))
    return np.asarray(z / norm.clip(_ROUNDING))


def _products(x: Tensor) -> Array:
    """Return inner products (N, N) of arrays (N, ...) without their means, of unit norm."""
    rows = x.flatten(1)
    rows = rows - rows.mean(1, keepdim=True)
    rows /= rows.norm(dim=1, keepdim=True).clamp_min(1e-30)
    return np.asarray((rows @ rows.T).double().cpu().numpy())
