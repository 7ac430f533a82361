"""Results of a run as the published text file and as CSV, in the order of the source."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from artfp.core.errors import one_line
from artfp.data.writing import write_atomic


def csv_line(values: Iterable[object]) -> str:
    """One CSV line (RFC 4180), numbers in full."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(["" if v is None else v for v in values])
    return text.getvalue()


def write_tables(
    records: Iterable[dict[str, Any]],
    names: Sequence[str],
    columns: Sequence[str],
    table: Path,
    listing: Path,
    listed: str,
) -> tuple[int, list[tuple[str, str]]]:
    """Write the records of `names` as CSV and as lines "name bits".

    Of several records of an image the last counts, but a success before an error: an error from a
    run before may come late, from another process's journal.
    Memory holds one CSV line an image, not the records. Args: `columns` of the records;
    `table`, the CSV file; `listing`, the text file; `listed`, the column that names an image there.

    Returns how many images were done, and (name, reason) of those that could not be read.
    """
    positions = {name: i for i, name in enumerate(names)}
    lines = [""] * len(names)
    words = [""] * len(names)
    failed: dict[int, str] = {}
    for record in records:
        position = positions.get(record["name"])
        if position is None or (words[position] and record.get("error") is not None):
            continue
        lines[position] = csv_line(record.get(column) for column in columns)
        if record.get("error") is None:
            words[position] = f"{one_line(str(record[listed]))} {record['bits']}\n"
            failed.pop(position, None)
        else:
            failed[position] = str(record["error"])
    write_atomic(table, csv_line(columns) + "".join(lines), keep_equal=True)
    write_atomic(listing, "".join(words), keep_equal=True)
    done = sum(map(bool, words))
    return done, [(names[i], reason) for i, reason in sorted(failed.items())]


def error_record(name: str, reason: str) -> dict[str, Any]:
    """Record of an image that could not be used."""
    return {"name": name, "error": reason}
