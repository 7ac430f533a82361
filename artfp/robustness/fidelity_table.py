"""Fidelity and visibility of the marks of each method, for files and for people."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from artfp.data.tables import Column, csv_table, markdown_table
from artfp.robustness.sweep import Sweep

FIDELITY_COLUMNS = (
    "method",
    "images",
    "psnr",
    "ssim",
    "scielab_p95_60",
    "scielab_p95_60_worst",
    "scielab_over2_60",
    "scielab_p95_20",
    "scielab_p95_20_worst",
    "scielab_over2_20",
    "ssimulacra2",
    "ssimulacra2_worst",
    "cvvdp",
    "cvvdp_worst",
    "most_visible",
)
"""Columns of the CSV; see `artfp.metrics.visibility_summary.VisibilitySummary`."""

_SHOWN = (
    Column("method"),
    Column("PSNR dB", "psnr", ".2f"),
    Column("SSIM", "ssim", ".4f"),
    Column("S-CIELAB p95", "scielab_p95_60", ".2f"),
    Column("worst", "scielab_p95_60_worst", ".2f"),
    Column("over 2", "scielab_over2_60", ".1%"),
    Column("p95 zoomed in", "scielab_p95_20", ".2f"),
    Column("worst", "scielab_p95_20_worst", ".2f"),
    Column("over 2", "scielab_over2_20", ".1%"),
    Column("SSIMULACRA2", "ssimulacra2", ".1f"),
    Column("ColorVideoVDP JOD", "cvvdp", ".2f"),
    Column("most visible", "most_visible"),
)

_EXPLAINED = (
    "S-CIELAB: the difference that an eye sees at 60 pixels a degree, and zoomed in, at 20; the "
    "95th percentile of the pixels, mean over the images and worst image, and the fraction of "
    "pixels over 2."
)


def fidelity_rows(sweep: Sweep) -> list[dict[str, Any]]:
    """Return a row for each method that marks images itself, of FIDELITY_COLUMNS."""
    found = []
    for method, image_set in {row.method: row.image_set for row in sweep.rows}.items():
        fidelity = sweep.fidelity.get(image_set)
        if fidelity is not None:
            figures = {"method": method, **asdict(fidelity), **fidelity.visibility}
            found.append({name: figures.get(name) for name in FIDELITY_COLUMNS})
    return found


def fidelity_csv(sweep: Sweep) -> str:
    """Return the rows as CSV; what was not measured is empty."""
    return csv_table(fidelity_rows(sweep), FIDELITY_COLUMNS, floats=".6g")


def fidelity_markdown(sweep: Sweep) -> str:
    """Return a chapter with the rows, without what was not measured; "" if there is none."""
    rows = fidelity_rows(sweep)
    if not rows:
        return ""
    measured = {name for row in rows for name, value in row.items() if value not in (None, "")}
    shown = [column for column in _SHOWN if (column.value or column.heading) in measured]
    table = markdown_table(rows, shown)
    return f"\n## Visibility of the unperturbed marks\n\n{_EXPLAINED}\n\n{table}\n"
