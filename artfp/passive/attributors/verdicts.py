"""Verdicts on the source of an image, and of several images that have one source.

An image is of `none of these` if it fits its likeliest source worse than all but a fraction alpha
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
    """Decision rule of verdicts.

    Args:
        alpha: Fraction of the known sources' images that are called none of these, in (0, 1).
        confidence: Least posterior probability of a source that is named, in (0, 1).

    Raises:
        UserError: out of range.

    Example:
        >>> DecisionRule(alpha=0.01)
        DecisionRule(alpha=0.01, confidence=0.95)
    """

    alpha: float = 0.05
    confidence: float = 0.95

    def __post_init__(self) -> None:
        for name, value in (("alpha", self.alpha), ("confidence", self.confidence)):
            if not 0.0 < value < 1.0:
                raise UserError(f"{name} is {value:g}; it must be above 0 and below 1")


@dataclass(frozen=True)
class SourcePrediction:
    """Prediction of the source of an image or a group.

    Args:
        source: The likeliest source.
        log_ratio: Its natural log-likelihood ratio against the mean of the others.
        posterior: Its probability if one of the known sources is the true one.
        p_value: Fraction of its images that fit it as badly.
        verdict: SOURCE, NONE or UNDECIDED.

    Example:
        >>> SourcePrediction("nikon", 6.2, 0.998, 0.4, SOURCE).verdict
        'source'
    """

    source: str
    log_ratio: float
    posterior: float
    p_value: float
    verdict: str


@dataclass(frozen=True)
class GroupPrediction(SourcePrediction):
    """Prediction of several images together; `votes` counts their own verdicts or sources."""

    images: int
    votes: dict[str, int]


def predict_images(
    log_likelihoods: ArrayLike, p_values: ArrayLike, sources: Sequence[str], rule: DecisionRule
) -> list[SourcePrediction]:
    """Predict the source of each image.

    Args:
        log_likelihoods: Limited natural log-likelihoods (N, sources).
        p_values: (N, sources), as `ScoreModel.p_values` has them.
        sources: Names of the sources.
        rule: Decision rule.

    Returns:
        N predictions.

    Example:
        >>> (found,) = predict_images([[0.0, -5.0]], [[0.6, 0.01]], ("a", "b"), DecisionRule())
        >>> found.source, found.verdict, round(found.posterior, 3)
        ('a', 'source', 0.993)
    """
    values, p_values = np.asarray(log_likelihoods), np.asarray(p_values)
    if not len(values):
        return []
    ratios, probabilities = likelihood_ratios(values), posteriors(values)
    found = []
    for row, k in enumerate(values.argmax(1)):
        posterior, p = float(probabilities[row, k]), float(p_values[row, k])
        verdict = _verdict(posterior, p, rule)
        found.append(SourcePrediction(sources[k], float(ratios[row, k]), posterior, p, verdict))
    return found


def predict_group(
    log_likelihoods: ArrayLike,
    p_values: ArrayLike,
    sources: Sequence[str],
    rule: DecisionRule,
    calibrated: int,
) -> GroupPrediction:
    """Predict the common source of one or more images.

    The p-value of the group is that of the mean of the images' own, which is normal around 1/2 with
    variance (1 / images + 1 / calibrated) / 12 for images of the source: the second part, the draw
    of the held out images, is common to all. It is at least 1 / (calibrated + 1), as that of one
    image.

    Args:
        log_likelihoods: Limited natural log-likelihoods (N, sources).
        p_values: (N, sources), as `ScoreModel.p_values` has them.
        sources: Names of the sources.
        rule: Decision rule.
        calibrated: Number of held out images of each source behind the p-values.
    """
    values, p_values = np.asarray(log_likelihoods, np.float64), np.asarray(p_values, np.float64)
    summed = values.sum(0)[None]
    k = int(summed.argmax())
    count = len(values)
    p = float(p_values[0, k])
    if count > 1:
        deviation = np.sqrt((1.0 / count + 1.0 / calibrated) / 12.0)
        p = float(special.ndtr((p_values[:, k].mean() - 0.5) / deviation))
        p = max(p, 1.0 / (calibrated + 1.0))
    posterior = float(posteriors(summed)[0, k])
    votes: dict[str, int] = {}
    for alone in predict_images(values, p_values, sources, rule):
        vote = alone.source if alone.verdict == SOURCE else alone.verdict
        votes[vote] = votes.get(vote, 0) + 1
    return GroupPrediction(
        source=sources[k],
        log_ratio=float(likelihood_ratios(summed)[0, k]),
        posterior=posterior,
        p_value=p,
        verdict=_verdict(posterior, p, rule),
        images=count,
        votes=dict(sorted(votes.items(), key=lambda item: -item[1])),
    )


def _verdict(posterior: float, p_value: float, rule: DecisionRule) -> str:
    if p_value <= rule.alpha:
        return NONE
    return SOURCE if posterior >= rule.confidence else UNDECIDED
