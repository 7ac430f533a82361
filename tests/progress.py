"""What progress was shown, or would have been on a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

from artfp.core.progress import Progress


@contextmanager
def recorded_progress() -> Iterator[list[Progress]]:
    """Give the lines of progress that begin meanwhile; they tell `caption`, `done` and `total`."""
    found: list[Progress] = []
    enter = Progress.__enter__

    def record(line: Progress) -> Progress:
        found.append(line)
        return enter(line)

    with patch.object(Progress, "__enter__", record):
        yield found
