"""Results of a study as in Yu et al. 2019: page, tables, JSON, figures."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from rich.table import Table

from artfp.core.errors import one_line
from artfp.data.files import write_atomic
from artfp.data.tables import (
    Column,
    csv_table,
    markdown_table,
    rich_table,
    round_significant,
)
from artfp.passive.report import plot_curves, plot_fractions
from artfp.passive.roc import CONFIDENCE
from artfp.passive_studies.uses import USES_FILE
from artfp.passive_studies.yu2019.measure import (
    FeatureSeparation,
    OpenSetResult,
    PerturbedResult,
    Yu2019Result,
    unperturbed,
)
from artfp.passive_studies.yu2019.tsne import plot_embedding
from artfp.perturbations.conditions import IDENTITY
from artfp.reporting.figure import (
    CHANCE_LINE,
    IntervalSeries,
    encode_figure,
    figure_style,
    format_axes,
    intervals_height,
    plot_intervals,
)

LEARNED_ATTRIBUTOR = "learned"
"""Name of the first network, and of the separation in its features."""

PERTURBED, ROC = "perturbed.png", "roc.png"

YU2019_LEGEND = f"""\
`accuracy`: fraction of the test images whose largest logit is that of their source, with its
interval (Clopper and Pearson, {CONFIDENCE:.0%}; over the draw of the test images, not of the
training). `likeliest`: the same by the likelihoods of the calibrated scores, as `artfp attribute
predict` predicts sources. `rejected`: fraction with the verdict "none of these". Strengths are
drawn for each image uniformly from the published ranges, and each perturbation alone is applied to
every image; `combination` applies each, in the order of the table, with probability one half."""

LEGEND_FEATURES = """\
Squared Frechet distances, means over pairs of sources (`between`) and over sources of one half of
their images to the other (`within`), all from sets of `images` images in `dimensions` dimensions:
principal components where there are fewer images than features. About 1 is no separation.
`learned` is the penultimate layer of the first network, `generic` EfficientNet-Lite0, whole images
at 128 pixels. The figures are t-SNE: distances between far groups mean nothing."""

LEGEND_OPEN = """\
A network was trained anew without each source, then tested on images of the others (known) and of
that source (unknown). `AUC`: of the p-value of the likeliest source, by which the verdict
"none of these" is given, smaller for unknown images, with its interval; it comes from distances of
means and deviations of the network's early maps. `AUC, softmax`: of the
largest posterior probability by the logits alone, to compare. `known rejected` and `unknown
rejected`: fractions with the verdict "none of these" at alpha {alpha:g}. `accuracy`: of the largest
logit on known images."""


def write_results(found: Yu2019Result, settings: dict[str, Any], folder: Path) -> list[str]:
    """Write all files and return their names."""
    files: dict[str, str | bytes] = {
        "learned.md": results_page(found),
        "learned.csv": csv_table([_flat(row) for row in found.rows]),
        "learned.json": json.dumps(round_significant(_whole(found, settings)), indent=1) + "\n",
        "confusion.csv": csv_table(_confusions(found)),
        PERTURBED: plot_perturbed(found.rows),
    }
    for name in _attributors(found.rows):
        files[_confusion(name)] = plot_confusion(unperturbed(found.rows, name), found.sources)
    for each in found.features:
        files[_feature_figure(each)] = plot_embedding(each.points, each.labels, found.sources)
    if found.open_sets:
        files["open_set.csv"] = csv_table([_open(each) for each in found.open_sets])
        files[ROC] = plot_open_sets(found.open_sets, found.alpha)
    for name, content in files.items():
        write_atomic(folder / name, content)
    return list(files)


def accuracy_table(rows: Sequence[PerturbedResult]) -> Table:
    """Return a table for the console: accuracy of each attributor under each perturbation."""
    names = _attributors(rows)
    cells = [
        [group, *(row.accuracy.overall for row in rows if row.perturbation == group)]
        for group in dict.fromkeys(row.perturbation for row in rows)
    ]
    columns = [Column("accuracy"), *(Column(name, form=".2%", align="right") for name in names)]
    return rich_table(cells, columns)


def results_page(found: Yu2019Result) -> str:
    """Return a page in Markdown with the figures by their names."""
    names = _attributors(found.rows)
    clean = unperturbed(found.rows, LEARNED_ATTRIBUTOR).accuracy
    low, high = clean.interval()
    training = [
        {
            "attributor": one_line(name),
            "network": each["design"]["network"],
            "steps": each["steps"],
            "against": ", ".join(each["immunise"]) or "-",
            "seconds": round(each["seconds"]),
        }
        for name, each in found.training.items()
    ]
    parts = [
        f"# {len(found.sources)} sources: {', '.join(map(one_line, found.sources))}\n",
        f"{min(found.fitted)} images of each fitted the networks, {min(found.tested)} others "
        f"tested them, at {found.side} pixels a side. {_describe_split(found)}The network's "
        f"accuracy on the test images is {clean.overall:.2%} ({CONFIDENCE:.0%} interval {low:.2%} "
        f"to {high:.2%}); chance is {1 / len(found.sources):.2%}.\n",
        f"{markdown_table(training)}\n",
        "`seconds` are on the wall, with those of the network that another goes on from.\n",
        "## Confusions\n",
        *(f"![{name}]({_confusion(name)})\n" for name in names),
        "## Perturbed images\n",
        f"![accuracy]({PERTURBED})\n",
        f"{markdown_table([_flat(row) for row in found.rows])}\n",
        f"{YU2019_LEGEND}\n",
        "## Separation of the sources in features\n",
        f"{markdown_table([_distances(each) for each in found.features])}\n",
        f"{LEGEND_FEATURES}\n",
        *(f"{each.name}:\n\n![{each.name}]({_feature_figure(each)})\n" for each in found.features),
    ]
    if len(found.features) == 1:
        parts.append("Generic features take `pip install 'artfp[features]'`.\n")
    if found.open_sets:
        parts += [
            "## Sources that the network does not know\n",
            f"![ROC]({ROC})\n",
            f"{markdown_table([_open(each) for each in found.open_sets])}\n",
            f"{LEGEND_OPEN.format(alpha=found.alpha)}\n",
        ]
    return "\n".join(parts)


def _describe_split(found: Yu2019Result) -> str:
    if not found.held_out:
        return ""
    return (
        f"Of the {min(found.fitted)}, {min(found.held_out)} or more were held out from the "
        "training: they validated it and calibrated the verdicts. All were drawn by their names "
        f"and the seed {found.seed}; {USES_FILE} says what each was used for. "
    )


def plot_confusion(row: PerturbedResult, sources: Sequence[str]) -> bytes:
    """Plot fractions of each source's images by their largest logit, and rejected, as PNG."""
    counts = np.array(row.images, np.float64)[:, None]
    fractions = np.concatenate([row.confusion, np.array(row.rejected)[:, None]], axis=1) / counts
    return plot_fractions(fractions, sources, sources, "largest logit")


