"""The processes of a run over several devices."""

from __future__ import annotations

import os
import time
from pathlib import Path

from artfp.core.errors import UserError


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
