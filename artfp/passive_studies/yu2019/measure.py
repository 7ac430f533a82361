"""Measurements of Yu et al. 2019: accuracy, separation of features, open set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from artfp.core.errors import one_line
from artfp.data.pixels import to_unit
from artfp.data.reading import Failed
from artfp.data.sources import ImageSource
from artfp.metrics.features import extract_features
from artfp.passive.attributors.bundle import FittedAttributor
from artfp.passive.attributors.classifier import NetworkAttributor
from artfp.passive.attributors.score_model import Values, posteriors
from artfp.passive.attributors.verdicts import NONE, predict_images
from artfp.passive.fitting.image_set import ImageSet
from artfp.passive.roc import Accuracy, AucEstimate, estimate_auc, roc_curve
from artfp.passive.scoring import (
    mixed_batches,
    score_condition,
)
from artfp.passive_studies.yu2019.separation import measure_separation
from artfp.passive_studies.yu2019.tsne import embed_tsne
from artfp.perturbations.chains import Combination, OneStep
from artfp.perturbations.conditions import IDENTITY, Condition

MAX_POINTS = 2000
"""Images in a figure of features, approximately."""

_DECIMALS = 3


def published_conditions() -> list[Condition]:
    """Return no perturbation, each step of the published combination alone, and the combination.

    Each image's strength is drawn uniformly from the published range of the step.
    """
    steps = [OneStep(step[0].name) for step in Combination.STEPS]
    return [Condition(), *(Condition(one, 1.0) for one in (*steps, Combination()))]


@dataclass(frozen=True)
class PerturbedResult:
    """Predictions of an attributor for the test images under a condition.

    Args:
        attributor: Name of the attributor.
        perturbation: Name of the perturbation.
        confusion: (K, K), images of the row's source by their largest logit.
        likeliest: (K,), images of each source whose likeliest source is the true one.
        rejected: (K,), images of each source called none of these.
    """

    attributor: str
    perturbation: str
    confusion: tuple[tuple[int, ...], ...]
    likeliest: tuple[int, ...]
    rejected: tuple[int, ...]

    @property
    def images(self) -> tuple[int, ...]:
        """Number of images of each source."""
        return tuple(map(sum, self.confusion))

    @property
    def accuracy(self) -> Accuracy:
        """Accuracy of the largest logit."""
        hits = tuple(own[k] for k, own in enumerate(self.confusion))
        return Accuracy(hits, self.images)

    @property
    def likeliest_accuracy(self) -> Accuracy:
        """Accuracy of the likeliest source."""
        return Accuracy(self.likeliest, self.images)

    @property
    def rejection(self) -> float:
        """Fraction of all images called none of these."""
        return sum(self.rejected) / sum(self.images)


def measure_perturbed(
    attributors: Sequence[FittedAttributor],
    image_set: ImageSet,
    condition: Condition,
    seed: int,
    device: torch.device | str = "cpu",
) -> list[PerturbedResult]:
    """Measure attributors on the same perturbed images."""
    found, truth, _ = score_condition(attributors, image_set, condition, seed, device)
    rows = []
    for one in attributors:
        vectors, count = found[one.name], len(one.sources)
        log_likelihoods, rejected = _predict(one, vectors)
        confusion = np.zeros((count, count), np.int64)
        np.add.at(confusion, (truth, vectors[:, :count].argmax(1)), 1)
        correct = truth[log_likelihoods.argmax(1) == truth]
        rows.append(
            PerturbedResult(
                one.name,
                condition.group,
                tuple(map(tuple, confusion.tolist())),
                tuple(np.bincount(correct, minlength=count).tolist()),
                tuple(np.bincount(truth[rejected], minlength=count).tolist()),
            )
        )
    return rows


def perturbed_result_of(record: Mapping[str, Any]) -> PerturbedResult:
    """Make a result from the JSON values of its fields."""
    return PerturbedResult(
        record["attributor"],
        record["perturbation"],
        tuple(map(tuple, record["confusion"])),
        tuple(record["likeliest"]),
        tuple(record["rejected"]),
    )


@dataclass(frozen=True)
class FeatureSeparation:
    """Frechet distances of sources in some features, and some images as points.

    `between` and `within` sources, squared, and their `ratio`, from `images` a set in `dimensions`
    (see `separation`); `pairs` (K, K), between sources. `points` (n, 2) of sources `labels` (n,).
    """

    name: str
    between: float
    within: float
    ratio: float
    images: int
    dimensions: int
    pairs: tuple[tuple[float, ...], ...]
    points: tuple[tuple[float, float], ...]
    labels: tuple[int, ...]


def measure_features(
    name: str, values: Values, labels: NDArray[np.int64], seed: int
) -> FeatureSeparation:
    """Measure features (N, D) of images of sources `labels` (N,).

    Raises ValueError: see `separation`.

    Points are of equally many images of each source, as far as it has them, MAX_POINTS at most.
    """
    found = measure_separation(values, labels, seed)
    each = max(1, MAX_POINTS // (int(labels.max()) + 1))
    rows = np.concatenate([np.flatnonzero(labels == k)[:each] for k in np.unique(labels)])
    places = embed_tsne(values[rows], seed).round(_DECIMALS)
    return FeatureSeparation(
        name,
        found.between,
        found.within,
        found.ratio,
        found.images,
        found.dimensions,
        tuple(map(tuple, found.pairs.tolist())),
        tuple((float(x), float(y)) for x, y in places),
        tuple(labels[rows].tolist()),
    )


def feature_separation_of(record: Mapping[str, Any]) -> FeatureSeparation:
    """Make a result from the JSON values of its fields."""
    fields = {name: record[name] for name in FeatureSeparation.__dataclass_fields__}
    nested = {name: tuple(map(tuple, record[name])) for name in ("pairs", "points")}
    return FeatureSeparation(**{**fields, **nested, "labels": tuple(record["labels"])})


@torch.inference_mode()
def learned_features(
    attributor: FittedAttributor, image_set: ImageSet, device: torch.device | str = "cpu"
) -> tuple[Values, NDArray[np.int64]]:
    """Return the penultimate layer (N, F) of a network for all images, and their sources (N,)."""
    part = attributor.parts[0]
    if not isinstance(part, NetworkAttributor):
        raise ValueError(f"{attributor.name} is not a network")
    order, found = [], []
    for rows, pixels in mixed_batches(image_set):
        found.append(part.features(to_unit(pixels.to(device))).double().cpu().numpy())
        order.append(rows)
    return np.concatenate(found), image_set.labels[np.concatenate(order)]


def generic_features(
    sources: Mapping[str, ImageSource], device: torch.device | str
) -> tuple[Values, NDArray[np.int64]]:
    """Return EfficientNet's features (N, 1280) of whole images, and their sources (N,)."""
    found = [
        extract_features(
            source, device=device, num_workers=0, caption=f"Generic features of {one_line(name)}"
        )
        for name, source in sources.items()
    ]
    counts = [len(each.values) for each in found]
    return np.concatenate([each.values for each in found]), np.repeat(np.arange(len(found)), counts)


