"""Paths of files that commands are given: checked, hashed, read."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from artfp.core.errors import UserError, one_line
from artfp.core.settings import lies_inside

AnyPath = str | os.PathLike[str]

_MOST_JSON = 1 << 20


_log = logging.getLogger("artfp")


FIGURE_SUFFIXES = (".png", ".pdf", ".svg")
"""Endings of the names of figures, in lower case."""


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file, hexadecimal: the name by which weights are known.

    Args:
        path: A file that can be read.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "empty"
        >>> path.touch()
        >>> file_hash(path)[:16]
        'e3b0c44298fc1c14'
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def read_json(path: AnyPath, what: str, kind: str, version: int, writer: str) -> dict[str, Any]:
    """Read a JSON object that says `{"artfp": kind, "version": version, ...}`.

    Raises:
        UserError: the file is missing, unreadable, or something else. The message never repeats
            what the file holds, which may be a secret; `writer` is who writes such files.
    """
    try:
        with open(path, "rb") as file:
            content = json.loads(file.read(_MOST_JSON).decode("utf-8"))
    except OSError as error:
        raise UserError(f"{what} {path}: {error.strerror}") from error
    except (ValueError, RecursionError):
        # The cause would quote the file.
        raise UserError(f"{what} {path}: not JSON; expected a file by {writer}") from None
    if not isinstance(content, dict) or content.get("artfp") != kind:
        raise UserError(f"{what} {path}: not an artfp {kind}; expected a file by {writer}")
    if content.get("version") != version:
        raise UserError(
            f"{what} {path}: its format is not version {version}, the only one that this "
            "artfp reads; use the artfp that wrote it"
        )
    return content


def warn_if_shared(path: AnyPath, what: str) -> None:
    """Log a warning where others than the owner can read a file that holds a secret."""
    mode = os.stat(path).st_mode
    if os.name == "posix" and mode & 0o077:
        name = one_line(str(path))
        _log.warning(
            "%s %s: others than you may read it (mode %03o); run: chmod 600 %s",
            what,
            name,
            mode & 0o777,
            name,
        )


def check_output(path: AnyPath, what: str, suffixes: Sequence[str] = ()) -> Path:
    """Make the folder of a file that is to be written at the end of a long run.

    Args:
        path: Name of the file.
        what: What errors call it, such as "--plot".
        suffixes: Endings that the name may have, in lower case; none: any.

    Raises:
        UserError: it cannot be made, the file is a folder, or its name ends otherwise.
    """
    target = Path(path)
    check_suffix(target, what, suffixes)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.is_dir():
            raise UserError(f"{what} {path}: is a folder; name a file")
    except (OSError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{what} {path}: cannot be written: {reason}") from None
    return target


def check_not_inside(location: AnyPath, folder: AnyPath) -> None:
    """Refuse a folder for pictures that lies in a folder of images, where a next run finds them.

    Raises:
        UserError: it does.
    """
    if lies_inside(folder, location):
        raise UserError(
            f"{folder} lies in the folder of the images, {location}; choose an output folder "
            "outside"
        )


def check_suffix(path: Path, what: str, suffixes: Sequence[str]) -> None:
    """Refuse a file name that ends otherwise than in one of these, in either case.

    Raises:
        UserError: it does.
    """
    if suffixes and path.suffix.lower() not in suffixes:
        raise UserError(f"{what} {path}: its name must end in {', '.join(suffixes)}")
