"""Fit of an attributor, with extractor, taper and method chosen by cross-validation.

Images are dealt into ten folds. The scores of an image come from fingerprints, noise spectra and
discriminants of the other nine folds, so all images estimate and all images validate. The score
model, with its p-values, is fitted to these held-out scores; the parts that go into the bundle are
those of nine folds as well, so that known images are rejected as often as alpha says.

Extractors, tapers and methods are chosen by the log loss of held-out posteriors, limited so that no
outlier decides, which is more informative than accuracy; on some of the images where there are
many.

Recompressed copies count as images in all this: fingerprints and noise spectra are those of both,
and so is what is chosen. Discriminants and the score model keep them apart.
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
from artfp.passive.fitting.image_set import AS_IS, RECOMPRESSED, ImageSet
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
"""Extractors that are compared."""

SELECTION = 200
"""Images of each source on which extractors and tapers are compared, at most."""

PLAIN_METHOD, MATCHED_METHOD = "plain", "matched"
SPECTRUM_METHOD, FUSION_METHOD = "spectrum", "fusion"

METHODS = {
    PLAIN_METHOD: "correlation with the mean residuals, as Marra et al. 2019",
    MATCHED_METHOD: "the same, whitened and without what all sources share",
    SPECTRUM_METHOD: "discriminant of log spectra",
    FUSION_METHOD: "matched and spectrum together",
}
"""Methods of attribution by name; all but the first are compared where none is asked for."""

_RUN = "attribute"


@dataclass(frozen=True)
class FitOptions:
    """Method, extractor and decision rule of a fit; None stands for the best one.

    Raises UserError: an unknown method or extractor.
    """

    method: str | None = None
    extractor: str | None = None
    rule: DecisionRule = field(default_factory=DecisionRule)
    device: torch.device | str = "cpu"

    def __post_init__(self) -> None:
        if self.method is not None and self.method not in METHODS:
            raise UserError(f"method {self.method!r}: choose from {', '.join(METHODS)}")
        if self.extractor is not None:
            load_extractor(self.extractor)


@dataclass(frozen=True)
class FitResult:
    """A fitted attributor with all that was tried.

    Attributes:
        attributor: The attributor, with the best method.
        chosen: Name of that method.
        extractors: Trials of extractors and tapers by method, the best first.
        methods: Trials of methods, the best first.
        validation: Results of the chosen method on held-out images.
        recompressed: Results on their recompressed copies, where there are any.
    """

    attributor: FittedAttributor
    chosen: str
    extractors: dict[str, list[Trial]]
    methods: list[Trial]
    validation: Validation
    recompressed: Validation | None = None


class TrialJournal:
    """Trials of one fit, in a journal in its output folder while it runs.

    Raises UserError: another fit was stopped in the folder.
    """

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        Manifest.claim(folder, {**settings, "version": __version__}, _RUN)
        self._folder, self._journal = folder, Journal(folder, _RUN)
        self._records = self._journal.records()

    def trial(self, name: str, make: Callable[[], Trial]) -> Trial:
        """Return the trial of a name, made unless an earlier run made it."""
        if name not in self._records:
            record = {"name": name, "trial": asdict(make())}
            self._journal.append(record)
            self._records[name] = record
        return Trial(**self._records[name]["trial"])

    def remove(self) -> None:
        """Remove manifest and journal, once the fit has ended."""
        self._journal.close()
        self._journal.remove()
        (self._folder / f"{_RUN}.run.json").unlink(missing_ok=True)


def fit_methods(
    image_set: ImageSet,
    options: FitOptions | None = None,
    name: str = "attributor",
    journal: TrialJournal | None = None,
) -> FitResult:
    """Fit all methods to the images and keep the best, or the one that the options name.

    `journal` keeps trials for a run that is stopped. Raises UserError: a method that the policy
    excludes.
    """
    options = options or FitOptions()
    wanted = _wanted(options.method, image_set.policy.kind)
    trials: dict[str, list[Trial]] = {}
    fitted: dict[str, tuple[tuple[AttributorPart, ...], Values]] = {}
    for method, correlation in (
        (PLAIN_METHOD, PLAIN_CORRELATION),
        (MATCHED_METHOD, MATCHED_FILTER),
    ):
        if method in wanted or (method == MATCHED_METHOD and FUSION_METHOD in wanted):
            trials[method] = choose_extractor(image_set, correlation, options, journal)
            part, scores = cross_validate_correlation(
                image_set, correlation, trials[method][0].what, options.device
            )
            fitted[method] = ((part,), scores)
    if SPECTRUM_METHOD in wanted or FUSION_METHOD in wanted:
        trials[SPECTRUM_METHOD] = choose_spectrum(image_set, options, journal)
        fitted[SPECTRUM_METHOD] = cross_validate_spectrum(
            image_set, trials[SPECTRUM_METHOD][0].what, options.device
        )
    if FUSION_METHOD in wanted:
        both = [fitted[MATCHED_METHOD], fitted[SPECTRUM_METHOD]]
        fitted[FUSION_METHOD] = (
            tuple(part for parts, _ in both for part in parts),
            np.concatenate([scores for _, scores in both], 1),
        )
    labels, sources = image_set.labels, image_set.sources
    held_out = {method: held_out_likelihoods(fitted[method][1], image_set) for method in wanted}
    ranked = sorted(
        (make_trial(m, fitted[m][1], held_out[m][0], labels) for m in wanted[::-1]),
        key=lambda trial: trial.log_loss,
    )  # of equals the last of METHODS
    chosen = ranked[0].what
    parts, scores = fitted[chosen]
    model = ScoreModel.fit(scores, labels, image_set.states)
    attributor = FittedAttributor(name, parts, model, image_set.policy, options.rule)
    log_likelihoods, p_values = held_out[chosen]

    def validation(own: NDArray[np.bool_]) -> Validation:
        return validate(log_likelihoods[own], p_values[own], labels[own], sources, options.rule)

    copies = image_set.states == RECOMPRESSED
    return FitResult(
        attributor,
        chosen,
        trials,
        ranked,
        validation(image_set.states == AS_IS),
        validation(copies) if copies.any() else None,
    )


def choose_extractor(
    image_set: ImageSet,
    correlation: CorrelationOptions,
    options: FitOptions,
    journal: TrialJournal | None = None,
) -> list[Trial]:
    """Return trials of the extractors, the best first."""
    if options.extractor is not None:
        return [Trial(load_extractor(options.extractor).text, np.nan, np.nan, None, 0)]
    rows = image_set.subset_rows(SELECTION)

    def scores(extractor: str) -> Values:
        return cross_validate_correlation(image_set, correlation, extractor, options.device, rows)[
            1
        ]

    return _tried(
        [load_extractor(text).text for text in EXTRACTORS], scores, image_set, rows, journal
    )


def choose_spectrum(
    image_set: ImageSet, options: FitOptions, journal: TrialJournal | None = None
) -> list[Trial]:
    """Return trials of the spectrum's tapers, the best first.

    Without a taper borders show, which are in the same place in aligned images alone.
    """
    tapers = ("hann", "none") if image_set.policy.kind == ALIGNED else ("hann",)
    rows = image_set.subset_rows(SELECTION)

    def scores(spectrum: str) -> Values:
        return cross_validate_spectrum(image_set, spectrum, options.device, rows)[1]

    names = [SpectrumOptions(taper).text for taper in tapers]
    return _tried(names, scores, image_set, rows, journal)


def _tried(
    names: Sequence[str],
    scores_of: Callable[[str], Values],
    image_set: ImageSet,
    rows: NDArray[np.int64],
    journal: TrialJournal | None,
) -> list[Trial]:
    """Return trials of the choices, the best first; known ones come from the journal."""

    def trial(name: str) -> Trial:
        scores = scores_of(name)
        log_likelihoods, _ = held_out_likelihoods(scores, image_set, rows)
        return make_trial(name, scores, log_likelihoods, image_set.labels[rows])

    found = [
        trial(name) if journal is None else journal.trial(name, partial(trial, name))
        for name in names
    ]
    return sorted(found, key=lambda each: each.log_loss)


def _wanted(method: str | None, policy: str) -> tuple[str, ...]:
    """Return the methods to fit."""
    if policy == SPECTRUM:
        if method not in (None, SPECTRUM_METHOD):
            raise UserError(
                f"the policy is {SPECTRUM}, which excludes {method}; give another --policy"
            )
        return (SPECTRUM_METHOD,)
    return tuple(METHODS)[1:] if method is None else (method,)


def trial_records(trials: Sequence[Trial]) -> list[dict[str, Any]]:
    """Return trials as JSON values; a choice that was given has no figures."""
    return [asdict(each) if each.images else {"what": each.what} for each in trials]
