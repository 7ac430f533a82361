"""Names of images: in folders, archives and lists, of output files, and in a dataset.json."""

from __future__ import annotations

import functools
import hashlib
import json
import logging
import posixpath
import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from typing import IO, Any

from artfp.core.errors import UserError
from artfp.data.image_files import IMAGE_SUFFIXES, image_format

DATASET_JSON = "dataset.json"
"""File with the labels of a StyleGAN data set, at the top of its folder or archive."""

MAX_LABEL_BYTES = 64 * 1024 * 1024
"""Size of a `dataset.json` above which it is refused; that of a million images has 35 MB."""

_MAX_BYTES = 255
"""Longest file name of the usual file systems, in bytes."""

_MAX_FOLDER_BYTES = 2048
"""Longest path of a folder below the output; that of a file ends at 4096 with all above it."""

_DRIVE = re.compile(r"^(?:[A-Za-z]:)+")

_log = logging.getLogger("artfp")


def is_image(name: str, head: Callable[[], bytes]) -> bool:
    """Return True if a file is an image by its ending, in either case, or by its content.

    TIFF counts without an ending alone: the raw files of cameras begin like it.

    Args:
        name: Name of the file.
        head: Reads its first bytes, `HEAD_BYTES` or more.
    """
    suffix = posixpath.splitext(name)[1].lower()
    if suffix in IMAGE_SUFFIXES:
        return True
    found = image_format(head())
    return found is not None and (found != "TIFF" or not suffix)


def kind_of_file(name: str) -> str:
    """Return the kind under which a file that is no image is counted: its ending."""
    suffix = posixpath.splitext(name)[1].lower()
    return (suffix if len(suffix) <= 12 else "other") or "without ending"


def is_hidden(part: str) -> bool:
    """Return True if one component of a path is left out of every search."""
    return part.startswith(".") or part == "__MACOSX"


def unique_name(name: str, taken: dict[str, int]) -> str:
    """Return ``name``, or ``stem~2.png``, ``stem~3.png``, ... when it is taken, and take it.

    Args:
        name: Name that is wanted.
        taken: Names that were given away, each with the next number to try.
    """
    number, unique = taken.get(name), name
    if number is not None:
        stem, suffix = posixpath.splitext(name)
        while unique in taken:
            unique = f"{stem}~{number}{suffix}"
            number += 1
        taken[name] = number
    taken[unique] = 2
    return unique


def read_dataset_json(file: IO[bytes], where: str) -> dict[str, Any] | None:
    """Read a `dataset.json`; None when it holds something else than an object.

    Raises:
        UserError: not JSON, or over `MAX_LABEL_BYTES`.
    """
    data = file.read(MAX_LABEL_BYTES + 1)
    if len(data) > MAX_LABEL_BYTES:
        raise UserError(
            f"{where}: {DATASET_JSON} has more than {MAX_LABEL_BYTES >> 20} MiB; remove or split it"
        )
    try:
        parsed = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise UserError(
            f"{where}: {DATASET_JSON} is not valid JSON ({error}); mend or remove it"
        ) from None
    return parsed if isinstance(parsed, dict) else None


def safe_name(name: str) -> str:
    """Return a name that leads out of no folder: slashes, and no drives, ``.`` or ``..``."""
    parts = (_DRIVE.sub("", part) for part in name.replace("\\", "/").split("/"))
    return "/".join(part for part in parts if part not in ("", ".", ".."))


