"""Proactive and passive attribution methods that choose among the same sources, and their fits.

A method turns images into score vectors once; from these come scores of single images and the
evidence of several images of one source. Both are larger for likelier sources.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from artfp.comparison.settings import TRAINED_FURTHER
from artfp.passive.attributors.bundle import FittedAttributor
from artfp.passive.attributors.eigenface import EIGENFACE
from artfp.passive.attributors.nearest_neighbour import NEAREST
from artfp.passive.attributors.score_model import Values
from artfp.passive.fitting.baselines import fit_baseline
from artfp.passive.fitting.cache import CacheSettings, cached_network
from artfp.passive.fitting.image_set import ImageSet
from artfp.passive.fitting.select import PLAIN_METHOD, FitOptions, fit_methods
from artfp.passive.settings import IMMUNITIES
from artfp.robustness.methods import read_logits
from artfp.stats import log_p_value
from artfp.stats.pooling import clip_logits
from artfp.stats.sign_tails import log_tail_hoeffding
from artfp.watermark import Decoder

SIGNIFICANCE = 1e-3
"""p-value, corrected for the number of fingerprints, above which an image counts as unmarked."""


class AttributionMethod(Protocol):
    """Attribution method that chooses among K sources."""

    @property
    def name(self) -> str:
        """Name in tables."""
        ...

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the sources."""
        ...

    def score_vectors(self, x: Tensor) -> Values:
        """Return score vectors (N, D) of images (N, 3, H, W) in [0, 1]."""
        ...

    def scores(self, vectors: Values) -> Values:
        """Return scores (N, K) of single images by their vectors (N, D)."""
        ...

    def pooled(self, vectors: Values) -> Values:
        """Return the evidence (K,) of images of one source by their vectors (n, D)."""
        ...


class PassiveMethod:
    """Fitted attributor: log-likelihood ratios, which add up over images."""

    def __init__(self, attributor: FittedAttributor, name: str | None = None) -> None:
        self._attributor = attributor
        self.name, self.sources = name or attributor.name, attributor.sources

    def score_vectors(self, x: Tensor) -> Values:
        """Return score vectors (N, D) of images (N, 3, H, W) in [0, 1]."""
        return self._attributor.score_vectors(x)

    def scores(self, vectors: Values) -> Values:
        """Return log-likelihood ratios of each source against the mean of the others."""
        return self._attributor.log_ratios(vectors)

    def pooled(self, vectors: Values) -> Values:
        """Return sums of log-likelihoods, each limited to what the held-out images can show."""
        return np.asarray(self._attributor.log_likelihoods(vectors).sum(0))


class ProactiveMethod:
    """Decoder and the fingerprints of the sources; a source without one is called unmarked.

    An image is attributed to the fingerprint that it matches best, or to the unmarked source if no
    match has a p-value of `significance` after the correction for the number of fingerprints.
    """

    def __init__(
        self,
        decoder: Decoder,
        fingerprints: Mapping[str, ArrayLike | None],
        name: str = "proactive",
        significance: float = SIGNIFICANCE,
    ) -> None:
        """Take a decoder in evaluation mode and the fingerprint (bits,) of each source, or None.

        Raises:
            ValueError: no fingerprint, two sources without one, or one of another length.
        """
        self.name, self.sources = name, tuple(fingerprints)
        self._decoder = decoder
        self._marked = [k for k, bits in enumerate(fingerprints.values()) if bits is not None]
        given = [np.asarray(bits) for bits in fingerprints.values() if bits is not None]
        if not given or len(fingerprints) - len(given) > 1:
            raise ValueError(
                f"{len(given)} fingerprints for {len(fingerprints)} sources; "
                "one source at most may have none"
            )
        for bits in given:
            if bits.shape != (decoder.bits,):
                raise ValueError(
                    f"a fingerprint of shape {bits.shape}; the decoder decodes {decoder.bits} bits"
                )
        self._signs: NDArray[np.float64] = np.stack(given).astype(np.float64) * 2.0 - 1.0
        self._log_significance = float(np.log(significance / len(given)))

    @torch.inference_mode()
    def score_vectors(self, x: Tensor) -> Values:
        """Return logits (N, bits)."""
        return clip_logits(read_logits(self._decoder, x).double().cpu().numpy())

    def scores(self, vectors: Values) -> Values:
        """Return minus the natural log p-values of the numbers of matching bits."""
        bits = vectors.shape[1]
        matches = ((np.where(vectors > 0, 1.0, -1.0) @ self._signs.T + bits) / 2.0).round()
        return self._with_unmarked(-np.asarray(log_p_value(matches.astype(np.int64), bits)))

    def pooled(self, vectors: Values) -> Values:
        """Return minus Hoeffding's bounds of the log p-values of the mean logits."""
        mean = vectors.mean(0)
        signs = np.where(mean < 0, -self._signs, self._signs)
        return np.asarray(self._with_unmarked(-log_tail_hoeffding(np.abs(mean), signs)[None])[0])

    def _with_unmarked(self, scores: Values) -> Values:
        """Add the unmarked source to scores (N, marked).

        Its score is as far above `significance` as the best of the others is below it.
        """
        best = scores.max(1, keepdims=True)
        complete: Values = np.repeat(-2.0 * self._log_significance - best, len(self.sources), 1)
        complete[:, self._marked] = scores
        return complete


