"""VisNetEvidence of a VisNet in figures: fingerprints of sources and images, and their products."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from pathlib import Path

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from artfp.core.errors import UserError, one_line
from artfp.data.files import write_atomic
from artfp.data.naming import output_names
from artfp.data.paths import check_not_inside
from artfp.data.sources import ImageSource
from artfp.data.tables import csv_table
from artfp.passive.attributors.bundle import FittedAttributor
from artfp.passive.attributors.visnet import VisNetAttributor
from artfp.passive.fitting.visnet import VisNetEvidence
from artfp.reporting.figure import amplify_residual, encode_figure, figure_style, shown_name

MODELS, RESPONSES = "model_fingerprints.png", "responses.csv"
"""Files with the fingerprints of the sources, and with the responses to them."""

PICTURES, PICTURES_TABLE = "images", "pictures.csv"
"""Folder of the pictures of single images, and the table of these."""

_INCHES = 1.05
_ACROSS = 4
_MAX_ANNOTATED = 16
_MAX_NAME = 14
_MAX_RESPONSES = 10


def evidence_files(evidence: VisNetEvidence) -> dict[str, bytes | str]:
    """Return figures and table of the evidence by file name."""
    sources = evidence.sources
    return {
        MODELS: plot_source_fingerprints(sources, evidence.models),
        "image_fingerprints.png": plot_image_fingerprints(
            sources, evidence.examples, evidence.fingerprints
        ),
        "responses.png": plot_responses(sources, evidence.responses),
        RESPONSES: responses_csv(sources, evidence.scores),
    }


@figure_style
def plot_source_fingerprints(sources: Sequence[str], models: Tensor) -> bytes:
    """Plot fingerprints (K, 3, R, R) of sources, amplified about gray, as a PNG file."""
    across = min(_ACROSS, len(sources))
    down = math.ceil(len(sources) / across)
    figure = Figure(figsize=(1.7 * across, 2.05 * down), layout="constrained")
    panels = figure.subplots(down, across, squeeze=False).flatten()
    for panel, name, model in zip(panels, sources, models, strict=False):
        shown, factor = amplify_residual(model)
        panel.imshow(shown, interpolation="nearest")
        panel.set_title(shown_name(name, _MAX_NAME), pad=3)
        panel.set_xlabel(f"x {factor:.3g}", fontsize=7, labelpad=2)
        _bare(panel)
    for panel in panels[len(sources) :]:
        panel.set_visible(False)
    return encode_figure(figure)


@figure_style
def plot_image_fingerprints(
    sources: Sequence[str], examples: Tensor, fingerprints: Tensor
) -> bytes:
    """Plot images (K, n, 3, R, R) in [0, 1], each beside its fingerprint, as a PNG file.

    Each source has a row. The fingerprints' factor is below, for pixels from 0 to 1.
    """
    count = examples.shape[1]
    label = 0.4 + 0.07 * max(len(shown_name(name, _MAX_NAME)) for name in sources)
    size = (label + 2 * _INCHES * count, (_INCHES + 0.17) * len(sources) + 0.2)
    figure = Figure(figsize=size)
    panels = figure.subplots(len(sources), 2 * count, squeeze=False)
    for name, row, xs, found in zip(sources, panels, examples, fingerprints, strict=True):
        for place, (x, fingerprint) in enumerate(zip(xs, found, strict=True)):
            # A fingerprint's pixels go from -1 to 1.
            shown, factor = amplify_residual(fingerprint / 2.0)
            row[2 * place].imshow(x.permute(1, 2, 0).numpy(), interpolation="nearest")
            row[2 * place + 1].imshow(shown, interpolation="nearest")
            row[2 * place + 1].set_xlabel(f"x {factor:.1f}", fontsize=6, labelpad=1)
        row[0].set_ylabel(
            shown_name(name, _MAX_NAME), rotation=0, ha="right", va="center", labelpad=6
        )
        for panel in row:
            _bare(panel)
    for place, panel in enumerate(panels[0]):
        panel.set_title("fingerprint" if place % 2 else "image", fontsize=8, pad=3)
    figure.subplots_adjust(label / size[0], 0.02, 0.995, 1.0 - 0.2 / size[1], 0.05, 0.2)
    return encode_figure(figure)


@figure_style
def plot_responses(sources: Sequence[str], responses: Tensor) -> bytes:
    """Plot contributions of pixels to scores, (K, K, R, R), images by models, as a PNG file.

    All have one range of colours, which the largest tenth of a percent exceeds. The sum over the
    pixels, the mean score, is in each panel.
    """
    count = len(sources)
    most = float(responses.abs().flatten()[:: max(1, responses.numel() // 10**6)].quantile(0.999))
    side = max(4.2, (0.85 if count <= _MAX_ANNOTATED else 0.5) * count)
    figure = Figure(figsize=(side + 1.3, side + 0.6), layout="constrained")
    panels = figure.subplots(count, count, squeeze=False)
    image = None
    for i, row in enumerate(panels):
        for j, panel in enumerate(row):
            shown = responses[i, j].numpy()
            image = panel.imshow(
                shown, cmap="RdBu_r", vmin=-most, vmax=most, interpolation="nearest"
            )
            _bare(panel)
            if count <= _MAX_ANNOTATED:
                panel.text(0.04, 0.95, f"{shown.sum(dtype=float):+.1f}", fontsize=7, va="top",
                           transform=panel.transAxes,
                           bbox={"facecolor": "white", "alpha": 0.8, "pad": 0.8,
                                 "edgecolor": "none"})  # fmt: skip
            if i == j:
                panel.spines[:].set_visible(True)
                panel.spines[:].set_linewidth(1.4)
        row[0].set_ylabel(
            shown_name(sources[i], _MAX_NAME), rotation=0, ha="right", va="center", labelpad=4
        )
    for panel, name in zip(panels[-1], sources, strict=True):
        panel.set_xlabel(
            shown_name(name, _MAX_NAME), rotation=45, ha="right", rotation_mode="anchor"
        )
    assert image is not None
    bar = figure.colorbar(image, ax=panels, shrink=0.5, extend="both")
    bar.set_label("contribution of a pixel to the score (numbers: all pixels)")
    figure.supxlabel("fingerprint of", fontsize=9)
    figure.supylabel("held out images of", fontsize=9)
    return encode_figure(figure)


class ImageEvidence:
    """Writer of the evidence for single images: a picture for each, and a table.

    What an earlier run's table in the folder lists is removed first, so that no picture of other
    images stays beside a new table.

    Args:
        attributor: Attributor with a VisNet.
        source: All images.
        folder: Where the files go.

    Raises:
        UserError: an attributor without a VisNet, or a folder among the images.
    """

    def __init__(self, attributor: FittedAttributor, source: ImageSource, folder: Path) -> None:
        found = [part for part in attributor.parts if isinstance(part, VisNetAttributor)]
        if not found:
            raise UserError(
                f"--pictures: {attributor.name} is {attributor.metadata.get('method', 'another')}; "
                "fingerprints of images are shown by an attributor of artfp attribute visnet"
            )
        check_not_inside(source.location, folder)
        self.folder, self.network, self.sources = folder, found[0].network, found[0].sources
        pictures = output_names(source.names, ".png")
        self._pictures = dict(zip(source.names, pictures, strict=True))
        models = self.network.fingerprints
        self._models = models - models.mean(0)
        self._rows: list[list[str | float]] = []
        _remove_earlier(folder)

    @torch.inference_mode()
    def add(self, names: Sequence[str], x: Tensor) -> None:
        """Write pictures of images (N, 3, R, R) in [0, 1]."""
        for name, each, own in zip(names, x, self.network.fingerprint(x.float()), strict=True):
            responses = (own * self._models.to(own.device)).sum(1)
            scores = responses.double().sum((1, 2)).tolist()
            picture = f"{PICTURES}/{self._pictures[name]}"
            title = one_line(name)
            png = plot_image_evidence(self.sources, each.cpu(), own.cpu(), responses.cpu(), title)
            write_atomic(self.folder / picture, png)
            highest = self.sources[scores.index(max(scores))]
            self._rows.append([name, picture, highest, *scores])

    def finish(self) -> list[str]:
        """Write the fingerprints of the sources and the table; return the names of all files."""
        write_atomic(self.folder / MODELS, plot_source_fingerprints(self.sources, self._models))
        columns = ["image", "picture", "highest", *self.sources]
        write_atomic(self.folder / PICTURES_TABLE, csv_table(self._rows, columns, floats=".4f"))
        return [MODELS, PICTURES_TABLE, *(str(row[1]) for row in self._rows)]


def _remove_earlier(folder: Path) -> None:
    """Remove a table of responses in a folder, and the pictures that it lists."""
    table = folder / PICTURES_TABLE
    if not table.is_file():
        return
    own = (folder / PICTURES).resolve()
    with table.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        for row in csv.DictReader(file):
            path = (folder / (row.get("picture") or "")).resolve()
            if path.suffix == ".png" and path.is_relative_to(own):
                path.unlink(missing_ok=True)
    table.unlink()


@figure_style
def plot_image_evidence(
    sources: Sequence[str], x: Tensor, fingerprint: Tensor, responses: Tensor, title: str = ""
) -> bytes:
    """Plot an image, its fingerprint, and its responses to the sources' fingerprints, as PNG.

    Args:
        sources: Names of K sources.
        x: The image (3, R, R) in [0, 1].
        fingerprint: Its fingerprint (3, R, R), of pixels from -1 to 1.
        responses: Contributions of its pixels to the scores (K, R, R). Those of the ten largest
            sums are shown, the largest first, in one range of colours.
        title: Name of the image.
    """
    scores = responses.double().sum((1, 2))
    order = scores.argsort(descending=True, stable=True)[:_MAX_RESPONSES].tolist()
    most = float(responses[order].abs().flatten().quantile(0.999)) or 1.0
    across = min(_ACROSS + 2, 2 + len(order))
    down = math.ceil((2 + len(order)) / across)
    figure = Figure(figsize=(1.5 * across + 0.9, 1.85 * down + 0.3), layout="constrained")
    panels = figure.subplots(down, across, squeeze=False).flatten()
    shown, factor = amplify_residual(fingerprint / 2.0)
    panels[0].imshow(x.permute(1, 2, 0).numpy())
    panels[0].set_title("image", pad=3)
    panels[1].imshow(shown)
    panels[1].set_title("fingerprint", pad=3)
    panels[1].set_xlabel(f"x {factor:.1f}", labelpad=2)
    heat = None
    for panel, k in zip(panels[2:], order, strict=False):
        heat = panel.imshow(responses[k].numpy(), cmap="RdBu_r", vmin=-most, vmax=most)
        panel.set_title(shown_name(sources[k], _MAX_NAME), pad=3)
        panel.set_xlabel(f"score {float(scores[k]):+.1f}", labelpad=2)
    for panel in panels:
        _bare(panel)
    for panel in panels[2 + len(order) :]:
        panel.set_visible(False)
    assert heat is not None
    bar = figure.colorbar(heat, ax=panels, shrink=0.7, extend="both")
    bar.set_label("contribution of a pixel to the score", fontsize=8)
    figure.suptitle(shown_name(title, 12 * across))
    return encode_figure(figure)


def responses_csv(sources: Sequence[str], scores: Tensor) -> str:
    """Return mean scores (K, K) as CSV: rows are sources of the images, columns models."""
    rows = [[name, *row] for name, row in zip(sources, scores.tolist(), strict=True)]
    return csv_table(rows, ["images of", *sources], floats=".4f")


def _bare(panel: Axes) -> None:
    panel.set_xticks([])
    panel.set_yticks([])
    panel.spines[:].set_visible(False)
