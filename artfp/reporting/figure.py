"""One style of figures, one way to write them, and parts that several figures have."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from numpy.typing import NDArray

from artfp.core.errors import one_line
from artfp.data.files import write_atomic
from artfp.data.paths import FIGURE_SUFFIXES, check_suffix

if TYPE_CHECKING:
    from torch import Tensor

Parameters = ParamSpec("Parameters")
Drawn = TypeVar("Drawn")

STYLE: Any = {
    "figure.dpi": 130,
    "figure.titlesize": 11,
    "figure.labelsize": 9,
    "axes.titlesize": 10,
    "axes.labelsize": 9,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "xtick.major.size": 2,
    "ytick.major.size": 2,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "legend.fontsize": 8,
    "legend.title_fontsize": 8,
    "legend.frameon": False,
    "lines.markersize": 3.6,
    "lines.linewidth": 1.2,
    "errorbar.capsize": 2,
    "image.interpolation": "nearest",
    "text.parse_math": False,  # names are whatever others call them: $ is no mathematics
}
"""Settings of matplotlib for all figures, see `figure_style`."""

OKABE_ITO = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#000000",
    "#999999",
)
"""Colours that colour-blind readers can tell apart as well (Okabe and Ito 2008)."""

CHANCE_LINE: dict[str, Any] = {
    "color": "#888888",
    "linewidth": 0.8,
    "linestyle": (0, (1, 2)),
    "zorder": 1,
}
"""Dotted line of what guessing reaches."""

_COLOURS = tuple("#882255" if colour == "#000000" else colour for colour in OKABE_ITO)
"""Colours of series; black is for all of them together."""

_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
_DASHES = ("-", "--", "-.", ":")
_ROW = 0.3  # inches for a label of `plot_intervals`

# Without these a figure would hold the time, and be another file with each run.
_METADATA: dict[str, dict[str, Any]] = {
    "png": {"Software": None},
    "pdf": {"Creator": None, "Producer": None, "CreationDate": None},
    "svg": {"Creator": None, "Date": None},
}


def figure_style(draw: Callable[Parameters, Drawn]) -> Callable[Parameters, Drawn]:
    """Return a function that draws in the style of all figures.

    Args:
        draw: Function that makes and fills a `Figure`.

    Example:
        >>> @figure_style
        ... def plot_squares(count: int) -> Figure:
        ...     figure = Figure(figsize=(3.0, 2.0), layout="constrained")
        ...     figure.subplots().plot([k * k for k in range(count)])
        ...     return figure
        >>> encode_figure(plot_squares(4))[1:4]
        b'PNG'
    """

    @wraps(draw)
    def drawn(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Drawn:
        with mpl.rc_context(STYLE):
            return draw(*args, **kwargs)

    return drawn


def encode_figure(figure: Figure, form: str = "png") -> bytes:
    """Return a figure as a file, the same bytes for the same figure.

    Args:
        figure: What is to be written, with its margins cut off.
        form: Format: "png", "pdf" or "svg".
    """
    file = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": "artfp"}):
        figure.savefig(
            file, format=form, metadata=_METADATA[form], bbox_inches="tight", pad_inches=0.08
        )
    return file.getvalue()


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure in the format that the ending of the file's name says, whole or not at all.

    Args:
        figure: What is to be written.
        path: Name that ends in .png, .pdf or .svg.

    Raises:
        UserError: another ending, or the file cannot be written.
    """
    check_suffix(path, "figure", FIGURE_SUFFIXES)
    write_atomic(path, encode_figure(figure, path.suffix[1:].lower()))


def write_files(folder: Path, files: Mapping[str, str | bytes | Figure]) -> list[str]:
    """Write the files of a report, each whole or not at all.

    Args:
        folder: Where they go.
        files: Texts, bytes and figures by their names, which may hold folders.

    Returns:
        The names.

    Raises:
        UserError: a file cannot be written.
    """
    for name, content in files.items():
        if isinstance(content, Figure):
            save_figure(content, folder / name)
        else:
            write_atomic(folder / name, content)
    return list(files)


