"""Train an attributor that is a network: hold images out, train on the others, calibrate.

Whole folds of the images, by names, are held out from the training. What these images score gives
the model of the scores, with its p-values, so the result is calibrated as a fitted attributor is:
the network has seen none of the images that say how far it can be believed. P-values are those of
traits (`artfp.passive.attributors.classifier`):
what is usual is told by images that train, how far images of a
source may be from it by those held out. A network that was immunised is calibrated for perturbed
images as well: by copies of the held out images, perturbed as those in the training, whose scores
have distributions of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from artfp.core.errors import UserError
from artfp.data.pixels import to_8bit, to_unit
from artfp.data.tables import round_significant
from artfp.nn.random_inputs import derive_seed
from artfp.passive.attributors.base import AttributorPart
from artfp.passive.attributors.bundle import FittedAttributor, load_attributor
from artfp.passive.attributors.classifier import FeatureGaussians, NetworkAttributor
from artfp.passive.attributors.score_model import ScoreModel, Values
from artfp.passive.attributors.verdicts import DecisionRule
from artfp.passive.attributors.window import WindowPolicy
from artfp.passive.fitting.baselines import stack_windows
from artfp.passive.fitting.cross_validation import make_trial, validate
from artfp.passive.fitting.image_set import AS_IS, FOLDS, ImageSet, Tick
from artfp.passive.fitting.select import FitResult
from artfp.passive.networks.classifier import (
    MAX_CLASSIFIER_SIDE,
    MIN_CLASSIFIER_SIDE,
    SourceClassifier,
)
from artfp.passive.training.classifier import Immunisation
from artfp.passive.training.classifier_fit import AttributorTraining, train_network
from artfp.passive.training.labelled import LabelledImages

HELD_OUT_FRACTION, MIN_HELD_OUT = 0.2, 50
"""Of each source's images so many are held out, and at least so many where that is under half."""

PERTURBED = 1
"""State of perturbed copies of held out images, beside AS_IS."""

CALIBRATION_GROUPS = 5
"""Into which held out images are dealt, for figures by models that never saw them."""


def network_side(policy: WindowPolicy) -> int:
    """The largest side that networks take of images of a policy's window.

    Raises UserError: it is too small for any.
    """
    least = min(policy.window)
    if least < MIN_CLASSIFIER_SIDE:
        raise UserError(
            f"images of {policy.window[1]}x{policy.window[0]} are too small: networks take "
            f"{MIN_CLASSIFIER_SIDE} pixels a side or more; artfp attribute fit takes smaller ones"
        )
    return int(min(MAX_CLASSIFIER_SIDE, 2 ** (least.bit_length() - 1)))


def choose_held_out(image_set: ImageSet, share: float = HELD_OUT_FRACTION) -> NDArray[np.bool_]:
    """Which images (N,) are held out: whole folds, as few as give each source enough.

    That is `share` of its images and LEAST_HELD, but no more than half of the folds. Raises
    UserError: a share that leaves nothing to one side.
    """
    if not 1.0 / FOLDS <= share <= 0.5:
        raise UserError(f"the share held out is {share}; it must be from {1 / FOLDS} to 0.5")
    counts = np.stack([np.bincount(image_set.folds[image_set.labels == k], minlength=FOLDS)
                       for k in range(len(image_set.sources))])  # fmt: skip
    wanted = np.minimum(MIN_HELD_OUT, counts.sum(1) / 2)
    folds = round(share * FOLDS)
    while folds < FOLDS // 2 and (counts[:, :folds].sum(1) < wanted).any():
        folds += 1
    return np.asarray(image_set.folds < folds)


def split_held_out(
    image_set: ImageSet, share: float = HELD_OUT_FRACTION, tick: Tick = lambda what, images: None
) -> tuple[LabelledImages, LabelledImages]:
    """The windows of all images, in memory: those that train, and those that are held out."""
    held = torch.from_numpy(choose_held_out(image_set, share))
    pixels, labels = stack_windows(image_set, tick), torch.from_numpy(image_set.labels)
    return LabelledImages(pixels[~held], labels[~held]), LabelledImages(pixels[held], labels[held])


def describe_training(
    told: dict[str, Any], steps: int, training: LabelledImages, known: LabelledImages
) -> dict[str, Any]:
    """What the card says of a training: its settings, as `told`, and what came of them."""
    return {
        **told,
        "steps": steps,
        "images": len(training),
        "held_out": len(known),
        "pytorch_lightning": version("pytorch-lightning"),
    }


def load_network(folder: str | Path, sources: Sequence[str]) -> SourceClassifier:
    """The network of a trained attributor for the same sources, to go on from.

    Raises UserError: it is none, or of other sources.
    """
    attributor = load_attributor(folder)
    network = next((p.network for p in attributor.parts if isinstance(p, NetworkAttributor)), None)
    if network is None:
        raise UserError(f"{folder} holds no network; artfp attribute train makes attributors of it")
    if attributor.sources != tuple(sources):
        raise UserError(
            f"{folder} knows the sources {', '.join(attributor.sources)}; given are "
            f"{', '.join(sources)}"
        )
    return network


