"""Proactive and passive attribution on the same images of the same generators, in one table.

Some images of each source fit the passive contestants, the others test all contestants, under
every perturbation at every strength, each image perturbed once for all of them. What was fitted and
what was found is kept, so a comparison that was stopped goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from artfp import __version__
from artfp.comparison.compare_fits import ORIGIN, PROACTIVE_ABOUT, PROACTIVE_NEEDS, WAYS
from artfp.comparison.contestants import (
    Contestant,
    PassiveContestant,
    ProactiveContestant,
    same_sources,
)
from artfp.comparison.measure import Row, measure
from artfp.core.errors import UserError
from artfp.data.resume import Journal, Manifest
from artfp.data.sources import ImageSource
from artfp.data.subset import split_sources
from artfp.passive.attributors.bundle import FittedAttributor
from artfp.passive.attributors.window import ALIGNED
from artfp.passive.fitting.cache import ATTRIBUTORS, CacheSettings, cached_attributor
from artfp.passive.fitting.image_set import MIN_IMAGES, ImageSet
from artfp.perturbations.conditions import Condition
from artfp.watermark import Decoder

RUN = "compare"
"""What manifest and journal in the output folder are called after."""


@dataclass(frozen=True)
class Entrant:
    """What is known of a contestant beside its figures.

    `seconds` it took to fit, with what it goes on from; None for the proactive one, whose cost is
    the training of encoder and decoder, once for all sources. `milliseconds` an image, in scoring.
    """

    name: str
    about: str
    needs: str
    seconds: float | None
    milliseconds: float


@dataclass(frozen=True)
class Comparison:
    """`images`, numbers of each source that fitted and that tested; `rows`, of each condition."""

    sources: tuple[str, ...]
    unmarked: str | None
    images: tuple[int, int]
    entrants: tuple[Entrant, ...]
    rows: tuple[Row, ...]
    failed: list[tuple[str, str]]


def compare(
    sources: Mapping[str, ImageSource],
    fingerprints: Mapping[str, NDArray[np.uint8] | None],
    decoder: Decoder,
    conditions: Sequence[Condition],
    output: Path,
    *,
    ways: Sequence[str] = tuple(WAYS),
    fit: int = 512,
    test: int = 488,
    settings: CacheSettings | None = None,
    decides: Mapping[str, Any] | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> Comparison:
    """Fit the passive `ways`, then put all contestants to the test.

    Args: `fingerprints` (bits,) of the sources, None for one that has none; `fit` and `test`,
    images of each source; `decides`, what else the results depend on, such as hashes of files.

    Raises UserError: sources and fingerprints that do not belong together, too few images, an
    unknown way, or an output folder of another comparison.
    """
    _check(sources, fingerprints, ways)
    settings = settings or CacheSettings(output / ATTRIBUTORS)
    both = split_sources(sources, fit, test, settings.seed)

    def read(part: int, least: int = MIN_IMAGES, recompress: bool = False) -> ImageSet:
        return ImageSet(
            both[part],
            policy=ALIGNED,
            recompress=recompress,
            min_images=least,
            seed=settings.seed,
            folder=output,
        )

    fitted, tested = read(0), read(1, least=1)
    if fitted.policy != tested.policy:
        raise UserError("the images of all sources must have one size; cut them, do not resize")
    deciding = {
        "version": __version__,
        "fitted": fitted.digest,
        "tested": tested.digest,
        "network": settings.network,
        "steps": settings.steps,
        "immunise_steps": settings.immunise_steps,
        "precision": settings.precision,
        "seed": settings.seed,
        **(decides or {}),
    }
    Manifest.claim(output, deciding, RUN)
    entrants: list[tuple[Contestant, str, str, float | None]] = [
        (
            ProactiveContestant(decoder, {name: fingerprints[name] for name in fitted.sources}),
            PROACTIVE_ABOUT,
            PROACTIVE_NEEDS,
            None,
        )
    ]
    for name in [way for way in WAYS if way in ways]:
        say(f"fitting: {name}")
        made, seconds = _fitted(name, fitted, partial(read, 0, recompress=True), settings)
        entrants.append((made, WAYS[name].about, WAYS[name].needs, seconds))
    contestants = [entrant[0] for entrant in entrants]
    same_sources(contestants)
    journal = Journal(output, RUN)
    rows, paces = measure(contestants, tested, conditions, journal, settings.seed, say)
    journal.close()
    unmarked = next((name for name, word in fingerprints.items() if word is None), None)
    found = Comparison(
        sources=fitted.sources,
        unmarked=unmarked,
        images=(int(np.bincount(fitted.labels).min()), int(np.bincount(tested.labels).min())),
        entrants=tuple(
            Entrant(one.name, about, needs, seconds, paces[one.name])
            for one, about, needs, seconds in entrants
        ),
        rows=tuple(rows),
        failed=fitted.failed + tested.failed,
    )
    fitted.close()
    tested.close()
    return found


def _check(
    sources: Mapping[str, ImageSource],
    fingerprints: Mapping[str, NDArray[np.uint8] | None],
    ways: Sequence[str],
) -> None:
    for name in sources:
        if name not in fingerprints:
            raise UserError(
                f"no fingerprint for the source {name}; give one, or null for one without"
            )
    for name in fingerprints:
        if name not in sources:
            raise UserError(f"a fingerprint for {name}, but the sources are {', '.join(sources)}")
    none = sorted(name for name, word in fingerprints.items() if word is None)
    if len(none) > 1 or len(none) == len(fingerprints):
        raise UserError(
            f"without a fingerprint: {', '.join(none)}; one source at most may have none"
        )
    for way in ways:
        if way not in WAYS:
            raise UserError(f"contestant {way!r}: choose from {', '.join(WAYS)}")
        if ORIGIN.get(way, way) not in ways:
            raise UserError(f"contestant {way} goes on from {ORIGIN[way]}; name that as well")


def _fitted(
    name: str,
    image_set: ImageSet,
    recompressed: Callable[[], ImageSet],
    settings: CacheSettings,
) -> tuple[PassiveContestant, float]:
    """A contestant, fitted or from its folder, and the seconds that it took.

    `recompressed` reads the material with recompressed copies, for a way that takes them.
    """

    def make() -> FittedAttributor:
        if not WAYS[name].recompress:
            return WAYS[name].make(image_set, settings, name)
        with closing(recompressed()) as copies:
            return WAYS[name].make(copies, settings, name)

    origin = settings.folder / ORIGIN[name] if name in ORIGIN else None
    found, seconds = cached_attributor(settings.folder / name, make, origin)
    return PassiveContestant(found), seconds
