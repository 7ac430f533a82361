"""Figure of features: images as points, those with similar features near each other (t-SNE)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE

from artfp.reporting.figure import encode_figure, figure_style, series_style, shown_name

PERPLEXITY = 30.0
"""Perplexity; a third of the points where these are few."""

MIN_POINTS = 8
"""Minimum number of images."""

_WIDTH = 50


def embed_tsne(features: ArrayLike, seed: int = 0) -> NDArray[np.float64]:
    """Embed features (N, D) as points (N, 2) by t-SNE (van der Maaten and Hinton 2008).

    It starts from 50 principal components where there are more features, as in the paper. Distances
    between far groups, and sizes of groups, mean nothing.

    Raises:
        ValueError: not such a matrix, not finite, or fewer than MIN_POINTS rows.
    """
    x = np.asarray(features, np.float64)
    if x.ndim != 2 or len(x) < MIN_POINTS or not np.isfinite(x).all():
        raise ValueError(
            f"features {x.shape}; expected finite (N, D) with {MIN_POINTS} rows or more"
        )
    width = min(_WIDTH, len(x))
    if x.shape[1] > width:
        x = PCA(width, svd_solver="full").fit_transform(x)
    spread = x.std()
    perplexity = min(PERPLEXITY, (len(x) - 1) / 3.0)
    start = "pca" if min(x.shape) >= 2 else "random"
    method = TSNE(2, perplexity=perplexity, init=start, random_state=seed)
    return np.asarray(method.fit_transform(x / spread if spread > 0 else x), np.float64)


@figure_style
def plot_embedding(points: ArrayLike, labels: ArrayLike, sources: Sequence[str]) -> bytes:
    """Plot points (N, 2) of images of sources `labels` (N,), with a legend, as a PNG file."""
    places, own = np.asarray(points), np.asarray(labels)
    figure = Figure(figsize=(6.4, 4.6), layout="constrained")
    panel = figure.subplots()
    size = float(np.clip(9000.0 / max(1, len(own)), 5.0, 26.0))
    # In an order that has nothing to do with sources, so that none hides the others.
    order = np.random.default_rng(0).permutation(len(own))
    depth = np.empty(len(own))
    depth[order] = np.arange(len(own))
    layers = np.minimum(depth * 8 // max(1, len(own)), 7)
    for layer in range(8):
        for k in range(len(sources)):
            chosen = places[(own == k) & (layers == layer)]
            style = series_style(k)
            panel.scatter(chosen[:, 0], chosen[:, 1], size, color=style["color"],
                          marker=style["marker"], linewidths=0.2, edgecolors="white",
                          alpha=0.85, zorder=2 + layer)  # fmt: skip
    for k, name in enumerate(sources):
        style = series_style(k)
        panel.scatter(
            [], [], 26, color=style["color"], marker=style["marker"], label=shown_name(name)
        )
    panel.legend(loc="center left", bbox_to_anchor=(1.0, 0.5),
                 ncols=1 + (len(sources) - 1) // 20)  # fmt: skip
    panel.set(xticks=[], yticks=[], xlabel="t-SNE, first coordinate", ylabel="second coordinate")
    panel.set_aspect("equal", "datalim")
    for spine in panel.spines.values():
        spine.set_color("#bbbbbb")
    return encode_figure(figure)
