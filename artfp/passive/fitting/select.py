"""Fit an attributor to a folder of sources, and choose all that has to be chosen by cross-fitting.

Images are dealt into ten folds. What an image scores comes from fingerprints, noise spectra and
discriminants of the other nine folds, so all images estimate and all images validate. The model of
the scores, with its p-values, is fitted to these held out scores; the parts that go into the bundle
are then estimated from all images. They are slightly better than those that the scores came from,
which is the price: the share of the known that is rejected is near alpha, not exactly at it.

Extractors, tapers and ways are chosen by the log loss of held out posteriors, limited so that no
outlier decides, which tells more than accuracy; on some of the images where there are many.

Recompressed copies in the material count as images in all this: fingerprints and noise spectra are
those of both, and so is what is chosen. Discriminants and the model of the scores keep them apart.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from artfp import __version__
from artfp.core.errors import UserError
from artfp.data.resume import Journal, Manifest
from artfp.passive.attributors.base import AttributorPart
from artfp.passive.attributors.bundle import FittedAttributor
from artfp.passive.attributors.correlation import (
    MATCHED_FILTER,
    PLAIN_CORRELATION,
    CorrelationOptions,
)
from artfp.passive.attributors.score_model import ScoreModel, Values
from artfp.passive.attributors.spectrum import SpectrumOptions
from artfp.passive.attributors.verdicts import DecisionRule
from artfp.passive.attributors.window import ALIGNED, SPECTRUM
from artfp.passive.fitting.cross_validation import (
    Trial,
    Validation,
    cross_validate_correlation,
    cross_validate_spectrum,
    held_out_likelihoods,
    make_trial,
    validate,
)
from artfp.passive.fitting.image_set import AS_IS, RECOMPRESSED, ImageSet, Tick
from artfp.passive.residuals.extractor import load_extractor

EXTRACTORS = (
    "gaussian:sigma=0.5",
    "gaussian:sigma=1",
    "wavelet:sigma=0.05",
    "wavelet:sigma=0.25",
    "wavelet:sigma=1",
    "wavelet:sigma=2",
    "wavelet:sigma=5",
    "learned:sigma=5",
)
"""Of which one is chosen."""

SELECTION = 200
"""Images of each source on which extractors and tapers are compared, at most."""

PLAIN_METHOD, MATCHED_METHOD, SPECTRUM_METHOD, FUSION_METHOD = (
    "plain",
    "matched",
    "spectrum",
    "fusion",
)

METHODS = {
    PLAIN_METHOD: "correlation with the mean residuals, as Marra et al. 2019",
    MATCHED_METHOD: "the same, whitened and without what all sources share",
    SPECTRUM_METHOD: "discriminant of log spectra",
    FUSION_METHOD: "matched and spectrum together",
}
"""Ways of attribution by name; all but the first are compared where none is asked for."""


@dataclass(frozen=True)
class FitOptions:
    """What is fitted; None: chosen by the data. Raises UserError: no such way or extractor."""

    way: str | None = None
    extractor: str | None = None
    rules: DecisionRule = field(default_factory=DecisionRule)
    device: torch.device | str = "cpu"

    def __post_init__(self) -> None:
        if self.way is not None and self.way not in METHODS:
            raise UserError(f"way {self.way!r}: choose from {', '.join(METHODS)}")
        if self.extractor is not None:
            load_extractor(self.extractor)


@dataclass(frozen=True)
class FitResult:
    """A fitted attributor with all that was tried on the way; `chosen` names the best way."""

    attributor: FittedAttributor
    chosen: str
    extractors: dict[str, list[Trial]]
    ways: list[Trial]
    validation: Validation
    recompressed: Validation | None = None
    """What it does with recompressed copies of them, where the material has such."""


def fit_methods(
    image_set: ImageSet,
    options: FitOptions | None = None,
    name: str = "attributor",
    tick: Tick = lambda what, images: None,
    memory: TrialJournal | None = None,
) -> FitResult:
    """Fit all ways to the images and keep the best, or the one that the options name.

    `memory` keeps what was tried, for a run that is stopped. Raises UserError: a way that the
    policy excludes.
    """
    options = options or FitOptions()
    wanted = _wanted(options.way, image_set.policy.kind)
    trials: dict[str, list[Trial]] = {}
    made: dict[str, tuple[tuple[AttributorPart, ...], Values]] = {}
    for way, how in ((PLAIN_METHOD, PLAIN_CORRELATION), (MATCHED_METHOD, MATCHED_FILTER)):
        if way in wanted or (way == MATCHED_METHOD and FUSION_METHOD in wanted):
            trials[way] = choose_extractor(image_set, how, options, tick, memory)
            part, scores = cross_validate_correlation(
                image_set, how, trials[way][0].what, options.device, tick
            )
            made[way] = ((part,), scores)
    if SPECTRUM_METHOD in wanted or FUSION_METHOD in wanted:
        trials[SPECTRUM_METHOD] = choose_spectrum(image_set, options, tick, memory)
        spectra, scores = cross_validate_spectrum(
            image_set, trials[SPECTRUM_METHOD][0].what, options.device, tick
        )
        made[SPECTRUM_METHOD] = (spectra, scores)
    if FUSION_METHOD in wanted:
        both = [made[MATCHED_METHOD], made[SPECTRUM_METHOD]]
        made[FUSION_METHOD] = (
            tuple(part for parts, _ in both for part in parts),
            np.concatenate([scores for _, scores in both], 1),
        )
    checked = {way: held_out_likelihoods(made[way][1], image_set) for way in wanted}
    ways = sorted(
        (make_trial(way, made[way][1], checked[way][0], image_set.labels) for way in wanted[::-1]),
        key=lambda trial: trial.log_loss,
    )  # of equals the last of WAYS
    chosen = ways[0].what
    parts, scores = made[chosen]
    model = ScoreModel.fit(scores, image_set.labels, image_set.states)
    attributor = FittedAttributor(name, parts, model, image_set.policy, options.rules)
    logs, fits = checked[chosen]
    originals, copies = image_set.states == AS_IS, image_set.states == RECOMPRESSED

    def of(kept: NDArray[np.bool_]) -> Validation:
        return validate(
            logs[kept], fits[kept], image_set.labels[kept], image_set.sources, options.rules
        )

    again = of(copies) if copies.any() else None
    return FitResult(attributor, chosen, trials, ways, of(originals), again)


def choose_extractor(
    image_set: ImageSet,
    how: CorrelationOptions,
    options: FitOptions,
    tick: Tick,
    memory: TrialJournal | None = None,
) -> list[Trial]:
    """Extractors, the best first."""
    if options.extractor is not None:
        return [Trial(load_extractor(options.extractor).text, np.nan, np.nan, None, 0)]
    rows = image_set.few(SELECTION)

    def trial(what: str) -> Trial:
        _, scores = cross_validate_correlation(image_set, how, what, options.device, tick, rows)
        logs, _ = held_out_likelihoods(scores, image_set, rows)
        return make_trial(what, scores, logs, image_set.labels[rows])

    found = _tried([load_extractor(text).text for text in EXTRACTORS], trial, memory)
    return sorted(found, key=lambda trial: trial.log_loss)


def choose_spectrum(
    image_set: ImageSet, options: FitOptions, tick: Tick, memory: TrialJournal | None = None
) -> list[Trial]:
    """What the spectrum is taken of and with which taper, the best first.

    Without a taper borders show, which stand in the same place in aligned images alone.
    """
    tapers = ("hann", "none") if image_set.policy.kind == ALIGNED else ("hann",)
    rows = image_set.few(SELECTION)

    def trial(what: str) -> Trial:
        _, scores = cross_validate_spectrum(image_set, what, options.device, tick, rows)
        logs, _ = held_out_likelihoods(scores, image_set, rows)
        return make_trial(what, scores, logs, image_set.labels[rows])

    found = _tried([SpectrumOptions(taper).text for taper in tapers], trial, memory)
    return sorted(found, key=lambda trial: trial.log_loss)


def _tried(
    whats: Sequence[str], trial: Callable[[str], Trial], memory: TrialJournal | None
) -> list[Trial]:
    return [
        trial(what) if memory is None else memory.trial(what, partial(trial, what))
        for what in whats
    ]


def _wanted(way: str | None, policy: str) -> tuple[str, ...]:
    """The ways to fit."""
    if policy == SPECTRUM:
        if way not in (None, SPECTRUM_METHOD):
            raise UserError(
                f"the policy is {SPECTRUM}, which excludes {way}; give another --policy"
            )
        return (SPECTRUM_METHOD,)
    return tuple(METHODS)[1:] if way is None else (way,)


def trial_records(trials: Sequence[Trial]) -> list[dict[str, Any]]:
    """As JSON values; what was given and not tried has no figures."""
    return [asdict(each) if each.images else {"what": each.what} for each in trials]


RUN = "attribute"
"""What manifest and journal in the output folder are called after."""


class TrialJournal:
    """Trials of one fit, in a journal in its output folder while it runs."""

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        """Claim the folder. Raises UserError: another fit was stopped there."""
        Manifest.claim(folder, {**settings, "version": __version__}, RUN)
        self._folder, self._journal = folder, Journal(folder, RUN)
        self._known = self._journal.records()

    def trial(self, name: str, make: Callable[[], Trial]) -> Trial:
        """The trial of a name, made only if no earlier run made it."""
        if name not in self._known:
            record = {"name": name, "trial": asdict(make())}
            self._journal.append(record)
            self._known[name] = record
        return Trial(**self._known[name]["trial"])

    def forget(self) -> None:
        """The fit has ended: remove manifest and journal."""
        self._journal.close()
        self._journal.remove()
        (self._folder / f"{RUN}.run.json").unlink(missing_ok=True)
