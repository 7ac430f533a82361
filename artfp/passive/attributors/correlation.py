"""Attribution by the correlation of an image's residual with the mean residual of each source.

Marra et al. 2019 (arXiv 1812.11842) take the plain correlation. Its noise is the scene content
that the denoiser leaves, which is neither white nor independent between colours. The matched filter
whitens it: at each frequency, residual and fingerprints are multiplied by the inverse square root
of the 3 x 3 matrix of the residual's power within sources. Components common to all sources do not
distinguish them, so their grand mean is subtracted first (`CorrelationOptions`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from artfp.core.errors import UserError
from artfp.passive.residuals.extractor import Extractor, load_extractor
from artfp.passive.residuals.residual_fingerprint import ResidualFingerprint, centred_rows

WHITENINGS = ("none", "each", "joint")
"""Kinds of whitening: `each` colour by itself; `joint`, with the colours' cross-spectra."""

_SHRINKAGE, _FLOOR = 1e-3, 1e-6
"""Fractions of a frequency's mean power, and of all frequencies', added to each power."""


@dataclass(frozen=True)
class CorrelationOptions:
    """Steps before the correlation.

    Args:
        gray: Take the mean of the colours instead of all three.
        grand_mean: Subtract the mean over the sources.
        whitening: One of WHITENINGS.
    """

    gray: bool = False
    grand_mean: bool = True
    whitening: str = "joint"


PLAIN_CORRELATION = CorrelationOptions(grand_mean=False, whitening="none")
"""Normalised correlation of Marra et al. 2019, on all three colours."""

MATCHED_FILTER = CorrelationOptions()
"""Matched filter."""


