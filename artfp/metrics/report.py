"""Distances between sets of images: a row for each figure, as a table, CSV and JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import isfinite
from typing import Any

from rich.table import Table

from artfp import __version__
from artfp.data.tables import csv_line
from artfp.metrics.frechet_kernel import (
    MIN_IMAGES_PER_FEATURE,
    DistanceComparison,
    DistanceEstimate,
)

__all__ = [
    "DistanceRow",
    "about",
    "compared_rows",
    "rows_csv",
    "rows_json",
    "rows_table",
    "single_rows",
]

COLUMNS = ("figure", "of", "value", "standard_error", "low", "high")


@dataclass(frozen=True)
class DistanceRow:
    """One figure: `of` is "B", "C", "B - C" or "B / C"; numbers are None where images are few."""

    figure: str
    of: str
    value: float
    standard_error: float | None
    low: float | None
    high: float | None


def single_rows(found: Mapping[str, DistanceEstimate]) -> list[DistanceRow]:
    """Rows of the distances of one set B by their names."""
    return [_row(name, "B", estimate) for name, estimate in found.items()]


def compared_rows(found: DistanceComparison, names: tuple[str, str]) -> list[DistanceRow]:
    """Rows of a comparison of B with C; `names` of the Frechet and the kernel distance."""
    frechet, kernel = names
    of = {frechet: found.frechet, f"{frechet}_limit": found.limit, kernel: found.kernel}
    rows = []
    for name, versus in of.items():
        if versus is None:
            continue
        rows += [_row(name, "B", versus.a), _row(name, "C", versus.b)]
        rows.append(_row(name, "B - C", versus.difference))
        if versus.ratio is not None:
            rows.append(_row(name, "B / C", versus.ratio))
    return rows


def _row(figure: str, of: str, found: DistanceEstimate) -> DistanceRow:
    spread = (found.error, found.low, found.high)
    return DistanceRow(
        figure, of, found.value, *(each if isfinite(each) else None for each in spread)
    )


def about(names: tuple[str, str], images: Sequence[int], features: int, confidence: float) -> str:
    """What the figures are, in plain words; `images` of the sets."""
    parts = [
        f"Intervals of {confidence:.0%} are about other images of the same sources, not about "
        "other trainings."
    ]
    if names[0].endswith("_effnet"):
        parts.append("Features of EfficientNet-Lite0: do not compare with published FID and KID.")
    elif names[0].endswith("_inception"):
        parts.append("The weights are not the published ones: do not compare with published FID.")
    if min(images) < MIN_IMAGES_PER_FEATURE * features:
        parts.append(
            f"{names[0]} grows as images get fewer, and is far too large below "
            f"{MIN_IMAGES_PER_FEATURE * features} of each: compare it at equal numbers only. "
            f"{names[1]} has no such bias."
        )
    return " ".join(parts)


def rows_table(rows: Sequence[DistanceRow], confidence: float) -> Table:
    """A table for the console."""
    table = Table("figure", "of")
    for header in ("value", "standard error", f"{confidence:.0%} interval"):
        table.add_column(header, justify="right")
    for row in rows:
        if row.standard_error is None or row.low is None or row.high is None:
            table.add_row(row.figure, row.of, f"{row.value:.5g}", "", "")
        else:
            interval = f"{row.low:.5g} to {row.high:.5g}"
            error = f"{row.standard_error:.2g}"
            table.add_row(row.figure, row.of, f"{row.value:.5g}", error, interval)
    return table


def rows_csv(rows: Sequence[DistanceRow]) -> str:
    """A line for each row; None is empty."""
    return csv_line(COLUMNS) + "".join(csv_line(asdict(row).values()) for row in rows)


def rows_json(rows: Sequence[DistanceRow], asked: Mapping[str, Any]) -> dict[str, Any]:
    """The question and the rows as JSON values."""
    return {
        "software": f"artfp {__version__}",
        "question": dict(asked),
        "rows": [asdict(row) for row in rows],
    }
