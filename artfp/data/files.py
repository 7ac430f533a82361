"""Small files in and out: those that hold secrets are readable by their owner alone.

A file that is written here is whole whenever it is there, and takes the place of none unless that
was asked for.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from artfp.core.errors import UserError, one_line

__all__ = ["new_file", "read_json", "warn_if_shared"]

AnyPath = str | os.PathLike[str]

_MOST_JSON = 1 << 20

_log = logging.getLogger("artfp")


@contextmanager
def new_file(
    path: AnyPath, what: str, secret: bool = True, overwrite: bool = False, hint: str = ""
) -> Iterator[BinaryIO]:
    """Open a file for writing that appears under `path`, whole, when the block ends well.

    Only its owner can read it if it is `secret` (mode 0600); else the umask decides. `what` it is
    called in errors; `hint` says what to do where one is there already.

    Raises:
        UserError: the file exists and `overwrite` was not asked for, or it cannot be written.
    """
    target = Path(path)
    taken = f"{what} {path}: exists already; {hint or 'choose another name or move it away'}"
    if "\0" in str(target) or not _encodable(target):
        raise UserError(f"{what} {path}: cannot be the name of a file")
    temporary = target.parent / f".{secrets.token_hex(8)}.tmp"
    try:
        if not overwrite and os.path.lexists(target):
            raise UserError(taken)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
        handle = os.open(temporary, flags, 0o600 if secret else 0o666)
        try:
            with open(handle, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            if overwrite:
                os.replace(temporary, target)
            else:
                _link(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)
    except FileExistsError:
        raise UserError(taken) from None
    except OSError as error:
        raise UserError(f"{what} {path}: cannot be written: {error.strerror or error}") from error


def _encodable(path: Path) -> bool:
    try:
        os.fsencode(path)
    except UnicodeEncodeError:  # a lone surrogate
        return False
    return True


def _link(temporary: Path, target: Path) -> None:
    """Give a file its name, unless there is one of that name."""
    try:
        os.link(temporary, target)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        if os.path.lexists(target):
            raise FileExistsError(target) from None
        os.rename(temporary, target)


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


def check_output(path: str, what: str) -> Path:
    """Make the folder of a file that is to be written at the end of a long run.

    Raises:
        UserError: it cannot be, or the file is a folder.
    """
    target = Path(path)
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
