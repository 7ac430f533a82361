"""Assessment of an attributor on labelled images: closed-set accuracy and open-set recognition.

For images of known sources: accuracy of the likeliest source, confusions, verdicts, AUC of every
pair of sources and of each against all others, and the gain by groups of images. For images of
unknown sources: how often they are rejected ("none of these"), and how often attributed to a source
by mistake.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from artfp.core.errors import UserError
from artfp.passive.attributors.bundle import FittedAttributor
from artfp.passive.attributors.score_model import Values
from artfp.passive.attributors.verdicts import NONE, SOURCE, UNDECIDED
from artfp.passive.predict import AttributedImages, attribute_group
from artfp.passive.roc import Accuracy, AucEstimate, estimate_auc, roc_curve

GROUP_SIZES = (1, 3, 10, 30)
"""Numbers of images in a group; those that a folder has enough images for are assessed."""

_MAX_GROUPS = 200


@dataclass(frozen=True)
class FolderAssessment:
    """Verdicts for the images of one labelled folder.

    Attributes:
        name: Name of the folder.
        known: Whether the attributor knows a source of that name.
        images: Number of images.
        right: Fraction attributed to the true source.
        wrong: Fraction attributed to another source.
        undecided: Fraction with the verdict undecided.
        rejected: Fraction with the verdict none of these.
        likeliest: Images by their likeliest source, in the attributor's order.
    """

    name: str
    known: bool
    images: int
    right: float
    wrong: float
    undecided: float
    rejected: float
    likeliest: tuple[int, ...]


@dataclass(frozen=True)
class GroupAssessment:
    """Verdicts for groups of `images` images of one known source, as fractions of the groups."""

    images: int
    groups: int
    likeliest: float
    right: float
    wrong: float
    undecided: float
    rejected: float


@dataclass(frozen=True)
class Assessment:
    """Assessment of an attributor.

    Attributes:
        sources: Known sources, in the attributor's order.
        folders: Labelled folders, those of known sources first.
        accuracy: Images of known sources whose likeliest source is the true one.
        pairs: AUC of known sources i < j.
        against_all: AUC of each known source against all other images.
        curves: ROC curve of each, false and true positive rates.
        groups: Verdicts for groups of images.
    """

    sources: tuple[str, ...]
    folders: list[FolderAssessment]
    accuracy: Accuracy
    pairs: dict[tuple[str, str], AucEstimate]
    against_all: dict[str, AucEstimate]
    curves: dict[str, tuple[Values, Values]]
    groups: list[GroupAssessment]

    @property
    def known(self) -> list[FolderAssessment]:
        """Folders of known sources."""
        return [folder for folder in self.folders if folder.known]

    @property
    def unknown(self) -> list[FolderAssessment]:
        """The other folders."""
        return [folder for folder in self.folders if not folder.known]

    @property
    def mean_accuracy(self) -> float:
        """Mean over known sources of the fraction of images whose likeliest source is theirs."""
        fractions = [self.accuracy.fraction(i) for i in range(len(self.accuracy.images))]
        return float(np.mean(fractions))


def assess(
    attributor: FittedAttributor, found: Mapping[str, AttributedImages], seed: int = 0
) -> Assessment:
    """Assess an attributor by the attributed images of folders.

    Args:
        attributor: The attributor.
        found: Attributed images of each folder by its name; a folder with the name of a source that
            the attributor knows holds images of that source, another one of an unknown source.
        seed: Seed of the assignment of images to groups.

    Raises:
        UserError: no folder has the name of a known source.
    """
    names = [name for name in attributor.sources if name in found]
    if not names:
        raise UserError(
            f"no folder has the name of a source; the attributor knows "
            f"{', '.join(attributor.sources)}, found {', '.join(found)}"
        )
    order = [*names, *(name for name in found if name not in names)]
    ratios = {name: attributor.log_ratios(found[name].vectors) for name in order}
    folders = [_folder(attributor, name, found[name], ratios[name]) for name in order]
    hits = tuple(
        folder.likeliest[attributor.sources.index(folder.name)] for folder in folders[: len(names)]
    )
    images = tuple(folder.images for folder in folders[: len(names)])
    pairs = {}
    for number, first in enumerate(names):
        for second in names[number + 1 :]:
            i, j = attributor.sources.index(first), attributor.sources.index(second)
            low, high = (ratios[name][:, i] - ratios[name][:, j] for name in (second, first))
            pairs[first, second] = estimate_auc(low, high)
    against, curves = {}, {}
    for name in names:
        k = attributor.sources.index(name)
        others = [ratios[other][:, k] for other in order if other != name]
        if others:
            against[name] = estimate_auc(np.concatenate(others), ratios[name][:, k])
            curves[name] = roc_curve(np.concatenate(others), ratios[name][:, k])
    return Assessment(
        attributor.sources,
        folders,
        Accuracy(hits, images),
        pairs,
        against,
        curves,
        _groups(attributor, {name: found[name].vectors for name in names}, seed),
    )


def _folder(
    attributor: FittedAttributor, name: str, found: AttributedImages, ratios: Values
) -> FolderAssessment:
    verdicts = np.array([each.verdict for each in found.predictions])
    named = np.array([each.source for each in found.predictions])
    likeliest = np.bincount(ratios.argmax(1), minlength=len(attributor.sources))

    def fraction(chosen: NDArray[np.bool_]) -> float:
        return float(chosen.mean())

    return FolderAssessment(
        name=name,
        known=name in attributor.sources,
        images=len(verdicts),
        right=fraction((verdicts == SOURCE) & (named == name)),
        wrong=fraction((verdicts == SOURCE) & (named != name)),
        undecided=fraction(verdicts == UNDECIDED),
        rejected=fraction(verdicts == NONE),
        likeliest=tuple(likeliest.tolist()),
    )


def _groups(
    attributor: FittedAttributor, vectors: Mapping[str, Values], seed: int
) -> list[GroupAssessment]:
    rng = np.random.default_rng(seed)
    found = []
    for size in GROUP_SIZES:
        verdicts: list[tuple[bool, str]] = []
        for name, own in vectors.items():
            order = rng.permutation(len(own))
            for start in range(0, min(len(own), size * _MAX_GROUPS) - size + 1, size):
                group = attribute_group(attributor, own[order[start : start + size]])
                verdicts.append((group.source == name, group.verdict))
        if verdicts:
            found.append(_assess_group(size, verdicts))
    return found


def _assess_group(size: int, verdicts: Sequence[tuple[bool, str]]) -> GroupAssessment:
    hits = np.array([hit for hit, _ in verdicts])
    given = np.array([verdict for _, verdict in verdicts])
    return GroupAssessment(
        images=size,
        groups=len(verdicts),
        likeliest=float(hits.mean()),
        right=float((hits & (given == SOURCE)).mean()),
        wrong=float((~hits & (given == SOURCE)).mean()),
        undecided=float((given == UNDECIDED).mean()),
        rejected=float((given == NONE).mean()),
    )
