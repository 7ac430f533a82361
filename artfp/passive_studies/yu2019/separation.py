"""Separation of sources in some features: Frechet distances between them and within them.

The ratio of the two by which Yu, Davis and Fritz (ICCV 2019, arXiv 1811.08180) compare features of
images. It does not depend on the features' scale, nor on turns or shifts of their space, and is
about 1 where sources cannot be told apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike
from scipy import linalg

from artfp.metrics.frechet_kernel import MIN_IMAGES_PER_FEATURE, frechet_distance
from artfp.passive.attributors.score_model import Values

MIN_SOURCE_IMAGES = 2 * MIN_IMAGES_PER_FEATURE
"""Minimum number of images of a source."""


@dataclass(frozen=True)
class Separation:
    """Frechet distances, squared, of K sources, and their ratio.

    `pairs` (K, K): between sources, with 0 on the diagonal; `halves` (K,): between the halves of
    each. `between` and `within`: their means, the former over pairs. All are between sets of
    `images` images in `dimensions` dimensions.
    """

    between: float
    within: float
    pairs: Values
    halves: Values
    images: int
    dimensions: int

    @property
    def ratio(self) -> float:
        """Distance between over within sources; infinite where nothing varies within sources."""
        return self.between / self.within if self.within > 0.0 else float("inf")


def measure_separation(features: ArrayLike, labels: ArrayLike, seed: int = 0) -> Separation:
    """Measure the separation of sources in features (N, D) of images with labels (N,).

    The estimate of a Frechet distance is too large by about a constant over the number of images,
    so all sets have the same number: half of the source that has the fewest. `seed` draws the
    halves; the first half of each source stands for it between sources.

    That constant grows with the dimensions. Where a set has no more images than there are features
    they are first reduced to their principal components (of all images, without labels), as many as
    leave MIN_IMAGES_PER_FEATURE images in a set for each: little is lost of constant or noisy
    features.

    Raises:
        ValueError: not such a matrix, not finite, one source, or fewer than MIN_SOURCE_IMAGES
            images of one.
    """
    x, own = np.asarray(features, np.float64), np.asarray(labels)
    if x.ndim != 2 or own.shape != x.shape[:1] or not np.isfinite(x).all():
        raise ValueError(f"features {x.shape} of {own.shape} labels; expected finite (N, D), (N,)")
    counts = np.bincount(own)
    if len(counts) < 2 or counts.min() < MIN_SOURCE_IMAGES:
        raise ValueError(
            f"images of sources: {counts.tolist()}; each of two or more takes {MIN_SOURCE_IMAGES}"
        )
    images = int(counts.min()) // 2
    if images <= x.shape[1]:
        x = _principal(x, images // MIN_IMAGES_PER_FEATURE)
    random = np.random.default_rng(seed)
    first, second = [], []
    for k in range(len(counts)):
        drawn = x[random.permutation(np.flatnonzero(own == k))]
        first.append(drawn[:images])
        second.append(drawn[images : 2 * images])
    halves = [frechet_distance(a, b).value for a, b in zip(first, second, strict=True)]
    pairs = np.zeros((len(counts), len(counts)))
    for i, j in combinations(range(len(counts)), 2):
        pairs[i, j] = pairs[j, i] = frechet_distance(first[i], first[j]).value
    between = float(pairs[np.triu_indices(len(counts), 1)].mean())
    return Separation(
        between, float(np.mean(halves)), pairs, np.array(halves), images, int(x.shape[1])
    )


def _principal(x: Values, count: int) -> Values:
    """Return the coordinates (N, count) of rows (N, D) along their principal components."""
    centred = x - x.mean(0)
    small = centred.T @ centred if len(x) > x.shape[1] else centred @ centred.T
    last = len(small) - 1
    values, vectors = linalg.eigh(small, subset_by_index=(last - count + 1, last))
    if len(x) > x.shape[1]:
        return np.asarray(centred @ vectors[:, ::-1])
    return np.asarray(vectors[:, ::-1] * np.sqrt(np.maximum(values[::-1], 0.0)))
