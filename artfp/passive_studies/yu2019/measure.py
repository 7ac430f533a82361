"""What learned attributors are worth on test images: accuracy, separation of features, open set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from artfp.core.progress import stages
from artfp.data.pixels import to_unit
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
from artfp.passive_studies.yu2019.separation import separation
from artfp.passive_studies.yu2019.tsne import embedded
from artfp.perturbations.chains import Combination, OneStep
from artfp.perturbations.conditions import IDENTITY, Condition

SHOWN = 2000
"""Images in a picture of features, about, and at most."""

_DECIMALS = 3


def conditions() -> list[Condition]:
    """Nothing, each step of the published combination on every image, and the combination.

    Each image's strength is drawn evenly from the published range of the step.
    """
    steps = [OneStep(step[0].name) for step in Combination.STEPS]
    return [Condition(), *(Condition(one, 1.0) for one in (*steps, Combination()))]


@dataclass(frozen=True)
class Row:
    """What an attributor does with the test images under a condition.

    `confusion` (K, K): images of the row's source by their largest logit; `likeliest` (K,): images
    of each source whose likeliest source is the true one; `rejected` (K,): called none of these.
    """

    attributor: str
    perturbation: str
    confusion: tuple[tuple[int, ...], ...]
    likeliest: tuple[int, ...]
    rejected: tuple[int, ...]

    @property
    def images(self) -> tuple[int, ...]:
        """Of each source."""
        return tuple(map(sum, self.confusion))

    @property
    def accuracy(self) -> Accuracy:
        """Of the largest logit."""
        hits = tuple(own[k] for k, own in enumerate(self.confusion))
        return Accuracy(hits, self.images)

    @property
    def likeliest_accuracy(self) -> Accuracy:
        """Of the likeliest source."""
        return Accuracy(self.likeliest, self.images)

    @property
    def rejection(self) -> float:
        """Share of all images called none of these."""
        return sum(self.rejected) / sum(self.images)


def measured(
    attributors: Sequence[FittedAttributor],
    image_set: ImageSet,
    condition: Condition,
    seed: int,
    device: torch.device | str = "cpu",
) -> list[Row]:
    """A row of each attributor, whose images are perturbed alike."""
    found, truth, _ = score_condition(attributors, image_set, condition, seed, device)
    rows = []
    for one in attributors:
        vectors, count = found[one.name], len(one.sources)
        logs, rejected = _judged(one, vectors)
        confusion = np.zeros((count, count), np.int64)
        np.add.at(confusion, (truth, vectors[:, :count].argmax(1)), 1)
        right = truth[logs.argmax(1) == truth]
        rows.append(
            Row(
                one.name,
                condition.group,
                tuple(map(tuple, confusion.tolist())),
                tuple(np.bincount(right, minlength=count).tolist()),
                tuple(np.bincount(truth[rejected], minlength=count).tolist()),
            )
        )
    return rows


def row_of(record: Mapping[str, Any]) -> Row:
    """A row from the JSON values of its fields."""
    return Row(
        record["attributor"],
        record["perturbation"],
        tuple(map(tuple, record["confusion"])),
        tuple(record["likeliest"]),
        tuple(record["rejected"]),
    )


@dataclass(frozen=True)
class Features:
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


def features(name: str, values: Values, labels: NDArray[np.int64], seed: int) -> Features:
    """Of features (N, D) of images of sources `labels` (N,). Raises ValueError: see `separation`.

    Points are of equally many images of each source, as far as it has them, SHOWN at most.
    """
    found = separation(values, labels, seed)
    each = max(1, SHOWN // (int(labels.max()) + 1))
    rows = np.concatenate([np.flatnonzero(labels == k)[:each] for k in np.unique(labels)])
    places = embedded(values[rows], seed).round(_DECIMALS)
    return Features(
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


def features_of_record(record: Mapping[str, Any]) -> Features:
    """Features from the JSON values of their fields."""
    fields = {name: record[name] for name in Features.__dataclass_fields__}
    nested = {name: tuple(map(tuple, record[name])) for name in ("pairs", "points")}
    return Features(**{**fields, **nested, "labels": tuple(record["labels"])})


@torch.inference_mode()
def learned_features(
    attributor: FittedAttributor, image_set: ImageSet, device: torch.device | str = "cpu"
) -> tuple[Values, NDArray[np.int64]]:
    """The network's last layer but one (N, F) of all images, and their sources (N,)."""
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
    """EfficientNet's features (N, 1280) of whole images, and their sources (N,).

    Raises UserError: see `extract`.
    """
    with stages(sum(map(len, sources.values()))) as tick:
        found = [
            extract_features(
                source, device=device, num_workers=0, tick=lambda n: tick("Generic features", n)
            )
            for source in sources.values()
        ]
    counts = [len(each.values) for each in found]
    return np.concatenate([each.values for each in found]), np.repeat(np.arange(len(found)), counts)


