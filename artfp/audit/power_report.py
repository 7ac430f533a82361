"""Images that a verdict needs: table, CSV, JSON and plot of `artfp.stats.power`."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from artfp import __version__
from artfp.audit.settings import PowerSettings
from artfp.data.tables import Column, csv_table, json_rows, rich_table
from artfp.reporting.figure import CHANCE_LINE, OKABE_ITO, figure_style
from artfp.stats import minimum_matches, required_images
from artfp.stats.power import power_table

if TYPE_CHECKING:
    from rich.table import Table

_COLUMNS = (
    "accuracy",
    "level",
    Column("keys", "fingerprints"),
    "alpha",
    "images",
)
POWER_MODEL = (
    "A best case: every bit of every image is right with this probability, independently of all "
    "others. More images do not help against bits that are wrong in all images of a source."
)

_MARKED = 30
"""Numbers of images up to here are marked one by one."""
_GAP = 0.09
"""Least distance of two labels, as a fraction of the axis."""
_SIZE = (9.6, 4.1)  # inches
_MIN_ACCURACY, _MAX_ACCURACY = 0.52, 0.995


@dataclass(frozen=True)
class ImagesNeeded:
    """Least number of images at a bit accuracy and a level.

    Args:
        accuracy: Bit accuracy, above 0.5 and at most 1.
        level: Level of the whole test.
        fingerprints: Number of fingerprints that are compared.
        alpha: Level of each comparison: `level` / `fingerprints`.
        images: The number of images; None if no number is enough.

    Example:
        >>> ImagesNeeded(0.7, 1e-6, 1000, 1e-9, 3).images
        3
    """

    accuracy: float
    level: float
    fingerprints: int
    alpha: float
    images: int | None


def images_needed(settings: PowerSettings) -> list[ImagesNeeded]:
    """Compute the number of images that a verdict needs, for each accuracy and level.

    Args:
        settings: Settings of `artfp power`.

    Returns:
        A cell for each accuracy and test, row by row: for one fingerprint, and for all registered.

    Example:
        >>> [cell.images for cell in images_needed(PowerSettings(accuracies=(0.6,), bits=64))]
        [6, 11, 18]
    """
    return [
        ImagesNeeded(
            accuracy,
            level,
            count,
            level / count,
            required_images(
                settings.bits, accuracy, level / count, settings.power, settings.method
            ),
        )
        for accuracy in settings.accuracies
        for level, count in settings.tests()
    ]


def power_rows(settings: PowerSettings, cells: Sequence[ImagesNeeded]) -> Table:
    """Return a row for each accuracy with a column for each test; - where no number is enough."""
    tests = settings.tests()
    columns = [Column("bit accuracy", lambda row: f"{row[0].accuracy:g}")]
    for place, (level, count) in enumerate(tests):
        heading = f"level {format_level(level)}"
        if settings.registered > 1:
            heading += f"\n{count} compared"
        columns.append(Column(heading, _cell(place), align="right"))
    rows = [cells[start : start + len(tests)] for start in range(0, len(cells), len(tests))]
    return rich_table(rows, columns, boxed=True)


def _cell(place: int) -> Callable[[Sequence[ImagesNeeded]], object]:
    def images(row: Sequence[ImagesNeeded]) -> object:
        found = row[place].images
        return "-" if found is None else found

    return images


def power_csv(cells: Sequence[ImagesNeeded]) -> str:
    """Return a line for each cell; no number of images is an empty field."""
    return csv_table(cells, _COLUMNS)


def power_json(settings: PowerSettings, cells: Sequence[ImagesNeeded]) -> dict[str, Any]:
    """Return question, model and cells as JSON values."""
    question = {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in asdict(settings).items()
        if name in ("bits", "accuracies", "levels", "registered", "power", "method")
    }
    return {
        "software": f"artfp {__version__}",
        "question": question,
        "model": POWER_MODEL,
        "rows": json_rows(cells, _COLUMNS),
    }


@figure_style
def plot_power(settings: PowerSettings) -> Figure:
    """Draw power against images for some accuracies, and images against accuracy.

    The left panel is drawn for all registered fingerprints, at the middle one of the levels that
    can be reached.
    """
    figure = Figure(figsize=_SIZE, layout="constrained")
    left, right = figure.subplots(1, 2)
    _power_panel(left, settings)
    _images_panel(right, settings)
    weighing = {"soft": "by weighed logits", "majority": "by majority"}[settings.method]
    figure.suptitle(f"{settings.bits} bits, {weighing}; errors independent", fontsize=11)
    return figure


def _power_panel(panel: Axes, settings: PowerSettings) -> None:
    """A line for each accuracy that takes clearly fewer images than the one before it."""
    bits, count = settings.bits, settings.registered
    reached = [each for each in settings.levels if minimum_matches(bits, each / count) <= bits]
    levels = reached or settings.levels
    level = levels[len(levels) // 2]
    drawn = _apart(settings, level / count)
    most = max([*drawn.values(), 10])
    images = np.unique(np.geomspace(1, most, 160).astype(int)).tolist()
    powers = power_table(settings.bits, list(drawn), images, level / count, settings.method)
    colours = colormaps["viridis"](np.linspace(0.0, 0.75, len(drawn)))
    for (accuracy, end), row, colour in zip(drawn.items(), powers, colours, strict=True):
        dots = [i for i, n in enumerate(images) if n <= _MARKED and 0.001 < row[i] < 0.999]
        panel.plot(images, row, color=colour, linewidth=1.6, marker="o", markersize=3,
                   markevery=dots)  # fmt: skip
        panel.annotate(f"{accuracy:g}", (end, 1.0), (0, 4), textcoords="offset points",
                       ha="center", fontsize=8, color=colour)  # fmt: skip
    panel.axhline(settings.power, **CHANCE_LINE)
    panel.set_xscale("log")
    panel.set_xlim(0.9, 1.2 * most)
    panel.set_ylim(-0.02, 1.0)
    _plain(panel.xaxis)
    panel.set_xlabel("images", fontsize=9)
    panel.set_ylabel("power", fontsize=9)
    panel.set_title(
        f"power by bit accuracy, level {format_level(level, count)}", fontsize=10, pad=18
    )


def _apart(settings: PowerSettings, alpha: float) -> dict[float, int]:
    """Accuracies with the images at which their power is .98; far enough apart to be labelled."""
    drawn: dict[float, int] = {}
    limit = math.inf
    for accuracy in sorted(settings.accuracies):
        end = required_images(settings.bits, accuracy, alpha, 0.98, settings.method)
        if end is not None and end <= limit:
            drawn[accuracy] = end
            limit = end / max(drawn.values()) ** _GAP
    return drawn


def _images_panel(panel: Axes, settings: PowerSettings) -> None:
    """A line for each level that can be reached; dashed for all registered fingerprints."""
    accuracies = np.arange(_MIN_ACCURACY, _MAX_ACCURACY, 0.0025)
    for number, (level, count) in enumerate(settings.tests()):
        found = [
            required_images(settings.bits, a, level / count, settings.power, settings.method)
            for a in accuracies.tolist()
        ]
        counts = [images for images in found if images is not None]
        if len(counts) == len(found):
            colour = OKABE_ITO[number % len(settings.levels) % len(OKABE_ITO)]
            style = "-" if count == 1 else "--"
            panel.plot(accuracies, counts, drawstyle="steps-post", label=format_level(level, count),
                       color=colour, linewidth=1.5, linestyle=style)  # fmt: skip
    panel.set_yscale("log")
    panel.set_xlim(0.5, 1.0)
    panel.set_ylim(bottom=0.9)
    _plain(panel.yaxis)
    panel.set_xlabel("bit accuracy", fontsize=9)
    panel.set_ylabel("images", fontsize=9)
    panel.set_title(f"images for a power of {settings.power:g}", fontsize=10, pad=18)
    if panel.lines:
        panel.legend(title="level", fontsize=8, title_fontsize=8, frameon=False)


def format_level(level: float, fingerprints: int = 1) -> str:
    """Write a level, with the number of fingerprints that share it."""
    digits, e, exponent = f"{level:e}".partition("e")
    text = f"{level:g}" if level >= 0.01 else f"{float(digits):g}{e}{int(exponent)}"
    return text if fingerprints == 1 else f"{text} over {fingerprints} fingerprints"


def _plain(axis: Any) -> None:
    """Numbers of images in full, at the powers of ten."""
    axis.set_major_formatter(FuncFormatter(lambda count, _: f"{count:g}"))
    axis.set_minor_formatter(NullFormatter())
