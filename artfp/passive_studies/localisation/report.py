"""Localisation of splices: heat map over the image, tables, JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from rich.table import Table

from artfp.data.tables import Column, rich_table
from artfp.passive_studies.localisation.windows import HeatMap, LocalisedImage, SpliceDetection
from artfp.reporting.figure import (
    CHANCE_LINE,
    encode_figure,
    figure_style,
    format_axes,
    series_style,
    shown_name,
)

WINDOW_COLUMNS = ("file", "row", "column", "window", "correlation")
"""Columns of windows.csv: row and column are of the upper left pixel."""

_LOWEST = (
    Column("image", "name"),
    Column("correlation", form=".4f"),
    Column("lowest window", lambda image: image.lowest[2], ".4f"),
    Column("at row, column", lambda image: f"{image.lowest[0]}, {image.lowest[1]}"),
)
_HEIGHT = 3.6  # inches
_MAP = "RdYlBu"


@figure_style
def plot_heat_map(image: HeatMap, source: str, threshold: float | None = None) -> bytes:
    """Draw an image, and beside it in gray with the correlations in colour, as a PNG file.

    Red is where the fingerprint is weak; a black line outlines what is below the threshold.
    """
    height, width = image.heat.shape
    shape = min(max(width / height, 0.4), 2.5)
    figure = Figure(figsize=(_HEIGHT * 2 * shape + 1.2, _HEIGHT + 0.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.imshow(image.pixels)
    gray = image.pixels.mean(2)
    # Low contrast, so that colours look the same on light and on dark parts.
    right.imshow(gray, cmap="gray", vmin=-255, vmax=510)
    low, high = np.percentile(image.heat, [0.5, 99.5])
    low, high = min(0.0, float(low)), max(float(high), 1e-6)
    drawn = right.imshow(image.heat, cmap=_MAP, vmin=low, vmax=high, alpha=0.65)
    if threshold is not None and image.heat.min() < threshold <= image.heat.max():
        right.contour(image.heat, [threshold], colors="black", linewidths=1.2)
        line = Line2D([], [], color="black", linewidth=1.2, label=f"below {threshold:g}")
        right.legend(handles=[line], loc="upper right", frameon=True, framealpha=0.9)
    for panel in (left, right):
        panel.set_xticks([])
        panel.set_yticks([])
    figure.suptitle(f"correlation with {shown_name(source)}: {image.correlation:.3f}")
    right.set_title(f"windows of {image.window} pixels")
    bar = figure.colorbar(drawn, ax=right, fraction=0.046, pad=0.03, label="correlation")
    if bar.solids is not None:
        bar.solids.set_alpha(1.0)
    return encode_figure(figure)


def window_rows(image: HeatMap) -> Iterator[tuple[object, ...]]:
    """Yield a row of windows.csv for each of the windows that lie half a window apart."""
    for row, column, value in image.spaced_windows():
        yield image.name, row, column, image.window, round(value, 6)


def lowest_windows_table(images: Sequence[LocalisedImage]) -> Table:
    """Return a table for the console: each image's correlation and lowest window."""
    return rich_table(images, _LOWEST, boxed=True)


def image_record(image: LocalisedImage) -> dict[str, Any]:
    """Return an image's results as JSON values."""
    row, column, value = image.lowest
    record: dict[str, Any] = {
        "file": image.name,
        "correlation": round(image.correlation, 6),
        "lowest": {"row": row, "column": column, "correlation": round(value, 6)},
    }
    if image.below is not None:
        record["fraction_below_threshold"] = round(image.below, 6)
    return record


@figure_style
def plot_windows(
    found: Mapping[str, Mapping[int, SpliceDetection]], all_spliced_f1: float
) -> bytes:
    """Plot AUC and F1 of spliced pixels against the side of the windows, as a PNG file.

    A line for each name in `found`; the dotted lines are chance, and the F1 of calling all pixels
    spliced.
    """
    figure = Figure(figsize=(7.4, 3.1), layout="constrained")
    panels = figure.subplots(1, 2)
    sides = sorted({side for rows in found.values() for side in rows})
    for panel, metric, title, chance in zip(
        panels, ("auc", "f1"), ("AUC", "F1"), (0.5, all_spliced_f1), strict=True
    ):
        for number, (name, rows) in enumerate(found.items()):
            values = [getattr(rows[side], metric) for side in sorted(rows)]
            panel.plot(sorted(rows), values, label=shown_name(name), **series_style(number))
        panel.axhline(chance, **CHANCE_LINE)
        panel.set_xticks(sides)
        panel.set_ylim(0.0 if metric == "f1" else 0.4, 1.02)
        format_axes(panel, "side of a window, pixels", f"{title} of pixels", grid="y")
    handles, names = panels[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper center", ncols=3)
    return encode_figure(figure)
