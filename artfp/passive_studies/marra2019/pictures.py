"""Figures of fingerprints, of their autocorrelations, and of mean correlations."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from artfp.reporting.figure import amplify_residual, encode_figure, figure_style, shown_name

_MIN_INCHES, _MAX_INCHES, _DPI = 1.15, 2.2, 130
_ACROSS = 4
_MOST_ANNOTATED = 16


@figure_style
def plot_fingerprints(fingerprints: Mapping[str, Mapping[int, Tensor]]) -> bytes:
    """Draw fingerprints (3, H, W) of each source by number of images, amplified, as a PNG file.

    A row for each source. Each is shown about its mean, which is gray, and amplified so that three
    of its standard deviations reach black and white; the factor stands below.
    """
    names, counts = list(fingerprints), list(next(iter(fingerprints.values())))
    side = next(iter(next(iter(fingerprints.values())).values())).shape[-1]
    inches = min(_MAX_INCHES, max(_MIN_INCHES, side / _DPI))
    labels = {name: shown_name(name) for name in names}
    label = 0.35 + 0.075 * max(map(len, labels.values()))
    size = (label + inches * 1.06 * len(counts), (inches + 0.2) * len(names) + 0.3)
    figure = Figure(figsize=size)
    panels = figure.subplots(len(names), len(counts), squeeze=False)
    for row, name in zip(panels, names, strict=True):
        for panel, count in zip(row, counts, strict=True):
            shown, factor = amplify_residual(fingerprints[name][count])
            panel.imshow(shown)
            panel.set_xlabel(f"x {factor:.3g}", fontsize=7, labelpad=2)
            _bare(panel)
        row[0].set_ylabel(labels[name], fontsize=9, rotation=0, ha="right", va="center", labelpad=6)
    for panel, count in zip(panels[0], counts, strict=True):
        panel.set_title(f"{count} image{'s' if count > 1 else ''}", fontsize=9, pad=4)
    left, top = label / size[0], 1.0 - 0.28 / size[1]
    figure.subplots_adjust(left, 0.18 / size[1], 1.0 - 0.06 / size[0], top, 0.06, 0.22 / inches)
    return encode_figure(figure)


@figure_style
def plot_autocorrelation(surfaces: Mapping[str, NDArray[np.float64]], min_shift: int) -> bytes:
    """Draw autocorrelations by source, shift 0 in the middle of each, as a PNG file.

    The colours' range is that of all values at shifts of `min_shift` pixels or more.
    """
    most = max(float(np.abs(_far(each, min_shift)).max()) for each in surfaces.values())
    across = min(_ACROSS, len(surfaces))
    down = math.ceil(len(surfaces) / across)
    figure = Figure(figsize=(2.1 * across + 0.8, 2.2 * down + 0.35), layout="constrained")
    panels = figure.subplots(down, across, squeeze=False, sharex=True, sharey=True)
    image = None
    for panel, (name, surface) in zip(panels.flatten(), surfaces.items(), strict=False):
        rows, columns = (side // 2 for side in surface.shape)
        extent = (-columns - 0.5, columns + 0.5, rows + 0.5, -rows - 0.5)
        image = panel.imshow(surface, cmap="RdBu_r", vmin=-most, vmax=most, extent=extent)
        panel.set_title(shown_name(name), fontsize=9, pad=3)
    for place, panel in enumerate(panels.flatten()):
        panel.set_visible(place < len(surfaces))
        panel.tick_params(labelbottom=place + across >= len(surfaces))
    assert image is not None
    bar = figure.colorbar(image, ax=panels, shrink=0.8 if down == 1 else 0.5, extend="max")
    bar.set_label("autocorrelation")
    figure.supxlabel("shift across, pixels")
    figure.supylabel("shift down, pixels")
    return encode_figure(figure)


def _far(surface: NDArray[np.float64], min_shift: int) -> NDArray[np.float64]:
    rows, columns = (np.abs(np.arange(side) - side // 2) for side in surface.shape)
    far: NDArray[np.float64] = surface[np.maximum(rows[:, None], columns) >= min_shift]
    return far


@figure_style
def plot_matrix(matrix: NDArray[np.float64], sources: Sequence[str]) -> bytes:
    """Draw mean correlations (sources, sources), images of the rows' sources, as a PNG file."""
    count = len(sources)
    names = list(map(shown_name, sources))
    label = 0.4 + 0.07 * max(map(len, names))
    side = max(2.6, 0.52 * count)
    figure = Figure(figsize=(side + label + 1.2, side + label), layout="constrained")
    panel = figure.subplots()
    most = float(np.abs(matrix).max()) or 1.0
    image = panel.imshow(matrix, cmap="RdBu_r", vmin=-most, vmax=most)
    panel.set_xticks(range(count), names, rotation=45, ha="right", rotation_mode="anchor")
    panel.set_yticks(range(count), names)
    panel.set_xlabel("fingerprint of")
    panel.set_ylabel("test images of")
    if count <= _MOST_ANNOTATED:
        for row in range(count):
            for column in range(count):
                value = matrix[row, column]
                colour = "white" if abs(value) > 0.6 * most else "black"
                text = f"{round(value, 3) + 0.0:.3f}".replace("0.", ".")
                panel.text(column, row, text, ha="center", va="center", fontsize=7, color=colour)
    bar = figure.colorbar(image, ax=panel, shrink=0.8)
    bar.set_label("mean correlation")
    return encode_figure(figure)


def _bare(panel: Axes) -> None:
    panel.set_xticks([])
    panel.set_yticks([])
    panel.spines[:].set_visible(False)
