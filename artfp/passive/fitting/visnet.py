"""Train a VisNet as an attributor: calibrate it, and collect its evidence."""

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
    deal_groups,
    describe_training,
    score_pixels,
    split_held_out,
)
from artfp.passive.fitting.cross_validation import cross_fit, make_trial, validate
from artfp.passive.fitting.image_set import ImageSet
from artfp.passive.fitting.select import FitResult
from artfp.passive.networks.visnet import VisNet
from artfp.passive.settings import VisNetSettings
from artfp.passive.training.labelled import LabelledImages
from artfp.passive.training.visnet import train_visnet, visnet_card

VISNET_SUMMARY = "inner product of image and model fingerprints, both learned, after Yu et al. 2019"

EXAMPLES_PER_SOURCE = 4
"""Images of each source whose fingerprints are shown."""

_BATCH = 256


@dataclass(frozen=True)
class VisNetEvidence:
    """VisNetEvidence of a VisNet for K sources.

    Attributes:
        sources: Names of the sources.
        models: (K, 3, R, R) fingerprints of the sources, less their mean, on which no verdict
            depends.
        examples: (K, EXAMPLES_PER_SOURCE, 3, R, R) held-out images in [0, 1].
        fingerprints: Fingerprints of these images, of the same shape.
        responses: (K, K, R, R) mean contributions of pixels to the scores: of the held-out images
            of each source (first) to the score of each source (second), the product of both
            fingerprints summed over the colours.
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
    settings: VisNetSettings,
    rule: DecisionRule | None = None,
    name: str = "attributor",
    held_out: float | ImageSet = HELD_OUT_FRACTION,
) -> tuple[FitResult, VisNetEvidence]:
    """Train a VisNet on the image set, whose window is the network's square.

    A fraction `held_out` of it, or another image set, calibrates the scores and makes the evidence.
    Raises UserError: see `train_visnet`.
    """
    training, validation = split_held_out(image_set, held_out)
    network, steps, stopped = train_visnet(settings, image_set.sources, training, validation)
    sources, labels = image_set.sources, validation.labels.numpy()
    part = VisNetAttributor(sources, network)
    scores = score_pixels(part, validation)
    log_likelihoods, p_values = cross_fit(scores, labels, deal_groups(labels))
    rule, model = rule or DecisionRule(), ScoreModel.fit(scores, labels)
    card = describe_training(visnet_card(settings), steps, training, validation, stopped)
    fit = FitResult(
        FittedAttributor(name, [part], model, image_set.policy, rule, {"training": card}),
        VISNET,
        {},
        [make_trial(VISNET, scores, log_likelihoods, labels)],
        validate(log_likelihoods, p_values, labels, sources, rule),
    )
    return fit, collect_evidence(network, sources, validation)


@torch.inference_mode()
def collect_evidence(
    network: VisNet, sources: tuple[str, ...], images: LabelledImages
) -> VisNetEvidence:
    """Collect the evidence of a network for 8-bit images, EXAMPLES_PER_SOURCE or more a source."""
    models = network.fingerprints - network.fingerprints.mean(0)
    examples, fingerprints, responses = [], [], []
    for k in range(len(sources)):
        own = images.pixels[images.labels == k]
        found = torch.cat([network.fingerprint(to_unit(x)) for x in own.split(_BATCH)])
        examples.append(to_unit(own[:EXAMPLES_PER_SOURCE]))
        fingerprints.append(found[:EXAMPLES_PER_SOURCE])
        # The product is linear in the image's fingerprint: that of the mean is the products' mean.
        responses.append((found.mean(0) * models).sum(1))
    return VisNetEvidence(sources, models, *map(torch.stack, (examples, fingerprints, responses)))