def train_classifier(
    image_set: ImageSet,
    settings: AttributorTraining,
    rules: DecisionRule | None = None,
    name: str = "attributor",
    share: float = HELD_OUT_FRACTION,
    config: str = "",
) -> FitResult | None:
    """Train a network on the material, whose window is its design's resolution; and calibrate it.

    `share` is held out. None on all processes but the first. Raises UserError: see `train_network`.
    """
    training, known = split_held_out(image_set, share)
    done = train_network(settings, image_set.sources, training, known, config)
    if done is None:
        return None
    immunity, rules = settings.immunity(), rules or DecisionRule()
    part, seen = add_feature_statistics(done.network, image_set.sources, training)
    count, labels, states = len(image_set.sources), known.labels.numpy(), np.full(len(known), AS_IS)
    columns = _of(part.score_columns, known)
    if immunity is not None:
        changed = perturb_copies(known, immunity, settings.seed)
        columns = np.concatenate([columns, _of(part.score_columns, changed)])
        states = np.repeat((AS_IS, PERTURBED), len(known))
    every, scores = np.resize(labels, len(states)), columns[:, :count]
    # Images that say what is usual are nearer to it than others of their source: one more state.
    traits = np.concatenate([columns[:, count:], seen])
    owners = np.concatenate([every, training.labels.numpy()])
    stages = np.concatenate([states, np.full(len(seen), states.max() + 1)])
    logs = cross_fit(scores, every, states)[0]
    fits = cross_fit(traits, owners, stages)[1][: len(every)]
    model, typical = ScoreModel.fit(scores, every, states), ScoreModel.fit(traits, owners, stages)
    facts = {"training": describe_training(settings.told(), done.steps, training, known)}
    if immunity is not None:
        copies = states == PERTURBED
        found = validate(logs[copies], fits[copies], labels, image_set.sources, rules)
        facts["perturbed_validation"] = round_significant(asdict(found))
    own = states == AS_IS
    scores, logs, fits = scores[own], logs[own], fits[own]
    return FitResult(
        FittedAttributor(name, [part], model, image_set.policy, rules, facts, typical),
        settings.design.network,
        {},
        [make_trial(settings.design.network, scores, logs, labels)],
        validate(logs, fits, labels, image_set.sources, rules),
    )


def add_feature_statistics(
    network: SourceClassifier, sources: Sequence[str], images: LabelledImages
) -> tuple[NetworkAttributor, Values]:
    """The network with what is usual in images that trained it, and their own scores of that."""
    seen = torch.from_numpy(_of(NetworkAttributor(sources, network).feature_statistics, images))
    traits = FeatureGaussians.fit(seen, images.labels.numpy())
    return NetworkAttributor(sources, network, traits), traits.scores(seen).double().numpy()


def score_pixels(part: AttributorPart, images: LabelledImages) -> Values:
    """Scores (N, sources) of 8-bit images."""
    return _of(part.scores, images)


@torch.inference_mode()
def _of(told: Callable[[Tensor], Tensor], images: LabelledImages) -> Values:
    """What is told (N, D) of 8-bit images."""
    found = [told(to_unit(x)) for x in images.pixels.split(256)]
    return np.asarray(torch.cat(found).double().numpy())


def perturb_copies(images: LabelledImages, immunity: Immunisation, seed: int) -> LabelledImages:
    """Copies of images, perturbed with draws that depend on the seed alone."""
    draws = torch.Generator().manual_seed(derive_seed(seed, PERTURBED))
    parts = [to_8bit(immunity(to_unit(x), draws)) for x in images.pixels.split(256)]
    return LabelledImages(torch.cat(parts), images.labels)


def cross_fit(
    scores: Values, labels: NDArray[np.int64], states: NDArray[np.int64] | None = None
) -> tuple[Values, Values]:
    """Limited log-likelihoods and p-values (N, K) of scores by models that never saw them.

    Each source's images are dealt into groups in turn; each group is judged by the others' model.
    `states` (N,) as of ScoreModel: copies of images that stand in the order of their originals come
    into the groups of these.
    """
    logs, fits = np.empty_like(scores), np.empty_like(scores)
    states = np.full(len(labels), AS_IS) if states is None else states
    groups = np.empty(len(labels), np.int64)
    for pair in np.unique(np.stack([labels, states], 1), axis=0):
        own = np.flatnonzero((labels == pair[0]) & (states == pair[1]))
        groups[own] = np.arange(len(own)) % CALIBRATION_GROUPS
    for group in range(CALIBRATION_GROUPS):
        own = groups == group
        model = ScoreModel.fit(scores[~own], labels[~own], states[~own])
        logs[own] = model.limited(model.log_likelihoods(scores[own]))
        fits[own] = model.p_values(scores[own])
    return logs, fits
