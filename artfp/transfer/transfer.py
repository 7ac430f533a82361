"""A transfer study as tables (console, Markdown, CSV, JSON) and pictures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from matplotlib.figure import Figure
from rich.table import Table
from torch import Tensor
from torchvision.utils import make_grid

from artfp.data.tables import Column, csv_table, markdown_table, rich_table
from artfp.reporting.figure import CHANCE_LINE, OKABE_ITO, figure_style, format_axes
from artfp.transfer.decoded import COUNTS, InData, Row

COLUMNS = (
    "group",
    "steps",
    "images",
    "bit_accuracy",
    "error",
    "low",
    "high",
    "majority",
    *(f"log10_p_{count}" for count in COUNTS),
    *(f"log10_p_{count}_corrected" for count in COUNTS),
    *(f"found_{count}" for count in COUNTS),
)
_SIZE = (7.2, 3.6)  # inches
_A_ROW = 8


def flat(row: Row) -> dict[str, Any]:
    """A row by COLUMNS; numbers of images that were not reached are None."""
    read = row.read
    cells: dict[str, Any] = {"group": row.group, "steps": row.steps, "images": read.images}
    for name in ("bit_accuracy", "error", "low", "high", "majority"):
        cells[name] = round(getattr(read, name), 6)
    for count in COUNTS:
        verdict = read.on(count)
        cells[f"log10_p_{count}"] = verdict and round(verdict.log10_p, 3)
        cells[f"log10_p_{count}_corrected"] = verdict and round(verdict.log10_p_corrected, 3)
        cells[f"found_{count}"] = verdict and round(verdict.found, 4)
    return {name: cells[name] for name in COLUMNS}


def to_csv(rows: Sequence[Row]) -> str:
    """Return a line for each row."""
    return csv_table(map(flat, rows), COLUMNS)


def last_rows(rows: Sequence[Row]) -> list[Row]:
    """The row of the most steps of each group, in the order of the groups."""
    found: dict[str, Row] = {}
    for row in rows:
        if row.group not in found or row.steps > found[row.group].steps:
            found[row.group] = row
    return list(found.values())


def _log10_p(row: Row, count: int) -> float | None:
    verdict = row.read.on(count)
    return None if verdict is None else verdict.log10_p


_SHOWN = (
    Column("training images", "group"),
    Column("steps"),
    Column("bit accuracy", "read.bit_accuracy", ".4f"),
    Column("5% to 95%", lambda row: f"{row.read.low:.3f} to {row.read.high:.3f}"),
    Column(
        "majority", lambda row: f"{round(row.read.majority * row.read.bits)} of {row.read.bits}"
    ),
    *(Column(f"log10 p, {count}", partial(_log10_p, count=count), ".1f") for count in COUNTS),
)


def to_table(rows: Sequence[Row]) -> Table:
    """Return the table for the console."""
    return rich_table(rows, _SHOWN, boxed=True)


def to_markdown(data: InData, rows: Sequence[Row], about: str, more: Sequence[str] = ()) -> str:
    """The last row of each group as a Markdown table, with what is to be known of it.

    `about` says what was studied; `more` are further paragraphs.
    """
    paragraphs = [
        about,
        f"The fingerprinted images read {data.read.bit_accuracy:.4f} at {data.psnr:.2f} dB. Of the "
        "generators' images: mean bit accuracy, what 5% and 95% of the images fall under, right "
        "bits of the mean logits, and the median log10 p-value of the one fingerprint over groups "
        f"of {', '.join(map(str, COUNTS))} images (not corrected).",
    ]
    return "\n\n".join([*paragraphs, markdown_table(last_rows(rows), _SHOWN), *more]) + "\n"


@figure_style
def plot_progress(rows: Sequence[Row], title: str) -> Figure:
    """Plot bit accuracy against steps of training, a line for each group.

    The band holds the middle 90% of the images.
    """
    figure = Figure(figsize=_SIZE, layout="constrained")
    panel = figure.subplots()
    for number, group in enumerate(dict.fromkeys(row.group for row in rows)):
        own = sorted((row for row in rows if row.group == group), key=lambda row: row.steps)
        steps = [row.steps for row in own]
        colour = OKABE_ITO[number % len(OKABE_ITO)]
        accuracies = [row.read.bit_accuracy for row in own]
        panel.plot(steps, accuracies, label=group, color=colour, marker="o")
        bounds = [row.read.low for row in own], [row.read.high for row in own]
        panel.fill_between(steps, *bounds, color=colour, alpha=0.13, linewidth=0)
    panel.axhline(0.5, **CHANCE_LINE)
    panel.set_ylim(min(0.35, panel.get_ylim()[0]), 1.005)
    panel.set_xlim(left=0)
    panel.set_title(title)
    format_axes(panel, "steps of the generator's training", "bit accuracy of an image")
    panel.legend(title="trained on")
    return figure


def side_by_side(groups: Sequence[Tensor]) -> Tensor:
    """Images (N, 3, R, R) in [0, 1] of some groups as a picture (3, h, w): a block for each."""
    blocks = [
        make_grid(images, nrow=min(_A_ROW, math.ceil(len(images) / 2)), padding=2, pad_value=1.0)
        for images in groups
    ]
    gap = torch.ones(3, blocks[0].shape[1], 12)
    parts = [part for block in blocks for part in (gap, block)]
    return torch.cat(parts[1:], dim=2)
