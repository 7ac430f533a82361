"""Threads that write images while the network works."""

from __future__ import annotations

import os
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any


class Writer:
    """Threads that encode and write images while the network works on the next batch.

    At most two batches wait. An error in a thread is raised by the next call.
    """

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(max(1, min(8, os.cpu_count() or 1)))
        self._batches: list[list[Future[None]]] = []

    def submit(self, task: Any, arguments: list[tuple[Any, ...]]) -> None:
        """Run `task(*a)` for every a of a batch; waits while two batches are unfinished."""
        while len(self._batches) >= 2:
            self._settle(self._batches.pop(0))
        self._batches.append([self._threads.submit(task, *each) for each in arguments])

    def finish(self) -> None:
        """Wait for all."""
        while self._batches:
            self._settle(self._batches.pop(0))

    @staticmethod
    def _settle(batch: list[Future[None]]) -> None:
        for future in batch:
            future.result()
