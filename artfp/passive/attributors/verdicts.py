"""Verdicts on the source of an image, and of several images that have one source.

An image is of `none of these` if it fits its likeliest source worse than all but a share of alpha
of that source's own images; else of its likeliest `source`, if that has a posterior probability of
`confidence` with equal priors over the known sources; else it is `undecided`.

Several images of one source: given the source they are taken as independent, so log-likelihoods
add up. Content that they share (one scene, one prompt) breaks that. No image counts for more than
its `ScoreModel.limited` log-likelihoods, so that none decides alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from artfp.core.errors import UserError
from artfp.passive.attributors.score_model import likelihood_ratios, posteriors

SOURCE, NONE, UNDECIDED = "source", "none of these", "undecided"
"""The verdicts."""


@dataclass(frozen=True)
class DecisionRule:
    """`alpha`, share of the known sources' images called none of these; `confidence` of a source.

    Raises UserError: out of range.
    """

    alpha: float = 0.05
    confidence: float = 0.95

    def __post_init__(self) -> None:
        for name, value in (("alpha", self.alpha), ("confidence", self.confidence)):
            if not 0.0 < value < 1.0:
                raise UserError(f"{name} is {value:g}; it must be above 0 and below 1")


@dataclass(frozen=True)
class SourcePrediction:
    """What is said of an image or a group.

    `source`, the likeliest one; `log_ratio`, its natural log-likelihood ratio against the mean of
    the others; `posterior`, its probability, were one of the known sources the true one; `p_value`,
    the share of its images that fit it as badly; `verdict`.
    """

    source: str
    log_ratio: float
    posterior: float
    p_value: float
    verdict: str


@dataclass(frozen=True)
class GroupPrediction(SourcePrediction):
    """Of several images together; `votes` has how many alone got which verdict or source."""

    images: int
    votes: dict[str, int]


def predict_images(
    log_likelihoods: ArrayLike, p_values: ArrayLike, sources: Sequence[str], rules: DecisionRule
) -> list[SourcePrediction]:
    """Judgements of N images from limited log-likelihoods and p-values, (N, sources) each."""
    values, fits = np.asarray(log_likelihoods), np.asarray(p_values)
    if not len(values):
        return []
    ratios, shares = likelihood_ratios(values), posteriors(values)
    found = []
    for row, k in enumerate(values.argmax(1)):
        posterior, fit = float(shares[row, k]), float(fits[row, k])
        verdict = _verdict(posterior, fit, rules)
        found.append(SourcePrediction(sources[k], float(ratios[row, k]), posterior, fit, verdict))
    return found


def predict_group(
    log_likelihoods: ArrayLike,
    p_values: ArrayLike,
    sources: Sequence[str],
    rules: DecisionRule,
    calibrated: int,
) -> GroupPrediction:
    """The judgement of one or more images of one source; arguments as of `judge`.

    `calibrated`: how many held out images of each source the p-values come from. The group's is
    that of the mean of the images' own, which is normal around 1/2 with variance
    (1 / images + 1 / calibrated) / 12 for images of the source: the second part is what all share,
    the draw of the held out images. It ends at 1 / (calibrated + 1), as that of one image does.
    """
    values, fits = np.asarray(log_likelihoods, np.float64), np.asarray(p_values, np.float64)
    summed = values.sum(0)[None]
    k = int(summed.argmax())
    count = len(values)
    fit = float(fits[0, k])
    if count > 1:
        deviation = np.sqrt((1.0 / count + 1.0 / calibrated) / 12.0)
        fit = float(special.ndtr((fits[:, k].mean() - 0.5) / deviation))
        fit = max(fit, 1.0 / (calibrated + 1.0))
    posterior = float(posteriors(summed)[0, k])
    votes: dict[str, int] = {}
    for alone in predict_images(values, fits, sources, rules):
        vote = alone.source if alone.verdict == SOURCE else alone.verdict
        votes[vote] = votes.get(vote, 0) + 1
    return GroupPrediction(
        source=sources[k],
        log_ratio=float(likelihood_ratios(summed)[0, k]),
        posterior=posterior,
        p_value=fit,
        verdict=_verdict(posterior, fit, rules),
        images=count,
        votes=dict(sorted(votes.items(), key=lambda item: -item[1])),
    )


def _verdict(posterior: float, p_value: float, rules: DecisionRule) -> str:
    if p_value <= rules.alpha:
        return NONE
    return SOURCE if posterior >= rules.confidence else UNDECIDED
