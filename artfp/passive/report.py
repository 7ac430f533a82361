"""An attributor on labelled images: page, JSON and two plots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from numpy.typing import NDArray
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from artfp import __version__
from artfp.core.errors import one_line
from artfp.data.tables import markdown_table, round_significant
from artfp.passive.assess import Assessment, FolderAssessment
from artfp.passive.attributors.score_model import Values
from artfp.reporting.figure import encode_figure, format_axes, series_style

CONFUSION, ROC = "confusion.png", "roc.png"

_DPI = 130
_MOST_ANNOTATED = 16
_LEAST_RATE = 1e-3


def assessment_json(found: Assessment, about: Mapping[str, Any]) -> dict[str, Any]:
    """What was asked and all figures as JSON values; ROC curves are in the plot alone."""
    low, high = found.accuracy.interval()
    whole = {
        "software": f"artfp {__version__}",
        **about,
        "sources": list(found.sources),
        "accuracy": {"mean": found.mean_accuracy, "overall": found.accuracy.overall,
                     "low": low, "high": high},
        "folders": [asdict(folder) for folder in found.folders],
        "pairs": [{"pair": list(pair), **asdict(area)} for pair, area in found.pairs.items()],
        "against_all": {name: asdict(area) for name, area in found.against_all.items()},
        "groups": [asdict(group) for group in found.groups],
    }  # fmt: skip
    values: dict[str, Any] = round_significant(whole)
    return values


def assessment_page(found: Assessment, about: Mapping[str, Any]) -> str:
    """A page in Markdown with the plots by their names."""
    low, high = found.accuracy.interval()
    name = one_line(str(about["attributor"]))
    parts = [
        "# Attribution\n",
        f"Attributor `{name}` ({about['way']}; {about['policy']}), fitted to "
        f"{len(found.sources)} sources. The likeliest source is the true one for "
        f"{found.mean_accuracy:.2%} of the images (mean over sources; of all "
        f"{found.accuracy.overall:.2%}, 95% interval {low:.2%} to {high:.2%}).\n",
        f"## Verdicts\n\n{markdown_table([_folder_row(folder) for folder in found.folders])}\n",
    ]
    if found.unknown:
        rates = ", ".join(
            f"{one_line(folder.name)} {folder.rejected:.1%}" for folder in found.unknown
        )
        parts.append(
            f"Folders of sources that the attributor does not know, called none of these: {rates}. "
            f"Images of known sources: {_known(found.known):.1%}.\n"
        )
    parts.append(f"## Confusions\n\n![likeliest source]({CONFUSION})\n")
    if found.curves:
        parts.append(f"## One source against all other images\n\n![ROC]({ROC})\n")
        rows = [
            {"source": one_line(name), **_area(each)} for name, each in found.against_all.items()
        ]
        parts.append(f"{markdown_table(rows)}\n")
    if found.pairs:
        worst = sorted(found.pairs.items(), key=lambda item: item[1].value)[:10]
        mean = float(np.mean([each.value for each in found.pairs.values()]))
        rows = [{"pair": one_line(" / ".join(pair)), **_area(each)} for pair, each in worst]
        parts.append(
            f"## Pairs of sources\n\nMean AUC of {len(found.pairs)} pairs: {mean:.4f}. The "
            f"hardest:\n\n{markdown_table(rows)}\n"
        )
    if found.groups:
        parts.append(
            "## Several images of one source\n\nTaken as independent given the source.\n\n"
            f"{markdown_table([asdict(group) for group in found.groups])}\n"
        )
    return "\n".join(parts)


def assessment_table(found: Assessment) -> Table:
    """Verdicts by folder, for the console."""
    rows = [_folder_row(folder) for folder in found.folders]
    table = Table(box=SIMPLE_HEAD, title="shares of images by verdict", title_justify="left")
    for head in rows[0]:
        table.add_column(head, justify="left" if head == "images of" else "right")
    for row in rows:
        cells = [
            f"{value:.1%}" if isinstance(value, float) else Text(one_line(_text(value)))
            for value in row.values()
        ]
        table.add_row(*cells)
    return table


def _label(name: str) -> str:
    """A name as matplotlib shows it as it is."""
    return one_line(name).replace("$", r"\$")


def _text(value: object) -> str:
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)


def plot_confusion(found: Assessment) -> bytes:
    """Shares of each folder's images by their likeliest source, and rejected, as a PNG file."""
    shares = [[*np.array(f.likeliest) / f.images, f.rejected] for f in found.folders]
    names = [f.name if f.known else f"{f.name} (unknown)" for f in found.folders]
    return plot_shares(np.array(shares), found.sources, names, "likeliest source", len(found.known))


