"""Blind clustering by residuals: adjusted Rand index and number of sources, beside other ways.

    python benchmarks/clustering.py --data_dir sources --images 50 100 200 --singles
    python benchmarks/clustering.py --data_dir cameras512/flat --images 10 --least 5 --extractor wavelet:sigma=5

A source is a subfolder, or what stands before the last _ in names of files. `divide` is what artfp
attribute cluster does. The others get the same vectors of images by patterns and spectra, and choose
the number of clusters, up to --most, by the figure that they are known with: silhouette for average
linkage and Ward's tree, BIC for Gaussian mixtures (diagonal), HDBSCAN by itself. `known` is average
linkage told the true number. With --singles also each source alone, where one cluster is right.

Detectors are simulated for fusion: normal scores of each --auc, with --real sources against the
others; `before` and `after` are their AUC without and with the clusters found.
"""  # noqa: E501

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import report
import torch
from numpy.typing import NDArray
from rich.table import Table
from scipy import stats
from sklearn import metrics
from sklearn.cluster import HDBSCAN, AgglomerativeClustering
from sklearn.mixture import GaussianMixture
from torch import Tensor

from artfp.core.command import run
from artfp.core.console import console
from artfp.core.errors import UserError
from artfp.data.sources import ImageSource, open_source
from artfp.data.subset import Subset
from artfp.passive.residuals import load_extractor
from artfp.passive_studies.clustering.cluster import (
    cluster_residuals,
    cluster_similarities,
    measure_agreement,
)
from artfp.passive_studies.clustering.fusion import fuse_scores
from artfp.passive_studies.clustering.settings import ClusteringOptions
from artfp.passive_studies.clustering.similarity import (
    embed_images,
    pattern_similarity,
    spectrum_similarity,
)
from artfp.passive_studies.clustering.study import read_residuals
from artfp.stats.intervals import auc

Array = NDArray[np.float64]
Labels = NDArray[np.int64]