@dataclass(frozen=True)
class OpenSetResult:
    """Open-set recognition by a network that was trained without a source.

    Args:
        source: Unknown source, which the network was trained without.
        known: p-values of the likeliest source, of images of the other sources.
        unknown: The same of images of the unknown source.
        rejected: Fractions of known and unknown images with the verdict none of these.
        accuracy: Accuracy of the largest logit on known images.
        softmax: AUC of the largest posterior probability by the logits, as a score instead.
    """

    source: str
    known: tuple[float, ...]
    unknown: tuple[float, ...]
    rejected: tuple[float, float]
    accuracy: float
    softmax: float

    @property
    def auc(self) -> AucEstimate:
        """AUC of small p-values as evidence of the unknown source."""
        return estimate_auc([-p for p in self.known], [-p for p in self.unknown])

    @property
    def curve(self) -> tuple[Values, Values]:
        """Fractions of known and of unknown images at or below a p-value, both from 0 to 1."""
        return roc_curve([-p for p in self.known], [-p for p in self.unknown])


def measure_open_set(
    attributor: FittedAttributor,
    source: str,
    image_set: ImageSet,
    seed: int,
    device: torch.device | str = "cpu",
) -> OpenSetResult:
    """Measure an attributor that knows all sources of the test images but one."""
    found, labels, _ = score_condition([attributor], image_set, Condition(), seed, device)
    vectors = found[attributor.name]
    names = np.array(image_set.sources)[labels]
    unknown = names == source
    log_likelihoods, rejected = _predict(attributor, vectors)
    p_values = attributor.p_values(vectors)[
        np.arange(len(labels)), log_likelihoods.argmax(1)
    ].round(6)
    logits = vectors[:, : len(attributor.sources)]
    best = posteriors(logits).max(1)
    right = np.array(attributor.sources)[logits.argmax(1)] == names
    return OpenSetResult(
        source,
        tuple(p_values[~unknown].tolist()),
        tuple(p_values[unknown].tolist()),
        (float(rejected[~unknown].mean()), float(rejected[unknown].mean())),
        float(right[~unknown].mean()),
        estimate_auc(-best[~unknown], -best[unknown]).value,
    )