def plot_shares(
    shares: NDArray[np.float64],
    sources: Sequence[str],
    folders: Sequence[str],
    rule: str,
    known: int | None = None,
) -> bytes:
    """Shares (F, K + 1) of images of F folders by one of K sources, and rejected; as a PNG file.

    `rule`, by what a source is named; under the first `known` folders there is a line.
    """
    columns, rows = [*map(_label, sources), "none of these"], [*map(_label, folders)]
    label = 0.5 + 0.07 * max(map(len, [*columns, *rows]))
    size = (max(3.2, 0.5 * len(columns)) + label + 1.1, max(1.6, 0.4 * len(shares)) + label)
    picture = Figure(figsize=size, dpi=_DPI, layout="constrained")
    panel = picture.subplots()
    image = panel.imshow(shares, cmap="Blues", vmin=0.0, vmax=1.0, aspect="auto")
    panel.set_xticks(range(len(columns)), columns, rotation=45, ha="right", rotation_mode="anchor")
    panel.set_yticks(range(len(shares)), rows)
    panel.tick_params(labelsize=8, length=2)
    panel.axvline(len(columns) - 1.5, color="#444444", linewidth=0.8)
    if known is not None and known < len(rows):
        panel.axhline(known - 0.5, color="#444444", linewidth=0.8)
    panel.set_xlabel(f"{rule}, and share with the verdict none of these", fontsize=8)
    panel.set_ylabel("images of", fontsize=9)
    if len(columns) <= _MOST_ANNOTATED:
        for (row, column), value in np.ndenumerate(shares):
            if value >= 0.0005:
                colour = "white" if value > 0.6 else "black"
                text = "1" if value == 1.0 else f"{value:.3f}".replace("0.", ".")
                panel.text(column, row, text, ha="center", va="center", fontsize=7, color=colour)
    bar = picture.colorbar(image, ax=panel, shrink=0.8)
    bar.ax.tick_params(labelsize=7)
    bar.set_label("share of the images", fontsize=8)
    return encode_figure(picture)


def plot_roc(found: Assessment) -> bytes:
    """ROC of each known source against all other images, false positives on a log axis; PNG."""
    areas = {name: each.value for name, each in found.against_all.items()}
    labels = "other images taken for the source's", "its own images found"
    return plot_curves(found.curves, areas, *labels)


def plot_curves(
    curves: Mapping[str, tuple[Values, Values]],
    areas: Mapping[str, float],
    across: str,
    down: str,
    level: float | None = None,
) -> bytes:
    """ROC curves by name with their areas, false positives on a log axis; as a PNG file.

    `across` and `down` say what the shares are of; `level`, an alpha, has a line.
    """
    picture = Figure(figsize=(5.6, 3.9), dpi=_DPI, layout="constrained")
    panel = picture.subplots()
    for number, (name, (false, true)) in enumerate(curves.items()):
        looks = series_style(number) | {"marker": ""}
        text = f"AUC {areas[name]:.4f}, {_label(name)}"
        panel.step(np.maximum(false, _LEAST_RATE), true, where="post", label=text, **looks)
    line = np.geomspace(_LEAST_RATE, 1.0, 60)
    panel.plot(line, line, color="#999999", linewidth=0.8, linestyle=":", label="chance")
    if level is not None:
        panel.axvline(level, color="#444444", linewidth=0.8, linestyle="--",
                      label=f"alpha {level:g}")  # fmt: skip
    panel.set_xscale("log")
    panel.set_xlim(_LEAST_RATE, 1.0)
    panel.set_ylim(0.0, 1.02)
    panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    format_axes(panel, across, down)
    picture.legend(loc="outside right upper", fontsize=8, frameon=False)
    return encode_figure(picture)


def _folder_row(folder: FolderAssessment) -> dict[str, Any]:
    """Of the table of verdicts."""
    return {
        "images of": one_line(folder.name),
        "known": folder.known,
        "images": folder.images,
        "its source": folder.right if folder.known else "",
        "another source": folder.wrong,
        "undecided": folder.undecided,
        "none of these": folder.rejected,
    }


def _area(area: Any) -> dict[str, Any]:
    return {"AUC": area.value, "95% from": area.low, "to": area.high}


def _known(folders: Sequence[FolderAssessment]) -> float:
    return sum(f.rejected * f.images for f in folders) / sum(f.images for f in folders)
