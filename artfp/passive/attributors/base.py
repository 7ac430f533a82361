"""The protocols: what attributes images to sources, and what writes a message into an image."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from torch import Tensor


@runtime_checkable
class Attributor(Protocol):
    """Whatever can say how likely an image comes from each of some sources.

    A source is a model, a camera or the owner of a fingerprint. Watermark decoders, correlations of
    residuals and classifiers all stand behind this; a robustness sweep takes any of them.
    """

    @property
    def name(self) -> str:
        """What tables call it."""
        ...

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the sources, at least one."""
        ...

    def scores(self, x: Tensor) -> Tensor:
        """Scores (N, sources) of images (N, 3, H, W) in [0, 1]; larger is more likely.

        Images may have any size, and come from 8-bit pixels. `x` stays as it is.
        """
        ...


@runtime_checkable
class ExactAttributor(Attributor, Protocol):
    """An attributor that counts matching bits, whose p-values are therefore exact.

    `scores` are numbers of matching bits, 0 to `bits`.
    """

    @property
    def bits(self) -> int:
        """Length of the fingerprints."""
        ...

    def log_p(self, scores: Tensor) -> Tensor:
        """Natural log of the p-values (N, sources) of scores (N, sources), in float64.

        The probability of such a score or a larger one for a source that has nothing to do with
        the image; one comparison.
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
        """Why images of this size cannot be marked, in a few words; None if they can."""
        ...
