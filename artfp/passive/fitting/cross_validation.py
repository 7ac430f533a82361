"""Held out scores: what images score by attributors that were made without their fold.

`correlate` and `discriminate` also give the attributor that all images make; `held_out` turns
scores into likelihoods by models that never saw them.
"""

from __future__ import annotations

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
from artfp.passive.fitting.image_set import FOLDS, Material, Tick
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


def correlate(
    material: Material,
    how: CorrelationOptions,
    extractor: str,
    device: torch.device | str,
    tick: Tick,
    rows: NDArray[np.int64] | None = None,
) -> tuple[ResidualCorrelation, Values]:
    """A correlation from some rows, default all, and what they score without their own fold."""
    rows = np.arange(len(material)) if rows is None else rows
    labels, folds = material.labels[rows], material.folds[rows]
    counts = [
        np.bincount(folds[labels == k], minlength=FOLDS).tolist()
        for k in range(len(material.sources))
    ]
    policy = material.policy
    sums = ResidualSums(
        counts, material.sources, load_extractor(extractor), policy.size, policy.window
    )
    for part, x in material.batches(rows, device):
        windows = None if policy.size == policy.window else material.windows(x, part)
        sums.add(x, int(material.labels[part[0]]), int(material.folds[part[0]]), windows)
        tick(f"residuals, {extractor}", len(part))
    apart = [sums.correlation(how, without=fold) for fold in range(FOLDS)]
    place = {row: number for number, row in enumerate(rows.tolist())}
    scores = np.empty((len(rows), len(material.sources)))
    for part, x in material.batches(rows, device):
        found = apart[material.folds[part[0]]].scores(material.windows(x, part))
        scores[[place[row] for row in part.tolist()]] = found.double().cpu().numpy()
        tick(f"correlations, {extractor}", len(part))
    return sums.correlation(how), scores


def discriminate(
    material: Material,
    what: str,
    device: torch.device | str,
    tick: Tick,
    rows: NDArray[np.int64] | None = None,
) -> tuple[tuple[SpectrumLDA, ...], Values]:
    """Discriminants from some rows, default all, and what they score without their own fold.

    Each source in each state is a class of its own, so that a spectrum tells the state as well; the
    classes of a state make one attributor. Scores (N, D) are those of all, side by side.
    """
    rows = np.arange(len(material)) if rows is None else rows
    _, _, taper = what.rpartition(", ")
    options = SpectrumOptions(taper)
    tile = tile_of(*material.policy.window)
    place = {row: number for number, row in enumerate(rows.tolist())}
    features = np.empty((len(rows), 3 * (tile * (tile // 2 + 1) - 1)), np.float32)
    for part, x in material.batches(rows, device):
        found = spectrum_features(material.windows(x, part), tile, options)
        features[[place[row] for row in part.tolist()]] = found.cpu().numpy()
        tick(f"spectra, {what}", len(part))
    folds, count, states = material.folds[rows], len(material.sources), material.states[rows]
    classes = material.labels[rows] + count * states
    discriminants = Discriminants(features, classes, folds, int(classes.max()) + 1)
    scores = np.empty((len(rows), int(classes.max()) + 1))
    for fold in np.unique(folds):
        weights, bias = discriminants.fit(without=fold)
        scores[folds == fold] = features[folds == fold] @ weights.numpy() + bias.numpy()
    weights, bias = discriminants.fit()
    parts = (
        SpectrumLDA(material.sources, own, constants, tile, options)
        for own, constants in zip(weights.split(count, 1), bias.split(count), strict=True)
    )
    return tuple(parts), scores


def held_out(
    scores: Values, material: Material, rows: NDArray[np.int64] | None = None
) -> tuple[Values, Values]:
    """Limited log-likelihoods and p-values (N, K) of held out scores by models without them."""
    rows = np.arange(len(material)) if rows is None else rows
    labels, folds, states = (
        each[rows] for each in (material.labels, material.folds, material.states)
    )
    logs = np.empty((len(rows), len(material.sources)))
    fits = np.empty_like(logs)
    for fold in range(FOLDS):
        own = folds == fold
        model = ScoreModel.fit(scores[~own], labels[~own], states[~own])
        logs[own] = model.limited(model.log_likelihoods(scores[own]))
        fits[own] = model.p_values(scores[own])
    return logs, fits


def trial_of(what: str, scores: Values, logs: Values, labels: NDArray[np.int64]) -> Trial:
    """Of held out scores (N, D) and the log-likelihoods (N, K) that they gave."""
    alone = scores.shape[1] == logs.shape[1]
    return Trial(
        what,
        balanced(logs.argmax(1) == labels, labels),
        log_loss(logs, labels),
        balanced(scores.argmax(1) == labels, labels) if alone else None,
        len(labels),
    )


def balanced(right: NDArray[np.bool_], labels: NDArray[np.int64]) -> float:
    """Mean over sources of the share of their images that is right."""
    return float(np.mean([right[labels == k].mean() for k in np.unique(labels)]))
