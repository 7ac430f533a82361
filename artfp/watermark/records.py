"""Records of decoded images: packed logits, and the latest record of each image."""

from __future__ import annotations

import os
from base64 import b64decode, b64encode
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from artfp.stats.pooling import clip_logits
from artfp.watermark.settings import FINGERPRINTED_FOLDER

Record = dict[str, Any]


Records = Callable[[], Iterator[Record]]


def pack_logits(logits: NDArray[np.floating[Any]]) -> str:
    """Return logits (bits,), clipped as the statistics do, as base64 of little-endian float16."""
    return b64encode(clip_logits(logits).astype("<f2").tobytes()).decode("ascii")


def unpack_logits(text: str) -> NDArray[np.float64]:
    """Return the logits that `pack_logits` wrote, to three digits."""
    return np.frombuffer(b64decode(text), "<f2").astype(np.float64)


def latest_records(
    stream: Callable[[], Iterable[Record]], names: Sequence[str]
) -> Iterator[Record]:
    """Yield one record for each image of `names` that has any: the last success or else error."""
    known = set(names)
    last: dict[str, tuple[bool, int]] = {}
    for number, record in enumerate(stream()):
        name = record["name"]
        if name in known:
            last[name] = max(last.get(name, (False, -1)), ("logits" in record, number))
    chosen = {number for _, number in last.values()}
    for number, record in enumerate(stream()):
        if number in chosen:
            yield record


def embedded_names(location: str, names: Sequence[str]) -> dict[str, str]:
    """Return the names that images of a source have in `embedded_fingerprints.txt`.

    That is their place below the folder `fingerprinted_images`, whether the source is that folder,
    its archive, a folder around it, one of its images, or a list; else the name in the source.

    Args:
        location: Path of the source.
        names: Names of its images.

    Example:
        >>> embedded_names("out", ["fingerprinted_images/cats/a.png", "other/b.png"])
        {'fingerprinted_images/cats/a.png': 'cats/a.png', 'other/b.png': 'other/b.png'}
        >>> embedded_names("out/fingerprinted_images/cats/a.png", ["a.png"])
        {'a.png': 'cats/a.png'}
    """
    place = Path(os.path.abspath(location))
    if place.is_file() or [place.name] == list(names):
        place = place.parent
    found = {}
    for name in names:
        parts = place.joinpath(name).parts
        below = [i + 1 for i, part in enumerate(parts) if part == FINGERPRINTED_FOLDER]
        found[name] = "/".join(parts[below[-1] :]) if below else name
    # Two that would be one stay as they are.
    counts = Counter(found.values())
    return {name: inner if counts[inner] == 1 else name for name, inner in found.items()}
