"""Attribution by the spectrum: a linear discriminant on the logarithm of the power spectrum.

Up-sampling leaves traces in the spectrum of every image (Durall et al. 2020, Frank et al. 2020),
all over the image. So the discriminant needs no alignment, and images of any size from one tile on
have the same number of features, with the same means: they are means over tiles. The logarithm
turns the factors of a filter into terms, and colours are opponent ones, since the errors of
generators are mostly in the differences of channels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import linalg
from sklearn.covariance import ledoit_wolf_shrinkage
from torch import Tensor

from artfp.passive.residuals.extractor import Extractor, load_extractor

TILE = 32
"""Side of a tile in pixels; images whose shorter side is less have that, made even."""

TAPERS = ("hann", "none")
"""Tapers of tiles. `hann`: tiles fade out at their borders and overlap by half, so that results do
not depend on the crop. `none`: neither, so image borders, at which generators pad, count too."""

ROUNDING = 1.0 / 12.0
"""Power of rounding to 8 bits in squared grey levels, added to all powers."""

_OPPONENT = (
    (3.0**-0.5, 3.0**-0.5, 3.0**-0.5),
    (2.0**-0.5, 0.0, -(2.0**-0.5)),
    (6.0**-0.5, -2.0 * 6.0**-0.5, 6.0**-0.5),
)


@dataclass(frozen=True)
class SpectrumOptions:
    """Features of an image.

    Args:
        taper: One of TAPERS.
        extractor: Extractor of noise residuals; None for the image itself.
    """

    taper: str = "hann"
    extractor: Extractor | None = None

    @property
    def text(self) -> str:
        """Description in a few words, such as `image, hann` or `wavelet:sigma=1, none`."""
        return f"{self.extractor.text if self.extractor else 'image'}, {self.taper}"


def tile_of(height: int, width: int) -> int:
    """Return the side of tiles, even, at most TILE, of images of a height and a width."""
    return min(TILE, min(height, width) // 2 * 2)


def tiled_log_spectrum(x: Tensor, tile: int, taper: str = "hann") -> Tensor:
    """Return log powers (N, 3 * (tile * (tile // 2 + 1) - 1)) of x (N, 3, H, W).

    Natural logarithms, in squared grey levels, of three opponent colours, for each frequency of a
    tile but the lowest; means over the tiles, whose number does not shift them, as it would the
    logarithm of a mean. float32, on x's device. `tile` is even and at most H and W; `taper` is one
    of TAPERS.
    """
    if taper not in TAPERS or tile % 2 or not 2 <= tile <= min(x.shape[-2:]):
        raise ValueError(f"tiles of {tile} with taper {taper!r} on images {tuple(x.shape)}")
    # Opponent colours; tiles without their means, tapered; power spectra; mean of logarithms.
    mix = torch.tensor(_OPPONENT, device=x.device)
    planes = torch.einsum("dc,nchw->ndhw", mix, x.float() * 255.0)
    step = tile // 2 if taper == "hann" else tile
    tiles = planes.unfold(2, tile, step).unfold(3, tile, step)
    tiles = tiles - tiles.mean((-1, -2), keepdim=True)
    energy = float(tile * tile)
    if taper == "hann":
        line = torch.hann_window(tile, dtype=torch.float64).add_(1e-12).to(x.device)
        window = line[:, None] * line
        energy = float(window.square().sum())
        tiles = tiles * window.float()
    power = torch.fft.rfft2(tiles).abs().square_().div_(energy)
    spectra: Tensor = power.add_(ROUNDING).log_().mean((2, 3))
    return spectra.flatten(2)[:, :, 1:].flatten(1)


class SpectrumLDA:
    """Attributor by linear discriminant analysis of log spectra, of images from one tile on.

    Scores are discriminants: their differences are log-likelihood ratios if the features are normal
    with one covariance. Their mean over the sources is 0.
    """

    def __init__(
        self,
        sources: Sequence[str],
        weights: Tensor,
        bias: Tensor,
        tile: int,
        options: SpectrumOptions,
        name: str = "spectrum",
    ) -> None:
        """Take the weights (features, sources) and the bias (sources,)."""
        self.name, self.sources = name, tuple(sources)
        self.weights, self.bias = weights.float(), bias.float()
        self.tile, self.options = tile, options

    def features(self, x: Tensor) -> Tensor:
        """Return log spectra (N, features) of images (N, 3, H, W) in [0, 1]."""
        return spectrum_features(x, self.tile, self.options)

    def scores(self, x: Tensor) -> Tensor:
        """See Attributor."""
        return self.scores_of_features(self.features(x))

    def scores_of_features(self, features: Tensor) -> Tensor:
        """Return scores (N, sources) of log spectra (N, features)."""
        return features @ self.weights.to(features.device) + self.bias.to(features.device)

    def card(self) -> dict[str, Any]:
        """Return all but the tensors, as JSON values."""
        extractor = self.options.extractor
        return {
            "kind": self.name,
            "tile": self.tile,
            "taper": self.options.taper,
            "extractor": extractor.text if extractor else None,
        }

    def tensors(self) -> dict[str, Tensor]:
        """Return weights and bias by name."""
        return {"weights": self.weights, "bias": self.bias}

    @classmethod
    def load(
        cls, sources: Sequence[str], card: Mapping[str, Any], tensors: Mapping[str, Tensor]
    ) -> SpectrumLDA:
        """See AttributorPart."""
        extractor = load_extractor(card["extractor"]) if card["extractor"] else None
        options = SpectrumOptions(card["taper"], extractor)
        tile = int(card["tile"])
        shape = (3 * (tile * (tile // 2 + 1) - 1), len(sources))
        if tensors["weights"].shape != shape or tensors["bias"].shape != shape[1:]:
            raise ValueError(f"weights {tuple(tensors['weights'].shape)}, expected {shape}")
        return cls(sources, tensors["weights"], tensors["bias"], tile, options)


def spectrum_features(x: Tensor, tile: int, options: SpectrumOptions) -> Tensor:
    """Return log spectra (N, features) of images (N, 3, H, W) in [0, 1], or of their residuals."""
    return tiled_log_spectrum(options.extractor(x) if options.extractor else x, tile, options.taper)


_FLOOR = 1e-6  # of a feature's standard deviation
_MAX_ROWS = 4096  # images from which the shrinkage is estimated


class Discriminants:
    """Linear discriminants of K sources with equal priors, by folds of a cross-validation.

    The covariance within sources is shrunk towards its diagonal, by the amount of Ledoit and Wolf
    (2004) for features of unit variance. Each fold's sums of products are computed once.
    """

    def __init__(
        self,
        features: NDArray[np.float32],
        labels: NDArray[np.int64],
        folds: NDArray[np.int64],
        sources: int,
    ) -> None:
        """Sum products of features (N, F) of images of sources `labels` (N,) in `folds` (N,)."""
        count = int(folds.max()) + 1
        whole = np.stack([features[labels == k].mean(0, dtype=np.float64) for k in range(sources)])
        self._centre = whole.mean(0)
        rows = features - whole[labels].astype(np.float32)
        self._scale = np.sqrt(np.square(rows).mean(0, dtype=np.float64)) + _FLOOR
        self._offsets = (whole - self._centre) / self._scale
        rows /= self._scale.astype(np.float32)
        self._shrinkage = float(
            ledoit_wolf_shrinkage(rows[:: -(-len(rows) // _MAX_ROWS)], assume_centered=True)
        )
        # Of rows minus their source's mean over all folds, so that nothing large cancels out.
        self._counts = np.zeros((count, sources))
        self._sums = np.zeros((count, sources, features.shape[1]))
        self._products = np.zeros((count, features.shape[1], features.shape[1]), np.float32)
        for fold in range(count):
            own = rows[folds == fold]
            self._products[fold] = own.T @ own
            for k in range(sources):
                chosen = own[labels[folds == fold] == k]
                self._counts[fold, k] = len(chosen)
                self._sums[fold, k] = chosen.sum(0, dtype=np.float64)

    def fit(self, without: int | None = None) -> tuple[Tensor, Tensor]:
        """Return weights (F, K) and bias (K,) of all folds, or all but one; both of mean 0 over K.

        Raises:
            ValueError: a source without images.
        """
        kept = [fold for fold in range(len(self._counts)) if fold != without]
        counts, sums = self._counts[kept].sum(0), self._sums[kept].sum(0)
        if counts.min() < 1:
            raise ValueError(f"images of each source: {counts.astype(int).tolist()}")
        own = sums / counts[:, None]
        products = self._products[kept].sum(0, dtype=np.float64)
        # Pooled covariance within sources, from the sums; then its shrinkage.
        covariance = (products - np.einsum("k,kf,kg->fg", counts, own, own)) / counts.sum()
        mean = np.trace(covariance) / len(covariance)
        covariance *= 1.0 - self._shrinkage
        covariance.flat[:: len(covariance) + 1] += self._shrinkage * mean
        means = self._offsets + own
        centre = means.mean(0)
        solved = linalg.solve(covariance, (means - centre).T, assume_a="pos", overwrite_a=True)
        bias = -0.5 * np.einsum("fk,kf->k", solved, means - centre)
        bias -= bias.mean() + (centre + self._centre / self._scale) @ solved
        weights = solved / self._scale[:, None]
        return torch.from_numpy(weights).float(), torch.from_numpy(bias).float()
