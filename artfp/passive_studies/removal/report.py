"""Cost and effect of a removal attack: table, means, and plots of correlations and accuracies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
from matplotlib.figure import Figure

from artfp.data.tables import Column, csv_table
from artfp.passive_studies.removal.attack import RemovalMeasurement
from artfp.reporting.figure import (
    CHANCE_LINE,
    OKABE_ITO,
    encode_figure,
    figure_style,
    format_axes,
    series_style,
    shown_name,
)

_BINS = 40


@dataclass(frozen=True)
class RemovalSummary:
    """Means over images after a removal attack, rounded.

    Args:
        images: Number of images.
        psnr: Mean PSNR in dB.
        correlation_before: Mean correlation of noise residual and fingerprint before the attack.
        correlation_after: Mean correlation after it.
    """

    images: int
    psnr: float
    correlation_before: float
    correlation_after: float


@dataclass(frozen=True)
class AttackPoint:
    """Accuracy of attribution after an attack of a strength, with its 95% interval."""

    strength: float
    psnr: float
    accuracy: float
    low: float
    high: float


def measurements_csv(images: Sequence[RemovalMeasurement]) -> str:
    """Return a CSV table with a row for each image."""
    file, *numbers = (field.name for field in fields(RemovalMeasurement))
    return csv_table(images, [file, *(Column(name, form=_rounded) for name in numbers)])


def _rounded(value: float) -> str:
    return str(round(value, 6))


def summarise(images: Sequence[RemovalMeasurement]) -> RemovalSummary:
    """Return the means over the images."""
    return RemovalSummary(
        len(images),
        round(float(np.mean([each.psnr for each in images])), 4),
        round(float(np.mean([each.correlation_before for each in images])), 6),
        round(float(np.mean([each.correlation_after for each in images])), 6),
    )


@figure_style
def plot_correlations(images: Sequence[RemovalMeasurement], source: str) -> bytes:
    """Plot histograms of the images' correlations before and after, as a PNG file."""
    before, after = (
        np.array([getattr(each, f"correlation_{when}") for each in images])
        for when in ("before", "after")
    )
    figure = Figure(figsize=(5.6, 3.3))
    panel = figure.subplots()
    low, high = float(min(before.min(), after.min())), float(max(before.max(), after.max()))
    margin = max(0.05 * (high - low), 1e-3)
    bins = np.linspace(low - margin, high + margin, _BINS).tolist()
    panel.hist(before, bins, color=OKABE_ITO[0], alpha=0.6, label="before")
    panel.hist(after, bins, color=OKABE_ITO[1], alpha=0.6, label="after")
    panel.axvline(0.0, **CHANCE_LINE)
    format_axes(panel, f"correlation with {shown_name(source)}", "images", grid="")
    psnr = np.mean([each.psnr for each in images])
    panel.set_title(f"{len(images)} images, PSNR {psnr:.1f} dB")
    panel.legend()
    return encode_figure(figure)


@figure_style
def plot_removal(lines: Mapping[str, Sequence[AttackPoint]], chance: float) -> bytes:
    """Plot the accuracy of attribution against strength and PSNR by attack, as a PNG file."""
    figure = Figure(figsize=(8.6, 3.6), layout="constrained")
    by_strength, by_psnr = figure.subplots(1, 2, sharey=True)
    for panel, quantity in ((by_strength, "strength"), (by_psnr, "psnr")):
        for number, (name, points) in enumerate(lines.items()):
            # Nothing changes at strength 0, where the PSNR has no place on the axis.
            shown = [each for each in points if each.strength > 0 or quantity == "strength"]
            accuracy = np.array([each.accuracy for each in shown])
            bounds = np.array([[each.low for each in shown], [each.high for each in shown]])
            x = [getattr(each, quantity) for each in shown]
            style = series_style(number)
            panel.errorbar(x, accuracy, np.abs(bounds - accuracy), label=shown_name(name), **style)
        panel.axhline(chance, **CHANCE_LINE, label="chance")
        panel.set_ylim(-0.03, 1.03)
    format_axes(by_strength, "strength", "accuracy of attribution", grid="y")
    format_axes(by_psnr, "PSNR in dB", grid="y")
    by_psnr.invert_xaxis()
    handles, names = by_strength.get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper center", ncols=3)
    return encode_figure(figure)
