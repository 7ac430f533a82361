"""The studies of Yu, Davis and Fritz (ICCV 2019) on the sources of a folder, whatever these are.

Architectures, seeds of one architecture or data sets that nearly agree: networks are trained on
some images of each source and tested on others, before and after they are immunised; the sources'
distances in their features are compared with those in generic features; and networks that never saw
a source are asked about its images. What was trained and measured is kept, so a study that was
stopped goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from artfp import __version__
from artfp.core.errors import UserError
from artfp.data.resume import Journal, Manifest
from artfp.data.sources import ImageSource
from artfp.data.subset import split_sources
from artfp.metrics.perceptual import effnet_installed
from artfp.passive.attributors.bundle import FittedAttributor
from artfp.passive.attributors.window import ALIGNED
from artfp.passive.fitting.cache import CacheSettings, cached_attributor, cached_network
from artfp.passive.fitting.classifier import network_side
from artfp.passive.fitting.image_set import MIN_IMAGES, ImageSet
from artfp.passive.training.classifier import Immunisation
from artfp.passive_studies.yu2019.measure import (
    Features,
    OpenSet,
    Row,
    conditions,
    features,
    features_of_record,
    generic_features,
    learned_features,
    measured,
    open_set,
    open_set_of,
    row_of,
)
from artfp.passive_studies.yu2019.separation import LEAST

RUN = "learned"
"""What manifest and journal in the output folder are called after."""

LEARNED, IMMUNISED, GENERIC = "learned", "immunised", "generic"
"""The attributors, and the features that were not learned here."""

WITHOUT = "without_"
"""What stands before a source's name in the name of an attributor that never saw it."""


@dataclass(frozen=True)
class Learned:
    """`fitted` and `tested`, images of each source; `training`, what the cards tell, and seconds.

    `features`: in those of the network and, where EfficientNet is installed, generic ones.
    """

    sources: tuple[str, ...]
    fitted: tuple[int, ...]
    tested: tuple[int, ...]
    side: int
    alpha: float
    training: dict[str, dict[str, Any]]
    rows: tuple[Row, ...]
    features: tuple[Features, ...]
    open_sets: tuple[OpenSet, ...]
    failed: list[tuple[str, str]]


