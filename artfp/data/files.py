"""Files out: whole whenever they are there; those with secrets for their owner alone."""

from __future__ import annotations

import filecmp
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from artfp.core.errors import UserError
from artfp.data.hidden_files import hidden_file, is_hidden_file, remove_leftovers
from artfp.data.paths import AnyPath


def write_atomic(
    path: Path, data: bytes | str, keep_equal: bool = False, secret: bool = False
) -> None:
    """Write a file so that it is whole whenever it is there; its folder is made.

    It is on the disk before it takes its name, so that a power cut changes nothing of that.

    Args:
        path: Where it will be; a file that is there is replaced.
        data: What it holds; text becomes UTF-8.
        keep_equal: Whether a file that holds the same already is left alone, its time too.
        secret: Whether only its owner can read it (mode 0600), also where a file was there that
            others could read; else the umask decides.

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
    with replacing(path, keep_equal, secret) as file:
        file.write(encoded)


@contextmanager
def replacing(path: Path, keep_equal: bool = False, secret: bool = False) -> Iterator[BinaryIO]:
    """Open a file without a name that takes the place of `path` when the block ends well.

    What it holds is on the disk before that. With `keep_equal` a file that holds the same already
    is left alone. What is `secret` gets mode 0600, whatever the file that was there had.

    Raises:
        UserError: the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with hidden_file(path.parent, _mode(secret)) as hidden:
            yield hidden.file
            hidden.file.flush()
            os.fsync(hidden.file.fileno())
            if not (keep_equal and path.is_file() and _holds(path, hidden.location)):
                hidden.replace(path)
            elif secret and path.stat().st_mode & 0o077:
                path.chmod(0o600)
    except OSError as error:
        named = error.filename is not None and not is_hidden_file(error.filename)
        about = f" ({error.filename})" if named else ""
        raise UserError(
            f"{path}: cannot be written: {error.strerror or error}{about}; "
            "mend that or choose another place"
        ) from None


@contextmanager
def new_file(
    path: AnyPath, what: str, secret: bool = True, overwrite: bool = False, hint: str = ""
) -> Iterator[BinaryIO]:
    """Open a file without a name that appears as `path`, on the disk, when the block ends well.

    A process that is killed leaves nothing of it, or what the next run of the folder removes.

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
        remove_leftovers(target.parent)
        with hidden_file(target.parent, _mode(secret)) as hidden:
            yield hidden.file
            hidden.file.flush()
            os.fsync(hidden.file.fileno())
            if overwrite:
                hidden.replace(target)
            else:
                hidden.link(target)
    except FileExistsError:
        raise UserError(taken) from None
    except OSError as error:
        raise UserError(f"{what} {path}: cannot be written: {error.strerror or error}") from error


def sync_folders(folders: Iterable[Path]) -> None:
    """Put the names of the files in some folders on the disk, where the system can."""
    for folder in folders:
        with suppress(OSError):
            descriptor = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


def _holds(path: Path, other: Path) -> bool:
    return filecmp.cmp(other, path, shallow=False)


def _mode(secret: bool) -> int:
    return 0o600 if secret else 0o666


def _encodable(path: Path) -> bool:
    try:
        os.fsencode(path)
    except UnicodeEncodeError:  # a lone surrogate
        return False
    return True
