"""Records of decoded images: packed logits, and the latest record of each image."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from artfp.stats.pooling import clip_logits

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
