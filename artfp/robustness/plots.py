"""Plots of a robustness sweep: a small panel for each perturbation, a line for each method."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from artfp.perturbations.conditions import IDENTITY, Condition, arms
from artfp.reporting.figure import CHANCE_LINE, figure_style, series_style, shown_name

_PANEL = (2.5, 2.1)  # inches
_COLUMNS = (6, 5, 4)
_UNPERTURBED = "none"
_MOST_BANDS = 3
_INCHES_OF_A_LETTER = 0.085


class Point(Protocol):
    """Figures of a method under a condition, as attributes; NAME_low and NAME_high, if any."""

    @property
    def method(self) -> str:
        """Its name."""
        ...

    @property
    def perturbation(self) -> str:
        """Name of the perturbation, "identity" for unperturbed images."""
        ...

    @property
    def strength(self) -> float | None:
        """Strength of the perturbation, None for unperturbed images."""
        ...


@dataclass(frozen=True)
class PlottedMethod:
    """A line of the plots: its name, and what stands beside it (PSNR in dB).

    `sources`: of an attributor that reads no bits, how many it tells apart.
    """

    name: str
    bits: int | None = None
    psnr: float | None = None
    sources: int | None = None

    def facts(self) -> list[str]:
        """Return bits or sources, and PSNR, as far as they are known."""
        facts = [] if self.bits is None else [f"{self.bits} bits"]
        facts += [] if self.sources is None else [f"{self.sources} sources"]
        return facts if self.psnr is None else [*facts, f"{self.psnr:.1f} dB"]

    def title(self) -> str:
        """`name (facts)`, on one line."""
        return f"{self.name} ({', '.join(self.facts())})" if self.facts() else self.name


@figure_style
def plot_figure(
    rows: Sequence[Point],
    conditions: Sequence[Condition],
    methods: Sequence[PlottedMethod],
    figure: str,
    title: str,
    limits: tuple[float, float],
) -> Figure:
    """Plot one figure of the rows, such as `bit_accuracy`, in panels.

    Strengths stand side by side at equal distances: unperturbed images ("none") first and then from
    mild to harsh; of perturbations that go both ways, in numeric order with "none" in the middle.
    A figure that has an interval is drawn with it where methods are few. Values under `limits`
    move the lower one.
    """
    values = {(row.method, row.perturbation, row.strength): row for row in rows}
    groups = {c.group: c for c in conditions if c.group != IDENTITY} or {IDENTITY: Condition()}
    columns = min(len(groups), min(_COLUMNS, key=lambda count: -len(groups) % count))
    down = math.ceil(len(groups) / columns)
    least = min((v for row in rows if (v := getattr(row, figure)) is not None), default=limits[0])
    limits = (min(limits[0], math.floor(least * 10.0) / 10.0), limits[1])
    width = max(columns * _PANEL[0], _PANEL[0] * 1.6)
    across, legend_rows = _legend_shape(methods, width)
    head = 0.36 + 0.21 * legend_rows
    picture = Figure(figsize=(width, down * _PANEL[1] + head))
    panels = picture.subplots(down, columns, squeeze=False, sharey=True).flatten()
    for place, (panel, (name, condition)) in enumerate(zip(panels, groups.items(), strict=False)):
        places = _places(conditions, name)
        if not place % columns:
            panel.set_ylabel({"tpr": "TPR"}.get(figure, figure.replace("_", " ")))
        _decorate(panel, name, condition.unit, places, limits, chance=figure == "bit_accuracy")
        for number, method in enumerate(methods):
            found = [_row(values, method.name, name, strength) for strength in places]
            _line(panel, found, figure, number, len(methods))
    for panel in panels[len(groups) :]:
        panel.set_visible(False)
    handles = [
        Line2D(
            [],
            [],
            **{**series_style(number), "linewidth": 1.4},
            label=shown_name(method.title(), 64),
        )
        for number, method in enumerate(methods)
    ]
    height = picture.get_figheight()
    picture.text(0.5, 1.0 - 0.08 / height, title, ha="center", va="top", fontsize=11)
    picture.legend(
        handles=handles,
        loc="upper center",
        bbox_to_anchor=(0.5, 1.0 - 0.26 / height),
        ncols=across,
        fontsize=9,
    )
    picture.tight_layout(rect=(0.0, 0.0, 1.0, 1.0 - head / height), h_pad=0.9, w_pad=0.6)
    return picture


def _places(conditions: Sequence[Condition], name: str) -> list[float | None]:
    """Strengths of a perturbation from left to right; None is the unperturbed image."""
    chosen = [c for c in conditions if c.group == name]
    if name == IDENTITY or chosen[0].perturbation is None:
        return [None]
    strengths = [c.strength for c in chosen if c.strength is not None]
    found = arms(chosen[0].perturbation, strengths)
    if len(found) == 1:
        return [None, *found[0]]
    return [*reversed(found[0]), None, *found[1]]


def _row(
    values: dict[tuple[str, str, float | None], Point],
    method: str,
    perturbation: str,
    strength: float | None,
) -> Point:
    return values[method, IDENTITY if strength is None else perturbation, strength]


def _decorate(
    panel: Axes,
    name: str,
    unit: str,
    places: Sequence[float | None],
    limits: tuple[float, float],
    chance: bool,
) -> None:
    """Title, axes and grid of a panel; with `chance` a line at one half, what guesses reach."""
    margin = 0.03 * (limits[1] - limits[0])
    panel.set_title(name.replace("_", " "), pad=4)
    panel.set_ylim(limits[0] - margin, limits[1] + margin)
    panel.set_xlim(-0.3, max(1.0, len(places) - 1.0) + 0.3)
    labels = [_UNPERTURBED if strength is None else f"{strength:g}" for strength in places]
    panel.set_xticks(range(len(places)), labels, fontsize=7.5)
    panel.tick_params(axis="y", labelsize=7.5)
    panel.set_xlabel(unit, fontsize=8, labelpad=2)
    panel.grid(axis="y")
    if chance:
        panel.axhline(0.5, **CHANCE_LINE)


def _line(panel: Axes, rows: Sequence[Point], figure: str, number: int, count: int) -> None:
    """One method; the first one lies on top."""
    points = [(x, row) for x, row in enumerate(rows) if getattr(row, figure) is not None]
    if not points:
        return
    places = [float(x) for x, _ in points]
    heights = [getattr(row, figure) for _, row in points]
    style, order = {**series_style(number), "linewidth": 1.4}, 3.0 + count - number
    panel.plot(places, heights, **style, zorder=order, clip_on=False)
    ends = [[getattr(row, f"{figure}_{end}", None) for _, row in points] for end in ("low", "high")]
    if count <= _MOST_BANDS and any(end is not None for end in ends[0]):
        low, high = ([math.nan if end is None else end for end in each] for each in ends)
        panel.fill_between(places, low, high, color=style["color"], alpha=0.13, linewidth=0)


def _legend_shape(methods: Sequence[PlottedMethod], width: float) -> tuple[int, int]:
    """Columns and rows of a legend that fits into `width` inches."""
    longest = max(len(method.title()) for method in methods)
    across = int(width / (longest * _INCHES_OF_A_LETTER + 0.55))
    across = max(1, min(across, len(methods)))
    return across, math.ceil(len(methods) / across)
