"""What a comparison of proactive and passive attribution leaves behind: tables, JSON, plots."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, fields

import numpy as np
from matplotlib.figure import Figure
from rich.table import Table

from artfp.comparison.measure import ComparisonRow
from artfp.comparison.scores import FPR, SURE
from artfp.comparison.settings import CompareSettings
from artfp.comparison.study import Comparison, ComparisonResult
from artfp.data.tables import Column, csv_table, markdown_table, rich_table, round_significant
from artfp.perturbations.conditions import IDENTITY
from artfp.reporting.figure import write_files
from artfp.robustness.plots import Contestant, plot_figure

CLOSING = (
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
"""Columns of the closing table, see `LEGEND`."""

LEGEND = f"""\
`accuracy` at choosing the source of an unperturbed image; `perturbed`, the mean over all perturbed
conditions, each perturbation counting alike; `worst`, in the worst condition. `tpr`: share of true
claims "this image is of that source" accepted while {FPR:g} of the false ones are; `perturbed`, the
mean, with thresholds made anew for each condition. `false claims`: the greatest share of false
claims accepted in any condition with thresholds of unperturbed images. `images`: how many of one
source name it rightly in {SURE:.0%} of the cases for every source, of unperturbed images; `-`: more
than there were. `conditions`: in how many of all conditions some number of images does, and the
median of these numbers. `training, s`: seconds that fitting took on this
machine. `ms an image`: milliseconds of scoring, in the same run."""

_WHERE = {"accuracy": (0.0, 1.0), "tpr": (0.0, 1.0)}
_TITLES = {
    "accuracy": "accuracy at choosing the source",
    "tpr": f"true positive rate at a false positive rate of {FPR:g}",
}


def write_comparison(result: ComparisonResult, settings: CompareSettings) -> list[str]:
    """Write all files into the output folder; return their names."""
    found = result.comparison
    whole = {
        "settings": {
            "decoder": result.decoder,
            "realign": result.realign,
            "network": settings.network,
            "max_steps": settings.max_steps,
            "immunise_steps": settings.immunise_steps,
            "precision": settings.precision,
            "seed": settings.seed,
        },
        "sources": list(found.sources),
        "unmarked": found.unmarked,
        "fitted": found.images[0],
        "tested": found.images[1],
        "methods": [asdict(summary) for summary in found.summaries],
        "rows": [asdict(row) for row in found.rows],
        "unusable": [list(each) for each in found.failed],
    }
    files: dict[str, str | bytes | Figure] = {
        "compare.csv": to_csv(found.rows),
        "compare.json": json.dumps(round_significant(whole), indent=1) + "\n",
        "compare.md": to_markdown(found),
    }
    who = [Contestant(summary.name) for summary in found.summaries]
    for figure, limits in _WHERE.items():
        counts = f"{len(found.sources)} sources, {found.images[1]} images of each"
        title = f"{_TITLES[figure]}: {counts}"
        files[f"{figure}.png"] = plot_figure(
            found.rows, result.conditions, who, figure, title, limits
        )
    return write_files(settings.output_dir, files)


def closing_table(found: Comparison) -> Table:
    """Return the closing table, a row for each method, without the last column of CLOSING."""
    columns = [
        Column(heading, align="left" if heading == CLOSING[0] else "right")
        for heading in CLOSING[:-1]
    ]
    return rich_table([row[:-1] for row in closing_rows(found)], columns)


def to_csv(rows: Sequence[ComparisonRow]) -> str:
    """Return all rows as CSV; the accuracy of each source in a column, separated by spaces."""
    names = [field.name for field in fields(ComparisonRow) if field.name != "per_source"]
    per_source = Column("per_source", form=lambda each: " ".join(f"{x:.4f}" for x in each))
    return csv_table(rows, [*names, per_source], floats=".6g")


def closing_rows(found: Comparison) -> list[list[str]]:
    """Cells of the closing table, a row for each methods, by CLOSING."""
    table = []
    for summary in found.summaries:
        rows = [row for row in found.rows if row.contestant == summary.name]
        clean = next(row for row in rows if row.perturbation == IDENTITY)
        others = [row for row in rows if row.perturbation != IDENTITY]
        needed = [row.images for row in rows if row.images is not None]
        median = f", {np.median(needed):g}" if needed else ""
        table.append(
            [
                summary.name,
                f"{clean.accuracy:.4f}",
                _mean(others, "accuracy"),
                f"{min(row.accuracy for row in rows):.3f}",
                f"{clean.tpr:.3f}",
                _mean(others, "tpr"),
                f"{max(row.fixed_fpr for row in rows):.4f}",
                _count(clean.images),
                f"{len(needed)} of {len(rows)}{median}",
                "" if summary.seconds is None else f"{summary.seconds:.0f}",
                f"{summary.milliseconds:.2f}",
                summary.needs,
            ]
        )
    return table


def to_markdown(found: Comparison) -> str:
    """The closing table with its legend, and the accuracy under each condition."""
    names = [summary.name for summary in found.summaries]
    unmarked = f", {found.unmarked} without a fingerprint" if found.unmarked else ""
    lines = [
        f"# {len(found.sources)} sources: {', '.join(found.sources)}{unmarked}",
        "",
        f"{found.images[0]} images of each fitted the passive methods, {found.images[1]} "
        "others tested all.",
        "",
        markdown_table(closing_rows(found), CLOSING),
        "",
        LEGEND,
        "",
        *(f"- {summary.name}: {summary.about}" for summary in found.summaries),
        "",
        "## Accuracy under each perturbation",
        "",
    ]
    places: dict[tuple[str, float | None], dict[str, float]] = {}
    for row in found.rows:
        place = places.setdefault((row.perturbation, row.strength), {})
        place[row.contestant] = row.accuracy
    cells = [
        [group, "" if strength is None else f"{strength:g}", *(f"{by[n]:.4f}" for n in names)]
        for (group, strength), by in places.items()
    ]
    lines.append(markdown_table(cells, ["perturbation", "strength", *names]))
    return "\n".join(lines) + "\n"


def _mean(rows: Sequence[ComparisonRow], figure: str) -> str:
    """Mean of the perturbations' means; empty without any."""
    groups: dict[str, list[float]] = {}
    for row in rows:
        groups.setdefault(row.perturbation, []).append(getattr(row, figure))
    if not groups:
        return ""
    return f"{np.mean([np.mean(values) for values in groups.values()]):.3f}"


def _count(images: int | None) -> str:
    return "-" if images is None else str(images)
