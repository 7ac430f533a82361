"""Report of an assessment of an attributor: page, JSON, table and two plots."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from numpy.typing import NDArray
from rich.table import Table

from artfp import __version__
from artfp.core.errors import UserError, one_line
from artfp.core.run_folder import exclusive, lock_folder
from artfp.data.files import write_atomic
from artfp.data.reading import Failed
from artfp.data.sources import open_sources
from artfp.data.subset import limit_images
from artfp.data.tables import Column, markdown_table, rich_table, round_significant
from artfp.passive.assess import Assessment, FolderAssessment, assess
from artfp.passive.attributors.bundle import load_attributor
from artfp.passive.attributors.score_model import Values
from artfp.passive.predict import attribute_images
from artfp.passive.roc import AucEstimate
from artfp.passive.settings import AssessAttributorSettings
from artfp.reporting.figure import (
    encode_figure,
    figure_style,
    format_axes,
    series_style,
    shown_name,
)

_CONFUSION, _ROC = "confusion.png", "roc.png"

_MAX_ANNOTATED = 16
_MIN_RATE = 1e-3


@dataclass(frozen=True)
class AttributorReport:
    """Assessment of an attributor that was written to a folder.

    Attributes:
        assessment: All figures.
        failed: Images that could not be used, with the reasons.
        files: Names of the files that were written.
    """

    assessment: Assessment
    failed: Failed
    files: tuple[str, ...]


@exclusive
def assess_attributor(settings: AssessAttributorSettings) -> AttributorReport:
    """Assess an attributor on labelled images, and write a report.

    Args:
        settings: Images, attributor, device and output folder.

    Returns:
        All figures.

    Raises:
        UserError: no attributor, no folder with the name of a known source, or no usable image.

    Example:
        >>> import tempfile
        >>> from artfp.passive import FitBaselineSettings, fit_baseline_attributor
        >>> from pathlib import Path
        >>> from PIL import Image
        >>> folder, rng = Path(tempfile.mkdtemp()), np.random.default_rng(0)
        >>> for name, level in (("bright", 180), ("dark", 60)):
        ...     (folder / "sources" / name).mkdir(parents=True)
        ...     for number in range(40):
        ...         pixels = (level + 9 * rng.standard_normal((8, 8, 3))).astype(np.uint8)
        ...         Image.fromarray(pixels).save(folder / "sources" / name / f"{number}.png")
        >>> attributor = folder / "attributor"
        >>> fitted = fit_baseline_attributor(FitBaselineSettings(
        ...     data_dir=folder / "sources", output_dir=attributor, kind="nearest", cuda=-1))
        >>> settings = AssessAttributorSettings(
        ...     data_dir=folder / "sources", attributor=attributor, cuda=-1,
        ...     output_dir=folder / "report", limit=3)
        >>> assess_attributor(settings).files
        ('report.md', 'report.json', 'confusion.png', 'roc.png')
    """
    attributor = load_attributor(settings.attributor)
    sources, device = open_sources(settings.data_dir), settings.torch_device()
    if not set(sources) & set(attributor.sources):
        raise UserError(
            f"{settings.data_dir}: no subfolder has the name of a source; the attributor knows "
            f"{', '.join(attributor.sources)}"
        )
    lock_folder(settings.output_dir)
    found = {
        name: attribute_images(attributor, limit_images(source, settings.limit), device)
        for name, source in sources.items()
    }
    assessment = assess(attributor, found, settings.seed)
    about = {
        "images_of": settings.data_dir.name,
        "attributor": attributor.name,
        "method": attributor.metadata.get("method", "attributor"),
        "policy": attributor.policy.describe(),
        "validation": describe_validation(attributor.metadata),
        "alpha": attributor.rule.alpha,
        "confidence": attributor.rule.confidence,
        "seed": settings.seed,
    }
    files: dict[str, str | bytes] = {
        "report.md": assessment_page(assessment, about),
        "report.json": json.dumps(assessment_json(assessment, about), indent=1) + "\n",
        _CONFUSION: plot_confusion_matrix(assessment),
    }
    if assessment.curves:
        files[_ROC] = plot_roc(assessment)
    for name, content in files.items():
        write_atomic(settings.output_dir / name, content)
    failed = [
        (f"{name}/{image}", why) for name, each in found.items() for image, why in each.failed
    ]
    return AttributorReport(assessment, failed, tuple(files))


FOLDER_COLUMNS = (
    Column("images of", "name", one_line),
    Column("known"),
    Column("images"),
    Column("its source", lambda folder: folder.right if folder.known else None),
    Column("another source", "wrong"),
    Column("undecided"),
    Column("none of these", "rejected"),
)
"""Columns of the table of verdicts; see `FolderAssessment`."""


def assessment_json(found: Assessment, about: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings and figures as JSON values; ROC curves are in the plot alone."""
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
    """Return a page in Markdown that shows the plots."""
    low, high = found.accuracy.interval()
    name = one_line(str(about["attributor"]))
    parts = [
        "# Attribution\n",
        f"Attributor `{name}` ({about['method']}; {about['policy']}), fitted to "
        f"{len(found.sources)} sources{_validated(about)}. The likeliest source is the true one "
        f"for {found.mean_accuracy:.2%} of the images (mean over sources; of all "
        f"{found.accuracy.overall:.2%}, 95% interval {low:.2%} to {high:.2%}).\n",
        f"## Verdicts\n\n{markdown_table(found.folders, FOLDER_COLUMNS)}\n",
    ]
    if found.unknown:
        rates = ", ".join(
            f"{one_line(folder.name)} {folder.rejected:.1%}" for folder in found.unknown
        )
        parts.append(
            f"Folders of sources that the attributor does not know, called none of these: {rates}. "
            f"Images of known sources: {_rejected(found.known):.1%}.\n"
        )
    parts.append(f"## Confusions\n\n![likeliest source]({_CONFUSION})\n")
    if found.curves:
        parts.append(f"## One source against all other images\n\n![ROC]({_ROC})\n")
        rows = [
            {"source": one_line(name), **_auc_row(each)} for name, each in found.against_all.items()
        ]
        parts.append(f"{markdown_table(rows)}\n")
    if found.pairs:
        worst = sorted(found.pairs.items(), key=lambda item: item[1].value)[:10]
        mean = float(np.mean([each.value for each in found.pairs.values()]))
        rows = [{"pair": one_line(" / ".join(pair)), **_auc_row(each)} for pair, each in worst]
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