def match_labels(dataset: dict[str, Any] | None, names: Iterable[str]) -> dict[str, Any] | None:
    """Return a `dataset.json` whose labels have the names of a source's images.

    Programs write them with backslashes, with ``./`` before them, or with the ending that the
    images had before they were converted. Labels that name no image stay as they are.
    """
    labels = None if dataset is None else dataset.get("labels")
    if dataset is None or not isinstance(labels, list | dict):
        return dataset
    known = dict.fromkeys(names)
    stems: dict[str, str | None] = {}
    for name in known:
        stem = posixpath.splitext(name)[0]
        stems[stem] = None if stem in stems else name  # None: of several images

    def found(label: Any) -> Any:
        if not isinstance(label, str) or label in known:
            return label
        safe = safe_name(label)
        return safe if safe in known else stems.get(posixpath.splitext(safe)[0]) or label

    if isinstance(labels, dict):
        return {**dataset, "labels": {found(name): label for name, label in labels.items()}}
    matched = [
        [found(entry[0]), *entry[1:]] if isinstance(entry, list) and entry else entry
        for entry in labels
    ]
    return {**dataset, "labels": matched}


def check_labels(dataset: dict[str, Any] | None, names: Sequence[str], where: str) -> None:
    """Log how many labels of a `dataset.json` name no image, and so will be lost.

    Raises:
        UserError: all of them, or labels of another form.
    """
    if dataset is None:
        return
    kept = renamed_dataset_json(dataset, dict(zip(names, names, strict=True))).get("labels")
    labels = dataset.get("labels")
    if not labels or kept is None:
        return
    lost = len(labels) - len(kept)
    if not kept:
        first = str(next(iter(labels)))[:80]
        raise UserError(
            f"{where}: none of the {lost} labels in {DATASET_JSON} (such as {first}) names one of "
            f"the {len(names)} images (such as {names[0]}); mend or remove it"
        )
    if lost:
        _log.warning("%s: %d labels in %s name no image; left out", where, lost, DATASET_JSON)


def output_names(names: Sequence[str], suffix: str) -> list[str]:
    """Return one output name for each of `names`, with `suffix` for the ending.

    ``a/x.jpg`` becomes ``a/x.png``. Names that would meet keep their own ending
    (``x.jpg.png``); those that would meet even so, because they differ in case alone, get a digest
    of the name (``x.jpg~3f2a90b1.png``), as do those that would be longer than a file system takes,
    of which the end is cut off; so do folders. Two outputs count as one when a file system ignoring
    case or Unicode composition would mix them up, and an output never takes the place of a folder.
    The outcome does not depend on the order of `names`.

    Raises:
        ValueError: a name occurs twice.
    """
    if len(set(names)) != len(names):
        raise ValueError("input names must be unique")
    folders = {_key(folder) for folder in _parents(_candidate(n, suffix, 0) for n in names)}
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
    folder, _, file = name.rpartition("/")
    start = f"{_possible_folder(folder)}/" if folder else ""
    if level < 2:
        plain = (file if level else posixpath.splitext(file)[0]) + suffix
        if _length(plain) <= _MAX_BYTES:
            return start + plain
    # Every level gives another digest, so the search ends whatever the other names are.
    return start + _shortened(file, f"{level}/{name}", suffix)


@functools.lru_cache(maxsize=1024)
def _possible_folder(folder: str) -> str:
    """Return a folder's path with parts, and in all, no longer than a file system takes."""
    if len(folder.encode("utf-8", "surrogatepass")) > _MAX_FOLDER_BYTES:
        return _shortened("", folder)
    if _length(max(folder.split("/"), key=_length)) <= _MAX_BYTES:
        return folder
    return "/".join(
        part if _length(part) <= _MAX_BYTES else _shortened(part, part)
        for part in folder.split("/")
    )


def _shortened(part: str, whole: str, suffix: str = "") -> str:
    """Return a name with a digest of the whole one, cut off so that a file system takes it."""
    digest = hashlib.sha256(whole.encode("utf-8", "surrogatepass")).hexdigest()
    ending = f"~{digest[:8]}{suffix}"
    while (over := _length(part + ending) - _MAX_BYTES) > 0:
        part = part[: -max(1, over // 4)]  # a character has four bytes at most
    return part + ending


def _length(part: str) -> int:
    """Return the bytes of a part of a path; a byte that is no UTF-8 counts as three."""
    return len(part.encode("utf-8", "surrogatepass"))
