"""Files in and out: whole whenever they are there; those with secrets for their owner alone."""

from __future__ import annotations

import filecmp
import hashlib
import json
import logging
import os
import re
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from artfp.core.errors import UserError, one_line

AnyPath = str | os.PathLike[str]

_MOST_JSON = 1 << 20
_TEMPORARY = re.compile(r"\.[0-9a-f]{16}\.tmp")

_log = logging.getLogger("artfp")


FIGURE_SUFFIXES = (".png", ".pdf", ".svg")
"""Endings of the names of figures, in lower case."""


def write_atomic(path: Path, data: bytes | str, keep_equal: bool = False) -> None:
    """Write a file so that it is whole whenever it is there; its folder is made.

    Args:
        path: Where it will be; a file that is there is replaced.
        data: What it holds; text becomes UTF-8.
        keep_equal: Whether a file that holds the same already is left alone, its time too.

    Raises:
        UserError: the file cannot be written (no space, no permission, a folder in its place).

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "new" / "table.csv"
        >>> write_atomic(path, "name,psnr")
        >>> path.read_text()
        'name,psnr'
    """
    encoded = data.encode("utf-8", "surrogateescape") if isinstance(data, str) else data
    with replacing(path, keep_equal) as file:
        file.write(encoded)


@contextmanager
def replacing(path: Path, keep_equal: bool = False) -> Iterator[BinaryIO]:
    """Open a hidden file that takes the place of `path` when the block ends well.

    With `keep_equal` a file that holds the same already is left alone.

    Raises:
        UserError: the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _hidden_file(path.parent, 0o666) as (file, temporary):
            yield file
            file.close()
            if not (keep_equal and path.is_file() and filecmp.cmp(temporary, path, shallow=False)):
                os.replace(temporary, path)
    except OSError as error:
        named = error.filename is not None and not _TEMPORARY.fullmatch(Path(error.filename).name)
        about = f" ({error.filename})" if named else ""
        raise UserError(
            f"{path}: cannot be written: {error.strerror or error}{about}; "
            "mend that or choose another place"
        ) from None


@contextmanager
def new_file(
    path: AnyPath, what: str, secret: bool = True, overwrite: bool = False, hint: str = ""
) -> Iterator[BinaryIO]:
    """Open a hidden file that appears under `path`, on the disk, when the block ends well.

    Args:
        path: Where it will be, in a folder that is there.
        what: What errors call the file.
        secret: Whether only its owner can read it (mode 0600); else the umask decides.
        overwrite: Whether it may take the place of another file.
        hint: What to do where a file is there already.

    Raises:
        UserError: the file exists and `overwrite` was not asked for, or it cannot be written.
    """
    target = Path(path)
    taken = f"{what} {path}: exists already; {hint or 'choose another name or move it away'}"
    if "\0" in str(target) or not _encodable(target):
        raise UserError(f"{what} {path}: cannot be the name of a file")
    try:
        if not overwrite and os.path.lexists(target):
            raise UserError(taken)
        with _hidden_file(target.parent, 0o600 if secret else 0o666) as (file, temporary):
            yield file
            file.flush()
            os.fsync(file.fileno())
            file.close()
            if overwrite:
                os.replace(temporary, target)
            else:
                _link(temporary, target)
    except FileExistsError:
        raise UserError(taken) from None
    except OSError as error:
        raise UserError(f"{what} {path}: cannot be written: {error.strerror or error}") from error


def remove_leftovers(folder: Path, deep: bool = False) -> None:
    """Delete the hidden files that killed runs left in a folder, or below it too if `deep`."""
    for path, folders, files in os.walk(folder):
        for name in filter(_TEMPORARY.fullmatch, files):
            with suppress(OSError):
                os.unlink(os.path.join(path, name))
        if not deep:
            folders.clear()


@contextmanager
def _hidden_file(folder: Path, mode: int) -> Iterator[tuple[BinaryIO, Path]]:
    """Open a new file with a random name, which is gone at the end."""
    temporary = folder / f".{secrets.token_hex(8)}.tmp"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    try:
        with open(os.open(temporary, flags, mode), "wb") as file:
            yield file, temporary
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


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


def check_suffix(path: Path, what: str, suffixes: Sequence[str]) -> None:
    """Refuse a file name that ends otherwise than in one of these, in either case.

    Raises:
        UserError: it does.
    """
    if suffixes and path.suffix.lower() not in suffixes:
        raise UserError(f"{what} {path}: its name must end in {', '.join(suffixes)}")
