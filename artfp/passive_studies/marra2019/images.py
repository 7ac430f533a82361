"""The images of a folder of sources, in an order that the names draw, each read once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from artfp.core.errors import UserError
from artfp.data.decode import ImageError, decode_image
from artfp.data.reading import Failed
from artfp.data.sources import ImageSource
from artfp.data.subset import hash_fraction
from artfp.passive.residuals.estimate import codec_of

_BATCH_PIXELS = 1 << 18
_MOST = 256
"""Height times width of all images of a batch, at most, and how many these are, at most."""


class Images:
    """Images of some sources, all of one size, read batch by batch; each source goes on by itself.

    The order of a source's images depends on `seed` and on their names alone, so that images of
    one name in several sources, which may be one image treated in several ways, stay together.
    """

    def __init__(self, sources: dict[str, ImageSource], seed: int) -> None:
        self.names = tuple(sources)
        self.failed: Failed = []
        """Images that could not be used, as SOURCE/NAME, with the reasons."""
        self.codecs: dict[str, Counter[str]] = {name: Counter() for name in sources}
        """How many images of each source that were read had each codec."""
        self.size: tuple[int, int] | None = None
        """Height and width, once an image was read."""
        self._first = ""
        self._sources = sources
        self._left = {name: iter(_drawn(source.names, seed)) for name, source in sources.items()}

    def smallest(self) -> int:
        """Number of files of the source that has the fewest."""
        return min(map(len, self._sources.values()))

    def take(self, name: str, count: int) -> Iterator[Tensor]:
        """The next `count` usable images of a source, fewer if there are no more.

        Batches (N, 3, H, W) of 8-bit pixels. Raises UserError: an image of another size.
        """
        batch: list[np.ndarray] = []
        taken = 0
        while taken < count and (pixels := self._next(name)) is not None:
            batch.append(pixels)
            taken += 1
            area = pixels.shape[0] * pixels.shape[1]
            if taken == count or len(batch) == _MOST or (len(batch) + 1) * area > _BATCH_PIXELS:
                yield _stacked(batch)
                batch = []
        if batch:
            yield _stacked(batch)

    def _next(self, name: str) -> np.ndarray | None:
        """Pixels (H, W, 3) of the next image that can be read."""
        source = self._sources[name]
        for index in self._left[name]:
            place = f"{name}/{source.names[index]}"
            try:
                data = source.read(index)
                pixels = decode_image(data).pixels
            except ImageError as error:
                self.failed.append((place, str(error)))
                continue
            self._check(place, *pixels.shape[:2])
            self.codecs[name][codec_of(data)] += 1
            return pixels
        return None

    def _check(self, place: str, height: int, width: int) -> None:
        if self.size is None:
            self.size, self._first = (height, width), place
        if self.size != (height, width):
            raise UserError(
                f"{place} is {width}x{height}, {self._first} is {self.size[1]}x{self.size[0]}; "
                "all images of all sources must have one size: cut them, do not resize them"
            )


def _drawn(names: list[str], seed: int) -> list[int]:
    return sorted(range(len(names)), key=lambda index: hash_fraction(f"{seed} {names[index]}"))


def _stacked(batch: list[np.ndarray]) -> Tensor:
    return torch.from_numpy(np.stack(batch)).permute(0, 3, 1, 2).contiguous()
