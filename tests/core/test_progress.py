"""The one form of progress: what it shows, and that it shows nothing where nobody looks."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import pytest
from rich.console import Console
from rich.progress import Progress as Lines

from artfp.core import console, progress
from artfp.core.progress import Progress, ignore_progress, stages, track


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    """A terminal in which a command runs."""
    stream = Terminal()
    monkeypatch.setattr(progress, "shows_progress", lambda: True)
    monkeypatch.setattr(progress, "console", lambda stderr: Console(file=stream, width=120))
    yield stream
    assert progress._display._lines is None  # nothing stays


def shown() -> str:
    """The lines as they stand."""
    lines = progress._display._lines
    assert isinstance(lines, Lines)
    page = Console(file=io.StringIO(), width=120)
    page.print(lines.make_tasks_table(lines.tasks))
    assert isinstance(page.file, io.StringIO)
    return page.file.getvalue()


def test_caption_count_and_remaining_time(terminal: Terminal) -> None:
    with Progress("Embedding", 2000) as line:
        line.advance(32)
        assert "Embedding" in shown() and "32 of 2,000 images" in shown() and "-:--:--" in shown()
        line.move_to(500, "Checking")
        assert "Checking" in shown() and "500 of 2,000 images" in shown()


def test_without_a_total(terminal: Terminal) -> None:
    with Progress("Reading", unit="files") as line:
        line.advance()
        assert "1 files" in shown() and " of " not in shown()


def test_lines_within_each_other(terminal: Terminal) -> None:
    with Progress("All", 3):
        with Progress("One", 2):
            assert "All" in shown() and "One" in shown()
        assert "All" in shown() and "One" not in shown()


def test_hostile_captions_are_escaped(terminal: Terminal) -> None:
    with Progress("[red]a\x1b[2J\n", 3):
        assert "[red]a\\x1b[2J\\n" in shown()


def test_track_counts_items_or_their_sizes(terminal: Terminal) -> None:
    found = []
    for batch in track([[1, 2], [3]], 3, "Decoding", len):
        found.append((batch, shown()))
    assert "0 of 3 images" in found[0][1] and "2 of 3 images" in found[1][1]
    for _ in track(range(7), caption="Counting"):
        assert "of 7 images" in shown()


def test_track_ends_when_the_loop_does(terminal: Terminal) -> None:
    for _ in track(range(7), caption="Counting"):
        break


def test_stages_of_one_total(terminal: Terminal) -> None:
    with stages(10) as tick:
        tick("reading", 4)
        tick("decoding", 2)
        assert "decoding" in shown() and "6 of 10 images" in shown()


def test_stages_count_for_themselves(terminal: Terminal) -> None:
    with stages() as tick:
        tick("reading", 4)
        tick("decoding", 2)
        tick("decoding", 1)
        assert "decoding" in shown() and "3 images" in shown() and "reading" not in shown()


def test_an_error_takes_the_line_away(terminal: Terminal) -> None:
    with pytest.raises(ValueError, match="mine"), Progress("Reading", 3):
        raise ValueError("mine")


@pytest.mark.parametrize("what", ["quiet", "no terminal", "second process"])
def test_silent(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stream: Any = io.StringIO() if what == "no terminal" else Terminal()
    monkeypatch.setattr("sys.stderr", stream)
    monkeypatch.setattr(console, "_quiet", what == "quiet")
    if what == "second process":
        monkeypatch.setenv("LOCAL_RANK", "1")
    with Progress("Embedding", 10) as line:
        line.advance(4)
        assert progress._display._lines is None
    assert line.done == 4
    with stages() as tick:
        tick("reading", 3)
    ignore_progress("reading", 3)
    assert stream.getvalue() == ""


def test_a_program_sees_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    import subprocess
    import sys

    code = (
        "import sys; sys.stderr.isatty = lambda: True\n"
        "from artfp.core.progress import track\n"
        "assert list(track([1, 2])) == [1, 2]\n"
        "assert 'torch' not in sys.modules and 'pytorch_lightning' not in sys.modules\n"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == found.stderr == ""
