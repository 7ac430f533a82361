"""Content of image files, by which a run knows whether they are those of an earlier run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from artfp.data.image_files import ImageError
from artfp.data.sources import ImageSource

DIGESTED_BYTES = 1 << 30
"""Bytes of a source that `source_digest` reads, about."""


def file_stamp(source: ImageSource, index: int) -> list[int] | None:
    """Return size and times of an image's file; None if it has none or the source knows none."""
    stamp = getattr(source, "stamp", None)
    return None if stamp is None else stamp(index)


def describe_content(data: bytes, stamp: list[int] | None) -> dict[str, Any]:
    """Return what a record notes of the bytes of an image: the SHA-256, and the file's stamp."""
    return {"sha256": hashlib.sha256(data).hexdigest(), "stamp": stamp}


def is_unchanged(source: ImageSource, index: int, record: Mapping[str, Any]) -> bool:
    """Return whether an image is the one that a record notes; it is read if its stamp differs."""
    digest, stamp = record.get("sha256"), record.get("stamp")
    if digest is None:
        return False
    if stamp is not None and stamp == file_stamp(source, index):
        return True
    try:
        return bool(hashlib.sha256(source.read(index)).hexdigest() == digest)
    except ImageError:
        return False


def source_digest(source: ImageSource) -> str:
    """Return the SHA-256, as hex, of what a source holds.

    Names and sizes of all images count, and their bytes: where they are more than a GiB, those of
    every second, third, ... image, so that this takes seconds whatever the size of the set.

    Args:
        source: Images.
    """
    digest = hashlib.sha256()
    stamps = (file_stamp(source, index) for index in range(len(source)))
    sizes = [None if stamp is None else stamp[0] for stamp in stamps]
    step = -(-sum(size or 0 for size in sizes) // DIGESTED_BYTES) or 1
    for index, name in enumerate(source.names):
        content: str | int | None = sizes[index]
        if index % step == 0:
            with suppress(ImageError):
                content = hashlib.sha256(source.read(index)).hexdigest()
        digest.update(json.dumps([name, content]).encode("ascii") + b"\n")
    return digest.hexdigest()


def sources_digest(sources: Mapping[str, ImageSource]) -> str:
    """Return the SHA-256, as hex, of the names of sources and what they hold."""
    digests = {name: source_digest(source) for name, source in sources.items()}
    return hashlib.sha256(json.dumps(digests, sort_keys=True).encode("ascii")).hexdigest()
