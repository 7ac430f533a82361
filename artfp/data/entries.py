"""Rules for the entries of a source, shared by folders, lists and archives."""

from __future__ import annotations

import json
import posixpath
from typing import Any

from artfp.core.errors import UserError
from artfp.data.decode import IMAGE_SUFFIXES

__all__ = ["DATASET_JSON", "is_hidden", "is_image_name", "parse_dataset_json", "unique_name"]

DATASET_JSON = "dataset.json"
"""Where a StyleGAN data set keeps its labels: at the top of its folder or archive."""


def is_image_name(name: str) -> bool:
    """Say whether a file name ends like an image, in either case."""
    return posixpath.splitext(name)[1].lower() in IMAGE_SUFFIXES


def is_hidden(part: str) -> bool:
    """Say whether one component of a path is left out of every search."""
    return part.startswith(".") or part == "__MACOSX"


def unique_name(name: str, taken: set[str]) -> str:
    """Return ``name``, or ``stem~2.png``, ``stem~3.png``, ... when it is taken, and take it."""
    stem, suffix = posixpath.splitext(name)
    number, unique = 2, name
    while unique in taken:
        unique = f"{stem}~{number}{suffix}"
        number += 1
    taken.add(unique)
    return unique


def parse_dataset_json(data: bytes, where: str) -> dict[str, Any] | None:
    """Parse a ``dataset.json``; None when it holds something else than an object.

    Raises UserError: not JSON.
    """
    try:
        parsed = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise UserError(
            f"{where}: {DATASET_JSON} is not valid JSON ({error}); mend or remove it"
        ) from None
    return parsed if isinstance(parsed, dict) else None
