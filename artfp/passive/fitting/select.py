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
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from artfp.core.errors import UserError
from artfp.passive.attributors.bundle import AttributorPart, FittedAttributor
from artfp.passive.attributors.correlation import (
    MATCHED_FILTER,
    PLAIN_CORRELATION,
    CorrelationOptions,
)
from artfp.passive.attributors.score_model import ScoreModel, Values
from artfp.passive.attributors.spectrum import SpectrumOptions
from artfp.passive.attributors.verdicts import DecisionRule
from artfp.passive.attributors.window import ALIGNED, SPECTRUM
from artfp.passive.fitting.attribute_resume import Memory
from artfp.passive.fitting.attribute_validation import Validation, validated
from artfp.passive.fitting.cross_validation import (
    Trial,
    correlate,
    discriminate,
    held_out,
    trial_of,
)
from artfp.passive.fitting.image_set import AS_IS, RECOMPRESSED, Material, Tick
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

PLAIN_WAY, MATCHED_WAY, SPECTRA, FUSION = "plain", "matched", "spectrum", "fusion"

WAYS = {
    PLAIN_WAY: "correlation with the mean residuals, as Marra et al. 2019",
    MATCHED_WAY: "the same, whitened and without what all sources share",
    SPECTRA: "discriminant of log spectra",
    FUSION: "matched and spectrum together",
}
"""Ways of attribution by name; all but the first are compared where none is asked for."""


@dataclass(frozen=True)
class Options:
    """What is fitted; None: chosen by the data. Raises UserError: no such way or extractor."""

    way: str | None = None
    extractor: str | None = None
    rules: DecisionRule = field(default_factory=DecisionRule)
    device: torch.device | str = "cpu"

    def __post_init__(self) -> None:
        if self.way is not None and self.way not in WAYS:
            raise UserError(f"way {self.way!r}: choose from {', '.join(WAYS)}")
        if self.extractor is not None:
            load_extractor(self.extractor)


@dataclass(frozen=True)
class Fit:
    """A fitted attributor with all that was tried on the way; `chosen` names the best way."""

    attributor: FittedAttributor
    chosen: str
    extractors: dict[str, list[Trial]]
    ways: list[Trial]
    validation: Validation
    recompressed: Validation | None = None
    """What it does with recompressed copies of them, where the material has such."""


def fit(
    material: Material,
    options: Options | None = None,
    name: str = "attributor",
    tick: Tick = lambda what, images: None,
    memory: Memory | None = None,
) -> Fit:
    """Fit all ways to the images and keep the best, or the one that the options name.

    `memory` keeps what was tried, for a run that is stopped. Raises UserError: a way that the
    policy excludes.
    """
    options = options or Options()
    wanted = _wanted(options.way, material.policy.kind)
    trials: dict[str, list[Trial]] = {}
    made: dict[str, tuple[tuple[AttributorPart, ...], Values]] = {}
    for way, how in ((PLAIN_WAY, PLAIN_CORRELATION), (MATCHED_WAY, MATCHED_FILTER)):
        if way in wanted or (way == MATCHED_WAY and FUSION in wanted):
            trials[way] = choose_extractor(material, how, options, tick, memory)
            part, scores = correlate(material, how, trials[way][0].what, options.device, tick)
            made[way] = ((part,), scores)
    if SPECTRA in wanted or FUSION in wanted:
        trials[SPECTRA] = choose_spectrum(material, options, tick, memory)
        spectra, scores = discriminate(material, trials[SPECTRA][0].what, options.device, tick)
        made[SPECTRA] = (spectra, scores)
    if FUSION in wanted:
        both = [made[MATCHED_WAY], made[SPECTRA]]
        made[FUSION] = (
            tuple(part for parts, _ in both for part in parts),
            np.concatenate([scores for _, scores in both], 1),
        )
    checked = {way: held_out(made[way][1], material) for way in wanted}
    ways = sorted(
        (trial_of(way, made[way][1], checked[way][0], material.labels) for way in wanted[::-1]),
        key=lambda trial: trial.log_loss,
    )  # of equals the last of WAYS
    chosen = ways[0].what
    parts, scores = made[chosen]
    model = ScoreModel.fit(scores, material.labels, material.states)
    attributor = FittedAttributor(name, parts, model, material.policy, options.rules)
    logs, fits = checked[chosen]
    originals, copies = material.states == AS_IS, material.states == RECOMPRESSED

    def of(kept: NDArray[np.bool_]) -> Validation:
        return validated(
            logs[kept], fits[kept], material.labels[kept], material.sources, options.rules
        )

    again = of(copies) if copies.any() else None
    return Fit(attributor, chosen, trials, ways, of(originals), again)


def choose_extractor(
    material: Material,
    how: CorrelationOptions,
    options: Options,
    tick: Tick,
    memory: Memory | None = None,
) -> list[Trial]:
    """Extractors, the best first."""
    if options.extractor is not None:
        return [Trial(load_extractor(options.extractor).text, np.nan, np.nan, None, 0)]
    rows = material.few(SELECTION)

    def trial(what: str) -> Trial:
        _, scores = correlate(material, how, what, options.device, tick, rows)
        logs, _ = held_out(scores, material, rows)
        return trial_of(what, scores, logs, material.labels[rows])

    found = _tried([load_extractor(text).text for text in EXTRACTORS], trial, memory)
    return sorted(found, key=lambda trial: trial.log_loss)


def choose_spectrum(
    material: Material, options: Options, tick: Tick, memory: Memory | None = None
) -> list[Trial]:
    """What the spectrum is taken of and with which taper, the best first.

    Without a taper borders show, which stand in the same place in aligned images alone.
    """
    tapers = ("hann", "none") if material.policy.kind == ALIGNED else ("hann",)
    rows = material.few(SELECTION)

    def trial(what: str) -> Trial:
        _, scores = discriminate(material, what, options.device, tick, rows)
        logs, _ = held_out(scores, material, rows)
        return trial_of(what, scores, logs, material.labels[rows])

    found = _tried([SpectrumOptions(taper).text for taper in tapers], trial, memory)
    return sorted(found, key=lambda trial: trial.log_loss)


def _tried(
    whats: Sequence[str], trial: Callable[[str], Trial], memory: Memory | None
) -> list[Trial]:
    return [
        trial(what) if memory is None else memory.trial(what, partial(trial, what))
        for what in whats
    ]


def _wanted(way: str | None, policy: str) -> tuple[str, ...]:
    """The ways to fit."""
    if policy == SPECTRUM:
        if way not in (None, SPECTRA):
            raise UserError(
                f"the policy is {SPECTRUM}, which excludes {way}; give another --policy"
            )
        return (SPECTRA,)
    return tuple(WAYS)[1:] if way is None else (way,)


def trials_json(trials: Sequence[Trial]) -> list[dict[str, Any]]:
    """As JSON values; what was given and not tried has no figures."""
    return [asdict(each) if each.images else {"what": each.what} for each in trials]
