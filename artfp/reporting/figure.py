"""What the plots of a passive study share."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from numpy.typing import NDArray
from torch import Tensor

from artfp.reporting.colours import OKABE_ITO

_COLOURS = tuple("#882255" if colour == "#000000" else colour for colour in OKABE_ITO)
"""Of sources; black is for all of them together."""

_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
_LINES = ("-", "--", "-.", ":")
_ROW = 0.3  # inches for a label of `dots`


@dataclass(frozen=True)
class Estimates:
    """A series of `dots`: for each label a value and its interval, or None."""

    name: str
    values: Sequence[tuple[float, float, float] | None]
    """Value, low, high."""


def to_png(picture: Figure) -> bytes:
    """A figure as a PNG file."""
    file = io.BytesIO()
    picture.savefig(
        file, format="png", metadata={"Software": None}, bbox_inches="tight", pad_inches=0.08
    )
    return file.getvalue()


def style(number: int) -> dict[str, Any]:
    """Colour and marker of the line of a source; after eight the dashes change."""
    return {
        "color": _COLOURS[number % len(_COLOURS)],
        "marker": _MARKERS[number % len(_MARKERS)],
        "linestyle": _LINES[number // len(_COLOURS) % len(_LINES)],
        "markersize": 3.6,
        "linewidth": 1.1,
    }


def tidy(panel: Axes, across: str = "", down: str = "", grid: str = "both") -> None:
    """Labels, a light grid, no box."""
    panel.set_xlabel(across, fontsize=9)
    panel.set_ylabel(down, fontsize=9)
    panel.tick_params(labelsize=8, length=2)
    panel.grid(axis=grid, color="#dddddd", linewidth=0.6)  # type: ignore[arg-type]
    panel.set_axisbelow(True)
    panel.spines[["top", "right"]].set_visible(False)


def doublings(panel: Axes, counts: Sequence[int]) -> None:
    """A logarithmic axis of numbers of images, with these as its ticks."""
    panel.set_xscale("log", base=2)
    panel.xaxis.set_major_locator(FixedLocator([float(count) for count in counts]))
    panel.xaxis.set_minor_locator(NullLocator())
    panel.xaxis.set_major_formatter(FuncFormatter(lambda count, _: f"{count:g}"))


def height_of_dots(labels: Sequence[str], series: Sequence[Estimates]) -> float:
    """Inches that `dots` wants for its panel."""
    return 1.0 + _ROW * len(labels) * max(1.0, 0.75 * len(series))


def dots(panel: Axes, labels: Sequence[str], series: Sequence[Estimates]) -> None:
    """Values with intervals, a row for each label from the top on, series beside each other."""
    for number, each in enumerate(series):
        shift = 0.0 if len(series) == 1 else 0.5 * (number / (len(series) - 1) - 0.5)
        shown = [(row, found) for row, found in enumerate(each.values) if found is not None]
        kept = [found for _, found in shown]
        looks = {**style(number), "linestyle": "none"}
        panel.errorbar(
            [value for value, _, _ in kept],
            [row + shift for row, _ in shown],
            xerr=[
                [max(0.0, value - low) for value, low, _ in kept],
                [max(0.0, high - value) for value, _, high in kept],
            ],
            capsize=2,
            elinewidth=1.0,
            label=each.name,
            **looks,
        )
    panel.set_yticks(range(len(labels)), labels)
    panel.set_ylim(len(labels) - 0.4, -0.6)


_SPREAD = 3.0
"""Standard deviations of a fingerprint that the range from black to white has on either side."""


def amplified(fingerprint: Tensor) -> tuple[NDArray[np.float64], float]:
    """A fingerprint (3, H, W) as a picture (H, W, 3) in [0, 1], and by how much it is amplified."""
    x = fingerprint.cpu().double().numpy()
    x = x - x.mean()
    spread = float(x.std())
    factor = 0.5 / (_SPREAD * spread) if spread > 0 else 1.0
    return np.clip(0.5 + factor * x, 0.0, 1.0).transpose(1, 2, 0), factor
