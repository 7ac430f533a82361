"""A transfer study as tables (console, Markdown, CSV, JSON) and pictures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from matplotlib.figure import Figure
from rich.table import Table
from torch import Tensor
from torchvision.utils import make_grid

from artfp.data.tables import csv_line
from artfp.reporting.figure import CHANCE_LINE, OKABE_ITO, encode_figure
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
    """A line for each row."""
    return csv_line(COLUMNS) + "".join(csv_line(flat(row).values()) for row in rows)


def last_rows(rows: Sequence[Row]) -> list[Row]:
    """The row of the most steps of each group, in the order of the groups."""
    found: dict[str, Row] = {}
    for row in rows:
        if row.group not in found or row.steps > found[row.group].steps:
            found[row.group] = row
    return list(found.values())


_HEAD = (
    "training images",
    "steps",
    "bit accuracy",
    "5% to 95%",
    "majority",
    *(f"log10 p, {count}" for count in COUNTS),
)


def _cells(row: Row) -> list[str]:
    read = row.read
    verdicts = [read.on(count) for count in COUNTS]
    return [
        row.group,
        str(row.steps),
        f"{read.bit_accuracy:.4f}",
        f"{read.low:.3f} to {read.high:.3f}",
        f"{round(read.majority * read.bits)} of {read.bits}",
        *("" if v is None else f"{v.log10_p:.1f}" for v in verdicts),
    ]


def to_table(rows: Sequence[Row]) -> Table:
    """For the console."""
    table = Table(*_HEAD)
    for row in rows:
        table.add_row(*_cells(row))
    return table


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
    lines = ["| " + " | ".join(_HEAD) + " |", "|" + "---|" * len(_HEAD)]
    lines += ["| " + " | ".join(_cells(row)) + " |" for row in last_rows(rows)]
    return "\n\n".join([*paragraphs, "\n".join(lines), *more]) + "\n"


def plot_progress(rows: Sequence[Row], title: str) -> bytes:
    """Bit accuracy against steps of training, a line for each group, as a PNG file.

    The band holds the middle 90% of the images.
    """
    picture = Figure(figsize=_SIZE, dpi=130)
    panel = picture.subplots()
    groups = list(dict.fromkeys(row.group for row in rows))
    for number, group in enumerate(groups):
        of = sorted((row for row in rows if row.group == group), key=lambda row: row.steps)
        steps = [row.steps for row in of]
        colour = OKABE_ITO[number % len(OKABE_ITO)]
        style: dict[str, Any] = {"color": colour, "marker": "o", "markersize": 3.6}
        panel.plot(steps, [row.read.bit_accuracy for row in of], label=group, **style)
        bounds = [row.read.low for row in of], [row.read.high for row in of]
        panel.fill_between(steps, *bounds, color=colour, alpha=0.13, linewidth=0)
    panel.axhline(0.5, **CHANCE_LINE)
    panel.set_ylim(min(0.35, panel.get_ylim()[0]), 1.005)
    panel.set_xlim(left=0)
    panel.set_xlabel("steps of the generator's training", fontsize=9)
    panel.set_ylabel("bit accuracy of an image", fontsize=9)
    panel.set_title(title, fontsize=10)
    panel.tick_params(labelsize=8, length=2)
    panel.grid(color="#dddddd", linewidth=0.6)
    panel.set_axisbelow(True)
    panel.spines[["top", "right"]].set_visible(False)
    panel.legend(title="trained on", fontsize=8, title_fontsize=8, frameon=False)
    picture.tight_layout()
    return encode_figure(picture)


def side_by_side(groups: Sequence[Tensor]) -> Tensor:
    """Images (N, 3, R, R) in [0, 1] of some groups as a picture (3, h, w): a block for each."""
    blocks = [
        make_grid(images, nrow=min(_A_ROW, math.ceil(len(images) / 2)), padding=2, pad_value=1.0)
        for images in groups
    ]
    gap = torch.ones(3, blocks[0].shape[1], 12)
    parts = [part for block in blocks for part in (gap, block)]
    return torch.cat(parts[1:], dim=2)
