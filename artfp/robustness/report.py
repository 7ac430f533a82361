"""Files of a robustness sweep: CSV, JSON, working ranges, plots, example pictures."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from artfp.data.reading import stack_pixels
from artfp.data.tables import csv_table, json_rows, markdown_table
from artfp.perturbations.conditions import IDENTITY, Condition
from artfp.reporting.figure import write_files
from artfp.reporting.image_grid import image_strip
from artfp.robustness.fidelity_table import fidelity_csv, fidelity_markdown
from artfp.robustness.plots import PlottedMethod, plot_figure
from artfp.robustness.sweep import Sweep, SweepRow
from artfp.robustness.working_range import LEAST, WorkingRange, has_figure, working_ranges

SWEEP_COLUMNS = (
    "image_set",
    "method",
    "perturbation",
    "strength",
    "unit",
    "images",
    "bits",
    "bit_accuracy",
    "bit_accuracy_q05",
    "sources",
    "source_accuracy",
    "tpr",
    "tpr_low",
    "tpr_high",
    "fpr",
    "threshold",
    "fpr_high",
    "negatives",
    "false_positives",
)
"""Columns of the CSV; see `artfp.robustness.figures.SweepFigures`."""

TITLES = {
    "bit_accuracy": "bit accuracy",
    "tpr": "true positive rate",
    "source_accuracy": "accuracy at choosing the source",
}
_LIMITS = {"bit_accuracy": (0.4, 1.0), "tpr": (0.0, 1.0), "source_accuracy": (0.0, 1.0)}


@dataclass(frozen=True)
class Report:
    """A sweep with its figures.

    Args:
        sweep: Rows of figures, and the fidelity of each method.
        conditions: Perturbations with their strengths.
        settings: Configuration of the sweep, without secrets.
        unusable: Names of images that could not be used, with the reasons.
        example: An image (H, W, 3), 8-bit, to show the perturbations on.
    """

    sweep: Sweep
    conditions: list[Condition]
    settings: dict[str, Any]
    unusable: list[tuple[str, str]]
    example: np.ndarray | None = None

    def methods(self) -> list[PlottedMethod]:
        """Return the methods in the order of the sweep, with what is known of each."""
        found: dict[str, PlottedMethod] = {}
        for row in self.sweep.rows:
            fidelity = self.sweep.fidelity.get(row.image_set)
            psnr = None if fidelity is None else fidelity.psnr
            sources = row.sources if row.bits is None else None
            one = PlottedMethod(row.method, row.bits, psnr, sources)
            found.setdefault(row.method, one)
        return list(found.values())

    def ranges(self) -> list[WorkingRange]:
        """Return the working ranges of all methods."""
        return working_ranges(self.sweep.rows, self.conditions)


def write_report(report: Report, folder: Path, example: np.ndarray | None, seed: int) -> list[str]:
    """Write all files; their names, relative to the folder.

    `example` is an 8-bit image (H, W, 3) to show every perturbation on; `seed`, the sweep's.
    Raises UserError: a file cannot be written.
    """
    files: dict[str, str | bytes | Figure] = {
        "robustness.csv": table_csv(report.sweep.rows),
        "robustness.json": json.dumps(as_json(report), indent=1) + "\n",
        "working_range.md": ranges_markdown(report) + fidelity_markdown(report.sweep),
    }
    if report.sweep.fidelity:
        files["fidelity.csv"] = fidelity_csv(report.sweep)
    methods, rows = report.methods(), report.sweep.rows
    for figure, title in TITLES.items():
        shown = [row for row in rows if has_figure(row, figure)]
        if shown:
            at = f" at a false positive rate of {_fpr(rows)}" if figure == "tpr" else ""
            whole = f"{title}{at}, {shown[0].images} images"
            who = {row.method for row in shown}
            chosen = [each for each in methods if each.name in who]
            files[f"{figure}.png"] = plot_figure(
                shown, report.conditions, chosen, figure, whole, _LIMITS[figure]
            )
    if example is not None:
        for name in dict.fromkeys(c.group for c in report.conditions if c.group != IDENTITY):
            files[f"examples/{name}.png"] = _example(report.conditions, name, example, seed)
    return write_files(folder, files)


def table_csv(rows: Sequence[SweepRow]) -> str:
    """Return all rows as CSV; what has no value is empty."""
    return csv_table(rows, SWEEP_COLUMNS, floats=".6g")


def as_json(report: Report) -> dict[str, Any]:
    """Return settings, fidelity, rows and working ranges as JSON values."""
    return {
        "settings": report.settings,
        "fidelity": {name: asdict(found) for name, found in report.sweep.fidelity.items()},
        "rows": json_rows(report.sweep.rows, SWEEP_COLUMNS),
        "working_ranges": [{**asdict(found), "text": str(found)} for found in report.ranges()],
        "unusable": [{"name": name, "reason": reason} for name, reason in report.unusable],
    }


def ranges_markdown(report: Report) -> str:
    """Return a table for each figure: a row for each perturbation, a column for each method."""
    names = [method.name for method in report.methods()]
    titles = [method.title() for method in report.methods()]
    units = {c.group: c.unit for c in report.conditions if c.group != IDENTITY}
    by_place = {(r.figure, r.perturbation, r.method): str(r) for r in report.ranges()}
    lines = [
        "# Working ranges",
        "",
        "The harshest swept strength up to which the figure holds without a gap from the mild end; "
        "`none`: not even at the mildest; `all`: at every strength that was swept.",
    ]
    for figure, least in LEAST.items():
        if not any(place[0] == figure for place in by_place):
            continue
        at = f" at a false positive rate of {_fpr(report.sweep.rows)}" if figure == "tpr" else ""
        lines += ["", f"## {TITLES[figure]} of at least {least:g}{at}", ""]
        cells = [
            [name, unit, *(by_place.get((figure, name, method), "") for method in names)]
            for name, unit in units.items()
        ]
        lines.append(markdown_table(cells, ["perturbation", "strength in", *titles]))
    return "\n".join(lines) + "\n"


def cell(row: SweepRow) -> str:
    """Return bit accuracy (or else source accuracy) and TPR of a row, for the console."""
    accuracy = row.source_accuracy if row.bit_accuracy is None else row.bit_accuracy
    parts = [f"{accuracy:.3f}" if accuracy is not None else "-"]
    parts.append(f"{row.tpr:.2f}" if row.tpr is not None else "-")
    return " / ".join(parts)


def _example(conditions: Sequence[Condition], name: str, example: np.ndarray, seed: int) -> bytes:
    """An image under each strength of a perturbation, side by side, with the strengths."""
    chosen = [Condition(), *(c for c in conditions if c.group == name)]
    pixels = stack_pixels([example])
    images = [c.apply(pixels, seed, "example")[0].permute(1, 2, 0).numpy() for c in chosen]
    captions = ["as it is", *(f"{c.strength:g}" for c in chosen[1:])]
    return image_strip(images, captions, f"{name}, {chosen[-1].unit}")


def _fpr(rows: Sequence[SweepRow]) -> str:
    return f"{rows[0].fpr:g}"
