"""How well an attributor does on labelled images, some of sources that it does not know.

Of images of known sources: accuracy of the likeliest source, confusions, verdicts, AUC of every
pair of sources and of each against all others, and what groups of images add. Of images of other
folders: how often they are called "none of these", and how often a source by mistake.
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
"""Images of a group, of those numbers that a folder has enough images for."""

_MOST_GROUPS = 200


@dataclass(frozen=True)
class FolderAssessment:
    """Of one labelled folder: images, and shares of them by verdict.

    `right` and `wrong`: verdict "source", of the true one and of another; `likeliest`, how many
    images have each known source as their likeliest one, in the attributor's order.
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
    """Of groups of so many images of one known source: shares by the group's verdict."""

    images: int
    groups: int
    likeliest: float
    right: float
    wrong: float
    undecided: float
    rejected: float


@dataclass(frozen=True)
class Assessment:
    """All figures. `pairs`: AUC of known sources i < j; `curves`: ROC of each known source."""

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
        """Mean over the known sources of the share of images whose likeliest source is theirs."""
        shares = [self.accuracy.share(i) for i in range(len(self.accuracy.images))]
        return float(np.mean(shares))


def assess(
    attributor: FittedAttributor, found: Mapping[str, AttributedImages], seed: int = 0
) -> Assessment:
    """Figures of folders by name; those that the attributor knows by that name are known.

    `seed` deals images into groups. Raises UserError: no folder has the name of a known source.
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
    verdicts = np.array([each.verdict for each in found.judgements])
    named = np.array([each.source for each in found.judgements])
    likeliest = np.bincount(ratios.argmax(1), minlength=len(attributor.sources))

    def share(chosen: NDArray[np.bool_]) -> float:
        return float(chosen.mean())

    return FolderAssessment(
        name=name,
        known=name in attributor.sources,
        images=len(verdicts),
        right=share((verdicts == SOURCE) & (named == name)),
        wrong=share((verdicts == SOURCE) & (named != name)),
        undecided=share(verdicts == UNDECIDED),
        rejected=share(verdicts == NONE),
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
            for start in range(0, min(len(own), size * _MOST_GROUPS) - size + 1, size):
                group = attribute_group(attributor, own[order[start : start + size]])
                verdicts.append((group.source == name, group.verdict))
        if verdicts:
            found.append(_group_figures(size, verdicts))
    return found


def _group_figures(size: int, verdicts: Sequence[tuple[bool, str]]) -> GroupAssessment:
    hits = np.array([hit for hit, _ in verdicts])
    said = np.array([verdict for _, verdict in verdicts])
    return GroupAssessment(
        images=size,
        groups=len(verdicts),
        likeliest=float(hits.mean()),
        right=float((hits & (said == SOURCE)).mean()),
        wrong=float((~hits & (said == SOURCE)).mean()),
        undecided=float((said == UNDECIDED).mean()),
        rejected=float((said == NONE).mean()),
    )
