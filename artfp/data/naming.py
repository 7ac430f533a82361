"""Names of images: in folders, archives and lists, of output files, and in a dataset.json."""

from __future__ import annotations

import hashlib
import json
import posixpath
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

from artfp.core.errors import UserError
from artfp.data.decode import IMAGE_SUFFIXES

DATASET_JSON = "dataset.json"
"""File with the labels of a StyleGAN data set, at the top of its folder or archive."""

_MAX_BYTES = 255
"""Longest file name of the usual file systems, in bytes."""


def is_image_name(name: str) -> bool:
    """Return True if a file name ends like an image, in either case."""
    return posixpath.splitext(name)[1].lower() in IMAGE_SUFFIXES


def is_hidden(part: str) -> bool:
    """Return True if one component of a path is left out of every search."""
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
    """Parse a `dataset.json`; None when it holds something else than an object.

    Raises:
        UserError: not JSON.
    """
    try:
        parsed = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise UserError(
            f"{where}: {DATASET_JSON} is not valid JSON ({error}); mend or remove it"
        ) from None
    return parsed if isinstance(parsed, dict) else None


def output_names(names: Sequence[str], suffix: str) -> list[str]:
    """Return one output name for each of `names`, with `suffix` for the ending.

    ``a/x.jpg`` becomes ``a/x.png``. Names that would meet keep their own ending
    (``x.jpg.png``); those that would meet even so, because they differ in case alone, get a digest
    of the name (``x.jpg~3f2a90b1.png``), as do those that would be longer than a file system takes,
    of which the end is cut off. Two outputs count as one when a file system that ignores
    case or Unicode composition would mix them up, and an output never takes the place of a folder.
    The outcome does not depend on the order of `names`.

    Raises:
        ValueError: a name occurs twice.
    """
    if len(set(names)) != len(names):
        raise ValueError("input names must be unique")
    folders = {_key(folder) for folder in _parents(names)}
    levels = [0] * len(names)
    outputs = [_candidate(name, suffix, 0) for name in names]
    while True:
        meeting: dict[str, list[int]] = {}
        for i, output in enumerate(outputs):
            meeting.setdefault(_key(output), []).append(i)
        clashes = [group for key, group in meeting.items() if len(group) > 1 or key in folders]
        if not clashes:
            return outputs
        for group in clashes:
            lowest = min(levels[i] for i in group)
            for i in group:
                if levels[i] == lowest:  # those that moved before may stay
                    levels[i] += 1
                    outputs[i] = _candidate(names[i], suffix, levels[i])


def renamed_dataset_json(dataset: dict[str, Any], mapping: dict[str, str]) -> dict[str, Any]:
    """Return a StyleGAN ``dataset.json`` with its file names mapped; all other keys stay.

    `labels` is a list of ``[name, label]``, a dict from name to label, or null. Entries whose name
    is not in `mapping` are dropped.

    Raises:
        UserError: labels of another form.
    """
    renamed = dict(dataset)
    labels = dataset.get("labels")
    if isinstance(labels, dict):
        renamed["labels"] = {mapping[k]: v for k, v in labels.items() if k in mapping}
    elif isinstance(labels, list):
        for entry in labels:
            if not (isinstance(entry, list) and len(entry) == 2 and isinstance(entry[0], str)):
                raise UserError(
                    f"dataset.json has the label entry {str(entry)[:80]}; "
                    "each must be [file name, label]"
                )
        renamed["labels"] = [[mapping[k], v] for k, v in labels if k in mapping]
    elif labels is not None:
        raise UserError(
            f"'labels' in dataset.json is a {type(labels).__name__}; "
            "it must be a list of [file name, label], an object or null"
        )
    return renamed


def _key(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _parents(names: Iterable[str]) -> set[str]:
    found: set[str] = set()
    for name in names:
        folder = posixpath.dirname(name)
        while folder and folder not in found:
            found.add(folder)
            folder = posixpath.dirname(folder)
    return found


def _candidate(name: str, suffix: str, level: int) -> str:
    if level < 2:
        plain = (name if level else posixpath.splitext(name)[0]) + suffix
        if _length(plain) <= _MAX_BYTES:
            return plain
    # Every level gives another digest, so the search ends whatever the other names are.
    digest = hashlib.sha256(f"{level}/{name}".encode("utf-8", "surrogatepass")).hexdigest()
    ending = f"~{digest[:8]}{suffix}"
    while _length(name + ending) > _MAX_BYTES:
        name = name[:-1]
    return name + ending


def _length(path: str) -> int:
    """Return the bytes of a path's last part; a byte that is no UTF-8 counts as three."""
    return len(posixpath.basename(path).encode("utf-8", "surrogatepass"))
