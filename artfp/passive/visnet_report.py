"""Pictures of what a VisNet goes by: fingerprints of models and images, and their products."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from artfp.reporting.figure import (
    amplify_residual,
    encode_figure,
)

_DPI = 130
_INCHES = 1.05
_ACROSS = 4
_MOST_NUMBERS = 16
_LONGEST = 14


def plot_source_fingerprints(sources: Sequence[str], models: Tensor) -> bytes:
    """Fingerprints (K, 3, R, R) of models about gray, each with its factor, as a PNG file."""
    across = min(_ACROSS, len(sources))
    down = math.ceil(len(sources) / across)
    picture = Figure(figsize=(1.7 * across, 2.05 * down), dpi=_DPI, layout="constrained")
    panels = picture.subplots(down, across, squeeze=False).flatten()
    for panel, name, model in zip(panels, sources, models, strict=False):
        shown, factor = amplify_residual(model)
        panel.imshow(shown, interpolation="nearest")
        panel.set_title(_short(name), fontsize=9, pad=3)
        panel.set_xlabel(f"x {factor:.3g}", fontsize=7, labelpad=2)
        _bare(panel)
    for panel in panels[len(sources) :]:
        panel.set_visible(False)
    return encode_figure(picture)


def plot_image_fingerprints(
    sources: Sequence[str], examples: Tensor, fingerprints: Tensor
) -> bytes:
    """Images (K, n, 3, R, R) in [0, 1], each beside its fingerprint about gray, as a PNG file.

    A row for each source. The fingerprints' factor stands below, for pixels from 0 to 1.
    """
    count = examples.shape[1]
    label = 0.4 + 0.07 * max(len(_short(name)) for name in sources)
    size = (label + 2 * _INCHES * count, (_INCHES + 0.17) * len(sources))
    picture = Figure(figsize=size, dpi=_DPI)
    panels = picture.subplots(len(sources), 2 * count, squeeze=False)
    for name, row, xs, found in zip(sources, panels, examples, fingerprints, strict=True):
        for place, (x, fingerprint) in enumerate(zip(xs, found, strict=True)):
            # A fingerprint's pixels go from -1 to 1.
            shown, factor = amplify_residual(fingerprint / 2.0)
            row[2 * place].imshow(x.permute(1, 2, 0).numpy(), interpolation="nearest")
            row[2 * place + 1].imshow(shown, interpolation="nearest")
            row[2 * place + 1].set_xlabel(f"x {factor:.1f}", fontsize=6, labelpad=1)
        row[0].set_ylabel(_short(name), fontsize=9, rotation=0, ha="right", va="center", labelpad=6)
        for panel in row:
            _bare(panel)
    picture.subplots_adjust(label / size[0], 0.02, 0.995, 0.995, 0.05, 0.2)
    return encode_figure(picture)


def plot_responses(sources: Sequence[str], responses: Tensor) -> bytes:
    """What pixels add to scores, (K, K, R, R), images by models, as a PNG file.

    All in one range of colours, which the largest tenth of a percent leaves. The sum over the
    pixels, the mean score, stands in each panel.
    """
    count = len(sources)
    most = float(responses.abs().flatten()[:: max(1, responses.numel() // 10**6)].quantile(0.999))
    side = max(4.2, (0.85 if count <= _MOST_NUMBERS else 0.5) * count)
    picture = Figure(figsize=(side + 1.3, side + 0.6), dpi=_DPI, layout="constrained")
    panels = picture.subplots(count, count, squeeze=False)
    image = None
    for i, row in enumerate(panels):
        for j, panel in enumerate(row):
            shown = responses[i, j].numpy()
            image = panel.imshow(
                shown, cmap="RdBu_r", vmin=-most, vmax=most, interpolation="nearest"
            )
            _bare(panel)
            if count <= _MOST_NUMBERS:
                panel.text(0.04, 0.95, f"{shown.sum(dtype=float):+.1f}", fontsize=7, va="top",
                           transform=panel.transAxes,
                           bbox={"facecolor": "white", "alpha": 0.8, "pad": 0.8,
                                 "edgecolor": "none"})  # fmt: skip
            if i == j:
                panel.spines[:].set_visible(True)
                panel.spines[:].set_linewidth(1.4)
        row[0].set_ylabel(
            _short(sources[i]), fontsize=8, rotation=0, ha="right", va="center", labelpad=4
        )
    for panel, name in zip(panels[-1], sources, strict=True):
        panel.set_xlabel(_short(name), fontsize=8, rotation=45, ha="right", rotation_mode="anchor")
    assert image is not None
    bar = picture.colorbar(image, ax=panels, shrink=0.5, extend="both")
    bar.ax.tick_params(labelsize=7)
    bar.set_label("part of a pixel in the score (numbers: all pixels)", fontsize=8)
    picture.supxlabel("fingerprint of", fontsize=9)
    picture.supylabel("held out images of", fontsize=9)
    return encode_figure(picture)


def responses_csv(sources: Sequence[str], scores: Tensor) -> str:
    """Mean scores (K, K) as CSV: a row for the images of each source, a column for each model."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["images of", *sources])
    for name, row in zip(sources, scores.tolist(), strict=True):
        writer.writerow([name, *(f"{value:.4f}" for value in row)])
    return file.getvalue()


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"


def _bare(panel: Axes) -> None:
    panel.set_xticks([])
    panel.set_yticks([])
    panel.spines[:].set_visible(False)
