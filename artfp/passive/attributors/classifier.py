"""Attribution by a trained network: a part of an attributor, beside correlation and spectrum.

Logits only distinguish the known sources. Whether an image has another source is seen from feature
statistics of the network (`SourceClassifier.logits_and_statistics`): their distances from each
source's normal distribution are an out-of-distribution score (Lee et al. 2018, arXiv 1807.03888).
Images of an unknown source may lie as near to one of the sources as its own do, but then seldom as
far from the others, so a `ScoreModel` of the distances from all sources decides.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.covariance import ledoit_wolf
from torch import Tensor

from artfp.data.bundle import Network, build_to_fit
from artfp.passive.networks.classifier import ClassifierDesign, SourceClassifier

MIN_FITTED = 10
"""Images of a source, at least, that a normal distribution is fitted to."""

_GAUSSIANS = "traits."
"""Prefix of the distributions' tensors in files."""

_BATCH_PIXELS = 1 << 20
"""Height times width of all images that the network sees at once, at most."""


@dataclass(frozen=True, eq=False)
class FeatureGaussians:
    """Normal distributions of T feature statistics, one for each of K sources.

    `means` (K, T) and inverse covariances `precision` (K, T, T), each covariance shrunk as Ledoit
    and Wolf (2004) have it.
    """

    means: Tensor
    precision: Tensor

    @classmethod
    def fit(cls, statistics: Tensor, labels: NDArray[np.int64]) -> FeatureGaussians:
        """Fit to statistics (N, T) of images of sources `labels` (N,), 0 to K - 1.

        Raises:
            ValueError: a source with fewer than MIN_FITTED, or values that are not finite.
        """
        values = statistics.double().cpu().numpy()
        if not np.isfinite(values).all():
            raise ValueError("the network's feature maps are not finite")
        means, precision = [], []
        for k in range(int(labels.max()) + 1):
            own = values[labels == k]
            if len(own) < MIN_FITTED:
                raise ValueError(f"{len(own)} images of a source, expected {MIN_FITTED} or more")
            covariance = ledoit_wolf(own)[0] + 1e-9 * np.eye(own.shape[1])
            means.append(own.mean(0))
            precision.append(np.linalg.inv(covariance))
        return cls(*(torch.from_numpy(np.stack(each)).float() for each in (means, precision)))

    def scores(self, statistics: Tensor) -> Tensor:
        """Return -log of squared Mahalanobis distances (N, K) of statistics (N, T), in float32."""
        offsets = statistics.float()[:, None] - self.means.to(statistics.device)
        precision = self.precision.to(statistics.device)
        squared = torch.einsum("nkt,ktu,nku->nk", offsets, precision, offsets)
        return -squared.clamp_min(1e-12).log()

    def tensors(self) -> dict[str, Tensor]:
        """Return means and precision by name."""
        return {"means": self.means, "precision": self.precision}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], sources: int) -> FeatureGaussians:
        """Read what `tensors` gave. Raises KeyError or ValueError: something else."""
        means, precision = tensors["means"], tensors["precision"]
        count, length = means.shape
        if count != sources or tuple(precision.shape) != (count, length, length):
            raise ValueError(
                f"feature statistics of {tuple(means.shape)} and {tuple(precision.shape)} "
                f"for {sources} sources"
            )
        return cls(means.float(), precision.float())


class NetworkAttributor:
    """Attributor by a trained network; scores are logits less their mean over the sources.

    The network sees images at full precision, in evaluation mode, on the device that they are on.
    With `gaussians` there are out-of-distribution scores beside the logits.
    """

    name = "network"

    def __init__(
        self,
        sources: Sequence[str],
        network: SourceClassifier,
        gaussians: FeatureGaussians | None = None,
    ) -> None:
        """Take a trained network, which is set to evaluation. ValueError: of other sources."""
        if network.sources != len(sources):
            raise ValueError(f"a network of {network.sources} for {len(sources)} sources")
        self.sources, self.gaussians = tuple(sources), gaussians
        self.network = network.eval().requires_grad_(False)

    def scores(self, x: Tensor) -> Tensor:
        """See Attributor; images are of the network's size. Raises ValueError: they are not."""
        return torch.cat([_centred(self.network(part)) for part in self._parts(x)])

    def score_columns(self, x: Tensor) -> Tensor:
        """Return `scores` and, with `gaussians`, theirs beside them, (N, 2 * sources)."""
        if self.gaussians is None:
            return self.scores(x)
        found = []
        for part in self._parts(x):
            logits, statistics = self.network.logits_and_statistics(part)
            found.append(torch.cat([_centred(logits), self.gaussians.scores(statistics)], 1))
        return torch.cat(found)

    def feature_statistics(self, x: Tensor) -> Tensor:
        """Return the feature statistics (N, T) of images as for `scores`."""
        return torch.cat([self.network.logits_and_statistics(part)[1] for part in self._parts(x)])

    def features(self, x: Tensor) -> Tensor:
        """Return the network's last layer but one (N, F), of images as for `scores`."""
        return torch.cat([self.network.features(part) for part in self._parts(x)])

    def card(self) -> dict[str, Any]:
        """Return all but the tensors, as JSON values."""
        return {"kind": self.name, "design": self.network.design.card()}

    def tensors(self) -> dict[str, Tensor]:
        """Return the weights and the distributions by name."""
        gaussians = {} if self.gaussians is None else self.gaussians.tensors()
        return {**self.network.state_dict(), **{_GAUSSIANS + k: v for k, v in gaussians.items()}}

    @classmethod
    def load(
        cls, sources: Sequence[str], card: Mapping[str, Any], tensors: Mapping[str, Tensor]
    ) -> NetworkAttributor:
        """See AttributorPart."""
        design = ClassifierDesign.load(card["design"])
        own = {k: v for k, v in tensors.items() if k.startswith(_GAUSSIANS)}
        rest = {k: v for k, v in tensors.items() if k not in own}
        network = build_network(lambda: design.build(len(sources)), rest)
        own = {k.removeprefix(_GAUSSIANS): v for k, v in own.items()}
        return cls(
            sources, network, FeatureGaussians.from_tensors(own, len(sources)) if own else None
        )

    def _parts(self, x: Tensor) -> tuple[Tensor, ...]:
        return network_batches(self.network, x)


def network_batches(network: torch.nn.Module, x: Tensor) -> tuple[Tensor, ...]:
    """Split images (N, 3, H, W) into float batches; move the network to their device."""
    network.to(x.device)
    size = max(1, _BATCH_PIXELS // max(1, x.shape[-1] * x.shape[-2]))
    return tuple(x.float().split(size))


def build_network(build: Callable[[], Network], weights: Mapping[str, Tensor]) -> Network:
    """Build a network with these weights. Raises ValueError: they are another network's."""
    try:
        return build_to_fit(build, weights)
    except RuntimeError as error:
        raise ValueError(str(error)) from error


def _centred(logits: Tensor) -> Tensor:
    return logits - logits.mean(1, keepdim=True)
