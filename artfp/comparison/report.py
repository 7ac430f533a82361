"""Results of a comparison of proactive and passive attribution: tables, JSON, plots."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from rich.table import Table

from artfp.comparison.measure import ComparisonResult, ComparisonRow
from artfp.comparison.scores import FALSE_POSITIVE_RATE, REQUIRED_FRACTION
from artfp.data.tables import Column, csv_table, markdown_table, rich_table, round_significant
from artfp.perturbations.conditions import IDENTITY, Condition
from artfp.reporting.figure import write_files
from artfp.robustness.plots import PlottedMethod, plot_figure

SUMMARY_COLUMNS = (
    "method",
    "accuracy",
    "perturbed",
    "worst",
    "tpr",
    "tpr, perturbed",
    "false claims",
    "images",
    "conditions",
    "training, s",
    "ms an image",
    "needs",
)
"""Columns of the summary table, see `COMPARISON_LEGEND`."""

COMPARISON_LEGEND = f"""\
`accuracy` of attributing an unperturbed image; `perturbed`, the mean over all perturbed conditions,
each perturbation with the same weight; `worst`, in the worst condition. `tpr`: fraction of true
claims "this image is of that source" accepted while {FALSE_POSITIVE_RATE:g} of the false ones are;
`perturbed`, the mean, with thresholds set for each condition. `false claims`: the largest fraction
of false claims accepted in any condition with thresholds of unperturbed images. `images`: how many
images of one source are attributed correctly in {REQUIRED_FRACTION:.0%} of the cases for every
source, unperturbed; `-`: more than there were. `conditions`: number of conditions in which some
number of images is, and the median of these numbers. `training, s`: seconds of the fit on this
machine. `ms an image`: milliseconds of scoring, in the same run."""

_LIMITS = {"accuracy": (0.0, 1.0), "tpr": (0.0, 1.0)}
_TITLES = {
    "accuracy": "accuracy of attribution",
    "tpr": f"true positive rate at a false positive rate of {FALSE_POSITIVE_RATE:g}",
}


def write_comparison(
    found: ComparisonResult, conditions: Sequence[Condition], settings: dict[str, Any], folder: Path
) -> list[str]:
    """Write all files and return their names."""
    whole = {
        "settings": settings,
        "sources": list(found.sources),
        "unmarked": found.unmarked,
        "fitted": found.images[0],
        "tested": found.images[1],
        "methods": [asdict(method) for method in found.methods],
        "rows": [asdict(row) for row in found.rows],
        "unusable": [list(each) for each in found.failed],
    }
    files: dict[str, str | bytes | Figure] = {
        "compare.csv": rows_csv(found.rows),
        "compare.json": json.dumps(round_significant(whole), indent=1) + "\n",
        "compare.md": comparison_page(found),
    }
    lines = [PlottedMethod(method.name) for method in found.methods]
    for quantity, limits in _LIMITS.items():
        title = (
            f"{_TITLES[quantity]}: {len(found.sources)} sources, {found.images[1]} images of each"
        )
        files[f"{quantity}.png"] = plot_figure(
            found.rows, conditions, lines, quantity, title, limits
        )
    return write_files(folder, files)


def rows_csv(rows: Sequence[ComparisonRow]) -> str:
    """Return all rows as CSV; the accuracy of each source in a column, separated by spaces."""
    names = [field.name for field in fields(ComparisonRow) if field.name != "per_source"]
    per_source = Column("per_source", form=lambda each: " ".join(f"{x:.4f}" for x in each))
    return csv_table(rows, [*names, per_source], floats=".6g")


def summary_rows(found: ComparisonResult) -> list[list[str]]:
    """Return the cells of the summary table, a row for each method, by SUMMARY_COLUMNS."""
    table = []
    for method in found.methods:
        rows = [row for row in found.rows if row.method == method.name]
        clean = next(row for row in rows if row.perturbation == IDENTITY)
        others = [row for row in rows if row.perturbation != IDENTITY]
        needed = [row.images for row in rows if row.images is not None]
        median = f", {np.median(needed):g}" if needed else ""
        table.append(
            [
                method.name,
                f"{clean.accuracy:.4f}",
                _mean(others, "accuracy"),
                f"{min(row.accuracy for row in rows):.3f}",
                f"{clean.tpr:.3f}",
                _mean(others, "tpr"),
                f"{max(row.fixed_fpr for row in rows):.4f}",
                _count(clean.images),
                f"{len(needed)} of {len(rows)}{median}",
                "" if method.seconds is None else f"{method.seconds:.0f}",
                f"{method.milliseconds:.2f}",
                method.needs,
            ]
        )
    return table


def summary_table(found: ComparisonResult) -> Table:
    """Return the summary for the console, without the last column."""
    columns = [
        Column(head, align="left" if head == SUMMARY_COLUMNS[0] else "right")
        for head in SUMMARY_COLUMNS[:-1]
    ]
    return rich_table([row[:-1] for row in summary_rows(found)], columns)


def comparison_page(found: ComparisonResult) -> str:
    """Return a page with the summary table, its legend, and the accuracy under each condition."""
    names = [method.name for method in found.methods]
    unmarked = f", {found.unmarked} without a fingerprint" if found.unmarked else ""
    lines = [
        f"# {len(found.sources)} sources: {', '.join(found.sources)}{unmarked}",
        "",
        f"{found.images[0]} images of each source fitted the passive methods, {found.images[1]} "
        "others tested all methods.",
        "",
        markdown_table(summary_rows(found), SUMMARY_COLUMNS),
        "",
        COMPARISON_LEGEND,
        "",
        *(f"- {method.name}: {method.about}" for method in found.methods),
        "",
        "## Accuracy under each perturbation",
        "",
    ]
    places: dict[tuple[str, float | None], dict[str, float]] = {}
    for row in found.rows:
        place = places.setdefault((row.perturbation, row.strength), {})
        place[row.method] = row.accuracy
    cells = [
        [group, "" if strength is None else f"{strength:g}", *(f"{by[n]:.4f}" for n in names)]
        for (group, strength), by in places.items()
    ]
    lines.append(markdown_table(cells, ["perturbation", "strength", *names]))
    return "\n".join(lines) + "\n"


def _mean(rows: Sequence[ComparisonRow], quantity: str) -> str:
    """Return the mean of the perturbations' means; empty without any."""
    groups: dict[str, list[float]] = {}
    for row in rows:
        groups.setdefault(row.perturbation, []).append(getattr(row, quantity))
    if not groups:
        return ""
    return f"{np.mean([np.mean(values) for values in groups.values()]):.3f}"


def _count(images: int | None) -> str:
    return "-" if images is None else str(images)
