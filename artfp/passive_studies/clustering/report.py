"""Clusters of images by source: table, CSV, JSON and a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

import artfp
from artfp.core.errors import one_line
from artfp.data.tables import csv_table, rich_table
from artfp.passive_studies.clustering.cluster import Agreement, Clusters, Settings
from artfp.passive_studies.clustering.fusion import Fused
from artfp.reporting.figure import encode_figure, figure_style

if TYPE_CHECKING:
    from rich.table import Table

_MOST = 700
"""Rows and columns of the matrix of images in the picture, at most."""
_NUMBERS = 16
"""Clusters and sources up to which numbers stand in the right panel."""


@dataclass(frozen=True)
class Report:
    """What is told of a clustering; truth, scores and fused are None if they were not asked for."""

    names: Sequence[str]
    clusters: Clusters
    settings: Settings
    extractor: str
    truth: Sequence[str] | None = None
    agreement: Agreement | None = None
    scores: NDArray[np.float64] | None = None
    fused: Fused | None = None
    areas: tuple[float, float] | None = None
    """AUC of the scores, before and after the fusion."""

    def stability(self, cluster: int) -> str:
        """In a few words."""
        found = self.clusters.stability[cluster]
        if found is not None:
            return f"{found:.2f}"
        return "undivided" if len(self.clusters.stability) == 1 else "remainder"

    def mostly(self, cluster: int) -> tuple[str, int]:
        """The source that most of a cluster's images are from, and how many."""
        assert self.truth is not None
        own = [s for s, k in zip(self.truth, self.clusters.labels, strict=True) if k == cluster]
        name = max(sorted(set(own)), key=own.count)
        return name, own.count(name)


def clusters_table(report: Report) -> Table:
    """Return a table for the console: a row for each cluster."""
    counts = report.clusters.counts()
    columns: dict[str, Sequence[object]] = {
        "cluster": range(len(counts)),
        "images": counts,
        "stability": [report.stability(cluster) for cluster in range(len(counts))],
    }
    if report.truth is not None:
        found = map(report.mostly, range(len(counts)))
        columns["mostly"] = [f"{one_line(name)} ({images})" for name, images in found]
    if report.fused is not None and report.fused.shares is not None:
        columns["share generated"] = [f"{share:.2f}" for share in report.fused.shares]
    return rich_table(list(zip(*columns.values(), strict=True)), list(columns), boxed=True)


def said(report: Report) -> list[str]:
    """Sentences for the console: how many clusters, how they agree, what the fusion did."""
    stable = sum(value is not None for value in report.clusters.stability)
    rest = len(report.clusters.stability) - stable
    if len(report.clusters.stability) == 1:
        lines = ["1 cluster: nothing stable was found inside"]
    else:
        more = {0: "", 1: " and a remainder"}.get(rest, f" and {rest} remainders")
        lines = [f"{stable} stable clusters{more}"]
    if (found := report.agreement) is not None:
        lines.append(
            f"adjusted Rand index {found.rand:.3f}, homogeneity {found.homogeneity:.3f}, "
            f"completeness {found.completeness:.3f}; {found.clusters} clusters of "
            f"{found.sources} sources"
        )
    if report.fused is not None and report.fused.shares is None:
        lines.append("scores differ between clusters no more than by chance: they stay as they are")
    if report.areas is not None:
        before, after = report.areas
        lines.append(f"AUC of the scores {before:.3f}, fused with the clusters {after:.3f}")
    return lines


def clusters_csv(report: Report) -> str:
    """A line for each image."""
    columns: dict[str, Sequence[object]] = {
        "file": report.names,
        "cluster": report.clusters.labels.tolist(),
    }
    if report.truth is not None:
        columns["source"] = report.truth
    if report.scores is not None and report.fused is not None:
        columns["score"] = report.scores.tolist()
        columns["fused"] = [round(value, 6) for value in report.fused.scores.tolist()]
    return csv_table(zip(*columns.values(), strict=True), list(columns))


def clusters_json(report: Report) -> dict[str, Any]:
    """Settings, clusters and figures as JSON values."""
    found = report.clusters
    rows: list[dict[str, Any]] = [
        {"cluster": k, "images": count, "stability": found.stability[k]}
        for k, count in enumerate(found.counts())
    ]
    told: dict[str, Any] = {
        "software": f"artfp {artfp.__version__}",
        "extractor": report.extractor,
        "settings": asdict(report.settings),
        "images": len(report.names),
        "clusters": rows,
        "mean_correlations": [
            [None if np.isnan(value) else round(value, 6) for value in row]
            for row in found.between().tolist()
        ],
    }
    if report.agreement is not None:
        told["agreement"] = asdict(report.agreement)
    if report.fused is not None:
        told["fusion"] = {"p_value": report.fused.p_value, "shares": report.fused.shares}
        if report.areas is not None:
            told["fusion"] |= {"auc_before": report.areas[0], "auc_after": report.areas[1]}
    return told


