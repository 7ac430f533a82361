"""Steganalysers with no network: linear ones on pixels, residuals and spectra.

They see where in the image a fingerprint stands, which a network with global pooling hardly does.
All take 8-bit images (N, 3, H, W), clean and marked, and return scores that rise with the
suspicion.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import fft, linalg
from torch import Tensor

from artfp.nn.blocks import (
    high_pass,
)
from artfp.stats.intervals import auc

_Array = NDArray[np.float32]
SecrecyScorer = Callable[[Tensor], NDArray[np.float64]]
"""8-bit images (N, 3, H, W) to scores (N,)."""
Pair = tuple[Tensor, Tensor]
"""Clean and marked images."""

SHRINKAGES = (1.0, 0.9, 0.7, 0.4, 0.15, 0.05)
"""Weights of the diagonal in the covariance, of which the validation images choose one."""

_CHUNK = 256
_FLOOR = 0.25
"""Added to squared coefficients, in squared grey levels, before their logarithm: about three times
the noise of rounding (1/12)."""


def mean_residual(training: Pair, validation: Pair) -> SecrecyScorer:
    """Correlate an image's high-pass residual with the difference of the classes' mean residuals.

    The matched filter in white noise: what averaging many images of one fingerprint brings out.
    `validation` images are used as the training images are, for there is nothing to choose.
    """
    clean, marked = (
        np.concatenate([_features(x, _residuals) for x in both])
        for both in zip(training, validation, strict=True)
    )
    return _scorer(marked.mean(axis=0) - clean.mean(axis=0), _residuals)


def linear_discriminant(training: Pair, validation: Pair) -> SecrecyScorer:
    """Fit Fisher's discriminant on the DCT coefficients of the image; see `_discriminant`."""
    return _discriminant(training, validation, coefficients)


def spectrum_discriminant(training: Pair, validation: Pair) -> SecrecyScorer:
    """Fit Fisher's discriminant on the log energies of the DCT coefficients; see `_discriminant`.

    It finds added variance at some frequencies, so it needs no fingerprint that is the same in
    all images.
    """
    return _discriminant(training, validation, log_spectrum)


def coefficients(x: _Array) -> _Array:
    """Return the orthonormal DCT of images (N, 3, H, W) over colour, rows and columns.

    Shape (N, 3 * H * W). Natural images have nearly uncorrelated coefficients.
    """
    return np.asarray(fft.dctn(x, axes=(1, 2, 3), norm="ortho").reshape(len(x), -1), np.float32)


def log_spectrum(x: _Array) -> _Array:
    """Return logarithms of the squared `coefficients`, floored near rounding noise."""
    return np.log(np.square(coefficients(x)) + np.float32(_FLOOR))


def _residuals(x: _Array) -> _Array:
    return high_pass(torch.from_numpy(x)).reshape(len(x), -1).numpy()


def _discriminant(
    training: Pair, validation: Pair, features: Callable[[_Array], _Array]
) -> SecrecyScorer:
    """Fisher's linear discriminant on standardised features, regularised.

    The covariance within the classes, of features of unit variance, is mixed with the identity
    (Friedman 1989, the diagonal's weight from SHRINKAGES): 1 ignores correlations, as is best with
    few images. The validation images choose the weight; then they are trained on too.
    """
    judged = [_features(x, features) for x in validation]
    fitted = _Within(*(_features(x, features) for x in training))
    directions = [fitted.direction(shrinkage) for shrinkage in SHRINKAGES]
    areas = [auc(*(x @ direction for x in judged)) for direction in directions]
    chosen = SHRINKAGES[int(np.argmax(areas))]
    parts = zip(training, validation, strict=True)
    whole = (_features(torch.cat(both), features) for both in parts)
    return _scorer(_Within(*whole).direction(chosen), features)


class _Within:
    """Means and covariance within the classes of features (N, d) of two classes."""

    def __init__(self, clean: _Array, marked: _Array) -> None:
        self.count = len(clean) + len(marked)
        difference = marked.mean(axis=0) - clean.mean(axis=0)
        self.centred = np.concatenate([clean - clean.mean(axis=0), marked - marked.mean(axis=0)])
        deviation = np.sqrt(np.square(self.centred).mean(axis=0))
        self.scale = np.maximum(deviation, 1e-3 * max(float(deviation.max()), 1e-6))
        self.centred /= self.scale
        self.difference = (difference / self.scale).astype(np.float64)
        self.dual = len(self.centred) < self.centred.shape[1]  # fewer images than features
        product = self.centred @ self.centred.T if self.dual else self.centred.T @ self.centred
        self.product = product.astype(np.float64) / self.count

    def direction(self, shrinkage: float) -> NDArray[np.float64]:
        """Weights (d,) of the features for one weight of the diagonal."""
        if shrinkage == 1.0:
            return np.asarray(self.difference / self.scale)
        mixed = (1.0 - shrinkage) * self.product
        mixed[np.diag_indices_from(mixed)] += shrinkage
        factors = linalg.cho_factor(mixed, overwrite_a=True, check_finite=False)
        if not self.dual:
            return np.asarray(linalg.cho_solve(factors, self.difference) / self.scale)
        # (s I + r Z'Z)^-1 = (I - r Z' (s I + r ZZ')^-1 Z) / s
        inner = linalg.cho_solve(factors, self.centred @ self.difference)
        inner *= (1.0 - shrinkage) / self.count
        return np.asarray((self.difference - self.centred.T @ inner) / shrinkage / self.scale)


def _features(pixels: Tensor, features: Callable[[_Array], _Array]) -> _Array:
    """Features (N, d) of 8-bit images, computed in chunks."""
    return np.concatenate([features(x.float().numpy()) for x in pixels.split(_CHUNK)])


def _scorer(direction: NDArray[np.floating], features: Callable[[_Array], _Array]) -> SecrecyScorer:
    weights = direction.astype(np.float64)

    def score(pixels: Tensor) -> NDArray[np.float64]:
        parts = [features(x.float().numpy()) @ weights for x in pixels.split(_CHUNK)]
        return np.concatenate(parts)

    return score