def common_sources(methods: Sequence[AttributionMethod]) -> tuple[str, ...]:
    """Return the sources of all methods.

    Raises:
        ValueError: they differ, or two methods have one name.
    """
    names = [method.name for method in methods]
    if len(set(names)) < len(names):
        raise ValueError(f"methods {', '.join(names)}: each needs a name of its own")
    if len({method.sources for method in methods}) != 1:
        raise ValueError("the methods know different sources")
    return methods[0].sources


PLAIN, BEST, LEARNED, IMMUNISED = "plain", "best", "learned", "immunised"
PLAIN_EXTRACTOR = "wavelet:sigma=5"
"""Extractor of the plain correlation: the denoiser of camera forensics at its customary sigma."""

Maker = Callable[[ImageSet, CacheSettings, str], FittedAttributor]


def _plain(image_set: ImageSet, settings: CacheSettings, name: str) -> FittedAttributor:
    options = FitOptions(method=PLAIN_METHOD, extractor=PLAIN_EXTRACTOR, device=settings.device)
    return fit_methods(image_set, options, name).attributor


def _best(image_set: ImageSet, settings: CacheSettings, name: str) -> FittedAttributor:
    return fit_methods(image_set, FitOptions(device=settings.device), name).attributor


def _baseline(kind: str) -> Maker:
    def make(image_set: ImageSet, settings: CacheSettings, name: str) -> FittedAttributor:
        return fit_baseline(image_set, kind, name=name, device=settings.device).attributor

    return make


def _learned(image_set: ImageSet, settings: CacheSettings, name: str) -> FittedAttributor:
    return cached_network(image_set, settings, name)


def _immunised(image_set: ImageSet, settings: CacheSettings, name: str) -> FittedAttributor:
    return cached_network(image_set, settings, name, tuple(IMMUNITIES), TRAINED_FURTHER[IMMUNISED])


@dataclass(frozen=True)
class PassiveFit:
    """Description of a passive method, its prerequisites, and the function that fits it.

    With `recompress` it is also fitted to recompressed copies of the images.
    """

    about: str
    needs: str
    fit: Maker
    recompress: bool = False


_IMAGES = "images of every source, beforehand"

PASSIVE_FITS = {
    PLAIN: PassiveFit("correlation with mean residuals (Marra et al. 2019)", _IMAGES, _plain),
    BEST: PassiveFit(
        "matched filter, spectra or both, the best on held-out images", _IMAGES, _best, True
    ),
    LEARNED: PassiveFit("network (after Yu et al. 2019)", _IMAGES, _learned),
    IMMUNISED: PassiveFit(
        "the same, trained further on perturbed images",
        f"{_IMAGES}, and the perturbations",
        _immunised,
    ),
    NEAREST: PassiveFit("nearest image by its pixels", _IMAGES, _baseline(NEAREST)),
    EIGENFACE: PassiveFit("Eigenfaces", _IMAGES, _baseline(EIGENFACE)),
}
"""Passive methods by name, in the order of tables; one that trains another further is later."""

PROACTIVE = "proactive"
PROACTIVE_ABOUT = "fingerprints in the training data, decoded (Yu et al. 2021)"
PROACTIVE_NEEDS = "the decoder and the fingerprints; no image of any source"
