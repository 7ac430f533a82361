"""Protocols of attributors, and of what writes messages into images.

Other packages add attributors by the entry point `artfp.attributors`, which names an
`AttributorPart` class; the entry's name is the `kind` in its card. Its files are then read as
artfp's own. With the class method of a `FittablePart` it can also be fitted
(`artfp.passive.attributors.bundle.fit_part`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from torch import Tensor


@runtime_checkable
class Attributor(Protocol):
    """Scores of images for each of several sources.

    A source is a model, a camera or the owner of a fingerprint. Watermark decoders, correlations of
    residuals and classifiers all have this protocol; a robustness sweep takes any of them.

    Example:
        >>> import torch
        >>> class Brightness:
        ...     name, sources = "brightness", ("dark", "bright")
        ...     def scores(self, x):
        ...         mean = x.mean((1, 2, 3))
        ...         return torch.stack([-mean, mean], 1)
        >>> isinstance(Brightness(), Attributor)
        True
    """

    @property
    def name(self) -> str:
        """Name in tables."""
        ...

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the sources, at least one."""
        ...

    def scores(self, x: Tensor) -> Tensor:
        """Compute the scores of images.

        Args:
            x: Images (N, 3, H, W) in [0, 1], of any size, as from 8-bit pixels; they stay as they
                are.

        Returns:
            (N, sources); larger is more likely.
        """
        ...


@runtime_checkable
class ExactAttributor(Attributor, Protocol):
    """Attributor that counts matching bits, whose p-values are therefore exact.

    `scores` are numbers of matching bits, 0 to `bits`.
    """

    @property
    def bits(self) -> int:
        """Length of the fingerprints."""
        ...

    def log_p(self, scores: Tensor) -> Tensor:
        """Compute the natural logarithms of p-values.

        Args:
            scores: Numbers of matching bits (N, sources).

        Returns:
            (N, sources), float64: of the probability of such a score or a larger one for a source
            that has nothing to do with the image; one comparison.
        """
        ...


class AttributorPart(Attributor, Protocol):
    """Attributor that can be written to a file and read again; its class has `load`.

    Example:
        >>> import torch
        >>> from artfp.passive.attributors.nearest_neighbour import NearestNeighbour
        >>> pixels = torch.arange(2 * 3 * 64, dtype=torch.uint8).view(2, 3, 8, 8)
        >>> part = NearestNeighbour(("a", "b"), pixels, torch.tensor([0, 1]))
        >>> again = NearestNeighbour.load(("a", "b"), part.card(), part.tensors())
        >>> again.scores(pixels / 255).argmax(1).tolist()
        [0, 1]
    """

    def card(self) -> dict[str, Any]:
        """Return all but the tensors, as JSON values, with its `kind`."""
        ...

    def tensors(self) -> dict[str, Tensor]:
        """Return its tensors by name."""
        ...

    @classmethod
    def load(
        cls, sources: Sequence[str], card: Mapping[str, Any], tensors: Mapping[str, Tensor]
    ) -> AttributorPart:
        """Make a part of what `card` and `tensors` gave.

        Raises:
            KeyError, TypeError, ValueError: they gave something else.
        """
        ...


class FittablePart(AttributorPart, Protocol):
    """Part that can be fitted to images; its class has `fit`.

    Example:
        >>> import torch
        >>> class Brightness:
        ...     name = "brightness"
        ...     def __init__(self, sources, means):
        ...         self.sources, self.means = tuple(sources), means
        ...     def scores(self, x):
        ...         return -(x.mean((1, 2, 3))[:, None] - self.means).abs()
        ...     def card(self):
        ...         return {"kind": self.name}
        ...     def tensors(self):
        ...         return {"means": self.means}
        ...     @classmethod
        ...     def load(cls, sources, card, tensors):
        ...         return cls(sources, tensors["means"])
        ...     @classmethod
        ...     def fit(cls, sources, pixels, labels):
        ...         means = pixels.float().mean((1, 2, 3)) / 255
        ...         own = [means[labels == k].mean() for k in range(len(sources))]
        ...         return cls(sources, torch.stack(own))
        >>> pixels = torch.tensor([20, 200], dtype=torch.uint8).view(2, 1, 1, 1).expand(2, 3, 8, 8)
        >>> part = Brightness.fit(("dark", "bright"), pixels, torch.tensor([0, 1]))
        >>> part.scores(torch.zeros(1, 3, 8, 8)).argmax(1).tolist()
        [0]
    """

    @classmethod
    def fit(cls, sources: Sequence[str], pixels: Tensor, labels: Tensor) -> AttributorPart:
        """Fit a part to images.

        Args:
            sources: Names of K sources.
            pixels: Images (N, 3, H, W), uint8.
            labels: Their sources (N,), int64, 0 to K - 1.
        """
        ...


@runtime_checkable
class Embedder(Protocol):
    """Writer of messages into images."""

    @property
    def bits(self) -> int:
        """Length of the messages."""
        ...

    def embed(self, pixels: np.ndarray, message: NDArray[np.uint8]) -> np.ndarray:
        """Return the 8-bit RGB image (H, W, 3) with a message (bits,) of {0, 1} in it."""
        ...

    def refuses(self, height: int, width: int) -> str | None:
        """Return why images of this size cannot be marked, in a few words; None if they can."""
        ...