def describe_validation(metadata: Mapping[str, Any]) -> str:
    """Return which images validated and calibrated an attributor, by its card; empty if unknown.

    Example:
        >>> describe_validation({"settings": {"held_out": 0.2}})
        "20% of each source's images, held out from the training"
    """
    settings, validation = metadata.get("settings", {}), metadata.get("validation", {})
    if settings.get("validation_dir"):
        return f"the images of {one_line(str(settings['validation_dir']))}"
    if settings.get("held_out"):
        return f"{settings['held_out']:.0%} of each source's images, held out from the training"
    if validation.get("folds"):
        return f"cross-validation in {validation['folds']} folds of its images"
    return ""


def _validated(about: Mapping[str, Any]) -> str:
    found = about.get("validation")
    return f", validated and calibrated by {found}" if found else ""


def assessment_table(found: Assessment) -> Table:
    """Return verdicts by folder, for the console."""
    columns = [
        replace(
            column,
            align="left" if number == 0 else "right",
            form=".1%" if number > 2 else column.form,
        )
        for number, column in enumerate(FOLDER_COLUMNS)
    ]
    return rich_table(found.folders, columns, title="fractions of images by verdict")


def plot_confusion_matrix(found: Assessment) -> bytes:
    """Plot fractions of each folder's images by likeliest source, and rejected, as a PNG file."""
    fractions = [[*np.array(f.likeliest) / f.images, f.rejected] for f in found.folders]
    names = [f.name if f.known else f"{f.name} (unknown)" for f in found.folders]
    return plot_fractions(
        np.array(fractions), found.sources, names, "likeliest source", len(found.known)
    )


