"""The passive methods of a comparison, by name: what fits them, and what they have to know."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from artfp.passive.attributors.bundle import FittedAttributor
from artfp.passive.attributors.eigenface import EIGENFACE
from artfp.passive.attributors.nearest_neighbour import NEAREST
from artfp.passive.fitting.baselines import fit_baseline
from artfp.passive.fitting.cache import CacheSettings, cached_network
from artfp.passive.fitting.image_set import ImageSet
from artfp.passive.fitting.select import PLAIN_METHOD, FitOptions, fit_methods
from artfp.passive.training.classifier import IMMUNITIES

PLAIN, BEST, LEARNED, IMMUNISED = "plain", "best", "learned", "immunised"
MARRA = "wavelet:sigma=5"
"""Extractor of the plain correlation: the denoiser of the camera literature at its usual sigma."""

ORIGIN = {IMMUNISED: LEARNED}
"""Contestants that go on from another one."""


Maker = Callable[[ImageSet, CacheSettings, str], FittedAttributor]


def _plain(image_set: ImageSet, settings: CacheSettings, name: str) -> FittedAttributor:
    options = FitOptions(method=PLAIN_METHOD, extractor=MARRA, device=settings.device)
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
    return cached_network(image_set, settings, name, tuple(IMMUNITIES), ORIGIN[IMMUNISED])


@dataclass(frozen=True)
class PassiveMethodSpec:
    """A method to attribute: what it is, what it must know beforehand, and what fits it.

    `recompress`: to recompressed copies of the images as well.
    """

    about: str
    needs: str
    make: Maker
    recompress: bool = False


_IMAGES = "images of every source, beforehand"

PASSIVE_METHODS = {
    PLAIN: PassiveMethodSpec(
        "correlation with mean residuals (Marra et al. 2019)", _IMAGES, _plain
    ),
    BEST: PassiveMethodSpec(
        "matched filter, spectra or both, the best on held out images", _IMAGES, _best, True
    ),
    LEARNED: PassiveMethodSpec("network (after Yu et al. 2019)", _IMAGES, _learned),
    IMMUNISED: PassiveMethodSpec(
        "the same, tuned on perturbed images", f"{_IMAGES}, and the perturbations", _immunised
    ),
    NEAREST: PassiveMethodSpec("nearest image by its pixels", _IMAGES, _baseline(NEAREST)),
    EIGENFACE: PassiveMethodSpec("Eigenfaces", _IMAGES, _baseline(EIGENFACE)),
}
"""Passive methods by name, in the order of tables; one that goes on from another is later."""

PROACTIVE = "proactive"
PROACTIVE_ABOUT = "fingerprints in the training data, decoded (Yu et al. 2021)"
PROACTIVE_NEEDS = "the decoder and the fingerprints; no image of any source"
