"""Plots of correlations: same and cross, real and generated, before and after JPEG, by kinship."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from artfp.passive.roc import (
    Accuracy,
    AucEstimate,
    CorrelationScores,
    one_vs_rest_auc,
    pooled_auc,
    roc_curve,
)
from artfp.passive_studies.marra2019.dependence import Kind
from artfp.passive_studies.marra2019.passive_real import RealAgainst
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
)

_ACROSS = 3
_BINS = 48
_SAME, _CROSS = OKABE_ITO[0], OKABE_ITO[1]


@figure_style
def plot_histograms(scores: CorrelationScores) -> bytes:
    """Correlations of test images with a fingerprint, its source's and others', as a PNG file.

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
    picture = Figure(figsize=(3.1 * across, 1.9 * down + 0.5))
    panels = picture.subplots(down, across, squeeze=False, sharex=True).flatten()
    for number, (panel, (name, same, cross, found)) in enumerate(
        zip(panels, panels_of, strict=False)
    ):
        for values, colour in ((cross, _CROSS), (same, _SAME)):
            shown = np.clip(values, low, high)
            weights = np.full(len(shown), 1.0 / len(shown))
            panel.hist(shown, edges, weights=weights, color=colour, alpha=0.35)
            panel.hist(shown, edges, weights=weights, color=colour, histtype="step", linewidth=1.1)
        panel.set_title(f"{name}: AUC {found.value:.3f}", fontsize=9, pad=3)
        lowest = number + across >= len(panels_of)
        format_axes(
            panel, "correlation" if lowest else "", "share of images" if not number % across else ""
        )
        panel.tick_params(labelbottom=True)
    for panel in panels[len(panels_of) :]:
        panel.set_visible(False)
    handles = [
        Line2D([], [], color=_SAME, lw=4, alpha=0.6, label="images of the fingerprint's source"),
        Line2D([], [], color=_CROSS, lw=4, alpha=0.6, label="images of other sources"),
    ]
    picture.legend(handles=handles, loc="upper center", ncols=2, fontsize=9, frameon=False)
    picture.tight_layout(rect=(0.0, 0.0, 1.0, 1.0 - 0.3 / picture.get_figheight()))
    return encode_figure(picture)


@figure_style
def plot_jpeg(before: Accuracy, after: Mapping[int, Accuracy], sources: Sequence[str]) -> bytes:
    """Accuracy on test images as they are, and after JPEG of each quality, as a PNG file."""
    labels = ["all sources", *sources]
    series = [IntervalSeries("as they are", _shares(before))]
    series += [IntervalSeries(f"after JPEG {q}", _shares(found)) for q, found in after.items()]
    picture = Figure(figsize=(6.6, intervals_height(labels, series)))
    panel = picture.subplots()
    plot_intervals(panel, labels, series)
    panel.axvline(1.0 / len(sources), **CHANCE_LINE)
    panel.axhline(0.5, color="#bbbbbb", linewidth=0.6)
    panel.set_xlim(-0.02, 1.02)
    format_axes(panel, "share of test images attributed to their source (dotted: chance)", grid="x")
    _above(picture, len(series))
    return encode_figure(picture)


def _shares(found: Accuracy) -> list[tuple[float, float, float] | None]:
    rows: list[tuple[float, float, float] | None] = [(found.overall, *found.interval())]
    rows += [(found.fraction(i), *found.interval(i)) for i in range(len(found.images))]
    return rows


@figure_style
def plot_real(found: RealAgainst) -> bytes:
    """Generated images against real ones: ROC curves, and areas by generator, as a PNG file."""
    names = [each.source for each in found.generated]
    known = [_bounds(found.known(i)) for i in range(len(names))]
    unknown = [_bounds(found.unknown(i)) for i in range(len(names))]
    labels = ["all generators", *names]
    series = [
        IntervalSeries("its fingerprint known", [_bounds(found.known()), *known]),
        IntervalSeries("only the others' known", [None, *unknown]),
    ]
    if not any(unknown):
        series = series[:1]
    picture = Figure(figsize=(9.4, max(4.1, intervals_height(labels, series))))
    left, right = picture.subplots(1, 2)
    everything = np.concatenate([each.known for each in found.generated])
    for number, each in enumerate(found.generated):
        looks = {**series_style(number), "marker": "", "linewidth": 1.0}
        left.plot(*roc_curve(found.real, each.known), label=each.source, **looks)
    left.plot(
        *roc_curve(found.real, everything), color="black", linewidth=2.0, label="all generators"
    )
    left.plot([0, 1], [0, 1], **CHANCE_LINE)
    left.set_aspect("equal")
    format_axes(left, "share of real images called generated", "share of generated images found")
    left.legend(loc="lower right")
    left.set_title("largest correlation with any generator's fingerprint", fontsize=9)
    plot_intervals(right, labels, series)
    right.axvline(0.5, **CHANCE_LINE)
    right.set_xlim(right=1.01)
    format_axes(right, "AUC, real against generated (dotted: chance)", grid="x")
    right.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    picture.tight_layout()
    return encode_figure(picture)


def _bounds(found: AucEstimate | None) -> tuple[float, float, float] | None:
    return None if found is None else (found.value, found.low, found.high)


@figure_style
def plot_dependence(kinds: Sequence[Kind], titles: Sequence[str]) -> bytes:
    """Mean correlations of pairs of sources, a row for what they differ in, as a PNG file.

    Crosses are pairs, the dot is their mean with its interval.
    """
    series = [IntervalSeries("mean", [(kind.mean, kind.low, kind.high) for kind in kinds])]
    picture = Figure(figsize=(7.4, 0.4 + intervals_height(titles, series)))
    panel = picture.subplots()
    for row, kind in enumerate(kinds):
        panel.plot(
            list(kind.pairs.values()), [row + 0.22] * len(kind.pairs), "x", color="#777777", ms=4
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
    picture.tight_layout()
    return encode_figure(picture)


def _above(picture: Figure, columns: int) -> None:
    """The legend of the one panel above it."""
    picture.axes[0].legend(ncols=columns, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    picture.tight_layout()
