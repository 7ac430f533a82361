"""Train a classifier as an attributor: hold images out, train on the others, calibrate.

Whole folds of the images, by names, are held out from the training. Their scores give the score
model, with its p-values, so the result is calibrated as a fitted attributor is: the network has
seen none of the images that say how reliable it is. P-values are those of out-of-distribution
scores (`artfp.passive.attributors.classifier`): images that train define the inliers, and held-out
ones how far images of a source may be from them. A network that was immunised is calibrated for
perturbed images as well: by copies of the held-out images, perturbed as those in the training,
whose scores have distributions of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from artfp.core.errors import UserError
from artfp.data.paths import file_hash
from artfp.data.pixels import to_8bit, to_unit
from artfp.data.tables import round_significant
from artfp.nn.random_inputs import derive_seed
from artfp.passive.attributors.base import AttributorPart
from artfp.passive.attributors.bundle import ATTRIBUTOR_FILE, FittedAttributor, load_attributor
from artfp.passive.attributors.classifier import FeatureGaussians, NetworkAttributor
from artfp.passive.attributors.score_model import ScoreModel, Values
from artfp.passive.attributors.verdicts import DecisionRule
from artfp.passive.attributors.window import WindowPolicy
from artfp.passive.fitting.cross_validation import cross_fit, make_trial, validate
from artfp.passive.fitting.image_set import AS_IS, FOLDS, ImageSet
from artfp.passive.fitting.select import FitResult
from artfp.passive.networks.classifier import (
    MAX_CLASSIFIER_SIDE,
    MIN_CLASSIFIER_SIDE,
    SourceClassifier,
)
from artfp.passive.settings import ClassifierSettings
from artfp.passive.training.classifier import Immunisation
from artfp.passive.training.classifier_fit import (
    InitialNetwork,
    train_source_classifier,
    training_card,
)
from artfp.passive.training.labelled import LabelledImages

HELD_OUT_FRACTION: float = 0.2
MIN_HELD_OUT: int = 50
"""Fraction of each source's images that is held out, and at least so many, up to a half."""

PERTURBED_STATE = 1
"""State of perturbed copies of held-out images, beside AS_IS."""

CALIBRATION_GROUPS = 5
"""Groups of held-out images; each is evaluated by a score model of the others."""

_BATCH = 256


def network_side(policy: WindowPolicy) -> int:
    """Return the largest side that networks take of images of a policy's window.

    Raises UserError: the window is too small for any.
    """
    smallest = min(policy.window)
    if smallest < MIN_CLASSIFIER_SIDE:
        raise UserError(
            f"images of {policy.window[1]}x{policy.window[0]} are too small: networks take "
            f"{MIN_CLASSIFIER_SIDE} pixels a side or more; artfp attribute fit takes smaller ones"
        )
    return int(min(MAX_CLASSIFIER_SIDE, 2 ** (smallest.bit_length() - 1)))


def choose_held_out(image_set: ImageSet, fraction: float = HELD_OUT_FRACTION) -> NDArray[np.bool_]:
    """Return which images (N,) are held out: whole folds, as few as give each source enough.

    That is `fraction` of its images and MIN_HELD_OUT, but no more than half of the folds. Raises
    UserError: a fraction that leaves nothing to one side.
    """
    if not 1.0 / FOLDS <= fraction <= 0.5:
        raise UserError(f"held_out is {fraction}; it must be from {1 / FOLDS} to 0.5")
    counts = np.stack([np.bincount(image_set.folds[image_set.labels == k], minlength=FOLDS)
                       for k in range(len(image_set.sources))])  # fmt: skip
    wanted = np.minimum(MIN_HELD_OUT, counts.sum(1) / 2)
    folds = round(fraction * FOLDS)
    while folds < FOLDS // 2 and (counts[:, :folds].sum(1) < wanted).any():
        folds += 1
    return np.asarray(image_set.folds < folds)


def split_held_out(
    image_set: ImageSet, held_out: float | ImageSet = HELD_OUT_FRACTION
) -> tuple[LabelledImages, LabelledImages]:
    """Return the windows of all images, in memory: training and held-out images.

    The latter are a fraction of the image set, or all of another one.
    """
    if isinstance(held_out, ImageSet):
        return _load_all(image_set), _load_all(held_out)
    held = torch.from_numpy(choose_held_out(image_set, held_out))
    pixels, labels = image_set.stack_windows(), torch.from_numpy(image_set.labels)
    return LabelledImages(pixels[~held], labels[~held]), LabelledImages(pixels[held], labels[held])


def _load_all(image_set: ImageSet) -> LabelledImages:
    return LabelledImages(image_set.stack_windows(), torch.from_numpy(image_set.labels))


def describe_training(
    card: dict[str, Any],
    steps: int,
    training: LabelledImages,
    held_out: LabelledImages,
    stopped: str | None,
) -> dict[str, Any]:
    """Return the metadata of a training: its settings, steps and numbers of images."""
    return {
        **card,
        "steps": steps,
        **({} if stopped is None else {"stopped": stopped}),
        "images": len(training),
        "held_out": len(held_out),
        "pytorch_lightning": version("pytorch-lightning"),
    }


