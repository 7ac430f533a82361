"""A robustness study: images from files, marked or labelled, swept in one folder.

Three ways in. `marked_by`: every method marks the same originals, each with a message of its own,
which comes from a seed (it is a measurement, not a secret). `already_marked`: images that carry one
known fingerprint, such as the output of a generator, are only decoded. `labelled`: passive
attributors predict the source of images.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import artfp
from artfp.core.errors import UserError
from artfp.core.progress import Progress
from artfp.data.geometry import Geometry
from artfp.data.image_files import ImageError
from artfp.data.reading import Failed, Spool, read_images
from artfp.data.resume import Journal, Manifest
from artfp.data.sources import ImageSource
from artfp.ownership.key import Key
from artfp.passive.attributors.base import Attributor
from artfp.perturbations.conditions import Condition
from artfp.robustness.methods import Method, Reader
from artfp.robustness.sweep import Sample, Sweep, SweepSet, sweep

_RUN = "robustness"
"""Name of manifest and journal in the output folder."""

LEAST_SIDE = 11
"""Pixels of the shorter side below which an image is not taken: the window of the SSIM."""

_FORMAT = 1

Refuses = Callable[[int, int], str | None]
"""Why images of a height and a width cannot be used, or None if they can."""


class SweepImages:
    """The usable images of a source, decoded and cut, in a spool; the others with the reason.

    Attributes:
        names: Names of the images.
        spool: Pixels of each.
        failed: Names of the others, with the reasons.
        digest: Hash of the names, of what the files hold and of how it is cut.
    """

    def __init__(
        self,
        source: ImageSource,
        indices: Sequence[int],
        geometry: Geometry,
        folder: Path | None = None,
        refuses: Refuses = lambda height, width: None,
        caption: str = "Reading",
        orientation: bool = True,
    ) -> None:
        """Read images `indices` of a source. Raises UserError: none of them can be used."""
        self.names: list[str] = []
        self.spool = Spool(folder)
        digest = hashlib.sha256(geometry.describe().encode())

        def prepare(whole: np.ndarray) -> np.ndarray:
            pixels = geometry(whole)
            _check_size(pixels, refuses)
            return pixels

        failed: Failed = []
        with Progress(caption, len(indices)) as progress:
            for image in read_images(source, failed, indices, prepare, progress, orientation):
                self.names.append(image.name)
                self.spool.append(image.pixels)
                label = image.name.encode("utf-8", "surrogateescape") + b"\0"
                content = hashlib.sha256(image.data).digest()
                digest.update(hashlib.sha256(label + content).digest())
        self.failed = dict(failed)
        self.digest = digest.hexdigest()
        if not self.names:
            reason = next(iter(self.failed.values()), "nothing there")
            raise UserError(
                f"{source.location}: none of {len(indices)} images can be used; the first: {reason}"
            )


@dataclass(frozen=True)
class RobustnessStudy:
    """Sets to sweep and what decides the results: `settings`, JSON values.

    The values of settings whose names begin with "secret" are shown nowhere.
    """

    sets: list[SweepSet]
    settings: dict[str, Any]

    def open_settings(self) -> dict[str, Any]:
        """Return the settings without the secret ones."""
        return {k: v for k, v in self.settings.items() if not k.startswith("secret")}


@dataclass(frozen=True)
class SweepOptions:
    """Options of `sweep` for a study, with the output folder."""

    conditions: list[Condition]
    fpr: float = 1e-6
    seed: int = 0
    batch_size: int = 32
    output: Path = field(default_factory=Path)


def marked_by(methods: Sequence[Method], originals: SweepImages, seed: int) -> RobustnessStudy:
    """Make sets of the originals as each method marks them; methods that mark alike share one.

    The message of an image depends on the seed, its name and the number of bits. Raises UserError:
    two methods of one name.
    """
    names = [method.name for method in methods]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"two methods are called {name!r}; give one another name: other={name}")
    groups: dict[str, list[Method]] = {}
    for method in methods:
        groups.setdefault(json.dumps(method.marks, sort_keys=True), []).append(method)
    sets = [_marked_set(group, originals, seed) for group in groups.values()]
    described = {m.name: {**m.marks, **m.reader.settings} for m in methods}
    return RobustnessStudy(sets, {"methods": described, "images": originals.digest})


def already_marked(
    reader: Reader,
    fingerprint: NDArray[np.uint8],
    secret: str,
    marked: SweepImages,
    unmarked: SweepImages | None = None,
) -> RobustnessStudy:
    """Make a set of images that carry a fingerprint (bits,), and perhaps of some that do not.

    `secret` distinguishes the fingerprint from others (see `Fingerprints.identity`).
    """
    attributor = reader.attributor(fingerprint[None], ("fingerprint",))

    def samples() -> Iterator[Sample]:
        for index in range(len(marked.spool)):
            yield Sample(marked.spool[index], 0)
        for index in range(len(unmarked.spool) if unmarked is not None else 0):
            assert unmarked is not None
            yield Sample(unmarked.spool[index])

    count = len(marked.spool) + (len(unmarked.spool) if unmarked is not None else 0)
    settings = {
        "methods": {reader.name: reader.settings},
        "images": marked.digest,
        "unmarked": None if unmarked is None else unmarked.digest,
        "secret_fingerprint": secret,
    }
    return RobustnessStudy([SweepSet("marked", samples, count, (attributor,))], settings)


def labelled(
    attributors: Mapping[str, Attributor], images: Mapping[str, SweepImages]
) -> RobustnessStudy:
    """Make sets of the images of each folder; attributors that know the same sources share one.

    Folders that have no source's name are of sources that nobody knows: they count false positives.
    The keys of `attributors` decide their results, such as a hash.

    Raises UserError: two attributors of one name, or one that knows none of the folders.
    """
    names = [attributor.name for attributor in attributors.values()]
    for name in names:
        if names.count(name) > 1:
            raise UserError(
                f"two attributors are called {name!r}; give one another name: other={name}"
            )
    groups: dict[tuple[str, ...], list[Attributor]] = {}
    for attributor in attributors.values():
        groups.setdefault(tuple(attributor.sources), []).append(attributor)
    sets = []
    for sources, group in groups.items():
        if not set(sources) & set(images):
            raise UserError(
                f"{group[0].name} knows {', '.join(sources)}; no folder of images has such a "
                f"name, found {', '.join(images)}"
            )
        count = sum(len(each.spool) for each in images.values())
        samples = partial(_labelled_samples, sources, images)
        sets.append(SweepSet(f"labelled, {group[0].name}", samples, count, tuple(group)))
    settings = {
        "methods": {a.name: {"attributor": digest} for digest, a in attributors.items()},
        "labelled": {name: each.digest for name, each in images.items()},
    }
    return RobustnessStudy(sets, settings)


def joined(studies: Sequence[RobustnessStudy]) -> RobustnessStudy:
    """Join studies for one sweep. Raises UserError: methods of one name."""
    settings: dict[str, object] = {}
    methods: dict[str, object] = {}
    for study in studies:
        for name in study.settings["methods"]:
            if name in methods:
                raise UserError(f"two methods are called {name!r}; give one another name")
        methods |= study.settings["methods"]
        settings |= study.settings
    sets = [image_set for study in studies for image_set in study.sets]
    return RobustnessStudy(sets, {**settings, "methods": methods})


def _labelled_samples(
    sources: Sequence[str], images: Mapping[str, SweepImages]
) -> Iterator[Sample]:
    for name, each in images.items():
        number = sources.index(name) if name in sources else None
        for index in range(len(each.spool)):
            yield Sample(each.spool[index], number)


def run_study(study: RobustnessStudy, options: SweepOptions) -> Sweep:
    """Run the sweep of a study, from where an earlier run of it in the folder stopped.

    Raises UserError: the folder holds a run with other settings, or cannot be written.
    """
    Manifest.claim(options.output, {**study.settings, **option_settings(options)}, _RUN)
    journal = Journal(options.output, _RUN)
    try:
        return sweep(
            study.sets,
            options.conditions,
            fpr=options.fpr,
            seed=options.seed,
            batch_size=options.batch_size,
            journal=journal,
            folder=options.output,
        )
    finally:
        journal.close()


def option_settings(options: SweepOptions) -> dict[str, Any]:
    """Return the options that decide the results, as JSON values."""
    return {
        "conditions": [condition.key for condition in options.conditions],
        "fpr": options.fpr,
        "seed": options.seed,
        "batch_size": options.batch_size,
        "version": artfp.__version__,
        "format": _FORMAT,
    }


def least_of(methods: Sequence[Method]) -> Refuses:
    """Return a function that gives the reason why a method cannot use images of a size."""

    def refuses(height: int, width: int) -> str | None:
        for method in methods:
            reason = method.embedder.refuses(height, width)
            if reason is not None:
                return f"{width}x{height} is too small for {method.name}: {reason}"
        return None

    return refuses


def _marked_set(group: Sequence[Method], originals: SweepImages, seed: int) -> SweepSet:
    """The originals, marked by the first of some methods that mark alike, read by each."""
    method, key = group[0], Key.from_seed(seed)
    contexts = [b"image:" + name.encode("utf-8", "surrogateescape") for name in originals.names]
    messages = np.stack(
        [key.fingerprint(method.embedder.bits, context=context) for context in contexts]
    )

    def samples() -> Iterator[Sample]:
        for index, message in enumerate(messages):
            original = originals.spool[index]
            marked = method.embedder.embed(original, message)
            yield Sample(marked, index, original, originals.names[index])

    attributors = tuple(m.reader.attributor(messages, originals.names) for m in group)
    return SweepSet(method.name, samples, len(messages), attributors)


def _check_size(pixels: np.ndarray, refuses: Refuses) -> None:
    """Raise ImageError on images that are too small."""
    height, width = pixels.shape[:2]
    if min(height, width) < LEAST_SIDE:
        raise ImageError(f"{width}x{height} is too small, {LEAST_SIDE} a side is least")
    if reason := refuses(height, width):
        raise ImageError(reason)
