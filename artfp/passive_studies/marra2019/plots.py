"""Plots of Marra et al. 2019: energies, correlations, and accuracies of attribution."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from artfp.passive.roc import (
    Accuracy,
    AucEstimate,
    CorrelationScores,
    one_vs_rest_auc,
    pooled_auc,
    roc_curve,
)
from artfp.passive_studies.marra2019.dependence import PairGroup, RealVersusGenerated
from artfp.passive_studies.marra2019.energy import EnergyCurve
from artfp.reporting.figure import (
    CHANCE_LINE,
    OKABE_ITO,
    IntervalSeries,
    encode_figure,
    figure_style,
    format_axes,
    intervals_height,
    plot_intervals,
    series_style,
    shown_name,
    use_log2_axis,
)

_ACROSS = 3
_BINS = 48
_SAME, _CROSS = OKABE_ITO[0], OKABE_ITO[1]
_FITS = (("averaging", "-", "a + b / N"), ("halving", ":", "a + b · 2⁻ᴺ"))
_LETTER = 0.075  # inches
_TITLE = 22  # letters of a name above a panel of a third of the width


@figure_style
def plot_histograms(scores: CorrelationScores) -> bytes:
    """Plot histograms of test images' correlations with a fingerprint, as a PNG file.

    All sources together first, then a panel for each fingerprint. Bars of a colour sum up to 1.
    """
    indices = range(len(scores.sources))
    same, cross = (
        np.concatenate([take(i) for i in indices]) for take in (scores.same, scores.cross)
    )
    panels_of = [("all fingerprints", same, cross, pooled_auc(scores))]
    for i, found in zip(indices, one_vs_rest_auc(scores), strict=True):
        panels_of.append((scores.sources[i], scores.same(i), scores.cross(i), found))
    ends = [np.quantile(values, (0.002, 0.998)) for values in (same, cross)]
    low, high = float(np.min(ends)), float(np.max(ends))
    edges = np.linspace(low, high, _BINS + 1)
    across = min(_ACROSS, len(panels_of))
    down = math.ceil(len(panels_of) / across)
    figure = Figure(figsize=(3.1 * across, 1.9 * down + 0.5))
    panels = figure.subplots(down, across, squeeze=False, sharex=True).flatten()
    for number, (panel, (name, same, cross, found)) in enumerate(
        zip(panels, panels_of, strict=False)
    ):
        for values, colour in ((cross, _CROSS), (same, _SAME)):
            shown = np.clip(values, low, high)
            weights = np.full(len(shown), 1.0 / len(shown))
            panel.hist(shown, edges, weights=weights, color=colour, alpha=0.35)
            panel.hist(shown, edges, weights=weights, color=colour, histtype="step", linewidth=1.1)
        panel.set_title(f"{shown_name(name, _TITLE)}: AUC {found.value:.3f}", pad=3)
        lowest = number + across >= len(panels_of)
        format_axes(
            panel,
            "correlation" if lowest else "",
            "fraction of images" if not number % across else "",
        )
        panel.tick_params(labelbottom=True)
    for panel in panels[len(panels_of) :]:
        panel.set_visible(False)
    handles = [
        Line2D([], [], color=_SAME, lw=4, alpha=0.6, label="images of the fingerprint's source"),
        Line2D([], [], color=_CROSS, lw=4, alpha=0.6, label="images of other sources"),
    ]
    figure.legend(handles=handles, loc="upper center", ncols=2)
    figure.tight_layout(rect=(0.0, 0.0, 1.0, 1.0 - 0.3 / figure.get_figheight()))
    return encode_figure(figure)


@figure_style
def plot_jpeg(before: Accuracy, after: Mapping[int, Accuracy], sources: Sequence[str]) -> bytes:
    """Plot the accuracy on unperturbed test images and after JPEG, as a PNG file."""
    labels = ["all sources", *map(shown_name, sources)]
    series = [IntervalSeries("unperturbed", _shares(before))]
    series += [IntervalSeries(f"after JPEG {q}", _shares(found)) for q, found in after.items()]
    figure = Figure(figsize=(6.6, intervals_height(labels, series)))
    panel = figure.subplots()
    plot_intervals(panel, labels, series)
    panel.axvline(1.0 / len(sources), **CHANCE_LINE)
    panel.axhline(0.5, color="#bbbbbb", linewidth=0.6)
    panel.set_xlim(-0.02, 1.02)
    format_axes(panel, "accuracy of attribution (dotted: chance)", grid="x")
    _above(figure, len(series))
    return encode_figure(figure)


@figure_style
def plot_conditions(found: Mapping[str, Accuracy], sources: Sequence[str]) -> bytes:
    """Plot the accuracy under each condition, of all sources (black) and of each, as a PNG file."""
    labels = [name.replace("@", " ") for name in found]
    whole = IntervalSeries("all sources", [(a.overall, *a.interval()) for a in found.values()])
    height = (0.5 + 0.11 * len(sources)) / 0.5
    figure = Figure(figsize=(7.0, 0.4 + 0.4 * height * len(labels) + 0.7))
    panel = figure.subplots()
    for number, name in enumerate(sources):
        values = [each.fraction(number) for each in found.values()]
        down = 0.15 + 0.4 * (number + 0.5) / len(sources)  # so that none hides another
        style = {**series_style(number), "linestyle": "none"}
        rows = [row + down for row in range(len(values))]
        panel.plot(values, rows, label=shown_name(name), **style)
    plot_intervals(panel, labels, [whole], colour="black")
    panel.axvline(1.0 / len(sources), **CHANCE_LINE, label="chance")
    panel.set_xlim(-0.02, 1.02)
    panel.set_ylim(len(labels) - 0.2, -0.4)
    format_axes(panel, "accuracy of attribution, 95% interval", "test images", grid="x")
    figure.tight_layout()
    panel.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
    return encode_figure(figure)


def _shares(found: Accuracy) -> list[tuple[float, float, float] | None]:
    rows: list[tuple[float, float, float] | None] = [(found.overall, *found.interval())]
    rows += [(found.fraction(i), *found.interval(i)) for i in range(len(found.images))]
    return rows


@figure_style
def plot_real(found: RealVersusGenerated) -> bytes:
    """Plot ROC curves of real against generated images and AUC by generator, as a PNG file."""
    names = [each.source for each in found.generated]
    known = [_bounds(found.known(i)) for i in range(len(names))]
    unknown = [_bounds(found.unknown(i)) for i in range(len(names))]
    labels = ["all generators", *map(shown_name, names)]
    series = [
        IntervalSeries("its fingerprint known", [_bounds(found.known()), *known]),
        IntervalSeries("only the others' known", [None, *unknown]),
    ]
    if not any(unknown):
        series = series[:1]
    across = 2
    below = 0.3 + 0.2 * -(-len(labels) // across)  # inches of the legend
    height = max(4.1, intervals_height(labels, series)) + below
    figure = Figure(figsize=(9.4, height), layout="constrained")
    left, right = figure.subplots(1, 2)
    everything = np.concatenate([each.known for each in found.generated])
    for number, each in enumerate(found.generated):
        style = {**series_style(number), "marker": "", "linewidth": 1.0}
        left.plot(*roc_curve(found.real, each.known), label=shown_name(each.source), **style)
    left.plot(
        *roc_curve(found.real, everything), color="black", linewidth=2.0, label="all generators"
    )
    left.plot([0, 1], [0, 1], **CHANCE_LINE)
    left.set_aspect("equal")
    format_axes(left, "false positive rate", "true positive rate")
    left.legend(loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=across)
    left.set_title("largest correlation with any fingerprint")
    plot_intervals(right, labels, series)
    right.axvline(0.5, **CHANCE_LINE)
    right.set_xlim(right=1.01)
    format_axes(right, "AUC, real against generated (dotted: chance)", grid="x")
    right.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    return encode_figure(figure)


def _bounds(found: AucEstimate | None) -> tuple[float, float, float] | None:
    return None if found is None else (found.value, found.low, found.high)


@figure_style
def plot_dependence(groups: Sequence[PairGroup], titles: Sequence[str]) -> bytes:
    """Plot mean correlations of pairs of sources, a row for what they differ in, as a PNG file.

    Crosses are pairs, the dot is their mean with its interval.
    """
    series = [IntervalSeries("mean", [(group.mean, group.low, group.high) for group in groups])]
    figure = Figure(figsize=(7.4, 0.4 + intervals_height(titles, series)))
    panel = figure.subplots()
    for row, group in enumerate(groups):
        panel.plot(
            list(group.pairs.values()), [row + 0.22] * len(group.pairs), "x", color="#777777", ms=4
        )
    plot_intervals(panel, titles, series)
    panel.axvline(0.0, **CHANCE_LINE)
    format_axes(panel, "mean correlation of test images with a fingerprint", grid="x")
    handles = [
        Line2D([], [], **{**series_style(0), "linestyle": "none"}, label="mean, 95% interval"),
        Line2D([], [], ls="none", marker="x", color="#777777", ms=4, label="a pair"),
    ]
    panel.legend(handles=handles, ncols=2, loc="lower center",
                 bbox_to_anchor=(0.5, 1.0))  # fmt: skip
    figure.tight_layout()
    return encode_figure(figure)


def _above(figure: Figure, columns: int) -> None:
    """Put the legend of the one panel above it."""
    figure.axes[0].legend(ncols=columns, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    figure.tight_layout()


@figure_style
def plot_energy(energies: Sequence[EnergyCurve]) -> bytes:
    """Plot the energy of the mean of N residuals, both fits and their errors, as a PNG file.

    Fits are those that minimise relative deviations.
    """
    figure = Figure(figsize=(9.6, 5.4))
    grid = figure.add_gridspec(2, 2, width_ratios=(1.25, 1.0))
    left = figure.add_subplot(grid[:, 0])
    for number, each in enumerate(energies):
        style = series_style(number)
        counts, found = list(each.energies), np.asarray(list(each.energies.values()))
        left.plot(counts, found, **{**style, "linestyle": "none"}, label=each.source)
        fine = np.geomspace(counts[0], counts[-1], 200)
        for shape, line, _ in _FITS:
            values = each.fit(shape).at(fine)
            left.plot(
                fine, np.where(values > 0, values, np.nan), line, color=style["color"], lw=0.9
            )
    left.set_yscale("log")
    left.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    left.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    left.yaxis.set_minor_formatter(NullFormatter())
    use_log2_axis(left, list(energies[0].energies))
    format_axes(left, "residuals averaged, N", "energy of their mean, grey levels² a pixel")
    left.set_title("points: measured")
    handles = [Line2D([], [], color="black", ls=line, lw=0.9, label=t) for _, line, t in _FITS]
    left.legend(handles=handles, loc="lower left")
    for row, (shape, _, text) in enumerate(_FITS):
        panel = figure.add_subplot(grid[row, 1])
        for number, each in enumerate(energies):
            counts = list(each.energies)
            off = each.fit(shape).at(counts) / np.asarray(list(each.energies.values())) - 1.0
            panel.plot(counts, 100.0 * off, **series_style(number))
        panel.axhline(0.0, **CHANCE_LINE)
        use_log2_axis(panel, list(energies[0].energies))
        format_axes(panel, "residuals averaged, N", "error of the fit, %")
        panel.set_title(f"error of the fit {text}")
    _legend(figure, [each.source for each in energies])
    return encode_figure(figure)


@figure_style
def plot_accuracy(
    places: Sequence[float],
    overall: Sequence[tuple[float, float, float]],
    by_source: Mapping[str, Sequence[float]],
    across: str,
) -> bytes:
    """Plot the accuracy of attribution by number of images or pixels, as a PNG file.

    `overall` has values with bounds, which become a band; a thin line is a source.
    """
    figure = Figure(figsize=(7.2, 4.2))
    panel = figure.subplots()
    for number, values in enumerate(by_source.values()):
        panel.plot(places, values, **{**series_style(number), "linewidth": 0.8, "markersize": 3})
    values, low, high = (list(each) for each in zip(*overall, strict=True))
    panel.plot(places, values, color="black", linewidth=2.2, zorder=4)
    panel.fill_between(places, low, high, color="black", alpha=0.15, linewidth=0, zorder=3)
    panel.axhline(1.0 / len(by_source), **CHANCE_LINE)
    panel.set_ylim(-0.02, 1.02)
    use_log2_axis(panel, [int(place) for place in places])
    format_axes(panel, across, "accuracy of attribution")
    handle = Line2D([], [], color="black", lw=2.2, label="all sources")
    more = [handle, Line2D([], [], label="chance", **CHANCE_LINE)]
    _legend(figure, list(by_source), more)
    return encode_figure(figure)


def _legend(figure: Figure, sources: Sequence[str], more: Sequence[Line2D] = ()) -> None:
    """Put the sources' names, and more handles, above the panels."""
    width, height = figure.get_size_inches()
    names = list(map(shown_name, sources))
    handles = [Line2D([], [], label=name, **series_style(i)) for i, name in enumerate(names)]
    handles += more
    longest = max(map(len, names))
    across = max(1, min(len(handles), int((width - 0.3) / (_LETTER * longest + 0.5))))
    rows = -(-len(handles) // across)
    figure.legend(handles=handles, loc="upper center", ncols=across)
    figure.tight_layout(rect=(0.0, 0.0, 1.0, 1.0 - (0.06 + 0.17 * rows) / height))