def load_initial_network(
    folder: Path, sources: Sequence[str], name: str | None = None
) -> InitialNetwork:
    """Load the network of a trained attributor, for a training that goes on from it.

    `name` stands for it in the card, by default the hash of its file. Raises UserError: it is no
    network, or of other sources.
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
    file = folder / ATTRIBUTOR_FILE if folder.is_dir() else folder
    return InitialNetwork(network, name or file_hash(file))


def train_classifier(
    image_set: ImageSet,
    settings: ClassifierSettings,
    rule: DecisionRule | None = None,
    name: str = "attributor",
    held_out: float | ImageSet = HELD_OUT_FRACTION,
    init: InitialNetwork | None = None,
    callbacks: Sequence[pl.Callback] = (),
) -> FitResult | None:
    """Train a network on the image set, whose window is its resolution; and calibrate it.

    A fraction `held_out` is held out, or other images validate and calibrate. None on all processes
    but the first. Raises UserError: see `train_source_classifier`.
    """
    training, validation = split_held_out(image_set, held_out)
    trained = train_source_classifier(
        settings, image_set.sources, training, validation, init, callbacks
    )
    if trained is None:
        return None
    sources, rule = image_set.sources, rule or DecisionRule()
    part, inlier_scores = add_feature_statistics(trained.network, sources, training)
    count, labels = len(sources), validation.labels.numpy()
    columns, states = _evaluate(part.score_columns, validation), np.full(len(validation), AS_IS)
    if settings.immunise:
        copies = perturb_copies(validation, Immunisation(settings.immunise), settings.seed)
        columns = np.concatenate([columns, _evaluate(part.score_columns, copies)])
        states = np.repeat((AS_IS, PERTURBED_STATE), len(validation))
    own, scores = np.resize(labels, len(states)), columns[:, :count]
    # Images that define the inliers are nearer to them than others of their source: another state.
    ood_scores = np.concatenate([columns[:, count:], inlier_scores])
    ood_labels = np.concatenate([own, training.labels.numpy()])
    ood_states = np.concatenate([states, np.full(len(inlier_scores), states.max() + 1)])
    log_likelihoods, _ = cross_fit(scores, own, deal_groups(own, states), states)
    _, p_values = cross_fit(ood_scores, ood_labels, deal_groups(ood_labels, ood_states), ood_states)
    p_values = p_values[: len(own)]
    model = ScoreModel.fit(scores, own, states)
    ood_model = ScoreModel.fit(ood_scores, ood_labels, ood_states)
    design = trained.network.design
    card = training_card(settings, design, init)
    described = describe_training(card, trained.steps, training, validation, trained.stopped)
    metadata = {"training": described}
    if settings.immunise:
        copy = states == PERTURBED_STATE
        found = validate(log_likelihoods[copy], p_values[copy], labels, sources, rule)
        metadata["perturbed_validation"] = round_significant(asdict(found))
    original = states == AS_IS
    log_likelihoods, p_values = log_likelihoods[original], p_values[original]
    return FitResult(
        FittedAttributor(name, [part], model, image_set.policy, rule, metadata, ood_model),
        design.network,
        {},
        [make_trial(design.network, scores[original], log_likelihoods, labels)],
        validate(log_likelihoods, p_values, labels, sources, rule),
    )


def add_feature_statistics(
    network: SourceClassifier, sources: Sequence[str], images: LabelledImages
) -> tuple[NetworkAttributor, Values]:
    """Return the network with the feature statistics of inliers, and their own scores (N, K)."""
    part = NetworkAttributor(sources, network)
    statistics = torch.from_numpy(_evaluate(part.feature_statistics, images))
    gaussians = FeatureGaussians.fit(statistics, images.labels.numpy())
    scores = gaussians.scores(statistics).double().numpy()
    return NetworkAttributor(sources, network, gaussians), scores


def score_pixels(part: AttributorPart, images: LabelledImages) -> Values:
    """Return scores (N, sources) of 8-bit images."""
    return _evaluate(part.scores, images)


@torch.inference_mode()
def _evaluate(function: Callable[[Tensor], Tensor], images: LabelledImages) -> Values:
    """Return the values (N, D) of a function of images (N, 3, H, W) in [0, 1]."""
    found = [function(to_unit(x)) for x in images.pixels.split(_BATCH)]
    return np.asarray(torch.cat(found).double().numpy())


def perturb_copies(images: LabelledImages, immunity: Immunisation, seed: int) -> LabelledImages:
    """Return perturbed copies of images, whose draws depend on the seed alone."""
    rng = torch.Generator().manual_seed(derive_seed(seed, PERTURBED_STATE))
    parts = [to_8bit(immunity(to_unit(x), rng)) for x in images.pixels.split(_BATCH)]
    return LabelledImages(torch.cat(parts), images.labels)


def deal_groups(
    labels: NDArray[np.int64], states: NDArray[np.int64] | None = None
) -> NDArray[np.int64]:
    """Return groups (N,) for `cross_fit`: each source's images are dealt in turn.

    Copies of images that are in the order of their originals come into the groups of these.
    """
    states = np.full(len(labels), AS_IS) if states is None else states
    groups = np.empty(len(labels), np.int64)
    for label, state in np.unique(np.stack([labels, states], 1), axis=0):
        own = np.flatnonzero((labels == label) & (states == state))
        groups[own] = np.arange(len(own)) % CALIBRATION_GROUPS
    return groups
