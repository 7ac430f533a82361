"""Proactive and passive attribution on the same images of the same generators, in one table.

Some images of each source fit the passive methods, the others test all methods, under
every perturbation at every strength, each image perturbed once for all of them. What was fitted and
what was found is kept, so a comparison that was stopped goes on.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from artfp import __version__
from artfp.comparison.measure import ComparisonRow, measure
from artfp.comparison.methods import (
    ComparedMethod,
    PassiveMethod,
    ProactiveMethod,
    same_sources,
)
from artfp.comparison.passive_methods import (
    ORIGIN,
    PASSIVE_METHODS,
    PROACTIVE_ABOUT,
    PROACTIVE_NEEDS,
)
from artfp.comparison.settings import CompareSettings
from artfp.core.errors import UserError
from artfp.data.bundle import find_weights
from artfp.data.files import file_hash
from artfp.data.resume import Journal, Manifest
from artfp.data.sources import ImageSource, open_sources
from artfp.data.subset import split_sources
from artfp.ownership.key import Key, parse_fingerprint
from artfp.passive.attributors.bundle import FittedAttributor
from artfp.passive.attributors.window import ALIGNED
from artfp.passive.fitting.cache import (
    ATTRIBUTORS,
    CacheSettings,
    cache_settings,
    cached_attributor,
)
from artfp.passive.fitting.image_set import MIN_IMAGES, ImageSet
from artfp.passive.fitting.leakage import warn_of_leakage
from artfp.perturbations.conditions import Condition, choose, parse_strengths
from artfp.robustness.methods import PLAIN
from artfp.watermark import Decoder, load_decoder

_log = logging.getLogger("artfp")

RUN = "compare"
"""What manifest and journal in the output folder are called after."""


@dataclass(frozen=True)
class MethodSummary:
    """What is known of a methods beside its figures.

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
    summaries: tuple[MethodSummary, ...]
    rows: tuple[ComparisonRow, ...]
    failed: list[tuple[str, str]]


@dataclass(frozen=True)
class ComparisonResult:
    """Result of `compare_attribution`.

    Args:
        comparison: All figures.
        conditions: Perturbations with their strengths.
        decoder: SHA-256 of the decoder's weights.
        realign: True if the decoder searches for crops and rotations.
    """

    comparison: Comparison
    conditions: Sequence[Condition]
    decoder: str
    realign: bool


def compare_attribution(settings: CompareSettings) -> ComparisonResult:
    """Compare proactive with passive attribution on the same images of the same sources.

    Args:
        settings: Images, fingerprints, decoder, passive methods, perturbations.

    Returns:
        Accuracy, true positive rates and cost of every method under every perturbation.

    Raises:
        UserError: sources and fingerprints that do not belong together, too few images, an
            unknown name, or an output folder of another comparison.
    """
    strengths = parse_strengths(settings.strengths)
    groups = settings.perturbations
    conditions = choose(groups, {name: strengths[name] for name in groups if name in strengths})
    sources, output = open_sources(settings.data_dir), settings.output_dir
    path = settings.decoder_path.removesuffix(PLAIN)
    realign = path == settings.decoder_path
    decoder, _ = load_decoder(path, realign=realign)
    fingerprints = read_fingerprints(settings.fingerprints, decoder.bits)
    digest = file_hash(find_weights(path, "decoder"))
    warn_of_leakage(sources)
    found = compare(
        sources,
        fingerprints,
        decoder,
        conditions,
        output,
        passive=settings.methods,
        fit=settings.fit,
        test=settings.test,
        settings=cache_settings(settings, output),
        decides={
            "decoder": digest,
            "realign": realign,
            "secret_fingerprints": {
                name: None if fingerprint is None else fingerprint.tolist()
                for name, fingerprint in fingerprints.items()
            },
        },
    )
    return ComparisonResult(found, conditions, digest, realign)


