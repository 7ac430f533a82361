"""Distances between sets of images: a row for each number, as a table, CSV and JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, Any

from artfp import __version__
from artfp.data.tables import Column, csv_table, json_rows, rich_table
from artfp.metrics.frechet_kernel import (
    MIN_IMAGES_PER_FEATURE,
    DistanceComparison,
    DistanceEstimate,
)

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True)
class DistanceRow:
    """Number of a comparison: `of` is "B", "C", "B - C" or "B / C"; None where images are few."""

    figure: str
    of: str
    value: float
    standard_error: float | None
    low: float | None
    high: float | None

    @property
    def interval(self) -> str | None:
        """Text of the interval, from its low to its high end."""
        return None if self.low is None else f"{self.low:.5g} to {self.high:.5g}"


_COLUMNS = ("figure", "of", "value", "standard_error", "low", "high")


def single_rows(found: Mapping[str, DistanceEstimate]) -> list[DistanceRow]:
    """Return the rows of the distances of one set B, by their names."""
    return [_row(name, "B", estimate) for name, estimate in found.items()]


def compared_rows(found: DistanceComparison, names: tuple[str, str]) -> list[DistanceRow]:
    """Return the rows of a comparison of B with C.

    Args:
        found: The comparison.
        names: Names of the Frechet and of the kernel distance.
    """
    frechet, kernel = names
    contrasts = {frechet: found.frechet, f"{frechet}_limit": found.limit, kernel: found.kernel}
    rows = []
    for name, contrast in contrasts.items():
        if contrast is None:
            continue
        rows += [_row(name, "B", contrast.a), _row(name, "C", contrast.b)]
        rows.append(_row(name, "B - C", contrast.difference))
        if contrast.ratio is not None:
            rows.append(_row(name, "B / C", contrast.ratio))
    return rows


def _row(figure: str, of: str, found: DistanceEstimate) -> DistanceRow:
    numbers = (n if isfinite(n) else None for n in (found.error, found.low, found.high))
    return DistanceRow(figure, of, found.value, *numbers)


def explain(names: tuple[str, str], images: Sequence[int], features: int, confidence: float) -> str:
    """Return sentences on what the distances mean; `images` are the numbers of each set."""
    frechet, kernel = names
    parts = [
        f"Intervals of {confidence:.0%} are about other images of the same sources, not about "
        "other trainings."
    ]
    if frechet.endswith("_effnet"):
        parts.append("Features of EfficientNet-Lite0: do not compare with published FID and KID.")
    elif frechet.endswith("_inception"):
        parts.append("The weights are not the published ones: do not compare with published FID.")
    if min(images) < MIN_IMAGES_PER_FEATURE * features:
        parts.append(
            f"{frechet} grows as images get fewer, and is far too large below "
            f"{MIN_IMAGES_PER_FEATURE * features} of each: compare it at equal numbers only. "
            f"{kernel} has no such bias."
        )
    return " ".join(parts)


def distance_table(rows: Sequence[DistanceRow], confidence: float) -> Table:
    """Return a table for the console."""
    columns = (
        Column("figure"),
        Column("of"),
        Column("value", form=".5g", align="right"),
        Column("standard error", "standard_error", ".2g", align="right"),
        Column(f"{confidence:.0%} interval", "interval", align="right"),
    )
    return rich_table(rows, columns, boxed=True)


def distance_csv(rows: Sequence[DistanceRow]) -> str:
    """Return a line for each row."""
    return csv_table(rows, _COLUMNS)


def distance_json(rows: Sequence[DistanceRow], question: Mapping[str, Any]) -> dict[str, Any]:
    """Return the rows as JSON values, with what was compared."""
    return {
        "software": f"artfp {__version__}",
        "question": dict(question),
        "rows": json_rows(rows, _COLUMNS),
    }
