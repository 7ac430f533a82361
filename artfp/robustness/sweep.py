"""The robustness sweep: any attributors, any perturbations, each perturbed image made once.

An *image set* is a stream of 8-bit images, marked ones with their source and perhaps unmarked ones,
with the attributors that score them. Every watermarking method has a set of its own; attributors
that read the same images share one. A condition (a perturbation at a strength) of a set is one unit
of work: it is noted in a journal when it is done, so a stopped sweep goes on behind it.

    sweep([SweepSet("mine", samples, count, (attributor,))], choose(["jpeg"])).rows
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from artfp.core.progress import Progress
from artfp.data.pixels import as_batch, to_unit
from artfp.data.reading import Spool, equal_batches, stack_pixels
from artfp.data.resume import Journal
from artfp.metrics.fidelity import psnr, ssim
from artfp.metrics.visibility_summary import VisibilitySummary
from artfp.passive.attributors.base import Attributor
from artfp.perturbations.conditions import Condition
from artfp.robustness.figures import Counts, SweepFigures

_log = logging.getLogger("artfp")


@dataclass(frozen=True)
class Sample:
    """An 8-bit image (H, W, 3) of a set.

    `source` is the number of its true source, None for an unmarked image. `original`, where given,
    is the image before it was marked, for the fidelity; `name` is its name.
    """

    pixels: np.ndarray
    source: int | None = None
    original: np.ndarray | None = None
    name: str = ""


@dataclass(frozen=True)
class SweepSet:
    """Images, and the attributors that score them.

    Args:
        name: Name in the table.
        samples: Function that makes the images anew, in the same order each time; it is called only
            if there is something to compute.
        count: Number of images.
        attributors: Attributors, which all know the same sources.
    """

    name: str
    samples: Callable[[], Iterator[Sample]]
    count: int
    attributors: tuple[Attributor, ...]


@dataclass(frozen=True, kw_only=True)
class SweepRow(SweepFigures):
    """Figures of a method (an attributor) on its set under one condition.

    `strength` is None for unperturbed images, whose `perturbation` is "identity".
    """

    method: str
    image_set: str
    perturbation: str
    strength: float | None
    unit: str


@dataclass(frozen=True)
class Fidelity:
    """Fidelity of the marked images of a set to their originals.

    Attributes:
        psnr: Mean PSNR in dB.
        ssim: Mean SSIM.
        images: Number of images.
        visibility: Figures of `artfp.metrics.visibility_summary.VisibilitySummary`.
        most_visible: Name of the image whose mark is the most visible.
    """

    psnr: float
    ssim: float
    images: int
    visibility: dict[str, float] = field(default_factory=dict)
    most_visible: str = ""


@dataclass(frozen=True)
class Sweep:
    """Result of `sweep`: a row for each condition and method, and the fidelity of each set.

    Sets whose samples have no originals have no fidelity.
    """

    rows: list[SweepRow] = field(default_factory=list)
    fidelity: dict[str, Fidelity] = field(default_factory=dict)


def sweep(
    sets: Sequence[SweepSet],
    conditions: Sequence[Condition],
    *,
    fpr: float = 1e-6,
    seed: int = 0,
    batch_size: int = 32,
    journal: Journal | None = None,
    folder: Path | None = None,
) -> Sweep:
    """Score every set under every condition.

    Args:
        sets: Image sets, each name once.
        conditions: Perturbations at strengths.
        fpr: False positive rate of the test behind `tpr`, between 0 and 1.
        seed: Seed of the perturbations' draws, which are the same in all sets whose images have the
            same sizes in the same order.
        batch_size: Images that are perturbed at once; it has a part in the draws.
        journal: Rows of an earlier call with the same sets, conditions and settings (the caller
            sees to that); new ones are added.
        folder: Folder near which images are kept while they are needed.

    Returns:
        A row for each condition and attributor.

    Raises:
        ValueError: names that are not unique, `fpr` out of (0, 1), or a set without images.
    """
    _check(sets, conditions, fpr)
    known = journal.records() if journal is not None else {}
    # Each image is made once, then scored under each condition.
    with Progress("", sum(each.count for each in sets) * (1 + len(conditions))) as progress:
        for image_set in sets:
            missing = [c for c in conditions if _key(image_set, c) not in known]
            there = len(conditions) - len(missing) + (not missing)
            progress.advance(image_set.count * there, image_set.name)
            if not missing:
                continue
            _log.info(
                "%s: %d of %d conditions to go", image_set.name, len(missing), len(conditions)
            )
            with _Loaded(image_set, folder, progress) as loaded:
                fidelity = loaded.fidelity()
                if fidelity is not None:
                    record = {"name": _fidelity_key(image_set), **asdict(fidelity)}
                    _note(record, known, journal)
                for condition in missing:
                    rows = loaded.rows(condition, fpr, seed, batch_size, progress)
                    record = {"name": _key(image_set, condition), "rows": [asdict(r) for r in rows]}
                    _note(record, known, journal)
    found = Sweep()
    for image_set in sets:
        if (key := _fidelity_key(image_set)) in known:
            figures = {name: value for name, value in known[key].items() if name != "name"}
            found.fidelity[image_set.name] = Fidelity(**figures)
    for condition in conditions:
        for image_set in sets:
            found.rows.extend(SweepRow(**row) for row in known[_key(image_set, condition)]["rows"])
    return found


class _Loaded:
    """A set whose images have been made and lie in a spool."""

    def __init__(self, image_set: SweepSet, folder: Path | None, progress: Progress) -> None:
        self._set = image_set
        self._spool = Spool(folder)
        self._sources: list[int | None] = []
        self._fidelity: list[tuple[float, float]] = []
        self._seen = VisibilitySummary()
        try:
            for sample in image_set.samples():
                self._keep(sample)
                progress.advance(1, f"{image_set.name}: images")
            if len(self._spool) != image_set.count or set(self._sources) <= {None}:
                raise ValueError(
                    f"set {image_set.name!r} gave {len(self._spool)} images, "
                    f"{len(self._positions(True))} of them with a source; it announced "
                    f"{image_set.count}"
                )
        except BaseException:
            self._spool.close()
            raise

    def __enter__(self) -> _Loaded:
        return self

    def __exit__(self, *error: object) -> None:
        self._spool.close()

    def fidelity(self) -> Fidelity | None:
        """Return the mean fidelity of the samples that came with an original."""
        if not self._fidelity:
            return None
        means = np.mean(self._fidelity, axis=0)
        return Fidelity(
            psnr=float(means[0]),
            ssim=float(means[1]),
            images=len(self._fidelity),
            visibility=self._seen.figures(),
            most_visible=self._seen.worst,
        )

    def rows(
        self, condition: Condition, fpr: float, seed: int, batch_size: int, progress: Progress
    ) -> list[SweepRow]:
        """Return a row for each attributor; every image is perturbed once."""
        name = self._set.name
        counts = [Counts(attributor, fpr) for attributor in self._set.attributors]
        for marked in (True, False):
            positions = self._positions(marked)
            shapes = [self._spool.shapes[position] for position in positions]
            for number, batch in enumerate(equal_batches(shapes, batch_size)):
                chosen = [positions[i] for i in batch]
                pixels = stack_pixels([self._spool[index] for index in chosen])
                x = to_unit(condition.apply(pixels, seed, f"{marked}{number}"))
                sources = [self._sources[position] for position in chosen]
                truth = torch.tensor(sources) if marked else None
                for count in counts:
                    count.add(x, truth)
                progress.advance(len(batch), f"{name}: {condition.name}")
        return [
            SweepRow(
                method=attributor.name,
                image_set=name,
                perturbation=condition.group,
                strength=condition.strength,
                unit=condition.unit,
                **asdict(count.figures()),
            )
            for attributor, count in zip(self._set.attributors, counts, strict=True)
        ]

    def _keep(self, sample: Sample) -> None:
        self._spool.append(sample.pixels)
        self._sources.append(sample.source)
        if sample.original is not None:
            x, y = as_batch(sample.original), as_batch(sample.pixels)
            self._fidelity.append((float(psnr(y, x)), float(ssim(y, x))))
            self._seen.add(sample.name, sample.original, sample.pixels)

    def _positions(self, marked: bool) -> list[int]:
        return [i for i, source in enumerate(self._sources) if (source is not None) == marked]


def _key(image_set: SweepSet, condition: Condition) -> str:
    return f"{image_set.name}/{condition.key}"


def _fidelity_key(image_set: SweepSet) -> str:
    return f"{image_set.name}/fidelity"


def _note(
    record: dict[str, Any], known: dict[str, dict[str, Any]], journal: Journal | None
) -> None:
    known[record["name"]] = record
    if journal is not None:
        journal.append(record)


def _check(sets: Sequence[SweepSet], conditions: Sequence[Condition], fpr: float) -> None:
    """Raise ValueError where `sweep` says so."""
    if not 0.0 < fpr < 1.0:
        raise ValueError(f"fpr: found {fpr}, expected a number above 0 and below 1")
    for what, names in {
        "image sets": [s.name for s in sets],
        "attributors": [a.name for s in sets for a in s.attributors],
        "conditions": [c.key for c in conditions],
    }.items():
        if not names or len(set(names)) < len(names):
            raise ValueError(f"{what}: found {names}, expected one or more, each once")
    for image_set in sets:
        if len({tuple(a.sources) for a in image_set.attributors}) > 1:
            raise ValueError(f"the attributors of set {image_set.name!r} know different sources")
