"""Tables of results: rows to CSV, Markdown, JSON and rich tables, in one way for all commands.

Rows are dataclasses, mappings, or sequences of cells. Columns are names of fields, or `Column`s,
which say where a value comes from and how it is shown.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from artfp.core.errors import one_line, spreadsheet_text
from artfp.data.files import write_atomic

if TYPE_CHECKING:
    from rich.table import Table

TableRow = Any
"""Dataclass, mapping, or sequence with a cell for each column."""


@dataclass(frozen=True)
class Column:
    """Column of a table: heading, origin of the values, and form of the cells.

    Args:
        heading: What stands above; line breaks count on the console alone.
        value: Name of the field, dotted for a field of a field, or a function of the row;
            None: the heading is the name.
        form: Format of a value that is there, such as ".3f", or a function of it that returns text.
        align: Side that the console puts cells to.
        wrap: Whether the console may break a long cell: "fold" between any letters, "words", or
            "no".
        multiline: Whether line breaks in cells count on the console; else they are escaped, as all
            control characters are.

    Example:
        >>> print(markdown_table([{"psnr": 31.256}], [Column("PSNR in dB", "psnr", ".1f")]))
        | PSNR in dB |
        |---|
        | 31.3 |
    """

    heading: str
    value: str | Callable[[Any], object] | None = None
    form: str | Callable[[Any], str] = ""
    align: Literal["left", "right"] = "left"
    wrap: Literal["fold", "words", "no"] = "words"
    multiline: bool = False

    def of(self, row: TableRow, place: int) -> object:
        """Return the value of a row; `place` counts the columns from 0."""
        if callable(self.value):
            return self.value(row)
        if isinstance(row, list | tuple):
            return row[place]
        return reduce(_field, (self.value or self.heading).split("."), row)


Columns = Sequence["str | Column"]


def csv_table(rows: Iterable[TableRow], columns: Columns | None = None, floats: str = "") -> str:
    r"""Return rows as CSV (RFC 4180) under a line of headings; what is None is empty.

    Args:
        rows: Dataclasses, mappings or sequences of cells.
        columns: Names of fields or `Column`s; None: all fields of the first row.
        floats: Format of floats whose column has none, such as ".6g"; "": in full.

    Example:
        >>> csv_table([{"name": "a", "psnr": 31.25}, {"name": "b", "psnr": None}])
        'name,psnr\na,31.25\nb,\n'
    """
    shown, rows = _columns(rows, columns)
    lines = [csv_line(column.heading for column in shown)]
    lines += [csv_line(_values(row, shown, floats)) for row in rows]
    return "".join(lines)


def markdown_table(
    rows: Iterable[TableRow], columns: Columns | None = None, floats: str = ".4g"
) -> str:
    """Return rows as a table in Markdown, without a line break at the end.

    Args:
        rows: Dataclasses, mappings or sequences of cells.
        columns: Names of fields or `Column`s; None: all fields of the first row.
        floats: Format of floats whose column has none.

    Example:
        >>> print(markdown_table([("a", 0.98765)], ["name", "accuracy"]))
        | name | accuracy |
        |---|---|
        | a | 0.9877 |
    """
    shown, rows = _columns(rows, columns)
    lines = [[column.heading for column in shown], *(_texts(row, shown, floats) for row in rows)]
    marked = ["| " + " | ".join(map(_markdown, line)) + " |" for line in lines]
    return "\n".join([marked[0], "|" + "---|" * len(shown), *marked[1:]])


def rich_table(
    rows: Iterable[TableRow],
    columns: Columns | None = None,
    title: str = "",
    floats: str = ".4g",
    boxed: bool = False,
) -> Table:
    """Return rows as a table for the console; names cannot change its layout or colours.

    Args:
        rows: Dataclasses, mappings or sequences of cells.
        columns: Names of fields or `Column`s; None: all fields of the first row.
        title: Line above the table.
        floats: Format of floats whose column has none.
        boxed: Whether lines are drawn around and between columns, not below the headings alone.

    Example:
        >>> rich_table([("a", 0.98765)], ["name", Column("accuracy", align="right")]).row_count
        1
    """
    from rich.box import HEAVY_HEAD, SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    shown, rows = _columns(rows, columns)
    table = Table(
        box=HEAVY_HEAD if boxed else SIMPLE_HEAD,
        title=Text(title, "table.title") if title else None,
        title_justify="left",
    )
    for column in shown:
        table.add_column(
            Text(column.heading),
            justify=column.align,
            overflow="fold" if column.wrap == "fold" else "ellipsis",
            no_wrap=column.wrap == "no",
        )
    for row in rows:
        cells = zip(shown, _texts(row, shown, floats), strict=True)
        table.add_row(*(Text(_printable(text, column.multiline)) for column, text in cells))
    return table


def json_rows(rows: Iterable[TableRow], columns: Columns | None = None) -> list[dict[str, Any]]:
    """Return rows as objects for JSON, by their columns' headings; formats are not applied.

    Args:
        rows: Dataclasses, mappings or sequences of cells.
        columns: Names of fields or `Column`s; None: all fields of the first row.

    Example:
        >>> json_rows([("a", 0.5)], ["name", "accuracy"])
        [{'name': 'a', 'accuracy': 0.5}]
    """
    shown, rows = _columns(rows, columns)
    return [{c.heading: c.of(row, place) for place, c in enumerate(shown)} for row in rows]


def round_significant(value: Any, digits: int = 5) -> Any:
    """Return a JSON value with every float, at any depth, at so many significant digits.

    Args:
        value: What `json.dumps` takes; tuples become lists.
        digits: Significant decimal digits that are kept.

    Example:
        >>> round_significant({"psnr": 31.123456, "runs": (1, 0.000123456)})
        {'psnr': 31.123, 'runs': [1, 0.00012346]}
    """
    if isinstance(value, float):
        return float(f"{value:.{digits}g}")
    if isinstance(value, dict):
        return {key: round_significant(each, digits) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [round_significant(each, digits) for each in value]
    return value


def csv_line(values: Iterable[object]) -> str:
    r"""Return one line of CSV, numbers in full; what is None is empty.

    Text that a spreadsheet would run as a formula gets an apostrophe before it, which
    `csv_text` takes away.

    Args:
        values: The cells.

    Example:
        >>> csv_line(["a, b", 1.5, None, "=1+1"])
        '"a, b",1.5,,\'=1+1\n'
    """
    text = io.StringIO(newline="")
    csv.writer(text).writerow(map(_cell, values))  # which quotes the breaks of its own line alone
    return text.getvalue()[:-2] + "\n"


def csv_text(cell: str) -> str:
    """Return the text of a cell that `csv_line` wrote.

    Args:
        cell: The cell, as a CSV reader gives it.

    Example:
        >>> csv_text("'=1+1"), csv_text("'tis")
        ('=1+1', "'tis")
    """
    rest = cell[1:]
    return rest if cell.startswith("'") and spreadsheet_text(rest) == cell else cell


def _cell(value: object) -> object:
    if value is None:
        return ""
    return spreadsheet_text(value) if isinstance(value, str) else value


def _field(row: TableRow, name: str) -> object:
    return row[name] if isinstance(row, Mapping) else getattr(row, name)


def _columns(
    rows: Iterable[TableRow], columns: Columns | None
) -> tuple[list[Column], list[TableRow]]:
    rows = list(rows)
    if columns is None:
        if not rows:
            raise ValueError("a table without rows needs its columns")
        first = rows[0]
        names = [field.name for field in fields(first)] if is_dataclass(first) else list(first)
        return [Column(name, _whole(name)) for name in names], rows
    return [Column(each) if isinstance(each, str) else each for each in columns], rows


def _whole(name: str) -> Callable[[TableRow], object]:
    """Return what takes the field of a name, dots and all."""
    return lambda row: _field(row, name)


def _values(row: TableRow, columns: Sequence[Column], floats: str) -> list[object]:
    """Return the cells of a line of CSV."""
    values = [(column, column.of(row, place)) for place, column in enumerate(columns)]
    return [
        _formatted(value, column.form or (floats if isinstance(value, float) else ""))
        for column, value in values
    ]


def _texts(row: TableRow, columns: Sequence[Column], floats: str) -> list[str]:
    """Return the cells of a line that people read."""
    return [
        _text(_formatted(column.of(row, place), column.form), floats)
        for place, column in enumerate(columns)
    ]


def _formatted(value: object, form: str | Callable[[Any], str]) -> object:
    if value is None or not form:
        return value
    return form(value) if callable(form) else format(value, form)


def _text(value: object, floats: str) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return format(value, floats) if isinstance(value, float) else str(value)


def _markdown(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _printable(text: str, multiline: bool) -> str:
    return "\n".join(map(one_line, text.split("\n"))) if multiline else one_line(text)


def write_tables(
    records: Iterable[dict[str, Any]],
    names: Sequence[str],
    columns: Sequence[str],
    table: Path,
    listing: Path,
    listed: str,
) -> tuple[int, list[tuple[str, str]]]:
    """Write the records of images as CSV and as lines "name bits", in the order of `names`.

    Of several records of an image the last counts, but a success before an error: an error from a
    run before may come late, from another process's journal. Memory holds one line of CSV an image,
    not the records. Both files hold bits, and only their owner can read them.

    Args:
        records: Mappings with `name`, `bits` (text), and `error`, which is None for a success.
        names: All images of the source.
        columns: Columns of the CSV.
        table: The CSV file.
        listing: The text file.
        listed: Column that names an image in the text file.

    Returns:
        Number of images that were done; (name, reason) of those that could not be read.
    """
    positions = {name: i for i, name in enumerate(names)}
    lines = [""] * len(names)
    bits_lines = [""] * len(names)
    failed: dict[int, str] = {}
    for record in records:
        position = positions.get(record["name"])
        if position is None or (bits_lines[position] and record.get("error") is not None):
            continue
        lines[position] = csv_line(record.get(column) for column in columns)
        if record.get("error") is None:
            bits_lines[position] = f"{one_line(str(record[listed]))} {record['bits']}\n"
            failed.pop(position, None)
        else:
            failed[position] = str(record["error"])
    write_atomic(table, csv_line(columns) + "".join(lines), keep_equal=True, secret=True)
    write_atomic(listing, "".join(bits_lines), keep_equal=True, secret=True)
    done = sum(map(bool, bits_lines))
    return done, [(names[i], reason) for i, reason in sorted(failed.items())]


def error_record(name: str, reason: str) -> dict[str, Any]:
    """Return the record of an image that could not be used."""
    return {"name": name, "error": reason}