@figure_style
def plot_clusters(report: Report) -> bytes:
    """The images' similarities in the order of the clusters, and what the clusters are; PNG.

    The right panel counts the clusters' images by their true source, if that is known, and else
    tells the mean correlation of residuals within and between clusters.
    """
    picture = Figure(figsize=(11.0, 4.9))
    left, right = picture.subplots(1, 2)
    _matrix(left, report.clusters, picture)
    if report.truth is None:
        _between(right, report.clusters)
    else:
        _counts(right, report)
    picture.tight_layout(w_pad=2.0)
    return encode_figure(picture)


def _matrix(panel: Axes, found: Clusters, picture: Figure) -> None:
    order = np.argsort(found.labels, kind="stable")
    sorted_ = found.similarity[np.ix_(order, order)]
    step = -(-len(order) // _MOST)
    if step > 1:
        starts = np.arange(0, len(order), step)
        sums = np.add.reduceat(np.add.reduceat(sorted_, starts, 0), starts, 1)
        sizes = np.diff([*starts, len(order)])
        sorted_ = sums / np.outer(sizes, sizes)
    extent = (0.0, float(len(order)), float(len(order)), 0.0)
    most = max(0.2, float(np.percentile(np.abs(sorted_), 97)))
    drawn = panel.imshow(
        sorted_, cmap="RdBu_r", vmin=-most, vmax=most, extent=extent, interpolation="nearest"
    )
    ends = np.cumsum(found.counts())
    for end in ends[:-1]:
        panel.axhline(end, color="black", linewidth=0.5)
        panel.axvline(end, color="black", linewidth=0.5)
    middles = ends - np.array(found.counts()) / 2
    panel.set_xticks([])
    panel.set_yticks(middles, [str(k) for k in range(len(ends))], fontsize=8)
    panel.tick_params(length=0)
    panel.set_ylabel("cluster")
    panel.set_title("similarity of images")
    bar = picture.colorbar(drawn, ax=panel, fraction=0.046, pad=0.03)
    bar.ax.tick_params(labelsize=8)


def _between(panel: Axes, found: Clusters) -> None:
    values = found.between()
    most = float(np.nanmax(np.abs(values))) if np.isfinite(values).any() else 1.0
    panel.imshow(values, cmap="RdBu_r", vmin=-most, vmax=most)
    _numbers(panel, values, "{:.3f}", most)
    panel.set_xticks(range(len(values)))
    panel.set_yticks(range(len(values)))
    panel.tick_params(labelsize=8, length=0)
    panel.set_xlabel("cluster")
    panel.set_title("mean correlation of residuals")


def _counts(panel: Axes, report: Report) -> None:
    assert report.truth is not None
    sources = sorted(set(report.truth))
    counts = np.zeros((len(report.clusters.stability), len(sources)))
    for cluster, source in zip(report.clusters.labels, report.truth, strict=True):
        counts[cluster, sources.index(source)] += 1
    panel.imshow(counts, cmap="Blues", vmin=0, aspect="auto")
    _numbers(panel, counts, "{:.0f}", float(counts.max()))
    panel.set_xticks(range(len(sources)), [one_line(name)[:24] for name in sources])
    panel.tick_params(axis="x", rotation=40)
    for label in panel.get_xticklabels():
        label.set_horizontalalignment("right")
    panel.set_yticks(range(len(counts)))
    panel.tick_params(labelsize=8, length=0)
    rand = "" if report.agreement is None else f", adjusted Rand index {report.agreement.rand:.3f}"
    panel.set_title(f"images by true source{rand}")


def _numbers(panel: Axes, values: NDArray[np.float64], form: str, most: float) -> None:
    if max(values.shape) > _NUMBERS:
        return
    for (row, column), value in np.ndenumerate(values):
        if np.isfinite(value) and (form != "{:.0f}" or value):
            dark = abs(value) > 0.6 * most
            panel.text(column, row, form.format(value), ha="center", va="center", fontsize=7,
                       color="white" if dark else "black")  # fmt: skip
