"""The processes of a run: over several devices, ended by a signal, and their children."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from artfp.core.errors import UserError


class Terminated(BaseException):
    """SIGTERM: the process is asked to end. No error, so that nothing takes it for one."""


_M_MMAP_THRESHOLD = -3  # of glibc's malloc.h
_LARGE = 16 << 20  # bytes: some five megapixels

_owner: int | None = None  # the process in which SIGTERM raises


@contextlib.contextmanager
def termination_raises() -> Iterator[None]:
    """Raise `Terminated` in the body on SIGTERM, unless a handler for it is there.

    Other threads never see it, and processes that are forked inside die of it, as by default.
    """
    global _owner
    ours = threading.current_thread() is threading.main_thread()
    if not ours or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    _owner = os.getpid()
    signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _terminate(number: int, frame: FrameType | None) -> None:
    if os.getpid() != _owner:
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    elif signal.getsignal(number) is _terminate:  # else Lightning's calls it, and ends a training
        raise Terminated


def die_with_parent() -> None:
    """Have the system kill this process when its parent ends, however that ends (Linux)."""
    if sys.platform == "linux":
        death_signal = 1  # PR_SET_PDEATHSIG
        ctypes.CDLL(None).prctl(death_signal, signal.SIGKILL)


def first_process() -> bool:
    """Return True if this process is not one that a launcher started beside the first."""
    ranks = ("LOCAL_RANK", "RANK", "NODE_RANK", "SLURM_PROCID")
    return all(os.environ.get(name, "0") == "0" for name in ranks)


def await_first(file: Path, seconds: float = 120.0) -> None:
    """Wait, in all processes but the first, until the first has written this file.

    Raises:
        UserError: it has not within so many seconds.
    """
    end = time.monotonic() + seconds
    while not first_process() and not (file.exists() and file.stat().st_size):
        if time.monotonic() > end:
            raise UserError(f"process 0 has not written {file} within {seconds:.0f} s")
        time.sleep(0.1)


def return_large_memory() -> None:
    """Have the C library return the memory of large arrays to the system when they are freed.

    glibc raises the size from which it does so to that of the largest array freed, up to 32 MB, and
    then keeps what each thread has freed: gigabytes, where threads work on photographs. Nothing
    is done on other systems.
    """
    if sys.platform == "linux":
        with contextlib.suppress(AttributeError):  # another C library
            ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _LARGE)
