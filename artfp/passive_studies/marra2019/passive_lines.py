"""Plots against numbers: energy and accuracy by images, accuracy by size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, NullFormatter

from artfp.passive_studies.marra2019.energy import Energy
from artfp.reporting.figure import (
    CHANCE_LINE,
    encode_figure,
    figure_style,
    format_axes,
    series_style,
    use_log2_axis,
)

_FITS = (("averaging", "-", "a + b / N"), ("halving", ":", "a + b · 2⁻ᴺ"))
_LETTER = 0.075  # inches


@figure_style
def plot_energy(energies: Sequence[Energy]) -> bytes:
    """Energy of the mean of N residuals, with both fits and how far these are off, as a PNG file.

    Fits are those of least relative deviations.
    """
    picture = Figure(figsize=(9.6, 5.4))
    grid = picture.add_gridspec(2, 2, width_ratios=(1.25, 1.0))
    left = picture.add_subplot(grid[:, 0])
    for number, each in enumerate(energies):
        looks = series_style(number)
        counts, found = list(each.energies), np.asarray(list(each.energies.values()))
        left.plot(counts, found, **{**looks, "linestyle": "none"}, label=each.source)
        fine = np.geomspace(counts[0], counts[-1], 200)
        for shape, line, _ in _FITS:
            values = each.fit(shape).at(fine)
            left.plot(
                fine, np.where(values > 0, values, np.nan), line, color=looks["color"], lw=0.9
            )
    left.set_yscale("log")
    left.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    left.yaxis.set_minor_formatter(NullFormatter())
    use_log2_axis(left, list(energies[0].energies))
    format_axes(left, "residuals averaged, N", "energy of their mean, grey levels² a pixel")
    left.set_title("points: measured", fontsize=9)
    handles = [Line2D([], [], color="black", ls=line, lw=0.9, label=t) for _, line, t in _FITS]
    left.legend(handles=handles, loc="lower left")
    for row, (shape, _, text) in enumerate(_FITS):
        panel = picture.add_subplot(grid[row, 1])
        for number, each in enumerate(energies):
            counts = list(each.energies)
            off = each.fit(shape).at(counts) / np.asarray(list(each.energies.values())) - 1.0
            panel.plot(counts, 100.0 * off, **series_style(number))
        panel.axhline(0.0, **CHANCE_LINE)
        use_log2_axis(panel, list(energies[0].energies))
        format_axes(panel, "residuals averaged, N" if row else "", "off by, %")
        panel.set_title(f"the fit {text} against what was measured", fontsize=9)
    _legend(picture, [each.source for each in energies])
    return encode_figure(picture)


@figure_style
def plot_accuracy(
    places: Sequence[float],
    overall: Sequence[tuple[float, float, float]],
    by_source: Mapping[str, Sequence[float]],
    across: str,
    images: bool,
) -> bytes:
    """Accuracy of attribution against numbers of images (`images`) or pixels, as a PNG file.

    `overall` has values with bounds, which become a band; a thin line is a source.
    """
    picture = Figure(figsize=(7.2, 4.2))
    panel = picture.subplots()
    for number, values in enumerate(by_source.values()):
        panel.plot(places, values, **{**series_style(number), "linewidth": 0.8, "markersize": 3})
    values, low, high = (list(each) for each in zip(*overall, strict=True))
    panel.plot(places, values, color="black", linewidth=2.2, zorder=4)
    panel.fill_between(places, low, high, color="black", alpha=0.15, linewidth=0, zorder=3)
    panel.axhline(1.0 / len(by_source), **CHANCE_LINE)
    panel.set_ylim(-0.02, 1.02)
    if images:
        use_log2_axis(panel, [int(place) for place in places])
    else:
        panel.set_xticks(places)
    format_axes(panel, across, "share of test images attributed to their source")
    handle = Line2D([], [], color="black", lw=2.2, label="all sources")
    panel.legend(handles=[handle, Line2D([], [], label="chance", **CHANCE_LINE)], fontsize=8,
                 frameon=False, loc="lower right" if images else "best")  # fmt: skip
    _legend(picture, list(by_source))
    return encode_figure(picture)


def _legend(picture: Figure, names: Sequence[str]) -> None:
    """The sources' names above the panels, which are set below it."""
    width, height = picture.get_size_inches()
    across = max(1, min(len(names), int((width - 0.3) / (_LETTER * max(map(len, names)) + 0.5))))
    handles = [Line2D([], [], label=name, **series_style(i)) for i, name in enumerate(names)]
    rows = -(-len(names) // across)
    picture.legend(handles=handles, loc="upper center", ncols=across)
    picture.tight_layout(rect=(0.0, 0.0, 1.0, 1.0 - (0.06 + 0.17 * rows) / height))