@figure_style
def plot_fractions(
    fractions: NDArray[np.float64],
    sources: Sequence[str],
    folders: Sequence[str],
    rule: str,
    known: int | None = None,
) -> bytes:
    """Plot a confusion matrix of fractions (F, K) or (F, K + 1) as a PNG file.

    Args:
        fractions: Fractions of images of F folders by one of K sources, and, if there is one more
            column, rejected.
        sources: Names of the sources.
        folders: Names of the folders.
        rule: Rule that attributes an image to a source, for the label.
        known: Number of first folders above a line; None for no line.
    """
    columns, rows = [*map(shown_name, sources)], [*map(shown_name, folders)]
    rejects = fractions.shape[1] > len(columns)
    columns += ["none of these"] * rejects
    label = 0.5 + 0.07 * max(map(len, [*columns, *rows]))
    size = (max(3.2, 0.5 * len(columns)) + label + 1.1, max(1.6, 0.4 * len(fractions)) + label)
    figure = Figure(figsize=size, layout="constrained")
    panel = figure.subplots()
    image = panel.imshow(fractions, cmap="Blues", vmin=0.0, vmax=1.0, aspect="auto")
    panel.set_xticks(range(len(columns)), columns, rotation=45, ha="right", rotation_mode="anchor")
    panel.set_yticks(range(len(fractions)), rows)
    if rejects:
        panel.axvline(len(columns) - 1.5, color="#444444", linewidth=0.8)
    if known is not None and known < len(rows):
        panel.axhline(known - 0.5, color="#444444", linewidth=0.8)
    panel.set_xlabel(f"{rule}, and fraction with the verdict none of these" if rejects else rule)
    panel.set_ylabel("images of")
    if len(columns) <= _MAX_ANNOTATED:
        for (row, column), value in np.ndenumerate(fractions):
            if value >= 0.0005:
                colour = "white" if value > 0.6 else "black"
                text = "1" if value == 1.0 else f"{value:.3f}".replace("0.", ".")
                panel.text(column, row, text, ha="center", va="center", fontsize=7, color=colour)
    bar = figure.colorbar(image, ax=panel, shrink=0.8)
    bar.set_label("fraction of the images")
    return encode_figure(figure)


def plot_roc(found: Assessment) -> bytes:
    """Plot the ROC of each known source against all other images as a PNG file."""
    areas = {name: each.value for name, each in found.against_all.items()}
    labels = "false positive rate, other images", "true positive rate, its own images"
    return plot_curves(found.curves, areas, *labels)


@figure_style
def plot_curves(
    curves: Mapping[str, tuple[Values, Values]],
    areas: Mapping[str, float],
    across: str,
    down: str,
    level: float | None = None,
    level_name: str = "alpha",
) -> bytes:
    """Plot ROC curves by name, false positives on a log axis, as a PNG file.

    Args:
        curves: False and true positive rates by name.
        areas: AUC by name.
        across: Label of the false positive rate.
        down: Label of the true positive rate.
        level: A false positive rate to mark by a line.
        level_name: What it is called.
    """
    figure = Figure(figsize=(5.6, 3.6 + 0.1 * (len(curves) + 2)), layout="constrained")
    panel = figure.subplots()
    for number, (name, (false, true)) in enumerate(curves.items()):
        style = series_style(number) | {"marker": ""}
        text = f"AUC {areas[name]:.4f}, {shown_name(name)}"
        panel.step(np.maximum(false, _MIN_RATE), true, where="post", label=text, **style)
    line = np.geomspace(_MIN_RATE, 1.0, 60)
    panel.plot(line, line, color="#999999", linewidth=0.8, linestyle=":", label="chance")
    if level is not None:
        panel.axvline(level, color="#444444", linewidth=0.8, linestyle="--",
                      label=f"{level_name} {level:g}")  # fmt: skip
    panel.set_xscale("log")
    panel.set_xlim(_MIN_RATE, 1.0)
    panel.set_ylim(0.0, 1.02)
    panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    format_axes(panel, across, down)
    figure.legend(loc="outside lower center", ncols=2)
    return encode_figure(figure)


def _auc_row(auc: AucEstimate) -> dict[str, float]:
    return {"AUC": auc.value, "95% from": auc.low, "to": auc.high}


def _rejected(folders: Sequence[FolderAssessment]) -> float:
    """Return the fraction of the images of all folders that is rejected."""
    return sum(f.rejected * f.images for f in folders) / sum(f.images for f in folders)