def open_set_result_of(record: Mapping[str, Any]) -> OpenSetResult:
    """Make a result from the JSON values of its fields."""
    low, high = record["rejected"]
    known, unknown = tuple(record["known"]), tuple(record["unknown"])
    return OpenSetResult(
        record["source"], known, unknown, (low, high), record["accuracy"], record["softmax"]
    )


def unperturbed(rows: Sequence[PerturbedResult], attributor: str) -> PerturbedResult:
    """Return an attributor's result on unperturbed images."""
    return next(r for r in rows if (r.attributor, r.perturbation) == (attributor, IDENTITY))


def _predict(attributor: FittedAttributor, vectors: Values) -> tuple[Values, NDArray[np.bool_]]:
    """Return limited log-likelihoods (N, K), and True for images called none of these (N,)."""
    log_likelihoods, p_values = attributor.log_likelihoods(vectors), attributor.p_values(vectors)
    found = predict_images(log_likelihoods, p_values, attributor.sources, attributor.rule)
    return log_likelihoods, np.array([each.verdict == NONE for each in found])


@dataclass(frozen=True)
class Yu2019Result:
    """Results of `yu2019_study`.

    Args:
        sources: Names of the sources.
        fitted: Images of each source that train and calibrate the networks.
        held_out: Those of them that validate and calibrate.
        tested: Images of each source that test them.
        side: Side of the images in pixels.
        alpha: Fraction of the known sources' images that may be called none of these.
        training: Training of each network, from its card, and its seconds.
        rows: Results of each network under each perturbation.
        features: Separation in the network's features and, with EfficientNet, in generic ones.
        open_sets: Results of the networks that were trained without a source.
        failed: Images that could not be used, with the reasons.
        files: Names of the files that were written.
        seed: Seed of the split.

    Example:
        >>> result = Yu2019Result(("dcgan", "real"), (512,) * 2, (488,) * 2, 32, 0.05,
        ...                       training={}, rows=(), features=(), open_sets=(), failed=[])
        >>> result.alpha
        0.05
    """

    sources: tuple[str, ...]
    fitted: tuple[int, ...]
    tested: tuple[int, ...]
    side: int
    alpha: float
    training: dict[str, dict[str, Any]]
    rows: tuple[PerturbedResult, ...]
    features: tuple[FeatureSeparation, ...]
    open_sets: tuple[OpenSetResult, ...]
    failed: Failed
    files: tuple[str, ...] = ()
    held_out: tuple[int, ...] = ()
    seed: int = 0
