"""How many images a verdict takes: table, CSV, JSON and plot of `artfp.stats.power`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter
from rich.table import Table

from artfp import __version__
from artfp.data.tables import csv_line
from artfp.reporting.figure import CHANCE_LINE, OKABE_ITO, encode_figure
from artfp.stats import minimum_matches, power_table, required_images
from artfp.stats.power import PowerMethod

COLUMNS = ("accuracy", "level", "keys", "alpha", "images")
MODEL = (
    "A best case: every bit of every image is right with this probability, independently of all "
    "others. Bits that are wrong in all images of a source are mended by no number of them."
)

_DOTS = 30
"""Numbers of images up to here are marked one by one."""
_GAP = 0.09
"""Least distance of two labels, as a share of the axis."""
_SIZE = (9.6, 4.1)  # inches
_LEAST, _MOST = 0.52, 0.995


@dataclass(frozen=True)
class PowerQuestion:
    """What a table answers.

    `levels` are those of the whole test, over `registered` keys; `power` is what is to be reached.
    """

    bits: int
    accuracies: tuple[float, ...]
    levels: tuple[float, ...]
    registered: int = 1
    power: float = 0.9
    method: PowerMethod = "soft"

    def tests(self) -> list[tuple[float, int]]:
        """(level, keys) of each column: one key, and then all that are registered."""
        counts = dict.fromkeys((1, self.registered))
        return [(level, keys) for keys in counts for level in self.levels]


@dataclass(frozen=True)
class ImagesNeeded:
    """The least number of images at a bit accuracy and a level, or None: no number suffices.

    `alpha`, level / keys, is that of each comparison.
    """

    accuracy: float
    level: float
    keys: int
    alpha: float
    images: int | None


def images_needed(question: PowerQuestion) -> list[ImagesNeeded]:
    """All cells, row by row.

    Raises:
        ValueError: as `required_images`.
    """
    bits, power, method = question.bits, question.power, question.method
    return [
        ImagesNeeded(accuracy, level, keys, level / keys,
             required_images(bits, accuracy, level / keys, power, method))
        for accuracy in question.accuracies
        for level, keys in question.tests()
    ]  # fmt: skip


def needs_table(question: PowerQuestion, found: Sequence[ImagesNeeded]) -> Table:
    """For the console: a row for each accuracy, a column for each level; - for None."""
    table = Table("bit accuracy")
    for level, keys in question.tests():
        of = f"\n{keys} keys" if keys > 1 else "\n1 key" if question.registered > 1 else ""
        table.add_column(f"level {_told(level)}{of}", justify="right")
    by_place = {(need.accuracy, need.level, need.keys): need.images for need in found}
    for accuracy in question.accuracies:
        counts = [by_place[(accuracy, *test)] for test in question.tests()]
        table.add_row(f"{accuracy:g}", *("-" if n is None else str(n) for n in counts))
    return table


def needs_csv(found: Sequence[ImagesNeeded]) -> str:
    """A line for each cell; None is empty."""
    rows = [[asdict(need)[name] for name in COLUMNS] for need in found]
    return csv_line(COLUMNS) + "".join(map(csv_line, rows))


def needs_json(question: PowerQuestion, found: Sequence[ImagesNeeded]) -> dict[str, Any]:
    """Question, model and cells as JSON values."""
    rows = [{name: asdict(need)[name] for name in COLUMNS} for need in found]
    asked = asdict(question) | {"accuracies": list(question.accuracies)}
    asked |= {"levels": list(question.levels)}
    return {"software": f"artfp {__version__}", "question": asked, "model": MODEL, "rows": rows}


def plot_power(question: PowerQuestion) -> bytes:
    """Power against images for some accuracies, and images against accuracy, as a PNG file.

    The left panel is drawn for all registered keys, at the middle one of the levels that can be
    reached.
    """
    picture = Figure(figsize=_SIZE, dpi=130)
    left, right = picture.subplots(1, 2)
    _power_panel(left, question)
    _images_panel(right, question)
    for panel in (left, right):
        panel.grid(color="#dddddd", linewidth=0.6)
        panel.set_axisbelow(True)
        panel.spines[["top", "right"]].set_visible(False)
        panel.tick_params(labelsize=8, length=2)
    how = {"soft": "by weighed logits", "majority": "by majority"}[question.method]
    picture.suptitle(f"{question.bits} bits, {how}; errors independent", fontsize=11)
    picture.tight_layout(w_pad=2.2)
    return encode_figure(picture)


def _power_panel(panel: Axes, question: PowerQuestion) -> None:
    """A line for each accuracy that takes clearly fewer images than the one before it."""
    keys = question.registered
    bits = question.bits
    reached = [each for each in question.levels if minimum_matches(bits, each / keys) <= bits]
    levels = reached or question.levels
    level = levels[len(levels) // 2]
    drawn = _apart(question, level / keys)
    most = max([*drawn.values(), 10])
    images = np.unique(np.geomspace(1, most, 160).astype(int)).tolist()
    powers = power_table(question.bits, list(drawn), images, level / keys, question.method)
    colours = colormaps["viridis"](np.linspace(0.0, 0.75, len(drawn)))
    for (accuracy, end), row, colour in zip(drawn.items(), powers, colours, strict=True):
        dots = [i for i, n in enumerate(images) if n <= _DOTS and 0.001 < row[i] < 0.999]
        panel.plot(images, row, color=colour, linewidth=1.6, marker="o", markersize=3,
                   markevery=dots)  # fmt: skip
        panel.annotate(f"{accuracy:g}", (end, 1.0), (0, 4), textcoords="offset points",
                       ha="center", fontsize=8, color=colour)  # fmt: skip
    panel.axhline(question.power, **CHANCE_LINE)
    panel.set_xscale("log")
    panel.set_xlim(0.9, 1.2 * most)
    panel.set_ylim(-0.02, 1.0)
    _plain(panel.xaxis)
    panel.set_xlabel("images", fontsize=9)
    panel.set_ylabel("power", fontsize=9)
    panel.set_title(f"power by bit accuracy, level {_told(level, keys)}", fontsize=10, pad=18)


def _apart(question: PowerQuestion, alpha: float) -> dict[float, int]:
    """Accuracies with the images at which their power is .98; far enough apart to be labelled."""
    drawn: dict[float, int] = {}
    limit = math.inf
    for accuracy in sorted(question.accuracies):
        end = required_images(question.bits, accuracy, alpha, 0.98, question.method)
        if end is not None and end <= limit:
            drawn[accuracy] = end
            limit = end / max(drawn.values()) ** _GAP
    return drawn


def _images_panel(panel: Axes, question: PowerQuestion) -> None:
    """A line for each level that can be reached; dashed for all registered keys."""
    accuracies = np.arange(_LEAST, _MOST, 0.0025)
    for number, (level, keys) in enumerate(question.tests()):
        found = [
            required_images(question.bits, a, level / keys, question.power, question.method)
            for a in accuracies.tolist()
        ]
        counts = [count for count in found if count is not None]
        if len(counts) == len(found):
            colour = OKABE_ITO[number % len(question.levels) % len(OKABE_ITO)]
            style = "-" if keys == 1 else "--"
            panel.plot(accuracies, counts, drawstyle="steps-post", label=_told(level, keys),
                       color=colour, linewidth=1.5, linestyle=style)  # fmt: skip
    panel.set_yscale("log")
    panel.set_xlim(0.5, 1.0)
    panel.set_ylim(bottom=0.9)
    _plain(panel.yaxis)
    panel.set_xlabel("bit accuracy", fontsize=9)
    panel.set_ylabel("images", fontsize=9)
    panel.set_title(f"images for a power of {question.power:g}", fontsize=10, pad=18)
    if panel.lines:
        panel.legend(title="level", fontsize=8, title_fontsize=8, frameon=False)


def _told(level: float, keys: int = 1) -> str:
    """A level as people write it, with the number of keys that share it."""
    digits, e, exponent = f"{level:e}".partition("e")
    text = f"{level:g}" if level >= 0.01 else f"{float(digits):g}{e}{int(exponent)}"
    return text if keys == 1 else f"{text} over {keys} keys"


def _plain(axis: Any) -> None:
    """Numbers of images in full, at the powers of ten."""
    axis.set_major_formatter(FuncFormatter(lambda count, _: f"{count:g}"))
    axis.set_minor_formatter(NullFormatter())
