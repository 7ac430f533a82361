"""Files and folders that have no name yet, and what killed processes leave of them."""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import BinaryIO

_TEMPORARY = re.compile(r"\.[0-9a-f]{16}\.tmp")


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
def hidden_file(folder: Path, mode: int) -> Iterator[_Hidden]:
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


def is_hidden_file(name: object) -> bool:
    """Return whether a path of an error is that of a hidden file, which nobody knows."""
    path = Path(os.fsdecode(name)) if isinstance(name, str | bytes | os.PathLike) else Path()
    return bool(_TEMPORARY.fullmatch(path.name)) or path.is_relative_to("/proc/self/fd")
