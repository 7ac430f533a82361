"""Images of a sweep: kept in a file rather than in memory, and taken in batches of one size."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Sequence
from math import prod
from pathlib import Path
from types import TracebackType

import numpy as np
import torch
from torch import Tensor

from artfp.core.errors import UserError

_BATCH_PIXELS = 1 << 22
"""Pixels of a batch of several images, at most."""


class Spool:
    """8-bit images (H, W, 3) of any sizes in a file without a name, which ends with the process.

    A sequence for reading. The file lies in `folder`, or in the nearest folder above that there is,
    or else where temporary files go.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.shapes: list[tuple[int, ...]] = []
        self._offsets = [0]
        while folder is not None and not folder.is_dir() and folder != folder.parent:
            folder = folder.parent
        try:
            self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115
        except OSError:
            self._file = tempfile.TemporaryFile()  # noqa: SIM115

    def append(self, pixels: np.ndarray) -> None:
        """Keep one more image. Raises UserError: no space."""
        try:
            self._file.seek(self._offsets[-1])
            self._file.write(np.ascontiguousarray(pixels, dtype=np.uint8).data)
            self._file.flush()
        except OSError as error:
            raise UserError(
                f"no place for {len(self)} images: {error.strerror or error}; give fewer (--limit)"
            ) from None
        self.shapes.append(pixels.shape)
        self._offsets.append(self._offsets[-1] + prod(pixels.shape))

    def __len__(self) -> int:
        return len(self.shapes)

    def __getitem__(self, index: int) -> np.ndarray:
        """Image `index`, (H, W, 3), uint8; the caller's own."""
        pixels = np.empty(self.shapes[index], np.uint8)
        self._file.seek(self._offsets[index])
        self._file.readinto(pixels.data)
        return pixels

    def close(self) -> None:
        """Give the space back."""
        self._file.close()

    def __enter__(self) -> Spool:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def equal_batches(shapes: Sequence[tuple[int, ...]], batch_size: int) -> list[list[int]]:
    """Indices of images in batches of equal shapes: every index once, in order within a shape.

    At most `batch_size` each, and fewer where images are large.
    """
    groups: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for index, shape in enumerate(shapes):
        groups[shape].append(index)
    batches = []
    for shape, indices in groups.items():
        step = max(1, min(batch_size, _BATCH_PIXELS // (shape[0] * shape[1])))
        batches += [indices[start : start + step] for start in range(0, len(indices), step)]
    return batches


def stacked(images: Spool | Sequence[np.ndarray], indices: Sequence[int]) -> Tensor:
    """Images of one shape as 8-bit (N, 3, H, W)."""
    whole = np.stack([images[index] for index in indices])
    return torch.from_numpy(whole).permute(0, 3, 1, 2).contiguous()
