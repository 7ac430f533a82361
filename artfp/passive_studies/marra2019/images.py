"""Images of a folder of sources, each read once, in an order that depends on their names.

What each image is used for is recorded, so that a report can name it.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from itertools import islice

import numpy as np
from torch import Tensor

from artfp.core.errors import UserError
from artfp.data.reading import Failed, LoadedImage, batch_images, read_images, stack_pixels
from artfp.data.sources import ImageSource
from artfp.data.subset import hash_fraction
from artfp.passive.residuals.estimate import codec_of
from artfp.passive_studies.uses import ImageUse, Use

_BATCH_PIXELS = 1 << 18
_BATCH_IMAGES = 256
"""Pixels of all images of a batch, at most, and their number, at most."""


class SourceImages:
    """Images of sources, all of one size, read in batches; each source has a position of its own.

    The order of a source's images depends on `seed` and on their names alone, so that images of
    one name in several sources, such as differently processed copies, stay together.
    """

    def __init__(self, sources: dict[str, ImageSource], seed: int) -> None:
        self.names = tuple(sources)
        self.codecs: dict[str, Counter[str]] = {name: Counter() for name in sources}
        """Number of images read by codec, for each source."""
        self.size: tuple[int, int] | None = None
        """Height and width, once an image has been read."""
        self._first = ""
        self._sources = sources
        self.uses: list[ImageUse] = []
        """Uses of the images that were read, in their order."""
        self._failed: dict[str, Failed] = {name: [] for name in sources}
        self._left = {
            name: read_images(
                source, self._failed[name], _order(source.names, seed), orientation=False
            )
            for name, source in sources.items()
        }

    @property
    def failed(self) -> Failed:
        """Images that could not be used, as SOURCE/NAME, with the reasons."""
        return [
            (f"{name}/{image}", reason)
            for name, failed in self._failed.items()
            for image, reason in failed
        ]

    def smallest(self) -> int:
        """Return the number of files of the source that has the fewest."""
        return min(map(len, self._sources.values()))

    def expect_size(self, other: SourceImages) -> None:
        """Refuse images of another size than those that `other` has read."""
        self.size, self._first = other.size, other._first

    def all_uses(self) -> list[ImageUse]:
        """Return the use of every image that can be used, or was not read, source by source."""
        used = {(use.source, use.image): use for use in self.uses}
        lost = {f"{name}/{image}" for name, failed in self._failed.items() for image, _ in failed}
        return [
            used.get((name, image)) or ImageUse(name, image, "unused")
            for name, source in self._sources.items()
            for image in source.names
            if f"{name}/{image}" not in lost
        ]

    def take(self, name: str, count: int, used_for: Use = "test") -> Iterator[Tensor]:
        """Yield the next `count` usable images of a source, or as many as are left.

        Yields batches (N, 3, H, W) of 8-bit pixels, and records them as `used_for`.

        Raises:
            UserError: an image of another size.
        """
        images = (self._checked(name, image, used_for) for image in islice(self._left[name], count))
        for batch in batch_images(images, _BATCH_IMAGES, _BATCH_PIXELS):
            yield stack_pixels(batch)

    def _checked(self, name: str, image: LoadedImage, used_for: Use) -> np.ndarray:
        place = f"{name}/{image.name}"
        if self.size is None:
            self.size, self._first = image.size, place
        if self.size != image.size:
            height, width = image.size
            raise UserError(
                f"{place} is {width}x{height}, {self._first} is {self.size[1]}x{self.size[0]}; "
                "all images of all sources must have one size: crop them, do not resize them"
            )
        self.codecs[name][codec_of(image.data)] += 1
        digest = hashlib.sha256(image.data).hexdigest()
        self.uses.append(ImageUse(name, image.name, used_for, digest))
        return image.pixels


def _order(names: list[str], seed: int) -> list[int]:
    return sorted(range(len(names)), key=lambda index: hash_fraction(f"{seed} {names[index]}"))
