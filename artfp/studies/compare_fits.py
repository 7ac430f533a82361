"""The passive contestants of a comparison, by name: what fits them, and what they have to know."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from artfp.attribution.eigenface import EIGENFACE
from artfp.attribution.fitted import FittedAttributor
from artfp.attribution.neighbours import NEAREST
from artfp.models.attributor import AttributorNetwork, Design
from artfp.studies.attribute_baseline import fit_baseline
from artfp.studies.attribute_fit import PLAIN_WAY, Options, fit
from artfp.studies.attribute_material import Material, Tick
from artfp.studies.attribute_train import network_of, train
from artfp.training.attributor import IMMUNITIES
from artfp.training.attributor_fit import AttributorTraining

PLAIN, BEST, LEARNED, IMMUNISED = "plain", "best", "learned", "immunised"
MARRA = "wavelet:sigma=5"
"""Extractor of the plain correlation: the denoiser of the camera literature at its usual sigma."""

ORIGIN = {IMMUNISED: LEARNED}
"""Contestants that go on from another one."""


@dataclass(frozen=True)
class Settings:
    """How the contestants are fitted.

    `network` of NETWORKS for the learned ones; `steps`, of its training and of the immunisation,
    by default the recipe's and half of the former. `folder`, where trainings keep what they need.
    """

    folder: Path
    network: str = "compact"
    steps: int | None = None
    immunise_steps: int | None = None
    precision: str = "32-true"
    seed: int = 0
    device: torch.device | str = "cpu"


Maker = Callable[[Material, Settings, str, Tick], FittedAttributor]


def _plain(material: Material, settings: Settings, name: str, tick: Tick) -> FittedAttributor:
    options = Options(way=PLAIN_WAY, extractor=MARRA, device=settings.device)
    return fit(material, options, name, tick).attributor


def _best(material: Material, settings: Settings, name: str, tick: Tick) -> FittedAttributor:
    return fit(material, Options(device=settings.device), name, tick).attributor


def _baseline(kind: str) -> Maker:
    def make(material: Material, settings: Settings, name: str, tick: Tick) -> FittedAttributor:
        return fit_baseline(material, kind, name=name, device=settings.device, tick=tick).attributor

    return make


def _learned(material: Material, settings: Settings, name: str, tick: Tick) -> FittedAttributor:
    return _trained(material, settings, name, settings.steps, None)


def _immunised(material: Material, settings: Settings, name: str, tick: Tick) -> FittedAttributor:
    before = network_of(settings.folder / ORIGIN[IMMUNISED], material.sources)
    return _trained(material, settings, name, settings.immunise_steps, before)


def _trained(
    material: Material,
    settings: Settings,
    name: str,
    steps: int | None,
    before: AttributorNetwork | None,
) -> FittedAttributor:
    folder = settings.folder / name
    training = AttributorTraining(
        folder,
        Design(settings.network, material.policy.window[0]),
        max_steps=steps,
        immunise=tuple(IMMUNITIES) if before is not None else (),
        init=before,
        origin=None if before is None else LEARNED,
        seed=settings.seed,
        resume=(folder / "checkpoints").is_dir(),
        trainer={"precision": settings.precision},
    )
    found = train(material, training, name=name)
    if found is None:
        raise RuntimeError("a comparison runs in one process")
    return found.attributor


@dataclass(frozen=True)
class Way:
    """A way to attribute: what it is, what it must know beforehand, and what fits it.

    `recompress`: to recompressed copies of the images as well.
    """

    about: str
    needs: str
    make: Maker
    recompress: bool = False


_IMAGES = "images of every source, beforehand"

WAYS = {
    PLAIN: Way("correlation with mean residuals (Marra et al. 2019)", _IMAGES, _plain),
    BEST: Way("matched filter, spectra or both, the best on held out images", _IMAGES, _best, True),
    LEARNED: Way("network (after Yu et al. 2019)", _IMAGES, _learned),
    IMMUNISED: Way(
        "the same, tuned on perturbed images", f"{_IMAGES}, and the perturbations", _immunised
    ),
    NEAREST: Way("nearest image by its pixels", _IMAGES, _baseline(NEAREST)),
    EIGENFACE: Way("Eigenfaces", _IMAGES, _baseline(EIGENFACE)),
}
"""Passive contestants by name, in the order of tables; one that goes on from another is later."""

PROACTIVE = "proactive"
PROACTIVE_ABOUT = "fingerprints in the training data, decoded (Yu et al. 2021)"
PROACTIVE_NEEDS = "the decoder and the fingerprints; no image of any source"
