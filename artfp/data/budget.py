"""Bound on the pixels that threads or processes work on at once, and so on their memory."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_UNIT = 1 << 20


class PixelBudget:
    """Pixels that may be worked on at once; whoever wants more waits.

    An image larger than all of it is worked on alone; one under a megapixel never waits.

    Args:
        pixels: Pixels in all.
        context: Module with `Lock` and `Semaphore`: `threading`, or a context of
            `multiprocessing`, whose processes then inherit the budget.

    Example:
        >>> budget = PixelBudget(64_000_000)
        >>> with budget.hold(24_000_000):
        ...     pass
    """

    def __init__(self, pixels: int, context: Any = threading) -> None:
        self._units = max(1, pixels // _UNIT)
        self._gate, self._free = context.Lock(), context.Semaphore(self._units)

    @contextmanager
    def hold(self, pixels: int) -> Iterator[None]:
        """Hold so many pixels in the block."""
        wanted = min(pixels // _UNIT, self._units)
        with self._gate if wanted else threading.Lock():  # one at a time, else two wait for ever
            for _ in range(wanted):
                self._free.acquire()
        try:
            yield
        finally:
            for _ in range(wanted):
                self._free.release()
