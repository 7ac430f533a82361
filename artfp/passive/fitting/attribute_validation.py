"""What an attributor does with images that it was not fitted to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from artfp.passive.attributors.score_model import Values, log_loss
from artfp.passive.attributors.verdicts import NONE, SOURCE, UNDECIDED, DecisionRule, predict_images
from artfp.passive.fitting.cross_validation import balanced


@dataclass(frozen=True)
class Validation:
    """What the chosen way does with held out images, by true source.

    `confusion[k][j]`, images of source k of which j is the likeliest; `rejected` and `undecided`,
    the shares of each source's images with these verdicts; `wrong`, of those with the verdict of
    another source.
    """

    accuracy: float
    log_loss: float
    confusion: list[list[int]]
    rejected: list[float]
    undecided: list[float]
    wrong: list[float]


def validated(
    logs: Values,
    fits: Values,
    labels: NDArray[np.int64],
    sources: Sequence[str],
    rules: DecisionRule,
) -> Validation:
    """Figures from limited log-likelihoods and p-values (N, K) of images of sources `labels`."""
    count = len(sources)
    verdicts = np.array([each.verdict for each in predict_images(logs, fits, sources, rules)])
    named = logs.argmax(1)
    confusion = np.zeros((count, count), np.int64)
    np.add.at(confusion, (labels, named), 1)

    def shares(chosen: NDArray[np.bool_]) -> list[float]:
        return [float(chosen[labels == k].mean()) for k in range(count)]

    return Validation(
        accuracy=balanced(named == labels, labels),
        log_loss=log_loss(logs, labels),
        confusion=confusion.tolist(),
        rejected=shares(verdicts == NONE),
        undecided=shares(verdicts == UNDECIDED),
        wrong=shares((verdicts == SOURCE) & (named != labels)),
    )
