"""Cross-validation: scores of images by attributors that were made without their fold.

Each image is scored by a model of the other folds, and one of these models comes with the scores:
that without `spare_fold`. So the scores of a further image are distributed as those of the images
that it is compared with. A model of all images gives larger ones: with it, up to a third of a known
source's images were rejected at a level of a tenth. Likelihoods come from score models that never
saw the image either.
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
from artfp.passive.fitting.image_set import FOLDS, ImageSet
from artfp.passive.residuals.extractor import load_extractor


@dataclass(frozen=True)
class Trial:
    """A choice that was tried: held-out accuracy and log loss on so many images.

    `largest` is the accuracy of the largest score, for choices with one score for each source.
    """

    what: str
    accuracy: float
    log_loss: float
    largest: float | None
    images: int


@dataclass(frozen=True)
class Validation:
    """Results of an attributor on held-out images, by true source.

    `confusion[k][j]` counts images of source k whose likeliest source is j; `rejected` and
    `undecided` are the fractions of each source's images with these verdicts, `wrong` those that
    are attributed to another source.
    """

    accuracy: float
    log_loss: float
    confusion: list[list[int]]
    rejected: list[float]
    undecided: list[float]
    wrong: list[float]


def spare_fold(labels: NDArray[np.int64], folds: NDArray[np.int64]) -> int:
    """Return the fold whose model lacks as much of the sources as the models of all images do.

    Folds differ in size; the mean over images of the fraction that their own fold takes counts.
    """
    counts = np.zeros((FOLDS, int(labels.max()) + 1))
    np.add.at(counts, (folds, labels), 1.0)
    fractions = counts / counts.sum(0)
    return int(np.abs(fractions - np.square(fractions).sum(0)).max(1).argmin())


def cross_validate_correlation(
    image_set: ImageSet,
    options: CorrelationOptions,
    extractor: str,
    device: torch.device | str = "cpu",
    rows: NDArray[np.int64] | None = None,
) -> tuple[ResidualCorrelation, Values]:
    """Fit correlations to some rows, by default all.

    Returns that of nine folds, and the held-out scores (N, K).
    """
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
    for part, x in image_set.batches(rows, device, f"Residuals, {extractor}"):
        windows = None if policy.size == policy.window else image_set.windows(x, part)
        sums.add(x, int(image_set.labels[part[0]]), int(image_set.folds[part[0]]), windows)
    by_fold = [sums.correlation(options, without=fold) for fold in range(FOLDS)]
    place = {row: number for number, row in enumerate(rows.tolist())}
    scores = np.empty((len(rows), len(image_set.sources)))
    for part, x in image_set.batches(rows, device, f"Correlations, {extractor}"):
        found = by_fold[image_set.folds[part[0]]].scores(image_set.windows(x, part))
        scores[[place[row] for row in part.tolist()]] = found.double().cpu().numpy()
    return by_fold[spare_fold(labels, folds)], scores


def cross_validate_spectrum(
    image_set: ImageSet,
    what: str,
    device: torch.device | str = "cpu",
    rows: NDArray[np.int64] | None = None,
) -> tuple[tuple[SpectrumLDA, ...], Values]:
    """Fit discriminants to some rows, by default all.

    Returns those of nine folds, and the held-out scores (N, D).

    Each source in each state is a class of its own, so that a spectrum shows the state as well; the
    classes of a state make one attributor. The scores of all stand side by side.
    """
    rows = np.arange(len(image_set)) if rows is None else rows
    _, _, taper = what.rpartition(", ")
    options = SpectrumOptions(taper)
    tile = tile_of(*image_set.policy.window)
    place = {row: number for number, row in enumerate(rows.tolist())}
    features = np.empty((len(rows), 3 * (tile * (tile // 2 + 1) - 1)), np.float32)
    for part, x in image_set.batches(rows, device, f"Spectra, {what}"):
        found = spectrum_features(image_set.windows(x, part), tile, options)
        features[[place[row] for row in part.tolist()]] = found.cpu().numpy()
    folds, count, states = image_set.folds[rows], len(image_set.sources), image_set.states[rows]
    classes = image_set.labels[rows] + count * states
    discriminants = Discriminants(features, classes, folds, int(classes.max()) + 1)
    scores = np.empty((len(rows), int(classes.max()) + 1))
    for fold in np.unique(folds):
        weights, bias = discriminants.fit(without=fold)
        scores[folds == fold] = features[folds == fold] @ weights.numpy() + bias.numpy()
    weights, bias = discriminants.fit(without=spare_fold(image_set.labels[rows], folds))
    parts = (
        SpectrumLDA(image_set.sources, own, constants, tile, options)
        for own, constants in zip(weights.split(count, 1), bias.split(count), strict=True)
    )
    return tuple(parts), scores


def cross_fit(
    scores: Values,
    labels: NDArray[np.int64],
    groups: NDArray[np.int64],
    states: NDArray[np.int64] | None = None,
) -> tuple[Values, Values]:
    """Return log-likelihoods and p-values (N, K) by score models that never saw the images.

    Args:
        scores: (N, D) scores of the images.
        labels: (N,) numbers of their sources.
        groups: (N,) groups; each is evaluated with the model of all others.
        states: (N,) states, see `ScoreModel.fit`.

    Returns:
        Limited log-likelihoods, natural; p-values.
    """
    count = int(labels.max()) + 1
    log_likelihoods, p_values = np.empty((len(labels), count)), np.empty((len(labels), count))
    states = np.zeros(len(labels), np.int64) if states is None else states
    for group in np.unique(groups):
        own = groups == group
        model = ScoreModel.fit(scores[~own], labels[~own], states[~own])
        log_likelihoods[own] = model.limited(model.log_likelihoods(scores[own]))
        p_values[own] = model.p_values(scores[own])
    return log_likelihoods, p_values


def held_out_likelihoods(
    scores: Values, image_set: ImageSet, rows: NDArray[np.int64] | None = None
) -> tuple[Values, Values]:
    """Return log-likelihoods and p-values (N, K) of held-out scores of rows, by their folds."""
    rows = np.arange(len(image_set)) if rows is None else rows
    return cross_fit(scores, image_set.labels[rows], image_set.folds[rows], image_set.states[rows])


def make_trial(
    what: str, scores: Values, log_likelihoods: Values, labels: NDArray[np.int64]
) -> Trial:
    """Return the figures of held-out scores (N, D) and of their log-likelihoods (N, K)."""
    single = scores.shape[1] == log_likelihoods.shape[1]
    return Trial(
        what,
        balanced_accuracy(log_likelihoods.argmax(1) == labels, labels),
        log_loss(log_likelihoods, labels),
        balanced_accuracy(scores.argmax(1) == labels, labels) if single else None,
        len(labels),
    )


def validate(
    log_likelihoods: Values,
    p_values: Values,
    labels: NDArray[np.int64],
    sources: Sequence[str],
    rule: DecisionRule,
) -> Validation:
    """Return the results of limited log-likelihoods and p-values (N, K) of held-out images."""
    count = len(sources)
    predictions = predict_images(log_likelihoods, p_values, sources, rule)
    verdicts = np.array([each.verdict for each in predictions])
    likeliest = log_likelihoods.argmax(1)
    confusion = np.zeros((count, count), np.int64)
    np.add.at(confusion, (labels, likeliest), 1)

    def fractions(chosen: NDArray[np.bool_]) -> list[float]:
        return [float(chosen[labels == k].mean()) for k in range(count)]

    return Validation(
        accuracy=balanced_accuracy(likeliest == labels, labels),
        log_loss=log_loss(log_likelihoods, labels),
        confusion=confusion.tolist(),
        rejected=fractions(verdicts == NONE),
        undecided=fractions(verdicts == UNDECIDED),
        wrong=fractions((verdicts == SOURCE) & (likeliest != labels)),
    )


def balanced_accuracy(correct: NDArray[np.bool_], labels: NDArray[np.int64]) -> float:
    """Return the mean over sources of the fraction of their images that is correct."""
    return float(np.mean([correct[labels == k].mean() for k in np.unique(labels)]))
