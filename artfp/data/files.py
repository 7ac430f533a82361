"""Files in and out: whole whenever they are there; those with secrets for their owner alone."""

from __future__ import annotations

import errno
import filecmp
import hashlib
import json
import logging
import os
import re
import secrets
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, BinaryIO

from artfp.core.errors import UserError, one_line

AnyPath = str | os.PathLike[str]

_MOST_JSON = 1 << 20
_TEMPORARY = re.compile(r"\.[0-9a-f]{16}\.tmp")

_log = logging.getLogger("artfp")


FIGURE_SUFFIXES = (".png", ".pdf", ".svg")
"""Endings of the names of figures, in lower case."""


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
        with _hidden_file(path.parent, _mode(secret)) as hidden:
            yield hidden.file
            hidden.file.flush()
            os.fsync(hidden.file.fileno())
            if not (keep_equal and path.is_file() and _holds(path, hidden.location)):
                hidden.replace(path)
            elif secret and path.stat().st_mode & 0o077:
                path.chmod(0o600)
    except OSError as error:
        named = error.filename is not None and not _hides(error.filename)
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
        with _hidden_file(target.parent, _mode(secret)) as hidden:
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


def remove_leftovers(folder: Path, deep: bool = False) -> None:
    """Delete the hidden files that killed runs left in a folder, or below it too if `deep`.

    Those of processes that live, which hold a lock on them, stay.
    """
    for path, folders, files in os.walk(folder):
        for name in filter(_TEMPORARY.fullmatch, files):
            with suppress(OSError), open(os.path.join(path, name), "rb") as file:
                _lock(file.fileno(), wait=False)
                os.unlink(file.name)
        if not deep:
            folders.clear()


@contextmanager
def scratch_folder(what: str) -> Iterator[Path]:
    """Make a temporary folder that its owner alone can read, for as long as the block runs.

    Those of this name that killed processes left are removed first.

    Args:
        what: Word that its name has after "artfp-".
    """
    prefix = f"artfp-{what}-"
    for left in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
        with suppress(OSError), _locked_folder(left, wait=False):
            shutil.rmtree(left, ignore_errors=True)
    with ExitStack() as stack:
        folder = Path()
        while not (folder.name and folder.is_dir()):  # not taken for a leftover before its lock
            made = tempfile.TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True)
            folder = Path(stack.enter_context(made))
            with suppress(FileNotFoundError):
                stack.enter_context(_locked_folder(folder))
        yield folder


@contextmanager
def _locked_folder(path: Path, wait: bool = True) -> Iterator[None]:
    if os.name == "nt":
        yield
        return
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        if os.fstat(descriptor).st_uid != os.geteuid():
            raise PermissionError(errno.EPERM, "another user's")
        _lock(descriptor, wait)
        yield
    finally:
        os.close(descriptor)


class _Hidden:
    """An open file that has no name yet, or a random one; `location` is where to read it."""

    def __init__(self, descriptor: int, folder: Path, location: Path, named: bool) -> None:
        self.file: BinaryIO = os.fdopen(descriptor, "wb")
        self.location, self._folder, self._named = location, folder, named
        _lock(descriptor)

    def link(self, target: Path) -> None:
        """Give it a name that no file has.

        Raises:
            FileExistsError: one has.
        """
        try:
            self._link(target)
        except FileExistsError:
            raise
        except OSError:  # a file system without hard links
            self._take_name()
            if os.path.lexists(target):
                raise FileExistsError(target) from None
            self._move(target)

    def replace(self, target: Path) -> None:
        """Give it a name, taken from the file that has it."""
        if not self._named:
            with suppress(FileExistsError):
                self.link(target)
                return
            self._take_name()
        self._move(target)

    def _link(self, target: Path) -> None:
        if self._named:
            os.link(self.location, target)
        else:  # with a descriptor, of which an absolute path makes no use, /proc's link is followed
            os.link(self.location, target, src_dir_fd=self.file.fileno())

    def _take_name(self) -> None:
        """Have a random name."""
        if self._named:
            return
        try:
            self._link(name := _random_name(self._folder))
        except OSError:
            mode = os.fstat(self.file.fileno()).st_mode & 0o777
            with self.file, open(self.location, "rb") as unnamed:
                other = _open_named(self._folder, mode)
                self.file, self.location, self._named = other.file, other.location, True
                shutil.copyfileobj(unnamed, self.file)
            self.file.flush()
            os.fsync(self.file.fileno())
        else:
            self.location, self._named = name, True

    def _move(self, target: Path) -> None:
        if os.name == "nt":  # where no open file moves
            self.file.close()
        os.replace(self.location, target)

    def close(self) -> None:
        """Close it; without a name that was given it is gone."""
        with suppress(OSError):
            if self._named:
                self.location.unlink(missing_ok=True)
        self.file.close()


@contextmanager
def _hidden_file(folder: Path, mode: int) -> Iterator[_Hidden]:
    """Open a new file without a name, else with a random one, which is gone at the end."""
    hidden = _open_unnamed(folder, mode) or _open_named(folder, mode)
    try:
        yield hidden
    finally:
        hidden.close()


def _open_unnamed(folder: Path, mode: int) -> _Hidden | None:
    """Open a file that a kill leaves nothing of; None where the system has no such files."""
    if not hasattr(os, "O_TMPFILE"):
        return None
    try:
        descriptor = os.open(folder, os.O_TMPFILE | os.O_WRONLY, mode)
    except OSError as error:
        if error.errno in (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT):
            return None
        raise
    location = Path(f"/proc/self/fd/{descriptor}")
    if location.exists():
        return _Hidden(descriptor, folder, location, named=False)
    os.close(descriptor)
    return None


def _open_named(folder: Path, mode: int) -> _Hidden:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    while True:
        path = _random_name(folder)
        hidden = _Hidden(os.open(path, flags, mode), folder, path, named=True)
        # Another process may have come before the lock, and taken it for a leftover.
        if os.name == "nt" or os.fstat(hidden.file.fileno()).st_nlink:
            return hidden
        hidden.file.close()


def _lock(descriptor: int, wait: bool = True) -> None:
    """Lock an open file until it is closed.

    Raises:
        BlockingIOError: another process holds the lock, and `wait` is False.
    """
    if sys.platform == "win32":
        return
    import fcntl

    with suppress(OSError) if wait else nullcontext():  # file systems without locks
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))


def _random_name(folder: Path) -> Path:
    return folder / f".{secrets.token_hex(8)}.tmp"


def _hides(name: object) -> bool:
    """Return whether a path of an error is that of a hidden file, which nobody knows."""
    path = Path(os.fsdecode(name)) if isinstance(name, str | bytes | os.PathLike) else Path()
    return bool(_TEMPORARY.fullmatch(path.name)) or path.is_relative_to("/proc/self/fd")


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
    source, output = os.path.realpath(location), os.path.realpath(folder)
    if os.path.isdir(source) and Path(output).is_relative_to(source):
        raise UserError(
            f"{folder} lies in the folder of the images, {location}; choose a folder outside"
        )


def check_suffix(path: Path, what: str, suffixes: Sequence[str]) -> None:
    """Refuse a file name that ends otherwise than in one of these, in either case.

    Raises:
        UserError: it does.
    """
    if suffixes and path.suffix.lower() not in suffixes:
        raise UserError(f"{what} {path}: its name must end in {', '.join(suffixes)}")
