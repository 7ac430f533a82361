"""Attribution by Eigenfaces: a baseline (Turk and Pentland 1991; Yu et al. 2019).

Images become coordinates along the principal components of the pixels of all known images, and a
source is the mean of its images' coordinates, as Turk and Pentland have it. Two distances from it:
`euclidean` is theirs; `mahalanobis` counts each coordinate in standard deviations, so that the weak
components, in which there is little scene content, count as much as the strong ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from torch import Tensor

from artfp.passive.attributors.score_model import Values

EIGENFACE = "eigenface"
"""`kind` in the card."""

EUCLIDEAN, MAHALANOBIS = "euclidean", "mahalanobis"

_FLOOR = 1e-6  # grey levels
_MAX_VALUES = 1 << 29  # grey levels of the images that the PCA sees
_EXACT = 512  # pixels times colours up to which the PCA has no random projections


class Eigenface:
    """Attributor by class distances among Eigenfaces; images have the size of its mean image.

    Scores are minus the distances from the sources' means, minus their mean over the sources:
    the distance from all of them, most of each distance, carries no information here. Divided by
    the root of the number of components they are in grey levels (euclidean) or standard deviations
    (mahalanobis).
    """

    def __init__(
        self,
        sources: Sequence[str],
        mean: Tensor,
        axes: Tensor,
        centres: Tensor,
        distance: str = MAHALANOBIS,
        name: str = EIGENFACE,
    ) -> None:
        """Take the mean image (3, H, W) in grey levels, axes (C, 3 H W) and centres (sources, C).

        Coordinates are inner products with the axes.

        Raises:
            ValueError: shapes that do not fit.
        """
        if axes.shape[1:] != (mean.numel(),) or centres.shape != (len(sources), len(axes)):
            raise ValueError(
                f"{len(sources)} sources, a mean of {tuple(mean.shape)}, axes of "
                f"{tuple(axes.shape)} and centres of {tuple(centres.shape)}"
            )
        if distance not in (EUCLIDEAN, MAHALANOBIS):
            raise ValueError(f"distance {distance!r}")
        self.name, self.sources, self.distance = name, tuple(sources), distance
        self.mean, self.axes, self.centres = mean.float(), axes.float(), centres.float()

    def coordinates(self, x: Tensor) -> Tensor:
        """Return coordinates (N, C) of images (N, 3, H, W). Raises ValueError: another size."""
        if x.shape[1:] != self.mean.shape:
            raise ValueError(f"images {tuple(x.shape)}, the mean is {tuple(self.mean.shape)}")
        centred = (x.float() * 255.0 - self.mean.to(x.device)).flatten(1)
        return centred @ self.axes.to(x.device).T

    def scores(self, x: Tensor) -> Tensor:
        """See Attributor."""
        offsets = self.coordinates(x)[:, None] - self.centres.to(x.device)
        distances = offsets.square().mean(2).sqrt()
        return distances.mean(1, keepdim=True) - distances

    def card(self) -> dict[str, Any]:
        """Return all but the tensors, as JSON values."""
        return {"kind": EIGENFACE, "distance": self.distance, "components": len(self.axes)}

    def tensors(self) -> dict[str, Tensor]:
        """Return mean, axes and centres by name."""
        return {"mean": self.mean, "axes": self.axes, "centres": self.centres}

    @classmethod
    def load(
        cls, sources: Sequence[str], card: Mapping[str, Any], tensors: Mapping[str, Tensor]
    ) -> Eigenface:
        """See AttributorPart."""
        mean, axes, centres = (tensors[name] for name in ("mean", "axes", "centres"))
        return cls(sources, mean, axes, centres, card["distance"])


class Eigenfaces:
    """Principal components of labelled images, and the Eigenface attributors that they make.

    The components come from all images, whatever their source. Images lie nearer to components that
    they have a part in, so held out scores take Eigenfaces of the other folds.
    """

    def __init__(self, pixels: Tensor, labels: NDArray[np.int64], components: int) -> None:
        """Find the components of 8-bit images (N, 3, H, W) of sources `labels` (N,).

        By scikit-learn's PCA, with random projections (Halko et al. 2009) of seed 0 where images
        have many pixels; of some of the images where all of them are too much for memory.
        """
        rows = pixels.flatten(1).numpy()
        sample = rows[:: -(-rows.size // _MAX_VALUES)]
        if not 0 < components < min(sample.shape):
            raise ValueError(f"{components} components of {len(sample)} images of {rows.shape[1]}")
        solver = "full" if rows.shape[1] <= _EXACT else "randomized"
        pca = PCA(components, svd_solver=solver, random_state=0).fit(sample.astype(np.float32))
        self._shape, self._labels = tuple(pixels.shape[1:]), labels
        self._mean: Values = np.asarray(pca.mean_, np.float64)
        self._axes: Values = np.asarray(pca.components_, np.float64)
        axes, offset = self._axes.astype(np.float32).T, self._mean @ self._axes.T
        self.coordinates: Values = np.concatenate(
            [rows[start : start + 256].astype(np.float32) @ axes - offset
             for start in range(0, len(rows), 256)]
        )  # fmt: skip
        """(N, components) of all images."""

    def fit(self, sources: Sequence[str], distance: str, components: int) -> Eigenface:
        """Return the attributor of all images by the first `components`."""
        z = self.coordinates[:, :components]
        scale = z.std(0) + _FLOOR if distance == MAHALANOBIS else np.ones(components)
        return Eigenface(
            sources,
            torch.from_numpy(self._mean.reshape(self._shape)),
            torch.from_numpy(self._axes[:components] / scale[:, None]),
            torch.from_numpy(_means(z, self._labels, len(sources)) / scale),
            distance,
        )


def _means(z: Values, labels: NDArray[np.int64], sources: int) -> Values:
    return np.stack([z[labels == k].mean(0) for k in range(sources)])
