"""Distances of generated images to the clean data, by group."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from artfp.data.sources import ImageSource, open_source
from artfp.data.subset import limit_images
from artfp.metrics.features import extract_features
from artfp.metrics.frechet_kernel import (
    DistanceContrast,
    DistanceEstimate,
    compare_distances,
    frechet_distance,
    kernel_distance,
)
from artfp.metrics.perceptual import effnet_installed
from artfp.transfer.study import CLEAN, FINGERPRINTED, TransferStudy

REAL_FOR_EACH = 2
"""Number of real images for each generated one, as far as there are so many."""

_log = logging.getLogger("artfp")


@dataclass(frozen=True)
class Distance:
    """Frechet and kernel distance of a group's images to the real ones."""

    images: int
    frechet: DistanceEstimate
    kernel: DistanceEstimate


@dataclass(frozen=True)
class TransferDistances:
    """Distances of groups to `real` images, and the fingerprinted against the clean generator.

    In features of EfficientNet-Lite0: not comparable with published FID and KID.
    """

    real: int
    groups: dict[str, Distance]
    frechet: DistanceContrast | None = None
    kernel: DistanceContrast | None = None

    def lines(self) -> list[str]:
        """Return the distances as sentences."""
        lines = [
            f"{group}: {each.images} images at Frechet distance {_told(each.frechet)} and kernel "
            f"distance {_told(each.kernel)} from {self.real} clean images of the data"
            for group, each in self.groups.items()
        ]
        if lines:
            lines[0] += " (in EfficientNet-Lite0's features, with 95% intervals)"
        for name, versus in (("Frechet", self.frechet), ("kernel", self.kernel)):
            if versus is not None and versus.ratio is not None:
                lines.append(
                    f"fingerprinted over clean generator: {name} distance times "
                    f"{_told(versus.ratio)}"
                )
        return lines


def _told(estimate: DistanceEstimate) -> str:
    return f"{estimate.value:.3g} ({estimate.low:.3g} to {estimate.high:.3g})"


def measure_distances(
    real: ImageSource, groups: Mapping[str, ImageSource], resolution: int
) -> TransferDistances | None:
    """Return the distances of each group to real images, of which the centre squares are resized
    to `resolution`; None without the network.

    Raises UserError: fewer than two images of one of them can be used.
    """
    if not effnet_installed():
        _log.warning("no distances to the data; for them: pip install 'artfp[features]'")
        return None
    most = max(map(len, groups.values()))
    ours = _features(limit_images(real, REAL_FOR_EACH * most), resolution)
    theirs = {name: _features(source) for name, source in groups.items()}
    found = {
        name: Distance(len(rows), frechet_distance(ours, rows), kernel_distance(ours, rows))
        for name, rows in theirs.items()
    }
    if CLEAN not in theirs or FINGERPRINTED not in theirs:
        return TransferDistances(len(ours), found)
    versus = compare_distances(ours, theirs[FINGERPRINTED], theirs[CLEAN])
    return TransferDistances(len(ours), found, versus.frechet, versus.kernel)


def _features(source: ImageSource, resolution: int | None = None) -> NDArray[np.float64]:
    """Return the features (N, D) of the images that can be read."""
    _log.info("comparing: %s", source.location)
    return extract_features(source, image_resolution=resolution, num_workers=0).values


def study_distances(study: TransferStudy) -> TransferDistances | None:
    """Return the distances of the images of all groups' last generators to the clean data."""
    groups = {
        group: open_source(study.made(group, max(study.snapshots(group)))) for group in study.groups
    }
    return measure_distances(study.source(), groups, study.resolution)
