"""The plot of `planted.py`: what N images recover of a pattern, measured against predicted."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, NullLocator

from artfp.reporting.figure import CHANCE_LINE, OKABE_ITO

_PANELS = (
    ("energy", "energy of the mean residual / planted"),
    ("correlation", "correlation with the planted pattern"),
    ("auc", "AUC: images with it against without"),
)
_PLAIN = FuncFormatter(lambda value, _: f"{value:g}")
_MARKERS = ("o", "s", "^", "D", "v", "P")


def write(path: str, rows: Sequence[dict[str, Any]], title: str) -> None:
    """Three panels against the number of images; marks are measured, lines are predicted."""
    picture = Figure(figsize=(11.0, 3.9), dpi=130)
    strengths = list(dict.fromkeys(row["strength"] for row in rows))
    for panel, (name, label) in zip(picture.subplots(1, 3), _PANELS, strict=True):
        for number, strength in enumerate(strengths):
            chosen = [row for row in rows if row["strength"] == strength]
            _line(panel, chosen, name, number)
        panel.set_xscale("log", base=4)
        panel.xaxis.set_major_formatter(_PLAIN)
        if name == "energy":
            panel.set_yscale("log")
            panel.yaxis.set_major_formatter(_PLAIN)
            panel.yaxis.set_minor_locator(NullLocator())
        else:
            panel.set_ylim(-0.02 if name == "correlation" else 0.48, 1.02)
        if name == "auc":
            panel.axhline(0.5, **CHANCE_LINE)
        panel.set_title(label, fontsize=9.5)
        panel.set_xlabel("images of the fingerprint", fontsize=9)
        panel.grid(axis="y", color="#dddddd", linewidth=0.6)
        panel.spines[["top", "right"]].set_visible(False)
        panel.tick_params(labelsize=8, length=2)
    handles = [
        Line2D([], [], color=OKABE_ITO[i], marker=_MARKERS[i], markersize=4, linewidth=1.2,
               label=f"{strength:g} grey levels")
        for i, strength in enumerate(strengths)
    ]  # fmt: skip
    handles += [
        Line2D([], [], color="#666666", linewidth=1.2, label="predicted"),
        Line2D([], [], color="#666666", linewidth=1.0, linestyle=":", label="textbook"),
        Line2D([], [], color="#666666", linewidth=0, marker="o", markersize=4, label="measured"),
    ]
    picture.text(0.5, 0.985, title, ha="center", va="top", fontsize=11)
    picture.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, 0.945), fontsize=8.5,
                   ncols=len(handles), frameon=False, columnspacing=1.1)  # fmt: skip
    picture.tight_layout(rect=(0.0, 0.0, 1.0, 0.88))
    file = io.BytesIO()
    picture.savefig(file, format="png", metadata={"Software": None})
    Path(path).write_bytes(file.getvalue())


def _line(panel: Axes, rows: Sequence[dict[str, Any]], name: str, number: int) -> None:
    at = [row["images"] for row in rows]
    colour = OKABE_ITO[number]
    panel.plot(at, [row[name] for row in rows], color=colour, marker=_MARKERS[number],
               markersize=4, linewidth=0, clip_on=False, zorder=3)  # fmt: skip
    for end, style, width in (("_predicted", "-", 1.2), ("_textbook", ":", 1.0)):
        panel.plot(at, [row[name + end] for row in rows], style, color=colour, linewidth=width)
