"""What image files hold, so that a run knows by it whether they are those of an earlier run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from artfp.data.decode import ImageError
from artfp.data.sources import ImageSource

WHOLE = 10_000
"""Images of a source whose bytes all count in `source_digest`."""

_SAMPLED = 1000


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

    Names and sizes of all images count, and the bytes of all: of more than `WHOLE` images, the
    bytes of a thousand, evenly spread, so that this takes seconds whatever the size of the set.

    Args:
        source: Images.
    """
    digest, count = hashlib.sha256(), len(source)
    step = 1 if count <= WHOLE else -(-count // _SAMPLED)
    for index, name in enumerate(source.names):
        content: str | int | None
        if index % step:
            stamp = file_stamp(source, index)
            content = None if stamp is None else stamp[0]
        else:
            try:
                content = hashlib.sha256(source.read(index)).hexdigest()
            except ImageError:
                content = None
        digest.update(json.dumps([name, content]).encode("ascii") + b"\n")
    return digest.hexdigest()
