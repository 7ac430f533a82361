"""Train a VisNet on a folder of sources, calibrate it, and look at its evidence."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from artfp.data.pixels import to_unit
from artfp.passive.attributors.bundle import FittedAttributor
from artfp.passive.attributors.score_model import ScoreModel
from artfp.passive.attributors.verdicts import DecisionRule
from artfp.passive.attributors.visnet import VISNET, VisNetAttributor
from artfp.passive.fitting.classifier import (
    HELD_OUT_FRACTION,
    cross_fit,
    describe_training,
    score_pixels,
    split_held_out,
)
from artfp.passive.fitting.cross_validation import make_trial, validate
from artfp.passive.fitting.image_set import ImageSet, Tick
from artfp.passive.fitting.select import FitResult
from artfp.passive.networks.visnet import VisNet
from artfp.passive.training.labelled import LabelledImages
from artfp.passive.training.visnet import VisNetTraining, train_visnet

VISNET_SUMMARY = "inner product of image and model fingerprints, both learned, after Yu et al. 2019"

EXAMPLES_PER_SOURCE = 4
"""Images of each source whose fingerprints are shown."""

_BATCH = 256


@dataclass(frozen=True)
class Evidence:
    """What a VisNet goes by, of K sources.

    `models` (K, 3, R, R): the fingerprints, less their mean, on which no verdict depends.
    `examples` and `fingerprints` (K, EXAMPLES, 3, R, R): held out images in [0, 1], and theirs.
    `responses` (K, K, R, R): what each pixel adds to the score of each source (second), the product
    of both fingerprints summed over the colours; means over the held out images of each source
    (first). `scores` (K, K) are their sums over the pixels.
    """

    sources: tuple[str, ...]
    models: Tensor
    examples: Tensor
    fingerprints: Tensor
    responses: Tensor

    @property
    def scores(self) -> Tensor:
        """Mean scores (K, K) by source of the images and source of the model, float64."""
        return self.responses.double().sum((2, 3))


def fit_visnet(
    image_set: ImageSet,
    settings: VisNetTraining,
    rules: DecisionRule | None = None,
    name: str = "attributor",
    share: float = HELD_OUT_FRACTION,
    tick: Tick = lambda what, images: None,
) -> tuple[FitResult, Evidence]:
    """Train on the material, whose window is the network's square; `share` of it is held out.

    The held out images calibrate the scores, and make the evidence. Raises UserError: see
    `train_visnet`.
    """
    training, known = split_held_out(image_set, share, tick)
    network, steps = train_visnet(settings, image_set.sources, training, known)
    part = VisNetAttributor(image_set.sources, network)
    own, scores = known.labels.numpy(), score_pixels(part, known)
    logs, fits = cross_fit(scores, own)
    rules, model = rules or DecisionRule(), ScoreModel.fit(scores, own)
    facts = {"training": describe_training(settings.told(), steps, training, known)}
    fit = FitResult(
        FittedAttributor(name, [part], model, image_set.policy, rules, facts),
        VISNET,
        {},
        [make_trial(VISNET, scores, logs, own)],
        validate(logs, fits, own, image_set.sources, rules),
    )
    return fit, collect_evidence(network, image_set.sources, known)


@torch.inference_mode()
def collect_evidence(network: VisNet, sources: tuple[str, ...], images: LabelledImages) -> Evidence:
    """What a network goes by on 8-bit images (N, 3, R, R), EXAMPLES or more of each source."""
    models = network.fingerprints - network.fingerprints.mean(0)
    examples, fingerprints, responses = [], [], []
    for k in range(len(sources)):
        own = images.pixels[images.labels == k]
        found = torch.cat([network.fingerprint(to_unit(x)) for x in own.split(_BATCH)])
        examples.append(to_unit(own[:EXAMPLES_PER_SOURCE]))
        fingerprints.append(found[:EXAMPLES_PER_SOURCE])
        # The product is linear in the image's fingerprint: that of the mean is the products' mean.
        responses.append((found.mean(0) * models).sum(1))
    return Evidence(sources, models, *map(torch.stack, (examples, fingerprints, responses)))
