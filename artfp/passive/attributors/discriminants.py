"""Linear discriminants with shrinkage, from all images and from all but a part of them."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import linalg
from sklearn.covariance import ledoit_wolf_shrinkage
from torch import Tensor

_FLOOR = 1e-6  # of a feature's standard deviation
_MOST = 4096  # images that the shrinkage is found on


class Discriminants:
    """Linear discriminants of K sources with equal priors, by parts of a cross-validation.

    The covariance within sources is shrunk towards its diagonal, by as much as Ledoit and Wolf
    (2004) find for features of unit variance. Each part's sums of products are made once.
    """

    def __init__(
        self,
        features: NDArray[np.float32],
        labels: NDArray[np.int64],
        parts: NDArray[np.int64],
        sources: int,
    ) -> None:
        """Take features (N, F) of images of sources `labels` (N,) in `parts` (N,), from 0."""
        count = int(parts.max()) + 1
        whole = np.stack([features[labels == k].mean(0, dtype=np.float64) for k in range(sources)])
        self._centre = whole.mean(0)
        rows = features - whole[labels].astype(np.float32)
        self._scale = np.sqrt(np.square(rows).mean(0, dtype=np.float64)) + _FLOOR
        self._offsets = (whole - self._centre) / self._scale
        rows /= self._scale.astype(np.float32)
        self._shrinkage = float(
            ledoit_wolf_shrinkage(rows[:: -(-len(rows) // _MOST)], assume_centered=True)
        )
        # Of rows without their source's mean over all parts, so that nothing large cancels out.
        self._counts = np.zeros((count, sources))
        self._sums = np.zeros((count, sources, features.shape[1]))
        self._products = np.zeros((count, features.shape[1], features.shape[1]), np.float32)
        for part in range(count):
            own = rows[parts == part]
            self._products[part] = own.T @ own
            for k in range(sources):
                chosen = own[labels[parts == part] == k]
                self._counts[part, k] = len(chosen)
                self._sums[part, k] = chosen.sum(0, dtype=np.float64)

    def fit(self, without: int | None = None) -> tuple[Tensor, Tensor]:
        """Weights (F, K) and bias (K,) from all parts, or all but one; both have mean 0 over K.

        Raises ValueError: a source without images.
        """
        kept = [part for part in range(len(self._counts)) if part != without]
        counts, sums = self._counts[kept].sum(0), self._sums[kept].sum(0)
        if counts.min() < 1:
            raise ValueError(f"images of each source: {counts.astype(int).tolist()}")
        own = sums / counts[:, None]
        products = self._products[kept].sum(0, dtype=np.float64)
        covariance = (products - np.einsum("k,kf,kg->fg", counts, own, own)) / counts.sum()
        mean = np.trace(covariance) / len(covariance)
        covariance *= 1.0 - self._shrinkage
        covariance.flat[:: len(covariance) + 1] += self._shrinkage * mean
        means = self._offsets + own
        centre = means.mean(0)
        solved = linalg.solve(covariance, (means - centre).T, assume_a="pos", overwrite_a=True)
        bias = -0.5 * np.einsum("fk,kf->k", solved, means - centre)
        bias -= bias.mean() + (centre + self._centre / self._scale) @ solved
        weights = solved / self._scale[:, None]
        return torch.from_numpy(weights).float(), torch.from_numpy(bias).float()