def read_fingerprints(path: Path, bits: int) -> dict[str, NDArray[np.uint8] | None]:
    """Read a JSON file of fingerprints by source: bits, hexadecimal, a key's file, or null.

    Raises:
        UserError: the file is no such JSON, or a fingerprint has another length.
    """
    try:
        texts = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from None
    except ValueError as error:
        raise UserError(f"{path}: not JSON: {error}") from None
    if not isinstance(texts, dict):
        raise UserError(f'{path}: expected {{"SOURCE": "FINGERPRINT", ...}}')
    found: dict[str, NDArray[np.uint8] | None] = {}
    for name, text in texts.items():
        if text is not None and not isinstance(text, str):
            raise UserError(f"{path}: {name}: expected bits, hexadecimal, a key's file or null")
        if text is None:
            found[name] = None
        elif text.endswith(".json"):
            found[name] = Key.load(path.parent / text).fingerprint(bits)
        else:
            try:
                found[name] = parse_fingerprint(text, bits)
            except (UserError, ValueError) as error:
                raise UserError(f"{path}: {name}: {error}") from None
    return found


def compare(
    sources: Mapping[str, ImageSource],
    fingerprints: Mapping[str, NDArray[np.uint8] | None],
    decoder: Decoder,
    conditions: Sequence[Condition],
    output: Path,
    *,
    passive: Sequence[str] = tuple(PASSIVE_METHODS),
    fit: int = 512,
    test: int = 488,
    settings: CacheSettings | None = None,
    decides: Mapping[str, Any] | None = None,
) -> Comparison:
    """Fit the passive `passive`, then put all methods to the test.

    Args: `fingerprints` (bits,) of the sources, None for one that has none; `fit` and `test`,
    images of each source; `decides`, what else the results depend on, such as hashes of files.

    Raises UserError: sources and fingerprints that do not belong together, too few images, an
    unknown method, or an output folder of another comparison.
    """
    _check(sources, fingerprints, passive)
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
    summaries: list[tuple[ComparedMethod, str, str, float | None]] = [
        (
            ProactiveMethod(decoder, {name: fingerprints[name] for name in fitted.sources}),
            PROACTIVE_ABOUT,
            PROACTIVE_NEEDS,
            None,
        )
    ]
    for name in [name for name in PASSIVE_METHODS if name in passive]:
        _log.info("fitting: %s", name)
        made, seconds = _fitted(name, fitted, partial(read, 0, recompress=True), settings)
        summaries.append((made, PASSIVE_METHODS[name].about, PASSIVE_METHODS[name].needs, seconds))
    methods = [summary[0] for summary in summaries]
    same_sources(methods)
    journal = Journal(output, RUN)
    rows, paces = measure(methods, tested, conditions, journal, settings.seed)
    journal.close()
    unmarked = next(
        (name for name, fingerprint in fingerprints.items() if fingerprint is None), None
    )
    found = Comparison(
        sources=fitted.sources,
        unmarked=unmarked,
        images=(int(np.bincount(fitted.labels).min()), int(np.bincount(tested.labels).min())),
        summaries=tuple(
            MethodSummary(one.name, about, needs, seconds, paces[one.name])
            for one, about, needs, seconds in summaries
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
    passive: Sequence[str],
) -> None:
    for name in sources:
        if name not in fingerprints:
            raise UserError(
                f"no fingerprint for the source {name}; give one, or null for one without"
            )
    for name in fingerprints:
        if name not in sources:
            raise UserError(f"a fingerprint for {name}, but the sources are {', '.join(sources)}")
    none = sorted(name for name, fingerprint in fingerprints.items() if fingerprint is None)
    if len(none) > 1 or len(none) == len(fingerprints):
        raise UserError(
            f"without a fingerprint: {', '.join(none)}; one source at most may have none"
        )
    for name in passive:
        if name not in PASSIVE_METHODS:
            raise UserError(f"method {name!r}: choose from {', '.join(PASSIVE_METHODS)}")
        if ORIGIN.get(name, name) not in passive:
            raise UserError(f"method {name} goes on from {ORIGIN[name]}; name that as well")


def _fitted(
    name: str,
    image_set: ImageSet,
    recompressed: Callable[[], ImageSet],
    settings: CacheSettings,
) -> tuple[PassiveMethod, float]:
    """A methods, fitted or from its folder, and the seconds that it took.

    `recompressed` reads the material with recompressed copies, for a method that takes them.
    """

    def make() -> FittedAttributor:
        if not PASSIVE_METHODS[name].recompress:
            return PASSIVE_METHODS[name].make(image_set, settings, name)
        with closing(recompressed()) as copies:
            return PASSIVE_METHODS[name].make(copies, settings, name)

    origin = settings.folder / ORIGIN[name] if name in ORIGIN else None
    found, seconds = cached_attributor(settings.folder / name, make, origin)
    return PassiveMethod(found), seconds
