"""Progress of long work, in one form: what is done, how many of how many, the rate, the time left.

It is shown on stderr while a command runs, if that is a terminal and `--quiet` was not given, and
goes away at the end. A program that calls the library sees nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar

from artfp.core.console import console, shows_progress
from artfp.core.errors import one_line
from artfp.core.processes import first_process

if TYPE_CHECKING:
    import rich.progress

Item = TypeVar("Item")

Tick = Callable[[str, int], None]
"""Takes what was done ("decoding photo.zip") and to how many more images."""


def ignore_progress(caption: str, count: int) -> None:
    """Show nothing; the default of functions that take a `Tick`."""


class Progress:
    """A line with caption, bar, number done of all, rate and remaining time.

    Several at once stand below each other.

    Args:
        caption: What is done.
        total: How many there are to do; None if nobody knows.
        unit: What is counted.
        done: How many are done already.

    Example:
        >>> with Progress("Embedding", total=96) as progress:
        ...     for batch in range(3):
        ...         progress.advance(32)
        >>> progress.done
        96
    """

    def __init__(
        self, caption: str, total: int | None = None, unit: str = "images", done: int = 0
    ) -> None:
        self.caption, self.total, self.unit, self.done = caption, total, unit, done
        self._task: rich.progress.TaskID | None = None

    def __enter__(self) -> Progress:
        if shows_progress() and first_process():
            self._task = _display.add(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._task is not None:
            _display.remove(self._task)
            self._task = None

    def advance(self, count: int = 1, caption: str | None = None) -> None:
        """Count so many more as done; a caption takes the place of the one before."""
        self.move_to(self.done + count, caption)

    def move_to(self, done: int, caption: str | None = None) -> None:
        """Set how many are done; a caption takes the place of the one before."""
        self.done = done
        self.caption = self.caption if caption is None else caption
        if self._task is not None:
            _display.update(self._task, self)


def track(
    items: Iterable[Item],
    total: int | None = None,
    caption: str = "",
    size: Callable[[Item], int] = lambda item: 1,
    unit: str = "images",
) -> Iterator[Item]:
    """Yield items while their progress is shown.

    Args:
        items: What the loop goes over.
        total: Sum of the sizes of all; None: the number of items, where they have one.
        caption: What is done to them.
        size: How much an item counts, such as the number of images of a batch.
        unit: What is counted.

    Example:
        >>> [2 * x for x in track([1, 2, 3], caption="Doubling", unit="numbers")]
        [2, 4, 6]
    """
    if total is None and isinstance(items, Sized):
        total = len(items)
    with Progress(caption, total, unit) as progress:
        for item in items:
            yield item
            progress.advance(size(item))


@contextmanager
def stages(total: int | None = None, unit: str = "images") -> Iterator[Tick]:
    """Show the progress of work in stages, each called by what is done in it.

    Args:
        total: Number for all stages together; None: each stage has a count of its own.
        unit: What is counted.

    Example:
        >>> with stages(total=4) as tick:
        ...     tick("reading", 2)
        ...     tick("decoding", 2)
    """
    with Progress("", total, unit) as progress:

        def tick(caption: str, count: int) -> None:
            if total is None and caption != progress.caption:
                progress.move_to(0, caption)
            progress.advance(count, caption)

        yield tick


class _Display:
    """The one live display of the process, which is there while a line is."""

    def __init__(self) -> None:
        self._lines: rich.progress.Progress | None = None

    def add(self, progress: Progress) -> rich.progress.TaskID:
        if self._lines is None:
            self._lines = _lines()
            self._lines.start()
        return self._lines.add_task(
            progress.caption,
            total=progress.total,
            completed=progress.done,
            unit=progress.unit,
        )

    def update(self, task: rich.progress.TaskID, progress: Progress) -> None:
        if self._lines is not None:
            if progress.done < self._lines.tasks[self._lines.task_ids.index(task)].completed:
                self._lines.reset(task)
            self._lines.update(task, completed=progress.done, description=progress.caption)

    def remove(self, task: rich.progress.TaskID) -> None:
        if self._lines is not None:
            self._lines.remove_task(task)
            if not self._lines.tasks:
                self._lines.stop()
                self._lines = None


_display = _Display()


def _lines() -> rich.progress.Progress:
    from rich.progress import BarColumn, Progress, ProgressColumn, Task, TimeRemainingColumn
    from rich.text import Text

    class Caption(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(one_line(task.description))

    class Count(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(_count(int(task.completed), task.total, task.fields["unit"]))

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(f"{task.speed:,.1f}/s" if task.speed else "", "progress.data.speed")

    columns = (Caption(), BarColumn(), Count(), Rate(), TimeRemainingColumn())
    return Progress(*columns, console=console(stderr=True), transient=True)


def _count(done: int, total: float | None, unit: str) -> str:
    """Return "12 of 1,000 images", or "12 images" without a total."""
    of = "" if total is None else f" of {int(total):,}"
    return f"{done:,}{of} {unit}"