class ResidualCorrelation:
    """Attributor by noise residuals; scores are correlations in [-1, 1] after the options' steps.

    Images have the size of the window. A window smaller than the fingerprints is searched for in
    them: scores are the largest over all its positions, for crops of unknown origin.
    """

    def __init__(
        self,
        sources: Sequence[str],
        extractor: Extractor,
        fingerprints: Tensor,
        power: Tensor,
        window: tuple[int, int],
        options: CorrelationOptions = MATCHED_FILTER,
        name: str = "correlation",
    ) -> None:
        """Whiten the fingerprints.

        Args:
            sources: Names of K sources.
            extractor: Extractor of the noise residuals.
            fingerprints: Residual fingerprints (K, 3, H, W).
            power: Power within sources (h, w // 2 + 1, 3, 3), complex: mean outer products of the
                colours' spectra `rfft2` of residuals of the size of the window.
            window: (h, w).
            options: Steps before the correlation.
            name: Name in tables and `kind` in the card.
        """
        height, width = fingerprints.shape[-2:]
        if len(fingerprints) != len(sources) or fingerprints.shape[1] != 3:
            raise ValueError(f"{tuple(fingerprints.shape)} fingerprints, {len(sources)} sources")
        if options.whitening not in WHITENINGS:
            raise ValueError(f"whitening {options.whitening!r}: choose from {WHITENINGS}")
        self.name, self.sources, self.extractor = name, tuple(sources), extractor
        self.options, self.window = options, window
        self.fingerprints, self.power = fingerprints.float(), power
        rows, columns = window
        if rows > height or columns > width or power.shape[:2] != (rows, columns // 2 + 1):
            raise ValueError(
                f"a window of {window} with a power of {tuple(power.shape)} in fingerprints of "
                f"{(height, width)}"
            )
        self.search = window != (height, width)
        prints = _gray(self.fingerprints) if options.gray else self.fingerprints
        self._grand = prints.mean(0) if options.grand_mean else torch.zeros_like(prints[0])
        self._prints = prints - self._grand
        self._filter = whitening_matrices(power, options)
        white = self._white(self._prints[..., :rows, :columns])
        self._rows = centred_rows(white)
        self._norms = centred_rows(white, False).norm(dim=1)

    def scores(self, x: Tensor) -> Tensor:
        """See Attributor. Raises ValueError: images of another size than the window."""
        if tuple(x.shape[-2:]) != self.window:
            raise ValueError(f"{self.name}: images {tuple(x.shape)}, the window is {self.window}")
        residuals = self.extractor(x)
        residuals = _gray(residuals) if self.options.gray else residuals
        if self.search:
            return self._searched(residuals)
        white = self._white(residuals - self._grand.to(x.device))
        return centred_rows(white) @ self._rows.to(x.device).T

    def card(self) -> dict[str, Any]:
        """Return all but the tensors, as JSON values."""
        return {
            "kind": self.name,
            "extractor": self.extractor.text,
            "window": list(self.window),
            **asdict(self.options),
        }

    def tensors(self) -> dict[str, Tensor]:
        """Return fingerprints and power, as real arrays."""
        power = torch.view_as_real(self.power.to(torch.complex64)).contiguous()
        return {"fingerprints": self.fingerprints, "power": power}

    @classmethod
    def load(
        cls, sources: Sequence[str], card: Mapping[str, Any], tensors: Mapping[str, Tensor]
    ) -> ResidualCorrelation:
        """See AttributorPart."""
        options = CorrelationOptions(card["gray"], card["grand_mean"], card["whitening"])
        height, width = card["window"]
        power = torch.view_as_complex(tensors["power"])
        extractor = load_extractor(card["extractor"])
        return cls(sources, extractor, tensors["fingerprints"], power, (height, width), options)

    def _white(self, residuals: Tensor, times: int = 1) -> Tensor:
        """Return residuals (N, C, h, w) of the window's size, whitened so many times."""
        if self._filter is None:
            return residuals
        return filter_spectrum(residuals, self._filter.to(residuals.device), times)

    def _searched(self, residuals: Tensor) -> Tensor:
        """Return the largest <residual, print> / (|residual| |print|) over all positions, whitened.

        Whitening twice on one side is whitening once on both. The norm of a fingerprint is that of
        its upper left, since its texture is alike all over it.
        """
        mean = residuals.mean((-1, -2, -3), keepdim=True)
        twice = self._white(residuals - mean, 2)
        norms = centred_rows(self._white(residuals), False).norm(dim=1)[:, None]
        norms = norms * self._norms.to(norms.device)
        height, width = self._prints.shape[-2:]
        # Cross-correlations at all positions, by the correlation theorem.
        spectra = torch.fft.rfft2(twice, s=(height, width)).conj()
        prints = torch.fft.rfft2(self._prints.to(residuals.device))
        products = torch.einsum("nchw,kchw->nkhw", spectra, prints)
        # Offsets at which the window would leave the fingerprint wrap around: they are left out.
        rows, columns = height - self.window[0] + 1, width - self.window[1] + 1
        found = torch.fft.irfft2(products, s=(height, width))[..., :rows, :columns]
        scores: Tensor = found.amax((-1, -2)) / norms.clamp_min(torch.finfo(norms.dtype).tiny)
        return scores


class ResidualSums:
    """Sums over images, batch after batch, from which a ResidualCorrelation is made, by folds.

    Folds are those of a cross-validation: `correlation(without=fold)` does not use its images.
    Sources have equal weight, however many images each has.
    """

    def __init__(
        self,
        counts: Sequence[Sequence[int]],
        sources: Sequence[str],
        extractor: Extractor,
        size: tuple[int, int],
        window: tuple[int, int],
    ) -> None:
        """Begin; `counts[source][fold]` images of `size` follow."""
        shape = (3, *size)
        self._sources, self._extractor = tuple(sources), extractor
        self._counts, self._window = counts, window
        self._prints = [
            [ResidualFingerprint.empty(shape, extractor.text, source) for _ in folds]
            for source, folds in zip(sources, counts, strict=True)
        ]
        rows, columns = window[0], window[1] // 2 + 1
        zeros = torch.zeros(rows, columns, 3, 3, dtype=torch.complex128)
        self._power = [zeros.clone() for _ in counts[0]]

    def add(self, x: Tensor, source: int, fold: int, windows: Tensor | None = None) -> None:
        """Add images (N, 3, H, W) in [0, 1]; `windows` (N, 3, h, w) of them are for the power."""
        residuals = self._extractor(x)
        self._prints[source][fold].add(residuals)
        small = residuals if windows is None else self._extractor(windows)
        spectra = torch.fft.rfft2(small)
        power = torch.einsum("nchw,ndhw->hwcd", spectra, spectra.conj()).cpu()
        self._power[fold] += power / sum(self._counts[source])

    def correlation(
        self, options: CorrelationOptions, without: int | None = None
    ) -> ResidualCorrelation:
        """Return the attributor of all folds, or all but one. Raises UserError: no image left."""
        folds = [fold for fold in range(len(self._power)) if fold != without]
        prints, fraction = [], 0.0
        for source, own in zip(self._sources, self._prints, strict=True):
            whole = ResidualFingerprint.empty(own[0].shape, self._extractor.text, source)
            for fold in folds:
                whole.merge(own[fold])
            prints.append(whole.mean)
            fraction += whole.count / sum(each.count for each in own)
        fingerprints = torch.stack(prints)
        power = torch.stack([self._power[fold] for fold in folds]).sum(0) / fraction
        if tuple(fingerprints.shape[-2:]) == self._window:  # the sources' means are subtracted
            means = torch.fft.rfft2(fingerprints.double())
            power = power - torch.einsum("kchw,kdhw->hwcd", means, means.conj()) / len(means)
        return ResidualCorrelation(
            self._sources, self._extractor, fingerprints, power, self._window, options
        )


def whitening_matrices(power: Tensor, options: CorrelationOptions) -> Tensor | None:
    """Return inverse square roots (h, w // 2 + 1, C, C), complex64, of a power; None for none.

    Scaled so that white noise keeps its order of magnitude. C is 1 if `options` are gray, else 3.
    """
    if options.whitening == "none":
        return None
    power = power.to(torch.complex128)
    if options.gray:
        power = power.mean((-1, -2))[..., None, None]
    if options.whitening == "each":
        power = torch.diag_embed(power.diagonal(dim1=-2, dim2=-1))
    channels = power.shape[-1]
    mean = power.diagonal(dim1=-2, dim2=-1).real.clamp_min(0).mean(-1)
    level = float(mean.mean())
    if not level > 0:
        raise UserError("the residuals are constant; there is nothing to correlate")
    floor = _SHRINKAGE * mean + _FLOOR * level
    # Inverse square root of each Hermitian matrix by its eigenvalues, regularised.
    eye = torch.eye(channels, dtype=power.dtype)
    values, vectors = torch.linalg.eigh((power + floor[..., None, None] * eye) / level)
    inverse = values.clamp_min(_FLOOR).rsqrt().to(power.dtype)
    matrices: Tensor = (vectors * inverse[..., None, :]) @ vectors.mH
    return matrices.to(torch.complex64)


def filter_spectrum(x: Tensor, matrices: Tensor, times: int = 1) -> Tensor:
    """Multiply the spectrum of x (N, C, h, w) by matrices (h, w // 2 + 1, C, C) so many times."""
    spectra = torch.fft.rfft2(x)
    for _ in range(times):
        spectra = torch.einsum("hwcd,ndhw->nchw", matrices, spectra)
    result: Tensor = torch.fft.irfft2(spectra, s=x.shape[-2:])
    return result


def _gray(x: Tensor) -> Tensor:
    return x.mean(1, keepdim=True)
