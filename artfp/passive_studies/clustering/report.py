"""Clusters of images by source: table, CSV, JSON and a figure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from artfp import __version__
from artfp.core.errors import one_line
from artfp.data.reading import Failed
from artfp.data.tables import csv_table, rich_table
from artfp.passive_studies.clustering.cluster import Agreement, Clusters
from artfp.passive_studies.clustering.fusion import FusedScores
from artfp.passive_studies.clustering.settings import ClusteringOptions
from artfp.reporting.figure import encode_figure, figure_style, shown_name

if TYPE_CHECKING:
    from rich.table import Table

_MAX_CELLS = 700
"""Rows and columns of the matrix of images in the figure, at most."""
_MAX_NUMBERED = 16
"""Clusters and sources up to which the right panel has numbers."""


@dataclass(frozen=True)
class Clustering:
    """Results of `cluster_images`; what was not asked for is None.

    Args:
        names: Names of the images.
        clusters: Cluster of each image.
        options: Options of the clustering.
        extractor: Extractor of the noise residuals.
        truth: True source of each image.
        agreement: Agreement of the clusters with the true sources.
        scores: Detector's score of each image.
        fused: Scores after fusion with the clusters.
        auc: AUC of the scores, before and after fusion.
        failed: Images that could not be used, with the reasons.

    Example:
        >>> clusters = Clusters(np.array([0, 0, 1]), (0.9, None), np.eye(3), np.eye(3))
        >>> found = Clustering(["a", "b", "c"], clusters, ClusteringOptions(), "wavelet")
        >>> found.stability(0), found.stability(1)
        ('0.90', 'remainder')
    """

    names: Sequence[str]
    clusters: Clusters
    options: ClusteringOptions
    extractor: str
    truth: Sequence[str] | None = None
    agreement: Agreement | None = None
    scores: NDArray[np.float64] | None = None
    fused: FusedScores | None = None
    auc: tuple[float, float] | None = None
    failed: Failed = field(default_factory=list)

    def stability(self, cluster: int) -> str:
        """Return the stability of a cluster as text."""
        found = self.clusters.stability[cluster]
        if found is not None:
            return f"{found:.2f}"
        return "undivided" if len(self.clusters.stability) == 1 else "remainder"

    def majority_source(self, cluster: int) -> tuple[str, int]:
        """Return the source that most of a cluster's images are from, and how many."""
        assert self.truth is not None
        own = [s for s, k in zip(self.truth, self.clusters.labels, strict=True) if k == cluster]
        name = max(sorted(set(own)), key=own.count)
        return name, own.count(name)


def clusters_table(results: Clustering) -> Table:
    """Return a table for the console: a row for each cluster."""
    sizes = results.clusters.sizes()
    columns: dict[str, Sequence[object]] = {
        "cluster": range(len(sizes)),
        "images": sizes,
        "stability": [results.stability(cluster) for cluster in range(len(sizes))],
    }
    if results.truth is not None:
        majority = map(results.majority_source, range(len(sizes)))
        columns["majority source"] = [f"{one_line(name)} ({images})" for name, images in majority]
    if results.fused is not None and results.fused.fractions is not None:
        columns["fraction generated"] = [f"{fraction:.2f}" for fraction in results.fused.fractions]
    return rich_table(list(zip(*columns.values(), strict=True)), list(columns), boxed=True)


def cluster_sentences(results: Clustering) -> list[str]:
    """Return sentences for the console: number of clusters, agreement, effect of the fusion."""
    stable = sum(value is not None for value in results.clusters.stability)
    rest = len(results.clusters.stability) - stable
    if len(results.clusters.stability) == 1:
        lines = ["1 cluster: nothing stable was found inside"]
    else:
        more = {0: "", 1: " and a remainder"}.get(rest, f" and {rest} remainders")
        lines = [f"{stable} stable clusters{more}"]
    if (found := results.agreement) is not None:
        lines.append(
            f"adjusted Rand index {found.rand:.3f}, homogeneity {found.homogeneity:.3f}, "
            f"completeness {found.completeness:.3f}; {found.clusters} clusters of "
            f"{found.sources} sources"
        )
    if results.fused is not None and results.fused.fractions is None:
        lines.append(
            "scores differ mean_correlations clusters no more than by chance: they stay as they are"
        )
    if results.auc is not None:
        before, after = results.auc
        lines.append(f"AUC of the scores {before:.3f}, fused with the clusters {after:.3f}")
    return lines


def clusters_csv(results: Clustering) -> str:
    """Return a CSV table with a row for each image."""
    columns: dict[str, Sequence[object]] = {
        "file": results.names,
        "cluster": results.clusters.labels.tolist(),
    }
    if results.truth is not None:
        columns["source"] = results.truth
    if results.scores is not None and results.fused is not None:
        columns["score"] = results.scores.tolist()
        columns["fused"] = [round(value, 6) for value in results.fused.scores.tolist()]
    return csv_table(zip(*columns.values(), strict=True), list(columns))


