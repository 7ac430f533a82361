"""Train an attributor that is a network: hold images out, train on the others, calibrate.

Whole folds of the images, by names, are held out from the training. What these images score gives
the model of the scores, with its p-values, so the result is calibrated as a fitted attributor is:
the network has seen none of the images that say how far it can be believed.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from artfp.attribution.fitted import FittedAttributor, load_attributor
from artfp.attribution.likelihoods import ScoreModel, Values
from artfp.attribution.network import NetworkAttributor
from artfp.attribution.policy import Policy
from artfp.attribution.verdicts import Rules
from artfp.data.pixels import to_unit
from artfp.errors import UserError
from artfp.models.attributor import LARGEST, SMALLEST, AttributorNetwork
from artfp.studies.attribute_baseline import pixels_of
from artfp.studies.attribute_fit import Fit
from artfp.studies.attribute_material import FOLDS, Material
from artfp.studies.attribute_validation import validated
from artfp.studies.attribute_ways import trial_of
from artfp.training.attributor_fit import AttributorTraining, Labelled, train_network

SHARE, LEAST_HELD = 0.2, 50
"""Of each source's images so many are held out, and at least so many where that is under half."""

GROUPS = 5
"""Into which held out images are dealt, for figures by models that never saw them."""


def side_for(policy: Policy) -> int:
    """The largest side that networks take of images of a policy's window.

    Raises UserError: it is too small for any.
    """
    least = min(policy.window)
    if least < SMALLEST:
        raise UserError(
            f"images of {policy.window[1]}x{policy.window[0]} are too small: networks take "
            f"{SMALLEST} pixels a side or more; artfp attribute fit takes smaller ones"
        )
    return int(min(LARGEST, 2 ** (least.bit_length() - 1)))


def held_out_rows(material: Material, share: float = SHARE) -> NDArray[np.bool_]:
    """Which images (N,) are held out: whole folds, as few as give each source enough.

    That is `share` of its images and LEAST_HELD, but no more than half of the folds. Raises
    UserError: a share that leaves nothing to one side.
    """
    if not 1.0 / FOLDS <= share <= 0.5:
        raise UserError(f"the share held out is {share}; it must be from {1 / FOLDS} to 0.5")
    counts = np.stack([np.bincount(material.folds[material.labels == k], minlength=FOLDS)
                       for k in range(len(material.sources))])  # fmt: skip
    wanted = np.minimum(LEAST_HELD, counts.sum(1) / 2)
    folds = round(share * FOLDS)
    while folds < FOLDS // 2 and (counts[:, :folds].sum(1) < wanted).any():
        folds += 1
    return np.asarray(material.folds < folds)


def network_of(folder: str | Path, sources: Sequence[str]) -> AttributorNetwork:
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


def train(
    material: Material,
    settings: AttributorTraining,
    rules: Rules | None = None,
    name: str = "attributor",
    share: float = SHARE,
    config: str = "",
) -> Fit | None:
    """Train a network on the material, whose window is its design's resolution; and calibrate it.

    `share` is held out. None on all processes but the first. Raises UserError: see `train_network`.
    """
    held = torch.from_numpy(held_out_rows(material, share))
    pixels, all_labels = pixels_of(material), torch.from_numpy(material.labels)
    training = Labelled(pixels[~held], all_labels[~held])
    known = Labelled(pixels[held], all_labels[held])
    done = train_network(settings, material.sources, training, known, config)
    if done is None:
        return None
    part = NetworkAttributor(material.sources, done.network)
    scores, labels = scores_of(part, known), known.labels.numpy()
    logs, fits = cross_fitted(scores, labels)
    model, rules = ScoreModel.fit(scores, labels), rules or Rules()
    facts = {
        "training": {
            **settings.told(),
            "steps": done.steps,
            "images": len(training),
            "held_out": len(known),
            "pytorch_lightning": version("pytorch-lightning"),
        }
    }
    return Fit(
        FittedAttributor(name, [part], model, material.policy, rules, facts),
        settings.design.network,
        {},
        [trial_of(settings.design.network, scores, logs, labels)],
        validated(logs, fits, labels, material.sources, rules),
    )


@torch.inference_mode()
def scores_of(part: NetworkAttributor, images: Labelled) -> Values:
    """Scores (N, sources) of 8-bit images."""
    found = [part.scores(to_unit(x)) for x in images.pixels.split(256)]
    return np.asarray(torch.cat(found).double().numpy())


def cross_fitted(scores: Values, labels: NDArray[np.int64]) -> tuple[Values, Values]:
    """Limited log-likelihoods and p-values (N, K) of scores by models that never saw them.

    Each source's images are dealt into groups in turn; each group is judged by the others' model.
    """
    logs, fits = np.empty_like(scores), np.empty_like(scores)
    groups = np.empty(len(labels), np.int64)
    for k in np.unique(labels):
        own = np.flatnonzero(labels == k)
        groups[own] = np.arange(len(own)) % GROUPS
    for group in range(GROUPS):
        own = groups == group
        model = ScoreModel.fit(scores[~own], labels[~own])
        logs[own] = model.limited(model.log_likelihoods(scores[own]))
        fits[own] = model.p_values(scores[own])
    return logs, fits