def main(argv: Sequence[str] | None = None) -> int:
    """Cluster, compare, print the tables, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("--data_dir", required=True)
    add("--extractor", default="wavelet:sigma=3")
    add("--images", type=int, nargs="+", default=[100], help="of each source")
    add("--draws", type=int, default=1, help="of the images, for each number")
    add("--least", type=int, default=10)
    add("--most", type=int, default=20, help="clusters that the other ways try")
    add("--singles", action="store_true")
    add("--subsets", type=int, default=0)
    add("--real", nargs="*", default=[], help="sources that are real, for the fusion")
    add("--auc", type=float, nargs="*", default=[0.6, 0.7, 0.8, 0.9])
    add("--seed", type=int, default=0)
    add("--output", help="file for the figures, JSON")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", module="sklearn")
    sources = _by_source(open_source(args.data_dir))
    rows: list[dict[str, Any]] = []
    fusions: list[dict[str, Any]] = []
    for images in args.images:
        for draw in range(args.draws):
            rng = np.random.default_rng((args.seed, images, draw))
            parts = {
                name: _residuals(s, images, args.extractor, rng) for name, s in sources.items()
            }
            truth = [name for name, part in parts.items() for _ in part]
            about: dict[str, Any] = {"images": images, "draw": draw}
            labels = _compared(torch.cat(list(parts.values())), truth, args, about, rows)
            if args.real:
                fusions += [{**about, **row} for row in _fused(labels, truth, args, rng)]
            for number in range(args.subsets):
                some = sorted(
                    rng.permutation(list(parts))[: 2 + number % (len(parts) - 1)].tolist()
                )
                truth = [name for name in some for _ in parts[name]]
                few = {**about, "of": ", ".join(some)}
                _compared(torch.cat([parts[name] for name in some]), truth, args, few, rows)
            if args.singles:
                for name, part in parts.items():
                    found = cluster_residuals(part, ClusteringOptions(min_images=args.least))
                    number = len(found.stability)
                    rows.append({**about, "way": "divide", "of": name, "clusters": number})
    _show(rows, fusions)
    if args.output:
        settings = ClusteringOptions(min_images=args.least)
        told = {
            "sources": list(sources),
            "settings": settings.to_mapping(),
            "extractor": args.extractor,
        }
        report.write(args.output, **told, rows=rows, fusion=fusions)
    return 0


def _by_source(source: ImageSource) -> dict[str, ImageSource]:
    found: dict[str, list[int]] = {}
    for index, name in enumerate(source.names):
        folder, slash, _ = name.partition("/")
        found.setdefault(folder if slash else name.rpartition("_")[0], []).append(index)
    if len(found) < 2:
        raise UserError(f"{source.location}: {len(found)} sources; it takes two or more")
    return {name: Subset(source, indices) for name, indices in found.items()}


def _residuals(source: ImageSource, images: int, text: str, rng: np.random.Generator) -> Tensor:
    """Of so many images, drawn at random."""
    if len(source) < images:
        raise UserError(f"{source.location}: a source of {len(source)} images, not {images}")
    chosen = sorted(rng.choice(len(source), images, replace=False).tolist())
    return read_residuals(Subset(source, chosen), load_extractor(text), None, [])[1]


def _compared(
    residuals: Tensor,
    truth: list[str],
    args: argparse.Namespace,
    about: dict[str, Any],
    rows: list[dict[str, Any]],
) -> Labels:
    """A row for each way; the labels of `divide`."""
    start = time.process_time()
    settings = ClusteringOptions(min_images=args.least)
    found = cluster_residuals(residuals, settings).labels
    seconds = time.process_time() - start
    rng = np.random.default_rng(0)
    patterns, spectra = pattern_similarity(residuals, rng), spectrum_similarity(residuals, rng)
    z = embed_images([patterns, spectra], settings.components)
    if z is None:
        raise UserError(f"{args.data_dir}: nothing stands out from chance")
    ways: dict[str, Callable[[], Labels]] = {
        "divide": lambda: found,
        "divide, patterns alone": lambda: (
            cluster_similarities([patterns], patterns, settings).labels
        ),
        "divide, spectra alone": lambda: cluster_similarities([spectra], patterns, settings).labels,
        "average, silhouette": lambda: _by_silhouette(z, "average", args.most),
        "Ward, silhouette": lambda: _by_silhouette(z, "ward", args.most),
        "mixture, BIC": lambda: _by_bic(z, args.most),
        "HDBSCAN": lambda: HDBSCAN(min_cluster_size=args.least, copy=True).fit_predict(z),
        "known": lambda: _tree(z, "average", len(set(truth))),
    }
    for way, cluster in ways.items():
        labels = cluster()
        told = measure_agreement(truth, labels)
        row = {**about, "way": way, "rand": told.rand, "homogeneity": told.homogeneity}
        row |= {"completeness": told.completeness, "clusters": told.clusters}
        row |= {"sources": told.sources}
        rows.append(row | ({"CPU seconds": seconds} if way == "divide" else {}))
    return found


def _tree(z: Array, linkage: str, clusters: int) -> Labels:
    metric = "euclidean" if linkage == "ward" else "cosine"
    tree = AgglomerativeClustering(clusters, linkage=linkage, metric=metric)
    return np.asarray(tree.fit_predict(z))


def _by_silhouette(z: Array, linkage: str, most: int) -> Labels:
    metric = "euclidean" if linkage == "ward" else "cosine"
    cuts = [_tree(z, linkage, k) for k in range(2, most + 1)]
    return max(cuts, key=lambda labels: metrics.silhouette_score(z, labels, metric=metric))


def _by_bic(z: Array, most: int) -> Labels:
    models = [
        GaussianMixture(k, covariance_type="diag", random_state=0).fit(z)
        for k in range(1, most + 1)
    ]
    best = min(models, key=lambda model: model.bic(z))
    return np.asarray(best.predict(z))


def _fused(
    labels: Labels, truth: list[str], args: argparse.Namespace, rng: np.random.Generator
) -> list[dict[str, Any]]:
    """AUC before and after, with the clusters found, partly wrong ones, and true sources."""
    real = np.array([name in args.real for name in truth])
    if real.all() or not real.any():
        raise UserError(f"--real: found {', '.join(args.real)}; some sources must be real, not all")
    _, right = np.unique(np.array(truth), return_inverse=True)
    rows = []
    for strength in args.auc:
        scores = rng.normal(size=len(truth))
        scores += np.sqrt(2.0) * stats.norm.ppf(strength) * ~real
        kinds = {"found": labels, "true sources": right}
        for share in (0.1, 0.3, 1.0):
            moved = rng.random(len(truth)) < share
            wrong = np.where(moved, rng.integers(0, right.max() + 1, len(truth)), right)
            kinds[f"true, {share:.0%} of the images elsewhere"] = wrong
        for kind, clusters in kinds.items():
            fused = fuse_scores(scores, clusters)
            rows.append(
                {
                    "clusters": kind,
                    "rand": measure_agreement(truth, clusters).rand,
                    "detector": strength,
                    "before": auc(scores[real], scores[~real]),
                    "after": auc(fused.scores[real], fused.scores[~real]),
                    "p": fused.p_value,
                }
            )
    return rows


def _show(rows: list[dict[str, Any]], fusions: list[dict[str, Any]]) -> None:
    table = Table("images", "draw", "way", "of", "Rand", "clusters", "homogeneity", "complete")
    for row in rows:
        figures = (
            f"{row[name]:.3f}" if name in row else "" for name in ("homogeneity", "completeness")
        )
        rand = f"{row['rand']:.3f}" if "rand" in row else ""
        about = (str(row.get(name, "")) for name in ("images", "draw", "way", "of"))
        table.add_row(*about, rand, str(row["clusters"]), *figures)
    console().print(table)
    table = Table("images", "way", "mean Rand", "mean error of the number")
    for images, way in dict.fromkeys((row["images"], row["way"]) for row in rows):
        chosen = [row for row in rows if (row["images"], row["way"]) == (images, way)]
        chosen = [row for row in chosen if "of" in row and "rand" in row]
        if chosen:
            mean = float(np.mean([row["rand"] for row in chosen]))
            error = float(np.mean([abs(row["clusters"] - row["sources"]) for row in chosen]))
            table.add_row(str(images), way, f"{mean:.3f}", f"{error:.2f}")
    if table.row_count:
        console().print(table)
    if not fusions:
        return
    table = Table("images", "draw", "clusters", "Rand", "detector", "before", "after", "p")
    for row in fusions:
        figures = (f"{row[name]:.3f}" for name in ("rand", "detector", "before", "after"))
        table.add_row(str(row["images"]), str(row["draw"]), row["clusters"], *figures,
                      f"{row['p']:.1e}")  # fmt: skip
    console().print(table)


if __name__ == "__main__":
    sys.exit(run(main, "clustering.py"))
