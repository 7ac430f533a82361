"""A rich table as the console shows it."""

from __future__ import annotations

import io
from typing import Any

from rich.console import Console


def printed(*shown: Any, width: int = 120) -> str:
    """Return what a plain console of so many columns prints."""
    console = Console(file=io.StringIO(), width=width, color_system=None, highlight=False)
    for each in shown:
        console.print(each)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()
