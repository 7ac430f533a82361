"""Fit the baselines of Yu et al. 2019 (arXiv 1811.08180) to a folder of sources.

As with the other ways, all images are known ones and all images validate: each is judged by the
images of the other nine folds.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from artfp.core.errors import UserError
from artfp.data.pixels import to_8bit
from artfp.passive.attributors.bundle import AttributorPart, FittedAttributor
from artfp.passive.attributors.eigenface import EIGENFACE, EUCLIDEAN, MAHALANOBIS, Eigenfaces
from artfp.passive.attributors.nearest_neighbour import NEAREST, NearestNeighbour
from artfp.passive.attributors.score_model import ScoreModel, Values
from artfp.passive.attributors.verdicts import DecisionRule
from artfp.passive.fitting.attribute_validation import validated
from artfp.passive.fitting.cross_validation import Trial, held_out, trial_of
from artfp.passive.fitting.image_set import Material, Tick
from artfp.passive.fitting.select import Fit

BASELINES = {
    NEAREST: "source of the nearest known image, by its pixels",
    EIGENFACE: "nearest source's mean, along principal components of the pixels",
}
"""Kinds of baselines, and what they do."""

COMPONENTS = (32, 128, 512)
"""Of which a number of Eigenfaces is chosen, no more than an eighth of the images."""


def fit_baseline(
    material: Material,
    kind: str,
    *,
    components: int | None = None,
    rules: DecisionRule | None = None,
    name: str = "attributor",
    device: torch.device | str = "cpu",
    tick: Tick = lambda what, images: None,
) -> Fit:
    """Fit one of BASELINES.

    `components` of Eigenfaces; None: the number is chosen, like the distance in any case, by the
    log loss of held out posteriors. Raises UserError: no such kind, or a number that cannot be.
    """
    if kind not in BASELINES:
        raise UserError(f"baseline {kind!r}: choose from {', '.join(BASELINES)}")
    numbers = _numbers(material, components) if kind == EIGENFACE else []
    rules, pixels = rules or DecisionRule(), pixels_of(material, tick)
    trials: dict[str, list[Trial]] = {}
    part: AttributorPart
    if kind == NEAREST:
        part, scores = _nearest(material, pixels.to(device))
    else:
        part, scores, trials[kind] = _eigenface(material, pixels, numbers, tick)
    logs, fits = held_out(scores, material)
    model = ScoreModel.fit(scores, material.labels)
    attributor = FittedAttributor(name, [part], model, material.policy, rules)
    validation = validated(logs, fits, material.labels, material.sources, rules)
    return Fit(
        attributor, kind, trials, [trial_of(kind, scores, logs, material.labels)], validation
    )


def pixels_of(material: Material, tick: Tick = lambda what, images: None) -> Tensor:
    """The windows of all images, 8-bit (N, 3, h, w), in the material's order."""
    pixels = torch.empty((len(material), 3, *material.policy.window), dtype=torch.uint8)
    for rows, x in material.batches(np.arange(len(material))):
        pixels[torch.from_numpy(rows)] = to_8bit(material.windows(x, rows))
        tick("pixels", len(rows))
    return pixels


def _nearest(material: Material, pixels: Tensor) -> tuple[NearestNeighbour, Values]:
    part = NearestNeighbour(material.sources, pixels, torch.from_numpy(material.labels))
    folds = torch.from_numpy(material.folds).to(pixels.device)
    return part, part.held_out(folds).double().cpu().numpy()


def _eigenface(
    material: Material, pixels: Tensor, numbers: list[int], tick: Tick
) -> tuple[AttributorPart, Values, list[Trial]]:
    """The attributor, its held out scores, and what was tried, the best first."""
    faces = Eigenfaces(pixels, material.labels, max(numbers))
    found = []
    for distance in (MAHALANOBIS, EUCLIDEAN):
        for number in numbers:
            what = f"{distance}, {number} component{'s' * (number > 1)}"
            scores = faces.held_out(len(material.sources), distance, number, material.folds)
            trial = trial_of(what, scores, held_out(scores, material)[0], material.labels)
            found.append((trial, distance, number, scores))
            tick(what, len(material))
    found.sort(key=lambda each: each[0].log_loss)
    _, distance, number, scores = found[0]
    part = faces.fit(material.sources, distance, number)
    return part, scores, [trial for trial, *_ in found]


def _numbers(material: Material, components: int | None) -> list[int]:
    """Numbers of components to try."""
    height, width = material.policy.window
    most = min(len(material) // 8, 3 * height * width - 1)
    if components is not None and not 0 < components <= most:
        raise UserError(
            f"components: found {components}, expected 1 to {most}, an eighth of the images"
        )
    chosen = COMPONENTS if components is None else (components,)
    return sorted({min(each, most) for each in chosen})
