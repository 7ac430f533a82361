"""One writer of tables: CSV, Markdown, console and JSON."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass
from typing import Any

import pytest
from rich.console import Console

from artfp.data.tables import (
    Column,
    csv_table,
    csv_text,
    json_rows,
    markdown_table,
    rich_table,
    round_significant,
)
from tests.golden import Golden


@dataclass(frozen=True)
class Cell:
    size: int


@dataclass(frozen=True)
class Measured:
    name: str
    cell: Cell
    accuracy: float
    psnr: float | None
    known: bool


ROWS = [
    Measured("a|b, [red]c[/]", Cell(32), 0.987654321, 31.25, True),
    Measured('"quoted"\nline', Cell(64), 2.0 / 3.0, None, False),
]
COLUMNS = [
    Column("name", wrap="fold"),
    Column("pixels\na side", "cell.size", align="right"),
    Column("accuracy", form=".2%", align="right"),
    Column("PSNR, dB", "psnr", ".1f", align="right"),
    Column("known"),
    Column("twice", lambda row: 2 * row.cell.size, lambda value: f"<{value}>"),
]


def _printed(table: Any) -> str:
    console = Console(file=io.StringIO(), width=100, color_system=None)
    console.print(table)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_forms(golden: Golden) -> None:
    golden("table.csv", csv_table(ROWS, ["name", "accuracy", "psnr", "known"]))
    golden("table_formatted.csv", csv_table(ROWS, COLUMNS, floats=".6g"))
    golden("table.md", markdown_table(ROWS, COLUMNS) + "\n")
    golden("table.txt", _printed(rich_table(ROWS, COLUMNS, title="All [i]measured[/]")))
    golden("table_boxed.txt", _printed(rich_table(ROWS, COLUMNS, boxed=True)))
    golden("table.json", json.dumps(json_rows(ROWS, COLUMNS), indent=1) + "\n")


def test_csv_is_read_back() -> None:
    first, *others = csv.reader(io.StringIO(csv_table(ROWS, ["name", "psnr"]), newline=""))
    assert first == ["name", "psnr"]
    assert others == [[ROWS[0].name, "31.25"], [ROWS[1].name, ""]]


@pytest.mark.parametrize(
    "text",
    [
        "=HYPERLINK(\"http://x\",\"y\")", "+1+1", "-2+3", "-a", "@SUM(1)", "\t=1", "\r=1", "\n=1",
        "\uff1d1+1", "'=1", "''@", "--report.png", "+x",
    ],
)  # fmt: skip
def test_spreadsheets_run_no_text(text: str) -> None:
    (found,) = next(csv.reader(io.StringIO(csv_table([[text]], ["name"])[5:], newline="")))
    assert found == "'" + text and csv_text(found) == text
    assert csv_table([], [text]).lstrip('"').startswith("'")


@pytest.mark.parametrize(
    "text", ["-1", "+.5", "-1.5e-3", "-inf", "+nan", "-", "-3.5%", "a=b", "'tis", "0110", ""]
)
def test_numbers_and_other_text_stay(text: str) -> None:
    line = csv_table([[text, -1.5, -3]], ["name", "score", "count"]).split("\n")[1]
    assert line == f"{text},-1.5,-3" and csv_text(text) == text


def test_all_fields_by_default() -> None:
    rows = [{"a.b": 1, "c": 0.12345678}, {"a.b": None, "c": 2.0}]
    assert csv_table(rows) == "a.b,c\n1,0.12345678\n,2.0\n"
    assert csv_table(rows, floats=".3g") == "a.b,c\n1,0.123\n,2\n"
    assert markdown_table(rows).splitlines()[2] == "| 1 | 0.1235 |"
    assert json_rows([Cell(3)]) == [{"size": 3}]


def test_rows_of_cells() -> None:
    assert csv_table([["x", 1], ("y", 2)], ["name", "count"]) == "name,count\nx,1\ny,2\n"
    assert markdown_table([], ["name"]) == "| name |\n|---|"


def test_no_rows_and_no_columns() -> None:
    with pytest.raises(ValueError, match="needs its columns"):
        csv_table([])


def test_console_shows_control_characters_escaped() -> None:
    assert "\\x1b[2J" in _printed(rich_table([("\x1b[2J",)], ["name"]))


def test_console_breaks_lines_only_where_asked() -> None:
    rows = [("one\ntwo",)]
    assert "one\\ntwo" in _printed(rich_table(rows, ["name"]))
    assert "one\\ntwo" not in _printed(rich_table(rows, [Column("name", multiline=True)]))


def test_significant_digits() -> None:
    value = {"a": [1.23456789, (0.000987654, True)], "b": "1.23456789", "c": 7}
    assert round_significant(value, 3) == {"a": [1.23, [0.000988, True]], "b": "1.23456789", "c": 7}
