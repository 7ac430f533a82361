"""Fit the baselines of Yu et al. 2019 (arXiv 1811.08180), or an attributor of another package.

All images are reference images and all images validate: each is attributed by the images of the
other nine folds, and the attributor is one of these ten, see
`artfp.passive.fitting.cross_validation`.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from artfp.core.errors import UserError
from artfp.core.progress import track
from artfp.data.pixels import to_unit
from artfp.passive.attributors.base import AttributorPart
from artfp.passive.attributors.bundle import (
    FittedAttributor,
    fit_part,
    fittable_parts,
    score_vectors,
)
from artfp.passive.attributors.eigenface import EIGENFACE, EUCLIDEAN, MAHALANOBIS, Eigenfaces
from artfp.passive.attributors.nearest_neighbour import NEAREST, NearestNeighbour
from artfp.passive.attributors.score_model import ScoreModel, Values
from artfp.passive.attributors.verdicts import DecisionRule
from artfp.passive.fitting.cross_validation import (
    Trial,
    held_out_likelihoods,
    make_trial,
    spare_fold,
    validate,
)
from artfp.passive.fitting.image_set import ImageSet
from artfp.passive.fitting.select import FitResult

BASELINES = {
    NEAREST: "source of the nearest known image, by its pixels",
    EIGENFACE: "nearest source's mean, along principal components of the pixels",
}
"""Kinds of artfp's baselines, with their descriptions."""

COMPONENTS = (32, 128, 512)
"""Numbers of Eigenfaces that are compared, no more than an eighth of the images."""

_BATCH = 256


def find_baseline(kind: str) -> str:
    """Return the description of a baseline: one of BASELINES, or a part of another package.

    Raises:
        UserError: there is no such kind.
    """
    known = {
        **BASELINES,
        **{name: f"plugin {part.__name__}" for name, part in fittable_parts().items()},
    }
    if kind not in known:
        raise UserError(f"baseline {kind!r}: choose from {', '.join(known)}")
    return known[kind]


def fit_baseline(
    image_set: ImageSet,
    kind: str,
    *,
    components: int | None = None,
    rule: DecisionRule | None = None,
    name: str = "attributor",
    device: torch.device | str = "cpu",
) -> FitResult:
    """Fit a baseline (see `find_baseline`).

    The number of `components` of Eigenfaces is chosen by the log loss of held-out posteriors where
    it is None; the distance always is. Raises UserError: an unknown kind, or too many components.
    """
    find_baseline(kind)
    numbers = _numbers(image_set, components) if kind == EIGENFACE else []
    rule, pixels = rule or DecisionRule(), image_set.stack_windows()
    trials: dict[str, list[Trial]] = {}
    part: AttributorPart
    if kind == NEAREST:
        part, scores = _nearest(image_set, pixels.to(device))
    elif kind in fittable_parts():
        plugin, folds = fittable_parts()[kind], image_set.folds
        part, scores = fit_part(plugin, image_set.sources, pixels, image_set.labels, folds)
    else:
        part, scores, trials[kind] = _eigenface(image_set, pixels, numbers)
    log_likelihoods, p_values = held_out_likelihoods(scores, image_set)
    model = ScoreModel.fit(scores, image_set.labels)
    attributor = FittedAttributor(name, [part], model, image_set.policy, rule)
    labels, sources = image_set.labels, image_set.sources
    return FitResult(
        attributor,
        kind,
        trials,
        [make_trial(kind, scores, log_likelihoods, labels)],
        validate(log_likelihoods, p_values, labels, sources, rule),
    )


def _nearest(image_set: ImageSet, pixels: Tensor) -> tuple[NearestNeighbour, Values]:
    part = NearestNeighbour(image_set.sources, pixels, torch.from_numpy(image_set.labels))
    folds, labels = torch.from_numpy(image_set.folds), torch.from_numpy(image_set.labels)
    scores = part.held_out(folds.to(pixels.device)).double().cpu().numpy()
    kept = folds != spare_fold(image_set.labels, image_set.folds)
    return NearestNeighbour(image_set.sources, pixels[kept], labels[kept]), scores


def _eigenface(
    image_set: ImageSet, pixels: Tensor, numbers: list[int]
) -> tuple[AttributorPart, Values, list[Trial]]:
    """Return the attributor of nine folds, the held-out scores, and the trials, the best first."""
    labels, folds, sources = image_set.labels, image_set.folds, image_set.sources
    choices = [(distance, number) for distance in (MAHALANOBIS, EUCLIDEAN) for number in numbers]
    scores = {choice: np.empty((len(labels), len(sources))) for choice in choices}
    kept: dict[tuple[str, int], AttributorPart] = {}
    spare = spare_fold(labels, folds)
    for fold in track(np.unique(folds).tolist(), caption="Eigenfaces", unit="folds"):
        own = torch.from_numpy(folds == fold)
        faces = Eigenfaces(pixels[~own], labels[folds != fold], max(numbers))
        for choice in choices:
            part = faces.fit(sources, *choice)
            batches = pixels[own].split(_BATCH)
            parts = [score_vectors([part], to_unit(batch)) for batch in batches]
            scores[choice][folds == fold] = np.concatenate(parts)
            if fold == spare:
                kept[choice] = part
    found = []
    for distance, number in choices:
        what = f"{distance}, {number} component{'s' * (number > 1)}"
        log_likelihoods, _ = held_out_likelihoods(scores[distance, number], image_set)
        trial = make_trial(what, scores[distance, number], log_likelihoods, labels)
        found.append((trial, (distance, number)))
    found.sort(key=lambda each: each[0].log_loss)
    best = found[0][1]
    return kept[best], scores[best], [trial for trial, _ in found]


def _numbers(image_set: ImageSet, components: int | None) -> list[int]:
    """Return the numbers of components to compare."""
    height, width = image_set.policy.window
    most = min(len(image_set) // 8, 3 * height * width - 1)
    if components is not None and not 0 < components <= most:
        raise UserError(
            f"components: found {components}, expected 1 to {most}, an eighth of the images"
        )
    chosen = COMPONENTS if components is None else (components,)
    return sorted({min(each, most) for each in chosen})