@dataclass(frozen=True)
class OpenSet:
    """A network that never saw a source, on test images of the others and of that source.

    `known` and `unknown`: p-values of the likeliest source. `rejected`: shares of known and unknown
    images with the verdict none of these. `accuracy` of the largest logit on known images.
    `softmax`: AUC of the largest posterior probability by the logits, as a score instead.
    """

    source: str
    known: tuple[float, ...]
    unknown: tuple[float, ...]
    rejected: tuple[float, float]
    accuracy: float
    softmax: float

    @property
    def area(self) -> AucEstimate:
        """AUC of small p-values as a sign of the unknown source."""
        return estimate_auc([-p for p in self.known], [-p for p in self.unknown])

    @property
    def curve(self) -> tuple[Values, Values]:
        """Shares of known and of unknown images at or under a p-value, both from 0 to 1."""
        return roc_curve([-p for p in self.known], [-p for p in self.unknown])


def open_set(
    attributor: FittedAttributor,
    source: str,
    image_set: ImageSet,
    seed: int,
    device: torch.device | str = "cpu",
) -> OpenSet:
    """Of an attributor that knows all sources of the test material but one."""
    found, labels, _ = score_condition([attributor], image_set, Condition(), seed, device)
    vectors = found[attributor.name]
    names = np.array(image_set.sources)[labels]
    unknown = names == source
    logs, rejected = _judged(attributor, vectors)
    fits = attributor.p_values(vectors)[np.arange(len(logs)), logs.argmax(1)].round(6)
    logits = vectors[:, : len(attributor.sources)]
    best = posteriors(logits).max(1)
    right = np.array(attributor.sources)[logits.argmax(1)] == names
    return OpenSet(
        source,
        tuple(fits[~unknown].tolist()),
        tuple(fits[unknown].tolist()),
        (float(rejected[~unknown].mean()), float(rejected[unknown].mean())),
        float(right[~unknown].mean()),
        estimate_auc(-best[~unknown], -best[unknown]).value,
    )


def open_set_of(record: Mapping[str, Any]) -> OpenSet:
    """An OpenSet from the JSON values of its fields."""
    low, high = record["rejected"]
    known, unknown = tuple(record["known"]), tuple(record["unknown"])
    return OpenSet(
        record["source"], known, unknown, (low, high), record["accuracy"], record["softmax"]
    )


def identity(rows: Sequence[Row], attributor: str) -> Row:
    """The row of an attributor's unperturbed images."""
    return next(r for r in rows if (r.attributor, r.perturbation) == (attributor, IDENTITY))


def _judged(attributor: FittedAttributor, vectors: Values) -> tuple[Values, NDArray[np.bool_]]:
    """Limited log-likelihoods (N, K), and which images are called none of these (N,)."""
    logs, fits = attributor.log_likelihoods(vectors), attributor.p_values(vectors)
    said = predict_images(logs, fits, attributor.sources, attributor.rule)
    return logs, np.array([each.verdict == NONE for each in said])
