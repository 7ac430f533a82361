"""A passive study as a page in Markdown, and its tables as CSV."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from artfp.data.tables import csv_line

Row = dict[str, Any]


def rounded(value: Any) -> Any:
    """A JSON value with every float, at any depth, at five significant digits."""
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, dict):
        return {key: rounded(each) for key, each in value.items()}
    return [rounded(each) for each in value] if isinstance(value, list | tuple) else value


def to_csv(rows: Sequence[Row]) -> str:
    """A line for each row, after one of the names of the columns."""
    return csv_line(rows[0]) + "".join(csv_line(row.values()) for row in rows)


def to_markdown(rows: Sequence[Row]) -> str:
    """A Markdown table of the rows."""
    lines = [[_cell(name) for name in rows[0]]]
    lines += [[_cell(value) for value in row.values()] for row in rows]
    texts = ["| " + " | ".join(line) + " |" for line in lines]
    return "\n".join([texts[0], "|" + "---|" * len(rows[0]), *texts[1:]])


def section(title: str, text: str, picture: str, rows: Sequence[Row]) -> str:
    """A heading, words, a picture by its file's name, and a table."""
    return f"## {title}\n\n{text}\n\n![{title}]({picture})\n\n{to_markdown(rows)}\n"


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return text.replace("|", "\\|").replace("\n", " ")
