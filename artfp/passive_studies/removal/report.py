"""What a removal attack did: table, JSON, and plots of correlations and of accuracies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from artfp.data.tables import csv_line
from artfp.passive_studies.removal.removal import Attacked
from artfp.reporting.figure import CHANCE_LINE, OKABE_ITO, encode_figure, figure_style

COLUMNS = ("file", "psnr", "correlation_before", "correlation_after")

_BINS = 40


@dataclass(frozen=True)
class Point:
    """Accuracy of attribution after an attack of a strength, with its 95% interval."""

    strength: float
    psnr: float
    accuracy: float
    low: float
    high: float


def attacked_line(each: Attacked) -> str:
    """A CSV line of an image, without the header."""
    numbers = (round(value, 6) for value in (each.psnr, each.before, each.after))
    return csv_line((each.name, *numbers))


def attacked_json(found: Sequence[tuple[float, float, float]]) -> dict[str, Any]:
    """Means over images' (PSNR, correlation before, after), as JSON values."""
    psnr, before, after = (float(np.mean(values)) for values in zip(*found, strict=True))
    return {
        "images": len(found),
        "psnr": round(psnr, 4),
        "correlation_before": round(before, 6),
        "correlation_after": round(after, 6),
    }


@figure_style
def plot_attacked(found: Sequence[tuple[float, float, float]], source: str) -> bytes:
    """Histograms of images' correlations before and after, of (PSNR, before, after); PNG."""
    values = np.array(found)
    picture = Figure(figsize=(5.6, 3.3))
    panel = picture.subplots()
    low, high = values[:, 1:].min(), values[:, 1:].max()
    room = max(0.05 * (high - low), 1e-3)
    bins = np.linspace(low - room, high + room, _BINS).tolist()
    for column, (name, colour) in enumerate(zip(("before", "after"), OKABE_ITO, strict=False)):
        panel.hist(values[:, column + 1], bins, color=colour, alpha=0.6, label=name)
    panel.axvline(0.0, **CHANCE_LINE)
    panel.set_xlabel(f"correlation with {source}")
    panel.set_ylabel("images")
    panel.set_title(f"{len(values)} images, PSNR {values[:, 0].mean():.1f} dB")
    panel.legend()
    return _png(picture)


@figure_style
def plot_removal(lines: Mapping[str, Sequence[Point]], chance: float) -> bytes:
    """Accuracy of attribution against strength and against PSNR, a line for each attack; PNG."""
    picture = Figure(figsize=(8.6, 3.6))
    panels = picture.subplots(1, 2, sharey=True)
    for panel, figure in zip(panels, ("strength", "psnr"), strict=True):
        for number, (name, points) in enumerate(lines.items()):
            chosen = [each for each in points if each.strength > 0 or figure == "strength"]
            y = np.array([each.accuracy for each in chosen])
            spread = np.abs(np.array([[e.low for e in chosen], [e.high for e in chosen]]) - y)
            panel.errorbar(
                [getattr(each, figure) for each in chosen],
                y,
                spread,
                color=OKABE_ITO[number % len(OKABE_ITO)],
                marker="os^Dv"[number % 5],
                markersize=4,
                linewidth=1.3,
                capsize=2,
                label=name,
            )
        panel.axhline(chance, **CHANCE_LINE)
        panel.grid(axis="y")
        panel.set_ylim(-0.03, 1.03)
    panels[0].set_xlabel("strength")
    panels[1].set_xlabel("PSNR in dB")
    panels[1].invert_xaxis()
    panels[0].set_ylabel("accuracy of attribution")
    panels[0].legend()
    picture.tight_layout()
    return _png(picture)


def _png(picture: Figure) -> bytes:
    return encode_figure(picture)