def shown_name(name: str, most: int = 24) -> str:
    """Return a name of the user's as a label: on one line, and not longer than `most`.

    What is too long loses its middle, since names of one kind differ at their ends. Legends leave
    out labels that start with an underscore: it gets a thin space before it.

    Args:
        name: Name of a source, a file, a method.
        most: Number of characters.

    Example:
        >>> shown_name("stylegan2_ffhq_256_run_1", 13)
        'stylega…run_1'
    """
    text = one_line(name)
    if len(text) > most:
        text = f"{text[: most - most // 2]}…{text[len(text) - most // 2 + 1 :]}"
    return f"\N{THIN SPACE}{text}" if text.startswith("_") else text


def series_style(number: int) -> dict[str, Any]:
    """Return colour and marker of the line of a series; after eight the dashes change."""
    return {
        "color": _COLOURS[number % len(_COLOURS)],
        "marker": _MARKERS[number % len(_MARKERS)],
        "linestyle": _DASHES[number // len(_COLOURS) % len(_DASHES)],
        "markersize": 3.6,
        "linewidth": 1.1,
    }


def format_axes(panel: Axes, xlabel: str = "", ylabel: str = "", grid: str = "both") -> None:
    """Set the labels of a panel and draw a light grid; `grid` is "both", "x", "y" or ""."""
    panel.set_xlabel(xlabel, fontsize=9)
    panel.set_ylabel(ylabel, fontsize=9)
    panel.tick_params(labelsize=8, length=2)
    if grid:
        panel.grid(axis=grid, color="#dddddd", linewidth=0.6)  # type: ignore[arg-type]
    panel.set_axisbelow(True)
    panel.spines[["top", "right"]].set_visible(False)


def use_log2_axis(panel: Axes, counts: Sequence[int]) -> None:
    """Make the x axis one of doublings, with ticks at these numbers of images."""
    panel.set_xscale("log", base=2)
    panel.xaxis.set_major_locator(FixedLocator([float(count) for count in counts]))
    panel.xaxis.set_minor_locator(NullLocator())
    panel.xaxis.set_major_formatter(FuncFormatter(lambda count, _: f"{count:g}"))


@dataclass(frozen=True)
class IntervalSeries:
    """A series of `plot_intervals`: (value, low, high) for each label, or None."""

    name: str
    values: Sequence[tuple[float, float, float] | None]


def intervals_height(labels: Sequence[str], series: Sequence[IntervalSeries]) -> float:
    """Return the inches that the panel of `plot_intervals` takes."""
    return 1.0 + _ROW * len(labels) * max(1.0, 0.75 * len(series))


def plot_intervals(
    panel: Axes, labels: Sequence[str], series: Sequence[IntervalSeries], colour: str | None = None
) -> None:
    """Plot values with intervals, a row for each label from the top on, series side by side.

    Each series has a colour of its own, or all have `colour`.
    """
    step = min(0.2, 0.5 / max(1, len(series) - 1))  # nearer to each other than to the next row
    for number, each in enumerate(series):
        shift = step * (number - (len(series) - 1) / 2)
        shown = [(row, found) for row, found in enumerate(each.values) if found is not None]
        panel.errorbar(
            [value for _, (value, _, _) in shown],
            [row + shift for row, _ in shown],
            xerr=[
                [max(0.0, value - low) for _, (value, low, _) in shown],
                [max(0.0, high - value) for _, (value, _, high) in shown],
            ],
            capsize=2,
            elinewidth=1.0,
            label=each.name,
            **{**series_style(number), "linestyle": "none"} | ({"color": colour} if colour else {}),
        )
    panel.set_yticks(range(len(labels)), labels)
    panel.set_ylim(len(labels) - 0.4, -0.6)


_SPREAD = 3.0
"""Standard deviations of a residual that the range from black to white has on either side."""


def amplify_residual(residual: Tensor) -> tuple[NDArray[np.float64], float]:
    """Return a residual (3, H, W) as a picture (H, W, 3) in [0, 1] about gray, and the factor."""
    x = residual.cpu().double().numpy()
    x = x - x.mean()
    deviation = float(x.std())
    factor = 0.5 / (_SPREAD * deviation) if deviation > 0 else 1.0
    return np.clip(0.5 + factor * x, 0.0, 1.0).transpose(1, 2, 0), factor
