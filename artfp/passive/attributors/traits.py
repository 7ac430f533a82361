"""How far an image's traits lie from what is usual for each source.

Traits are numbers of an image beside those that tell the sources apart (`AttributorNetwork.seen`).
Each source's are taken for normal, with a mean and a covariance of its own, shrunk as Ledoit and
Wolf (2004) have it. An image's distances from all sources, as logarithms, are what a model of the
known sources (`ScoreModel`) is fitted to: images of another source may be as near to one of them as
its own are, but then seldom as far from the others (Lee et al. 2018 have the distances of a
network's maps for this, arXiv 1807.03888).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.covariance import ledoit_wolf
from torch import Tensor

LEAST = 10
"""Images of a source, at least, to say what is usual."""


@dataclass(frozen=True, eq=False)
class Traits:
    """What is usual for K sources: `means` (K, T) and inverse covariances `precision` (K, T, T)."""

    means: Tensor
    precision: Tensor

    @classmethod
    def fit(cls, traits: Tensor, labels: NDArray[np.int64]) -> Traits:
        """From traits (N, T) of images of sources `labels` (N,), 0 to K - 1.

        Raises ValueError: a source with fewer than LEAST images, or traits that are not finite.
        """
        values = traits.double().cpu().numpy()
        if not np.isfinite(values).all():
            raise ValueError("the network's maps are not finite")
        means, precision = [], []
        for k in range(int(labels.max()) + 1):
            own = values[labels == k]
            if len(own) < LEAST:
                raise ValueError(f"{len(own)} images of a source, expected {LEAST} or more")
            covariance = ledoit_wolf(own)[0] + 1e-9 * np.eye(own.shape[1])
            means.append(own.mean(0))
            precision.append(np.linalg.inv(covariance))
        return cls(*(torch.from_numpy(np.stack(each)).float() for each in (means, precision)))

    def scores(self, traits: Tensor) -> Tensor:
        """Minus natural logarithms of squared distances (N, K) of traits (N, T), in float32."""
        apart = traits.float()[:, None] - self.means.to(traits.device)
        squared = torch.einsum("nkt,ktu,nku->nk", apart, self.precision.to(traits.device), apart)
        return -squared.clamp_min(1e-12).log()

    def tensors(self) -> dict[str, Tensor]:
        """All that there is to it."""
        return {"means": self.means, "precision": self.precision}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], sources: int) -> Traits:
        """What `tensors` gave. Raises KeyError or ValueError: something else."""
        means, precision = tensors["means"], tensors["precision"]
        count, length = means.shape
        if count != sources or tuple(precision.shape) != (count, length, length):
            raise ValueError(
                f"traits of {tuple(means.shape)} and {tuple(precision.shape)} for {sources} sources"
            )
        return cls(means.float(), precision.float())
