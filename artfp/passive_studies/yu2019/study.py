"""Studies of Yu, Davis and Fritz (ICCV 2019) on the sources of a folder, whatever these are.

Architectures, seeds of one architecture or training sets that nearly agree: networks are trained on
some images of each source and tested on others, before and after immunisation; the sources'
distances in their features are compared with those in generic features; and networks that were
trained without a source are tested on its images. Networks and measurements are cached, so an
interrupted study continues.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from artfp import __version__
from artfp.core.errors import UserError
from artfp.core.run_folder import exclusive
from artfp.data.files import write_atomic
from artfp.data.resume import Journal, Manifest
from artfp.data.sources import ImageSource, open_sources
from artfp.data.subset import split_sources
from artfp.data.tables import csv_table
from artfp.metrics.perceptual import effnet_installed
from artfp.passive.attributors.bundle import ATTRIBUTOR_FILE, FittedAttributor
from artfp.passive.attributors.verdicts import DecisionRule
from artfp.passive.attributors.window import ALIGNED
from artfp.passive.fitting.cache import (
    CacheSettings,
    cache_settings,
    cached_attributor,
    cached_network,
)
from artfp.passive.fitting.classifier import choose_held_out, network_side
from artfp.passive.fitting.image_set import MIN_IMAGES, ImageSet
from artfp.passive.fitting.leakage import warn_of_leakage
from artfp.passive_studies.uses import (
    USES_FILE,
    ImageUse,
    Use,
    warn_of_shared,
)
from artfp.passive_studies.yu2019.measure import (
    FeatureSeparation,
    OpenSetResult,
    PerturbedResult,
    Yu2019Result,
    feature_separation_of,
    generic_features,
    learned_features,
    measure_features,
    measure_open_set,
    measure_perturbed,
    open_set_result_of,
    perturbed_result_of,
    published_conditions,
)
from artfp.passive_studies.yu2019.report import LEARNED_ATTRIBUTOR, write_results
from artfp.passive_studies.yu2019.separation import MIN_SOURCE_IMAGES
from artfp.passive_studies.yu2019.settings import Yu2019Settings

_log = logging.getLogger("artfp")

_RUN = "learned"
"""Name of manifest and journal in the output folder."""

IMMUNISED_ATTRIBUTOR, GENERIC = "immunised", "generic"
"""Names of the immunised network, and of the separation in generic features."""

WITHOUT = "without_"
"""Prefix of the name of a network that was trained without a source."""


@exclusive
def yu2019_study(settings: Yu2019Settings) -> Yu2019Result:
    """Train, test and compare classifiers of sources as Yu, Davis and Fritz do (ICCV 2019).

    Page (learned.md), tables, JSON, figures and networks are written into the output folder. What
    is already there from an interrupted run is used.

    Args:
        settings: Images, networks, perturbations, and the output folder.

    Returns:
        Accuracies, separations of features, open-set results; images that could not be used.

    Raises:
        UserError: images too few or too small, an unknown name, or an output folder of another
            study.

    Example:
        >>> yu2019_study(Yu2019Settings(data_dir="missing", output_dir="study", cuda=-1))
        Traceback (most recent call last):
        artfp.core.errors.UserError: missing: cannot be read: No such file or directory
    """
    output = settings.output_dir
    sources = open_sources(settings.data_dir)
    left_out = tuple(sources) if settings.left_out == ("all",) else settings.left_out
    left_out = tuple(dict.fromkeys(left_out))
    _check_left_out(sources, left_out)
    leakage = warn_of_leakage(sources)
    cache = cache_settings(settings, output, DecisionRule(settings.alpha))
    both = split_sources(sources, settings.fit, settings.test, settings.seed)

    def read(part: int, least: int, side: int | None, excluded: str | None = None) -> ImageSet:
        return ImageSet(
            {name: source for name, source in both[part].items() if name != excluded},
            policy=ALIGNED,
            window=side,
            min_images=least,
            seed=settings.seed,
            folder=output,
        )

    fitted = read(0, MIN_IMAGES, None)
    side = network_side(fitted.policy)
    if fitted.policy.window != (side, side):
        fitted.close()
        fitted = read(0, MIN_IMAGES, side)
    tested = read(1, MIN_SOURCE_IMAGES, side)
    deciding = {
        "version": __version__,
        "fitted": fitted.digest,
        "tested": tested.digest,
        "network": cache.network,
        "steps": cache.steps,
        "immunise": list(settings.immunise),
        "immunise_steps": cache.immunise_steps if settings.immunise else None,
        "precision": cache.precision,
        "seed": cache.seed,
        **asdict(cache.rules),
    }
    Manifest.claim(output, deciding, _RUN, results=f"{cache.folder.name}/*/{ATTRIBUTOR_FILE}")
    training: dict[str, dict[str, Any]] = {}

    def network(
        name: str,
        immunise: tuple[str, ...] = (),
        origin: str | None = None,
        excluded: str | None = None,
    ) -> FittedAttributor:
        def make() -> FittedAttributor:
            _log.info("training: %s", name)
            if excluded is None:
                return cached_network(fitted, cache, name, immunise, origin)
            with closing(read(0, MIN_IMAGES, side, excluded)) as others:
                return cached_network(others, cache, name)

        before = None if origin is None else cache.folder / origin
        found, seconds = cached_attributor(cache.folder / name, make, before)
        training[name] = {**found.metadata["training"], "seconds": seconds}
        return found

    networks = [network(LEARNED_ATTRIBUTOR)]
    if settings.immunise:
        networks.append(network(IMMUNISED_ATTRIBUTOR, settings.immunise, LEARNED_ATTRIBUTOR))
    with closing(Journal(output, _RUN)) as journal:
        measurement = _Measurement(journal, journal.records(), tested, cache)
        rows = measurement.perturbed(networks)
        features = [measurement.learned(networks[0])]
        if effnet_installed():
            features.append(measurement.generic(both[1]))
        open_sets = [
            measurement.open_set(network(WITHOUT + name, excluded=name), name) for name in left_out
        ]
    found = Yu2019Result(
        sources=fitted.sources,
        fitted=tuple(np.bincount(fitted.labels).tolist()),
        tested=tuple(np.bincount(tested.labels).tolist()),
        held_out=tuple(np.bincount(fitted.labels[choose_held_out(fitted)]).tolist()),
        seed=settings.seed,
        side=side,
        alpha=settings.alpha,
        training=training,
        rows=tuple(rows),
        features=tuple(features),
        open_sets=tuple(open_sets),
        failed=fitted.failed + tested.failed,
    )
    fitted.close()
    tested.close()
    uses = _image_uses(sources, fitted, tested)
    warn_of_shared(uses)
    write_atomic(output / USES_FILE, csv_table(uses))
    names = ("network", "max_steps", "immunise_steps", "precision", "seed", "alpha", "fit", "test")
    config = {name: getattr(settings, name) for name in names} | {
        "fit": max(map(len, both[0].values())),
        "immunise": list(settings.immunise),
        "leakage": [str(finding) for finding in leakage],
    }
    return replace(found, files=tuple(write_results(found, config, output)))


def _image_uses(
    sources: Mapping[str, ImageSource], fitted: ImageSet, tested: ImageSet
) -> list[ImageUse]:
    """Return the use of every image that can be used."""
    lost = {name for name, _ in fitted.failed + tested.failed}
    parts: list[tuple[ImageSet, list[Use]]] = [
        (fitted, ["validation" if held else "training" for held in choose_held_out(fitted)]),
        (tested, ["test"] * len(tested)),
    ]
    found = {
        (each.sources[k], name): ImageUse(each.sources[k], name, use, digest)
        for each, uses in parts
        for k, name, use, digest in zip(
            each.labels.tolist(), each.names, uses, each.hashes, strict=True
        )
    }
    return [
        found.get((name, image)) or ImageUse(name, image, "unused")
        for name, source in sources.items()
        for image in source.names
        if f"{name}/{image}" not in lost
    ]


def _check_left_out(sources: Mapping[str, ImageSource], left_out: Sequence[str]) -> None:
    for name in left_out:
        if name not in sources:
            raise UserError(f"--left_out: no source {name!r}; choose from {', '.join(sources)}")
    if left_out and len(sources) < 3:
        raise UserError(
            f"--left_out: without one of {len(sources)} sources nothing is left to classify; it "
            "takes three or more"
        )


@dataclass(frozen=True)
class _Measurement:
    """Measurements on the test images, with those that the journal has in `known`."""

    journal: Journal
    known: dict[str, dict[str, Any]]
    image_set: ImageSet
    settings: CacheSettings

    def _record(self, key: str, record: dict[str, Any]) -> None:
        self.known[key] = {**record, "name": key}
        self.journal.append(self.known[key])

    def perturbed(self, networks: Sequence[FittedAttributor]) -> list[PerturbedResult]:
        """Return the results of all networks under all conditions, network by network."""
        device, seed = self.settings.device, self.settings.seed
        for condition in published_conditions():
            keys = {one.name: f"{condition.group}/{one.name}" for one in networks}
            missing = [one for one in networks if keys[one.name] not in self.known]
            if missing:
                _log.info("testing: %s", condition.group)
                for row in measure_perturbed(missing, self.image_set, condition, seed, device):
                    self._record(keys[row.attributor], {"row": asdict(row)})
        return [
            perturbed_result_of(self.known[f"{condition.group}/{one.name}"]["row"])
            for one in networks
            for condition in published_conditions()
        ]

    def learned(self, network: FittedAttributor) -> FeatureSeparation:
        """Return the separation in the features of a network."""
        key = f"features/{network.name}"
        if key not in self.known:
            _log.info("features: learned")
            values, labels = learned_features(network, self.image_set, self.settings.device)
            found = measure_features(LEARNED_ATTRIBUTOR, values, labels, self.settings.seed)
            self._record(key, {"features": asdict(found)})
        return feature_separation_of(self.known[key]["features"])

    def generic(self, sources: Mapping[str, ImageSource]) -> FeatureSeparation:
        """Return the separation in EfficientNet's features."""
        key = f"features/{GENERIC}"
        if key not in self.known:
            _log.info("features: generic")
            values, labels = generic_features(sources, self.settings.device)
            found = measure_features(GENERIC, values, labels, self.settings.seed)
            self._record(key, {"features": asdict(found)})
        return feature_separation_of(self.known[key]["features"])

    def open_set(self, network: FittedAttributor, source: str) -> OpenSetResult:
        """Return the result of a network that was trained without a source."""
        key = f"open/{source}"
        if key not in self.known:
            _log.info("open set: %s", source)
            settings = self.settings
            found = measure_open_set(
                network, source, self.image_set, settings.seed, settings.device
            )
            self._record(key, {"open": asdict(found)})
        return open_set_result_of(self.known[key]["open"])
