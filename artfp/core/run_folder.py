"""The output folder of a run, which no other run uses meanwhile."""

from __future__ import annotations

import atexit
import errno
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar, cast

from artfp.core.errors import UserError
from artfp.core.processes import first_process

LOCK_FILE = ".artfp.lock"
"""Name of the file that is locked; it holds the number of the process and goes with the run."""

_F = TypeVar("_F", bound=Callable[..., Any])


@dataclass
class _Lock:
    thread: int
    descriptor: int | None = None


_locks: dict[str, _Lock] = {}
"""Folders that runs of this process use, by their real path."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_locks.clear)


@contextmanager
def run_folder(folder: Path | None) -> Iterator[None]:
    """Keep other runs out of a folder, if any, while the body runs; parts of a run share its lock.

    A folder that is not there yet is locked by `lock_folder`, once the run is sure to use it. The
    system frees the lock of a process that dies. Of several processes of a run the first locks.

    Raises:
        UserError: another run uses the folder, or it was removed while the body ran.
    """
    if folder is None:
        yield
        return
    key = os.path.realpath(folder)
    outermost = key not in _locks
    if os.path.isdir(folder):
        lock_folder(folder)
    lock = _locks.setdefault(key, _Lock(threading.get_ident()))
    try:
        yield
        if lock.descriptor is not None and not _is_at(lock.descriptor, folder / LOCK_FILE):
            raise UserError(
                f"{folder}: was removed while the run was using it, with all that it held (a key "
                "that was drawn, too); give the command again"
            )
    finally:
        if outermost:
            _locks.pop(key, None)
            _release(lock, folder / LOCK_FILE)


def lock_folder(folder: Path) -> None:
    """Make a folder and lock it until the `run_folder` around ends, or else the process.

    A folder that cannot be written is left to whoever writes into it first.

    Raises:
        UserError: another run uses the folder.
    """
    key = os.path.realpath(folder)
    lock = _locks.get(key) or _Lock(threading.get_ident())
    if lock.thread != threading.get_ident():
        raise _in_use(folder, str(os.getpid()))
    if lock.descriptor is None and first_process():
        with suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            lock.descriptor = _locked(folder)
            _locks[key] = lock


@atexit.register
def _release_all() -> None:
    for key, lock in _locks.items():
        _release(lock, Path(key, LOCK_FILE))


def exclusive(function: _F) -> _F:
    """Keep other runs out of the `output_dir` of a function's settings while it works."""

    @wraps(function)
    def alone(settings: Any, *args: Any, **kwargs: Any) -> Any:
        with run_folder(settings.output_dir):
            return function(settings, *args, **kwargs)

    return cast(_F, alone)


def _locked(folder: Path) -> int:
    """Return the descriptor of the folder's lock file, which is locked."""
    path = folder / LOCK_FILE
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            _lock_file(descriptor)
            if _is_at(descriptor, path):  # else its last owner has just removed it
                os.ftruncate(descriptor, 0)
                os.write(descriptor, str(os.getpid()).encode("ascii"))
                return descriptor
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EAGAIN, errno.EDEADLK):
                return descriptor  # a file system without locks
            owner = os.pread(descriptor, 20, 0) if hasattr(os, "pread") else b""
            os.close(descriptor)
            raise _in_use(folder, owner.decode("ascii", "replace")) from None
        os.close(descriptor)


if sys.platform == "win32":
    import msvcrt

    def _lock_file(descriptor: int) -> None:
        os.lseek(descriptor, 1 << 20, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        os.lseek(descriptor, 0, os.SEEK_SET)

else:
    import fcntl

    def _lock_file(descriptor: int) -> None:
        # Not flock, whose locks forked loader processes would hold on to after a kill.
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _in_use(folder: Path, owner: str) -> UserError:
    pid = f" (pid {owner})" if owner else ""
    return UserError(
        f"{folder}: another artfp run{pid} is using this folder; wait for it or choose another"
    )


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except OSError:
        return False


def _release(lock: _Lock, path: Path) -> None:
    if lock.descriptor is None:
        return
    with suppress(OSError):
        if _is_at(lock.descriptor, path):
            path.unlink()
    with suppress(OSError):
        os.close(lock.descriptor)
