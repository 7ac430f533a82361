"""Where an image carries a fingerprint: heat map over the image, table of windows, JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from artfp.data.tables import csv_line
from artfp.passive_studies.localisation.localise import Located
from artfp.passive_studies.localisation.study import Detection
from artfp.reporting.figure import CHANCE_LINE, OKABE_ITO, encode_figure, figure_style

COLUMNS = ("file", "row", "column", "window", "correlation")
"""Of the table of windows: row and column are of the upper left pixel."""

_HEIGHT = 3.6  # inches
_MAP = "RdYlBu"
_LETTERS = 32  # of a source's name


@figure_style
def heat_map(located: Located, source: str, threshold: float | None = None) -> bytes:
    """The image, and beside it the correlations over it in gray, as a PNG file.

    Red is where the fingerprint is weak; a black line goes around what is under the threshold.
    """
    height, width = located.heat.shape
    shape = min(max(width / height, 0.4), 2.5)
    picture = Figure(figsize=(_HEIGHT * 2 * shape + 1.2, _HEIGHT + 0.6), layout="constrained")
    left, right = picture.subplots(1, 2)
    left.imshow(located.pixels)
    gray = located.pixels.mean(2)
    # Of little contrast, so that colours mean the same in the light and in the dark.
    right.imshow(gray, cmap="gray", vmin=-255, vmax=510)
    low, high = np.percentile(located.heat, [0.5, 99.5])
    low, high = min(0.0, float(low)), max(float(high), 1e-6)
    drawn = right.imshow(located.heat, cmap=_MAP, vmin=low, vmax=high, alpha=0.65)
    if threshold is not None and located.heat.min() < threshold <= located.heat.max():
        right.contour(located.heat, [threshold], colors="black", linewidths=1.2)
        line = Line2D([], [], color="black", linewidth=1.2, label=f"under {threshold:g}")
        right.legend(handles=[line], loc="upper right", fontsize=8, framealpha=0.9)
    for panel in (left, right):
        panel.set_xticks([])
        panel.set_yticks([])
    name = source if len(source) <= _LETTERS else source[: _LETTERS - 1] + "\N{HORIZONTAL ELLIPSIS}"
    left.set_title(f"whole image: correlation {located.correlation:.3f}", fontsize=9)
    right.set_title(f"{name}, windows of {located.window} pixels", fontsize=9)
    bar = picture.colorbar(drawn, ax=right, fraction=0.046, pad=0.03, label="correlation")
    if bar.solids is not None:
        bar.solids.set_alpha(1.0)
    bar.ax.tick_params(labelsize=8)
    return encode_figure(picture)


def window_lines(located: Located) -> str:
    """A CSV line for each of the windows that lie half a window apart, without the header."""
    return "".join(
        csv_line((located.name, row, column, located.window, round(value, 6)))
        for row, column, value in located.spread()
    )


def image_json(located: Located, threshold: float | None) -> dict[str, Any]:
    """What is told of an image, as JSON values."""
    row, column, value = located.lowest()
    told: dict[str, Any] = {
        "file": located.name,
        "correlation": round(located.correlation, 6),
        "lowest": {"row": row, "column": column, "correlation": round(value, 6)},
    }
    if threshold is not None:
        told["share_under_threshold"] = round(located.below(threshold), 6)
    return told


@figure_style
def plot_windows(found: Mapping[str, Mapping[int, Detection]], everything: float) -> bytes:
    """AUC and F1 of splices' pixels against the side of the windows, as a PNG file.

    A line for each name in `found`; the dotted lines are chance, and the F1 of marking everything.
    """
    picture = Figure(figsize=(7.4, 3.1))
    panels = picture.subplots(1, 2)
    sides = sorted({side for rows in found.values() for side in rows})
    for panel, (figure, title, chance) in zip(
        panels, (("auc", "AUC", 0.5), ("f1", "F1", everything)), strict=True
    ):
        for number, (name, rows) in enumerate(found.items()):
            values = [getattr(rows[side], figure) for side in sorted(rows)]
            panel.plot(
                sorted(rows),
                values,
                color=OKABE_ITO[number % len(OKABE_ITO)],
                marker="os^D"[number % 4],
                markersize=4,
                linewidth=1.4,
                label=name,
            )
        panel.axhline(chance, **CHANCE_LINE)
        panel.set_title(f"{title} of pixels")
        panel.set_xlabel("pixels a side of a window")
        panel.set_xticks(sides)
        panel.set_ylim(0.0 if figure == "f1" else 0.4, 1.02)
        panel.grid(axis="y")
    panels[0].legend()
    picture.tight_layout()
    return encode_figure(picture)
