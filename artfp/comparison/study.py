"""Proactive and passive attribution on the same images of the same generators, in one table.

Some images of each source fit the passive methods, the others test all methods, under every
perturbation at every strength, each image perturbed once for all of them. Fits and scores are
cached, so an interrupted comparison continues.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Collection, Mapping
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from artfp import __version__
from artfp.comparison.measure import ComparisonResult, MethodSummary, measure_methods
from artfp.comparison.methods import (
    PASSIVE_FITS,
    PROACTIVE_ABOUT,
    PROACTIVE_NEEDS,
    AttributionMethod,
    PassiveMethod,
    ProactiveMethod,
    common_sources,
)
from artfp.comparison.report import write_comparison
from artfp.comparison.settings import TRAINED_FURTHER, CompareSettings
from artfp.core.errors import UserError
from artfp.core.run_folder import exclusive
from artfp.data.bundle import find_weights
from artfp.data.paths import file_hash, warn_if_shared
from artfp.data.resume import Journal, Manifest
from artfp.data.sources import open_sources
from artfp.data.subset import split_sources
from artfp.ownership.key import Key, parse_fingerprint
from artfp.passive.attributors.bundle import ATTRIBUTOR_FILE, FittedAttributor
from artfp.passive.attributors.window import ALIGNED
from artfp.passive.fitting.cache import CacheSettings, cache_settings, cached_attributor
from artfp.passive.fitting.image_set import MIN_IMAGES, ImageSet
from artfp.passive.fitting.leakage import warn_of_leakage
from artfp.perturbations.conditions import Condition, choose, parse_strengths
from artfp.robustness.methods import PLAIN_SUFFIX
from artfp.watermark import load_decoder

_log = logging.getLogger("artfp")

_RUN = "compare"
"""Name of manifest and journal in the output folder."""

Fingerprint = NDArray[np.uint8]


@exclusive
def compare_attribution(settings: CompareSettings) -> ComparisonResult:
    """Compare proactive attribution (Yu et al. 2021) with passive methods on the same images.

    Tables, JSON, plots and the fitted attributors are written into the output folder. Fits and
    scores that are already there from an interrupted run are used.

    Args:
        settings: Images, fingerprints, decoder, methods, perturbations, and the output folder.

    Returns:
        Scores of all methods under all perturbations; images that could not be used.

    Raises:
        UserError: sources and fingerprints that do not belong together, too few images, or an
            output folder of another comparison.

    Example:
        >>> compare_attribution(
        ...     CompareSettings(data_dir="missing", fingerprints="made.json", output_dir="compared")
        ... )
        Traceback (most recent call last):
        artfp.core.errors.UserError: missing: cannot be read: No such file or directory
    """
    output = settings.output_dir
    conditions = _conditions(settings)
    sources = open_sources(settings.data_dir)
    path = settings.decoder_path.removesuffix(PLAIN_SUFFIX)
    realign = path == settings.decoder_path
    decoder, _ = load_decoder(path, realign=realign)
    fingerprints = read_fingerprints(settings.fingerprints, decoder.bits)
    _check_fingerprints(sources, fingerprints)
    config = {
        "decoder": file_hash(find_weights(path, "decoder")),
        "realign": realign,
        "network": settings.network,
        "max_steps": settings.max_steps,
        "immunise_steps": settings.immunise_steps,
        "precision": settings.precision,
        "seed": settings.seed,
    }
    warn_of_leakage(sources)
    cache = cache_settings(settings, output)
    both = split_sources(sources, settings.fit, settings.test, settings.seed)

    def read(part: int, least: int = MIN_IMAGES, recompress: bool = False) -> ImageSet:
        return ImageSet(
            both[part],
            policy=ALIGNED,
            recompress=recompress,
            min_images=least,
            seed=settings.seed,
            folder=output,
        )

    with closing(read(0)) as fitted, closing(read(1, least=1)) as tested:
        if fitted.policy != tested.policy:
            raise UserError("the images of all sources must have one size; crop, do not resize")
        deciding = {
            "version": __version__,
            "fitted": fitted.digest,
            "tested": tested.digest,
            "network": cache.network,
            "steps": cache.steps,
            "immunise_steps": cache.immunise_steps,
            "precision": cache.precision,
            "seed": cache.seed,
            "decoder": config["decoder"],
            "realign": realign,
            "secret_fingerprints": {
                name: None if bits is None else bits.tolist() for name, bits in fingerprints.items()
            },
        }
        Manifest.claim(output, deciding, _RUN, results=f"{cache.folder.name}/*/{ATTRIBUTOR_FILE}")
        in_order = {name: fingerprints[name] for name in fitted.sources}
        methods: list[AttributionMethod] = [ProactiveMethod(decoder, in_order)]
        about: list[tuple[str, str, float | None]] = [(PROACTIVE_ABOUT, PROACTIVE_NEEDS, None)]
        for name in [name for name in PASSIVE_FITS if name in settings.methods]:
            _log.info("fitting: %s", name)
            method, seconds = _fit(name, fitted, partial(read, 0, recompress=True), cache)
            methods.append(method)
            about.append((PASSIVE_FITS[name].about, PASSIVE_FITS[name].needs, seconds))
        common_sources(methods)
        with closing(Journal(output, _RUN)) as journal:
            rows, milliseconds = measure_methods(
                methods, tested, conditions, journal, settings.seed
            )
        found = ComparisonResult(
            sources=fitted.sources,
            unmarked=next((name for name, bits in fingerprints.items() if bits is None), None),
            images=(int(np.bincount(fitted.labels).min()), int(np.bincount(tested.labels).min())),
            methods=tuple(
                MethodSummary(method.name, *each, milliseconds[method.name])
                for method, each in zip(methods, about, strict=True)
            ),
            rows=tuple(rows),
            failed=fitted.failed + tested.failed,
        )
    return replace(found, files=tuple(write_comparison(found, conditions, config, output)))


def _conditions(settings: CompareSettings) -> list[Condition]:
    """Return the conditions; strengths of perturbations that are left out are passed over."""
    strengths = parse_strengths(settings.strengths)
    given = {name: strengths[name] for name in settings.perturbations if name in strengths}
    return choose(settings.perturbations, given)


def read_fingerprints(path: Path, bits: int) -> dict[str, Fingerprint | None]:
    """Read the fingerprint (bits,) of each source; None for one without.

    Raises:
        UserError: a file that does not hold them.
    """
    try:
        texts = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from None
    except ValueError as error:
        raise UserError(f"{path}: not JSON: {error}") from None
    warn_if_shared(path, "fingerprints")
    if not isinstance(texts, dict):
        raise UserError(f'{path}: expected {{"SOURCE": "FINGERPRINT", ...}}')
    fingerprints: dict[str, Fingerprint | None] = {}
    for name, text in texts.items():
        if text is not None and not isinstance(text, str):
            raise UserError(f"{path}: {name}: expected bits, hexadecimal, a key's file or null")
        if text is None:
            fingerprints[name] = None
        elif text.endswith(".json"):
            fingerprints[name] = Key.load(path.parent / text).fingerprint(bits)
        else:
            try:
                fingerprints[name] = parse_fingerprint(text, bits)
            except (UserError, ValueError) as error:
                raise UserError(f"{path}: {name}: {error}") from None
    return fingerprints


def _check_fingerprints(
    sources: Collection[str], fingerprints: Mapping[str, Fingerprint | None]
) -> None:
    for name in sources:
        if name not in fingerprints:
            raise UserError(
                f"no fingerprint for the source {name}; give one, or null for one without"
            )
    for name in fingerprints:
        if name not in sources:
            raise UserError(f"a fingerprint for {name}, but the sources are {', '.join(sources)}")
    none = sorted(name for name, bits in fingerprints.items() if bits is None)
    if len(none) > 1 or len(none) == len(fingerprints):
        raise UserError(
            f"without a fingerprint: {', '.join(none)}; one source at most may have none"
        )


def _fit(
    name: str,
    image_set: ImageSet,
    recompressed: Callable[[], ImageSet],
    settings: CacheSettings,
) -> tuple[PassiveMethod, float]:
    """Return a passive method, fitted or from its folder, and the seconds of its fit.

    `recompressed` reads the images with recompressed copies, for a method that takes them.
    """
    passive = PASSIVE_FITS[name]

    def make() -> FittedAttributor:
        if not passive.recompress:
            return passive.fit(image_set, settings, name)
        with closing(recompressed()) as copies:
            return passive.fit(copies, settings, name)

    origin = settings.folder / TRAINED_FURTHER[name] if name in TRAINED_FURTHER else None
    found, seconds = cached_attributor(settings.folder / name, make, origin)
    return PassiveMethod(found), seconds
