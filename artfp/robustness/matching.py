"""Attribution by matching bits: decoded bits against the fingerprint of each source."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from artfp.stats import log_p_value

BitReader = Callable[[Tensor], Tensor]
"""Images (N, 3, H, W) in [0, 1] to bits (N, bits) in {0, 1}."""


class MatchingBits:
    """An ExactAttributor from anything that reads bits; scores are numbers of matching bits.

    The p-value of a score is the tail of Bin(bits, 1/2): exact for a fingerprint that was uniform
    and unknown to whoever made the image (see `artfp.stats`).
    """

    def __init__(
        self, name: str, read: BitReader, fingerprints: ArrayLike, sources: Sequence[str]
    ) -> None:
        """Take the reader, fingerprints (sources, bits) of {0, 1} and the names of their sources.

        Raises ValueError: fingerprints that are no such matrix, or not one for each source.
        """
        matrix = np.asarray(fingerprints)
        if matrix.ndim != 2 or matrix.shape[1] < 1 or not np.isin(matrix, (0, 1)).all():
            raise ValueError(
                f"fingerprints: found shape {matrix.shape}, expected (sources, bits) of 0 and 1"
            )
        if not len(matrix) == len(sources) >= 1:
            raise ValueError(f"{len(matrix)} fingerprints for {len(sources)} sources")
        self.name, self.sources, self.bits = name, tuple(sources), int(matrix.shape[1])
        self._read = read
        self._signs = torch.from_numpy(matrix.astype(np.float32)) * 2.0 - 1.0

    def read(self, x: Tensor) -> Tensor:
        """Decode images (N, 3, H, W) in [0, 1] to bits (N, bits) in {0, 1}.

        Raises ValueError: the reader gives another number of bits than the fingerprints have.
        """
        found = self._read(x)
        if tuple(found.shape) != (len(x), self.bits):
            raise ValueError(
                f"{self.name} read bits of shape {tuple(found.shape)} from {len(x)} images, "
                f"expected {self.bits} bits each"
            )
        return found

    def scores(self, x: Tensor) -> Tensor:
        """Return the numbers of matching bits (N, sources) of images (N, 3, H, W) in [0, 1]."""
        signs = self.read(x).to("cpu", torch.float32) * 2.0 - 1.0
        return (signs @ self._signs.T + self.bits) / 2.0

    def log_p(self, scores: Tensor) -> Tensor:
        """Return natural log p-values (N, sources), float64, of numbers of matching bits."""
        matches = scores.round().to(torch.int64).cpu().numpy()
        return torch.from_numpy(np.asarray(log_p_value(matches, self.bits)))
