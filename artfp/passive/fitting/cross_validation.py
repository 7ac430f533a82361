"""Cross-validation: scores of images by attributors that were made without their fold.

Each image is scored by a model that the other folds made; the attributor that all images make comes
with it. Likelihoods come from score models that never saw the image either.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from artfp.passive.attributors.correlation import (
    CorrelationOptions,
    ResidualCorrelation,
    ResidualSums,
)
from artfp.passive.attributors.score_model import ScoreModel, Values, log_loss
from artfp.passive.attributors.spectrum import (
    Discriminants,
    SpectrumLDA,
    SpectrumOptions,
    spectrum_features,
    tile_of,
)
from artfp.passive.attributors.verdicts import NONE, SOURCE, UNDECIDED, DecisionRule, predict_images
from artfp.passive.fitting.image_set import FOLDS, ImageSet, Tick
from artfp.passive.residuals.extractor import load_extractor


@dataclass(frozen=True)
class Trial:
    """A choice that was tried: held out accuracy and log loss on so many images.

    `largest`: the accuracy of just taking the largest score, where the choice has one kind of them.
    """

    what: str
    accuracy: float
    log_loss: float
    largest: float | None
    images: int


def cross_validate_correlation(
    image_set: ImageSet,
    how: CorrelationOptions,
    extractor: str,
    device: torch.device | str,
    tick: Tick,
    rows: NDArray[np.int64] | None = None,
) -> tuple[ResidualCorrelation, Values]:
    """A correlation from some rows, default all, and what they score without their own fold."""
    rows = np.arange(len(image_set)) if rows is None else rows
    labels, folds = image_set.labels[rows], image_set.folds[rows]
    counts = [
        np.bincount(folds[labels == k], minlength=FOLDS).tolist()
        for k in range(len(image_set.sources))
    ]
    policy = image_set.policy
    sums = ResidualSums(
        counts, image_set.sources, load_extractor(extractor), policy.size, policy.window
    )
    for part, x in image_set.batches(rows, device):
        windows = None if policy.size == policy.window else image_set.windows(x, part)
        sums.add(x, int(image_set.labels[part[0]]), int(image_set.folds[part[0]]), windows)
        tick(f"residuals, {extractor}", len(part))
    apart = [sums.correlation(how, without=fold) for fold in range(FOLDS)]
    place = {row: number for number, row in enumerate(rows.tolist())}
    scores = np.empty((len(rows), len(image_set.sources)))
    for part, x in image_set.batches(rows, device):
        found = apart[image_set.folds[part[0]]].scores(image_set.windows(x, part))
        scores[[place[row] for row in part.tolist()]] = found.double().cpu().numpy()
        tick(f"correlations, {extractor}", len(part))
    return sums.correlation(how), scores


def cross_validate_spectrum(
    image_set: ImageSet,
    what: str,
    device: torch.device | str,
    tick: Tick,
    rows: NDArray[np.int64] | None = None,
) -> tuple[tuple[SpectrumLDA, ...], Values]:
    """Discriminants from some rows, default all, and what they score without their own fold.

    Each source in each state is a class of its own, so that a spectrum tells the state as well; the
    classes of a state make one attributor. Scores (N, D) are those of all, side by side.
    """
    rows = np.arange(len(image_set)) if rows is None else rows
    _, _, taper = what.rpartition(", ")
    options = SpectrumOptions(taper)
    tile = tile_of(*image_set.policy.window)
    place = {row: number for number, row in enumerate(rows.tolist())}
    features = np.empty((len(rows), 3 * (tile * (tile // 2 + 1) - 1)), np.float32)
    for part, x in image_set.batches(rows, device):
        found = spectrum_features(image_set.windows(x, part), tile, options)
        features[[place[row] for row in part.tolist()]] = found.cpu().numpy()
        tick(f"spectra, {what}", len(part))
    folds, count, states = image_set.folds[rows], len(image_set.sources), image_set.states[rows]
    classes = image_set.labels[rows] + count * states
    discriminants = Discriminants(features, classes, folds, int(classes.max()) + 1)
    scores = np.empty((len(rows), int(classes.max()) + 1))
    for fold in np.unique(folds):
        weights, bias = discriminants.fit(without=fold)
        scores[folds == fold] = features[folds == fold] @ weights.numpy() + bias.numpy()
    weights, bias = discriminants.fit()
    parts = (
        SpectrumLDA(image_set.sources, own, constants, tile, options)
        for own, constants in zip(weights.split(count, 1), bias.split(count), strict=True)
    )
    return tuple(parts), scores


def held_out_likelihoods(
    scores: Values, image_set: ImageSet, rows: NDArray[np.int64] | None = None
) -> tuple[Values, Values]:
    """Limited log-likelihoods and p-values (N, K) of held out scores by models without them."""
    rows = np.arange(len(image_set)) if rows is None else rows
    labels, folds, states = (
        each[rows] for each in (image_set.labels, image_set.folds, image_set.states)
    )
    logs = np.empty((len(rows), len(image_set.sources)))
    fits = np.empty_like(logs)
    for fold in range(FOLDS):
        own = folds == fold
        model = ScoreModel.fit(scores[~own], labels[~own], states[~own])
        logs[own] = model.limited(model.log_likelihoods(scores[own]))
        fits[own] = model.p_values(scores[own])
    return logs, fits


def make_trial(what: str, scores: Values, logs: Values, labels: NDArray[np.int64]) -> Trial:
    """Of held out scores (N, D) and the log-likelihoods (N, K) that they gave."""
    alone = scores.shape[1] == logs.shape[1]
    return Trial(
        what,
        balanced_accuracy(logs.argmax(1) == labels, labels),
        log_loss(logs, labels),
        balanced_accuracy(scores.argmax(1) == labels, labels) if alone else None,
        len(labels),
    )


def balanced_accuracy(right: NDArray[np.bool_], labels: NDArray[np.int64]) -> float:
    """Mean over sources of the share of their images that is right."""
    return float(np.mean([right[labels == k].mean() for k in np.unique(labels)]))


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


def validate(
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
        accuracy=balanced_accuracy(named == labels, labels),
        log_loss=log_loss(logs, labels),
        confusion=confusion.tolist(),
        rejected=shares(verdicts == NONE),
        undecided=shares(verdicts == UNDECIDED),
        wrong=shares((verdicts == SOURCE) & (named != labels)),
    )
