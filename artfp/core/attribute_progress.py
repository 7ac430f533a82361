"""The progress of `artfp attribute`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress() -> Iterator[Callable[[str, int], None]]:
    """Counts of images by what is done to them, on stderr, where that is a terminal."""
    from rich.console import Console
    from rich.progress import Progress, TaskID, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}: {task.completed} images"), TimeElapsedColumn())
    silent = not sys.stderr.isatty()
    terminal = Console(stderr=True)
    with Progress(*columns, console=terminal, disable=silent, transient=True) as shown:
        tasks: dict[str, TaskID] = {}

        def tick(what: str, count: int) -> None:
            if what not in tasks:
                for task in tasks.values():
                    shown.update(task, visible=False)
                tasks[what] = shown.add_task(what, total=None)
            shown.update(tasks[what], advance=count, visible=True)

        yield tick
