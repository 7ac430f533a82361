"""Attribution by the spectrum: a linear discriminant on the logarithm of the power at frequencies.

Up-sampling leaves its mark on the spectrum of every image (Durall et al. 2020, Frank et al. 2020),
wherever in the image one looks. So the discriminant needs no alignment, and images of any size from
one tile on have the same number of features, with the same means: they are means over tiles. The
logarithm turns what a filter multiplies into what it adds, and colours are opponent ones, since
what generators get wrong is mostly in the differences of channels.
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
"""`hann`: tiles fade out at their borders and overlap by half, so that nothing depends on where an
image was cut. `none`: they do neither, and borders of images, at which generators pad, show."""

ROUNDING = 1.0 / 12.0
"""Power of rounding to 8 bits in squared grey levels, added to all powers."""

_OPPONENT = (
    (3.0**-0.5, 3.0**-0.5, 3.0**-0.5),
    (2.0**-0.5, 0.0, -(2.0**-0.5)),
    (6.0**-0.5, -2.0 * 6.0**-0.5, 6.0**-0.5),
)


@dataclass(frozen=True)
class SpectrumOptions:
    """What is taken of an image: the taper, and the extractor of residuals, or the image itself."""

    taper: str = "hann"
    extractor: Extractor | None = None

    @property
    def text(self) -> str:
        """In a few words, such as `image, hann` or `wavelet:sigma=1, none`."""
        return f"{self.extractor.text if self.extractor else 'image'}, {self.taper}"


def tile_of(height: int, width: int) -> int:
    """Side of the tiles of images of a height and a width, at least 8: even, at most TILE."""
    return min(TILE, min(height, width) // 2 * 2)


def tiled_log_spectrum(x: Tensor, tile: int, taper: str = "hann") -> Tensor:
    """Natural logarithms of powers (N, 3 * (tile * (tile // 2 + 1) - 1)) of x (N, 3, H, W).

    In squared grey levels, of three opponent colours, for each frequency of a tile but the lowest;
    means over the tiles, whose number does not shift them, as it would the logarithm of a mean.
    float32, on x's device. `tile` is even and at most H and W; `taper` is one of TAPERS.
    """
    if taper not in TAPERS or tile % 2 or not 2 <= tile <= min(x.shape[-2:]):
        raise ValueError(f"tiles of {tile} with taper {taper!r} on images {tuple(x.shape)}")
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
    return power.add_(ROUNDING).log_().mean((2, 3)).flatten(2)[:, :, 1:].flatten(1)


class SpectrumLDA:
    """Linear discriminant analysis of log spectra; an Attributor, of images from one tile on.

    Scores are discriminants: differences of them are log-likelihood ratios, were the features
    normal with one covariance. Their mean over the sources is 0, where no states are told apart.
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
        """Log spectra (N, features) of images (N, 3, H, W) in [0, 1]."""
        return spectrum_features(x, self.tile, self.options)

    def scores(self, x: Tensor) -> Tensor:
        """See Attributor."""
        return self.of_features(self.features(x))

    def of_features(self, features: Tensor) -> Tensor:
        """Scores (N, sources) of log spectra (N, features)."""
        return features @ self.weights.to(features.device) + self.bias.to(features.device)

    def card(self) -> dict[str, Any]:
        """All but the tensors, as JSON values."""
        extractor = self.options.extractor
        return {
            "kind": self.name,
            "tile": self.tile,
            "taper": self.options.taper,
            "extractor": extractor.text if extractor else None,
        }

    def tensors(self) -> dict[str, Tensor]:
        """Weights and bias."""
        return {"weights": self.weights, "bias": self.bias}

    @classmethod
    def load(
        cls, sources: Sequence[str], card: Mapping[str, Any], tensors: Mapping[str, Tensor]
    ) -> SpectrumLDA:
        """What `card` and `tensors` gave. Raises KeyError, TypeError, ValueError: anything else."""
        extractor = load_extractor(card["extractor"]) if card["extractor"] else None
        options = SpectrumOptions(card["taper"], extractor)
        tile = int(card["tile"])
        shape = (3 * (tile * (tile // 2 + 1) - 1), len(sources))
        if tensors["weights"].shape != shape or tensors["bias"].shape != shape[1:]:
            raise ValueError(f"weights {tuple(tensors['weights'].shape)}, expected {shape}")
        return cls(sources, tensors["weights"], tensors["bias"], tile, options)


def spectrum_features(x: Tensor, tile: int, options: SpectrumOptions) -> Tensor:
    """Log spectra (N, features) of images (N, 3, H, W) in [0, 1], or of their residuals."""
    return tiled_log_spectrum(options.extractor(x) if options.extractor else x, tile, options.taper)


_FLOOR = 1e-6  # of a feature's standard deviation
_MOST = 4096  # images that the shrinkage is found on


class Discriminants:
    """Linear discriminants of K sources with equal priors, by parts of a cross-validation.

    The covariance within sources is shrunk towards its diagonal, by as much as Ledoit and Wolf
    (2004) find for features of unit variance. Each part's sums of products are made once.
    """

    def __init__(
        self,
        features: NDArray[np.float32],
        labels: NDArray[np.int64],
        parts: NDArray[np.int64],
        sources: int,
    ) -> None:
        """Take features (N, F) of images of sources `labels` (N,) in `parts` (N,), from 0."""
        count = int(parts.max()) + 1
        whole = np.stack([features[labels == k].mean(0, dtype=np.float64) for k in range(sources)])
        self._centre = whole.mean(0)
        rows = features - whole[labels].astype(np.float32)
        self._scale = np.sqrt(np.square(rows).mean(0, dtype=np.float64)) + _FLOOR
        self._offsets = (whole - self._centre) / self._scale
        rows /= self._scale.astype(np.float32)
        self._shrinkage = float(
            ledoit_wolf_shrinkage(rows[:: -(-len(rows) // _MOST)], assume_centered=True)
        )
        # Of rows without their source's mean over all parts, so that nothing large cancels out.
        self._counts = np.zeros((count, sources))
        self._sums = np.zeros((count, sources, features.shape[1]))
        self._products = np.zeros((count, features.shape[1], features.shape[1]), np.float32)
        for part in range(count):
            own = rows[parts == part]
            self._products[part] = own.T @ own
            for k in range(sources):
                chosen = own[labels[parts == part] == k]
                self._counts[part, k] = len(chosen)
                self._sums[part, k] = chosen.sum(0, dtype=np.float64)

    def fit(self, without: int | None = None) -> tuple[Tensor, Tensor]:
        """Weights (F, K) and bias (K,) from all parts, or all but one; both have mean 0 over K.

        Raises ValueError: a source without images.
        """
        kept = [part for part in range(len(self._counts)) if part != without]
        counts, sums = self._counts[kept].sum(0), self._sums[kept].sum(0)
        if counts.min() < 1:
            raise ValueError(f"images of each source: {counts.astype(int).tolist()}")
        own = sums / counts[:, None]
        products = self._products[kept].sum(0, dtype=np.float64)
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