def clusters_json(results: Clustering) -> dict[str, Any]:
    """Return options, clusters and measurements as JSON values."""
    found = results.clusters
    rows: list[dict[str, Any]] = [
        {"cluster": k, "images": count, "stability": found.stability[k]}
        for k, count in enumerate(found.sizes())
    ]
    record: dict[str, Any] = {
        "software": f"artfp {__version__}",
        "extractor": results.extractor,
        "settings": {f.name: getattr(results.options, f.name) for f in fields(ClusteringOptions)},
        "images": len(results.names),
        "clusters": rows,
        "mean_correlations": [
            [None if np.isnan(value) else round(value, 6) for value in row]
            for row in found.mean_correlations().tolist()
        ],
    }
    if results.agreement is not None:
        record["agreement"] = asdict(results.agreement)
    if results.fused is not None:
        record["fusion"] = {"p_value": results.fused.p_value, "fractions": results.fused.fractions}
        if results.auc is not None:
            record["fusion"] |= {"auc_before": results.auc[0], "auc_after": results.auc[1]}
    return record


@figure_style
def plot_clusters(results: Clustering) -> bytes:
    """Plot the images' similarities in the order of the clusters, and the clusters, as PNG.

    The right panel counts the clusters' images by their true source, if that is known, and else
    shows the mean correlation of residuals within and between clusters.
    """
    figure = Figure(figsize=(11.0, 4.9))
    left, right = figure.subplots(1, 2)
    _plot_similarity(left, results.clusters, figure)
    if results.truth is None:
        _plot_correlations(right, results.clusters)
    else:
        _plot_true_sources(right, results)
    figure.tight_layout(w_pad=2.0)
    return encode_figure(figure)


def _plot_similarity(panel: Axes, found: Clusters, figure: Figure) -> None:
    order = np.argsort(found.labels, kind="stable")
    sorted_ = found.similarity[np.ix_(order, order)]
    step = -(-len(order) // _MAX_CELLS)
    if step > 1:
        starts = np.arange(0, len(order), step)
        sums = np.add.reduceat(np.add.reduceat(sorted_, starts, 0), starts, 1)
        sizes = np.diff([*starts, len(order)])
        sorted_ = sums / np.outer(sizes, sizes)
    extent = (0.0, float(len(order)), float(len(order)), 0.0)
    most = max(0.2, float(np.percentile(np.abs(sorted_), 97)))
    drawn = panel.imshow(sorted_, cmap="RdBu_r", vmin=-most, vmax=most, extent=extent)
    ends = np.cumsum(found.sizes())
    for end in ends[:-1]:
        panel.axhline(end, color="black", linewidth=0.5)
        panel.axvline(end, color="black", linewidth=0.5)
    middles = ends - np.array(found.sizes()) / 2
    # Of clusters so small that their numbers would cover each other, one is numbered.
    numbered: list[int] = []
    for k in np.argsort([-size for size in found.sizes()], kind="stable").tolist():
        if all(abs(middles[k] - middles[other]) > 0.045 * len(order) for other in numbered):
            numbered.append(k)
    panel.set_xticks([])
    panel.set_yticks([middles[k] for k in numbered], [str(k) for k in numbered], fontsize=8)
    panel.tick_params(length=0)
    panel.set_xlabel("images, by cluster")
    panel.set_ylabel("cluster")
    panel.set_title("similarity of images")
    figure.colorbar(drawn, ax=panel, fraction=0.046, pad=0.03, label="similarity")


def _plot_correlations(panel: Axes, found: Clusters) -> None:
    values = found.mean_correlations()
    most = float(np.nanmax(np.abs(values))) if np.isfinite(values).any() else 1.0
    panel.imshow(values, cmap="RdBu_r", vmin=-most, vmax=most)
    _write_numbers(panel, values, "{:.3f}", most)
    panel.set_xticks(range(len(values)))
    panel.set_yticks(range(len(values)))
    panel.tick_params(length=0)
    panel.set_xlabel("cluster")
    panel.set_ylabel("cluster")
    panel.set_title("mean correlation of residuals")


def _plot_true_sources(panel: Axes, results: Clustering) -> None:
    assert results.truth is not None
    sources = sorted(set(results.truth))
    sizes = np.zeros((len(results.clusters.stability), len(sources)))
    for cluster, source in zip(results.clusters.labels, results.truth, strict=True):
        sizes[cluster, sources.index(source)] += 1
    panel.imshow(sizes, cmap="Blues", vmin=0, aspect="auto")
    _write_numbers(panel, sizes, "{:.0f}", float(sizes.max()))
    panel.set_xticks(range(len(sources)), list(map(shown_name, sources)))
    panel.tick_params(axis="x", rotation=40)
    for label in panel.get_xticklabels():
        label.set_horizontalalignment("right")
    panel.set_yticks(range(len(sizes)))
    panel.tick_params(length=0)
    rand = (
        "" if results.agreement is None else f", adjusted Rand index {results.agreement.rand:.3f}"
    )
    panel.set_ylabel("cluster")
    panel.set_xlabel("true source")
    panel.set_title(f"images by true source{rand}")


def _write_numbers(panel: Axes, values: NDArray[np.float64], form: str, most: float) -> None:
    if max(values.shape) > _MAX_NUMBERED:
        return
    for (row, column), value in np.ndenumerate(values):
        if np.isfinite(value) and (form != "{:.0f}" or value):
            dark = abs(value) > 0.6 * most
            panel.text(column, row, form.format(value), ha="center", va="center", fontsize=7,
                       color="white" if dark else "black")  # fmt: skip
