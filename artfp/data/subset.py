"""Subsets of the images of a source, drawn by their names."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

from artfp.core.errors import UserError
from artfp.data.content import file_stamp
from artfp.data.sources import ImageSource, left_out_of


class Subset:
    """Images of a source at some indices, in their order."""

    def __init__(self, source: ImageSource, indices: list[int]) -> None:
        self.location = source.location
        self.names = [source.names[index] for index in indices]
        self.dataset_json: dict[str, Any] | None = source.dataset_json
        self.left_out = left_out_of(source)
        self._source, self._indices = source, indices

    def read(self, index: int) -> bytes:
        """Return the bytes of image `index`; raises ImageError with the reason."""
        return self._source.read(self._indices[index])

    def stamp(self, index: int) -> list[int] | None:
        """Return the stamp of the file of image `index`; see `artfp.data.content`."""
        return file_stamp(self._source, self._indices[index])

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.names)


def limit_images(source: ImageSource, limit: int | None) -> ImageSource:
    """Return at most `limit` images, drawn by their names alone, so that runs agree; None: all.

    Raises:
        UserError: a limit below 1.
    """
    if limit is not None and limit < 1:
        raise UserError(f"limit is {limit}; it must be 1 or more")
    if limit is None or limit >= len(source):
        return source
    order = sorted(range(len(source)), key=lambda index: hash_fraction(source.names[index]))
    return Subset(source, sorted(order[:limit]))


def half_of(images: int) -> int:
    """Return how many of a source's images to fit to: half, but 512 of the paper's 1000 or more."""
    return 512 if images >= 1000 else images // 2


def split_sources(
    sources: Mapping[str, ImageSource], fit: int | None, test: int, seed: int = 0
) -> tuple[dict[str, ImageSource], dict[str, ImageSource]]:
    """Return `fit` images of each source and at most `test` others, drawn by names and seed.

    Without a number, `half_of` the smallest source fit.

    Raises:
        UserError: no image is left to test.
    """
    if fit is None:
        fit = half_of(min(map(len, sources.values()), default=0))
    fitted: dict[str, ImageSource] = {}
    tested: dict[str, ImageSource] = {}
    for name, source in sources.items():
        drawn = [hash_fraction(f"{seed} {image}") for image in source.names]
        order = sorted(range(len(drawn)), key=drawn.__getitem__)
        if min(fit, test) < 1 or len(order) <= fit:
            raise UserError(
                f"{source.location}: {len(order)} images; {fit} shall fit and {test} others test: "
                "give fewer (--fit, --test), or more images"
            )
        fitted[name] = Subset(source, sorted(order[:fit]))
        tested[name] = Subset(source, sorted(order[fit : fit + test]))
    return fitted, tested


def hash_fraction(name: str) -> float:
    """Return a number in [0, 1) that depends on the name alone, and on it as if drawn at random."""
    digest = blake2b(name.encode("utf-8", "surrogateescape"), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2.0**64