@figure_style
def plot_perturbed(rows: Sequence[PerturbedResult]) -> bytes:
    """Plot the accuracy of each attributor under each condition, with its interval, as PNG."""
    labels = list(dict.fromkeys(row.perturbation for row in rows))
    series = []
    for name in _attributors(rows):
        own = [row.accuracy for row in rows if row.attributor == name]
        series.append(IntervalSeries(name, [(each.overall, *each.interval()) for each in own]))
    figure = Figure(figsize=(6.4, intervals_height(labels, series)), layout="constrained")
    panel = figure.subplots()
    shown = ["none" if each == IDENTITY else each.replace("_", " ") for each in labels]
    plot_intervals(panel, shown, series)
    panel.axvline(1.0 / len(rows[0].images), **CHANCE_LINE, label="chance")
    panel.set_xlim(-0.02, 1.02)
    format_axes(panel, "accuracy of the largest logit", "perturbation")
    figure.legend(loc="outside right upper")
    return encode_figure(figure)


def plot_open_sets(open_sets: Sequence[OpenSetResult], alpha: float) -> bytes:
    """Plot the ROC of unknown against known images by source left out, alpha marked, as PNG."""
    names = {f"without {each.source}": each for each in open_sets}
    return plot_curves(
        {name: each.curve for name, each in names.items()},
        {name: each.auc.value for name, each in names.items()},
        "known images rejected",
        "unknown images rejected",
        alpha,
    )


def _attributors(rows: Sequence[PerturbedResult]) -> list[str]:
    return list(dict.fromkeys(row.attributor for row in rows))


def _confusion(name: str) -> str:
    return f"confusion_{name}.png"


def _feature_figure(features: FeatureSeparation) -> str:
    return f"features_{features.name}.png"


def _flat(row: PerturbedResult) -> dict[str, Any]:
    """Return a row of the table of perturbations."""
    low, high = row.accuracy.interval()
    return {
        "attributor": row.attributor,
        "perturbation": "none" if row.perturbation == IDENTITY else row.perturbation,
        "images": sum(row.images),
        "accuracy": round_significant(row.accuracy.overall),
        "from": round_significant(low),
        "to": round_significant(high),
        "likeliest": round_significant(row.likeliest_accuracy.overall),
        "rejected": round_significant(row.rejection),
    }


def _confusions(found: Yu2019Result) -> list[dict[str, Any]]:
    """Return a row for each pair of sources under each condition."""
    return [
        {
            "attributor": row.attributor,
            "perturbation": row.perturbation,
            "source": source,
            "largest": named,
            "images": row.confusion[i][j],
        }
        for row in found.rows
        for i, source in enumerate(found.sources)
        for j, named in enumerate(found.sources)
    ]


def _distances(each: FeatureSeparation) -> dict[str, Any]:
    return {
        "features": each.name,
        "between": each.between,
        "within": each.within,
        "ratio": each.ratio,
        "images": each.images,
        "dimensions": each.dimensions,
    }


def _open(each: OpenSetResult) -> dict[str, Any]:
    auc, (known, unknown) = each.auc, each.rejected
    return {
        "left out": one_line(each.source),
        "AUC": round_significant(auc.value),
        "from": round_significant(auc.low),
        "to": round_significant(auc.high),
        "AUC, softmax": round_significant(each.softmax),
        "known rejected": round_significant(known),
        "unknown rejected": round_significant(unknown),
        "accuracy": round_significant(each.accuracy),
    }


def _whole(found: Yu2019Result, settings: dict[str, Any]) -> dict[str, Any]:
    """Return all results but the points of the figures and the single p-values."""
    return {
        "settings": settings,
        "sources": list(found.sources),
        "fitted": list(found.fitted),
        "held_out": list(found.held_out),
        "tested": list(found.tested),
        "side": found.side,
        "training": found.training,
        "rows": [{**_flat(row), **asdict(row)} for row in found.rows],
        "features": [{**_distances(each), "pairs": each.pairs} for each in found.features],
        "open_sets": [_open(each) for each in found.open_sets],
        "unusable": [list(each) for each in found.failed],
    }
