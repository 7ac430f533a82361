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

import torch
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


def log_spectrum(x: Tensor, tile: int, taper: str = "hann") -> Tensor:
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
    return log_spectrum(options.extractor(x) if options.extractor else x, tile, options.taper)