def learned(
    sources: Mapping[str, ImageSource],
    output: Path,
    settings: CacheSettings,
    *,
    immunise: Sequence[str] = (),
    left_out: Sequence[str] = (),
    fit: int = 512,
    test: int = 488,
    say: Callable[[str], None] = lambda text: None,
) -> Learned:
    """Train, test and measure all that is not in `output` yet.

    Args: `immunise`, names from IMMUNITIES, () for no such network; `left_out`, sources that a
    network is trained without, one after the other; `fit` and `test`, images of each source.

    Raises UserError: images too few or too small, an unknown name, or the output folder of another
    study.
    """
    if immunise:
        Immunisation(immunise)
    _check_left_out(sources, left_out)
    both = split_sources(sources, fit, test, settings.seed)

    def read(part: int, least: int, side: int | None, but: str | None = None) -> ImageSet:
        return ImageSet(
            {name: source for name, source in both[part].items() if name != but},
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
    others = read(1, LEAST, side)
    deciding = {
        "version": __version__,
        "fitted": fitted.digest,
        "tested": others.digest,
        "network": settings.network,
        "steps": settings.steps,
        "immunise": list(immunise),
        "immunise_steps": settings.immunise_steps if immunise else None,
        "precision": settings.precision,
        "seed": settings.seed,
        **asdict(settings.rules),
    }
    Manifest.claim(output, deciding, RUN)
    training: dict[str, dict[str, Any]] = {}

    def attributor(
        name: str,
        against: Sequence[str] = (),
        origin: str | None = None,
        but: str | None = None,
    ) -> FittedAttributor:
        def make() -> FittedAttributor:
            say(f"training: {name}")
            if but is None:
                return cached_network(fitted, settings, name, tuple(against), origin)
            with closing(read(0, MIN_IMAGES, side, but)) as rest:
                return cached_network(rest, settings, name)

        before = None if origin is None else settings.folder / origin
        found, seconds = cached_attributor(settings.folder / name, make, before)
        training[name] = {**found.metadata["training"], "seconds": seconds}
        return found

    networks = [attributor(LEARNED)]
    if immunise:
        networks.append(attributor(IMMUNISED, immunise, LEARNED))
    journal = Journal(output, RUN)
    study = _Study(journal, journal.records(), others, settings, say)
    rows = study.rows(networks)
    spaces = [study.learned(networks[0])]
    if effnet_installed():
        spaces.append(study.generic(both[1]))
    opened = [study.open(attributor(WITHOUT + name, but=name), name) for name in left_out]
    journal.close()
    found = Learned(
        sources=fitted.sources,
        fitted=tuple(np.bincount(fitted.labels).tolist()),
        tested=tuple(np.bincount(others.labels).tolist()),
        side=side,
        alpha=settings.rules.alpha,
        training=training,
        rows=tuple(rows),
        features=tuple(spaces),
        open_sets=tuple(opened),
        failed=fitted.failed + others.failed,
    )
    fitted.close()
    others.close()
    return found


def _check_left_out(sources: Mapping[str, ImageSource], left_out: Sequence[str]) -> None:
    for name in left_out:
        if name not in sources:
            raise UserError(f"left_out: no source {name!r}; choose from {', '.join(sources)}")
    if left_out and len(sources) < 3:
        raise UserError(
            f"left_out: without one of {len(sources)} sources nothing is left to tell apart; it "
            "takes three or more"
        )


@dataclass(frozen=True)
class _Study:
    """What measures, with what the journal `known` from before."""

    journal: Journal
    known: dict[str, dict[str, Any]]
    image_set: ImageSet
    settings: CacheSettings
    say: Callable[[str], None]

    def _keep(self, key: str, record: dict[str, Any]) -> None:
        self.known[key] = {**record, "name": key}
        self.journal.append(self.known[key])

    def rows(self, networks: Sequence[FittedAttributor]) -> list[Row]:
        """Of all networks under all conditions, those of a network together."""
        device, seed = self.settings.device, self.settings.seed
        for condition in conditions():
            keys = {one.name: f"{condition.group}/{one.name}" for one in networks}
            missing = [one for one in networks if keys[one.name] not in self.known]
            if missing:
                self.say(f"testing: {condition.group}")
                for row in measured(missing, self.image_set, condition, seed, device):
                    self._keep(keys[row.attributor], {"row": asdict(row)})
        return [
            row_of(self.known[f"{condition.group}/{one.name}"]["row"])
            for one in networks
            for condition in conditions()
        ]

    def learned(self, network: FittedAttributor) -> Features:
        """In the features of a network."""
        key = f"features/{network.name}"
        if key not in self.known:
            self.say("features: learned")
            values, labels = learned_features(network, self.image_set, self.settings.device)
            found = features(LEARNED, values, labels, self.settings.seed)
            self._keep(key, {"features": asdict(found)})
        return features_of_record(self.known[key]["features"])

    def generic(self, sources: Mapping[str, ImageSource]) -> Features:
        """In EfficientNet's features."""
        key = f"features/{GENERIC}"
        if key not in self.known:
            self.say("features: generic")
            values, labels = generic_features(sources, self.settings.device)
            found = features(GENERIC, values, labels, self.settings.seed)
            self._keep(key, {"features": asdict(found)})
        return features_of_record(self.known[key]["features"])

    def open(self, network: FittedAttributor, source: str) -> OpenSet:
        """Of a network that was trained without a source."""
        key = f"open/{source}"
        if key not in self.known:
            self.say(f"open set: {source}")
            found = open_set(
                network,
                source,
                self.image_set,
                self.settings.seed,
                self.settings.device,
            )
            self._keep(key, {"open": asdict(found)})
        return open_set_of(self.known[key]["open"])
