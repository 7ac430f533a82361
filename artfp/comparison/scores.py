"""What methods' scores are worth: the right source, claims at a false positive rate, images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from artfp.passive.attributors.score_model import Values

FPR = 1e-3
"""False positive rate of a claim "this image is of that source"."""

GROUPS = (1, 2, 3, 5, 10, 20, 50, 100)
"""Images that are judged together."""

SURE = 0.95
"""Share of the groups of every source that must be named rightly."""


@dataclass(frozen=True)
class Contest:
    """Figures of one methods under one condition.

    `accuracy`: share of images whose true source scores best, mean over sources (1/t where t
    share it). `per_source`, the same of each. `tpr`: share of true claims accepted at thresholds,
    one a source, which accept a share of FPR of the false claims under the same condition.
    `fixed_tpr`, `fixed_fpr`: shares of true and of false claims accepted at the thresholds of
    unperturbed images, which is what an auditor has who does not know what was done to an image.
    `images`: how many images of one source suffice to name every source rightly in a share of SURE
    of the groups; None: more than the largest of GROUPS that there are images for.
    """

    accuracy: float
    per_source: tuple[float, ...]
    tpr: float
    fixed_tpr: float
    fixed_fpr: float
    images: int | None


def thresholds(scores: Values, truth: NDArray[np.int64], fpr: float = FPR) -> Values:
    """(K,): above each lies a share of at most `fpr` of the false claims to that source.

    Of scores (N, K) of images of sources `truth` (N,).
    """
    found = []
    for k in range(scores.shape[1]):
        false = np.sort(scores[truth != k, k])
        found.append(false[len(false) - 1 - int(fpr * len(false))])
    return np.array(found)


def contest(
    vectors: Values,
    truth: NDArray[np.int64],
    scores: Values,
    pooled: Callable[[Values], Values],
    fixed: Values,
    draws: np.random.Generator,
    tries: int = 40,
) -> Contest:
    """Figures of images of sources `truth` (N,): vectors (N, D), and what a methods makes of it.

    Args: `scores` (N, K); `pooled`, from vectors of a group to evidence (K,); `fixed`, thresholds
    (K,) of unperturbed images; `tries`, groups of each source and size, drawn without putting back.
    """
    rows = np.arange(len(truth))
    best = scores == scores.max(1, keepdims=True)
    right = best[rows, truth] / best.sum(1)
    count = scores.shape[1]
    per_source = tuple(float(right[truth == k].mean()) for k in range(count))
    own = scores[rows, truth]
    false = np.ones(scores.shape, bool)
    false[rows, truth] = False
    return Contest(
        accuracy=float(np.mean(per_source)),
        per_source=per_source,
        tpr=float((own > thresholds(scores, truth)[truth]).mean()),
        fixed_tpr=float((own > fixed[truth]).mean()),
        fixed_fpr=float((scores > fixed)[false].mean()),
        images=_images(vectors, truth, pooled, draws, tries, count),
    )


def _images(
    vectors: Values,
    truth: NDArray[np.int64],
    pooled: Callable[[Values], Values],
    draws: np.random.Generator,
    tries: int,
    count: int,
) -> int | None:
    """The least of GROUPS from which on all larger ones too are named rightly often enough."""
    enough: int | None = None
    for size in GROUPS[::-1]:
        shares: list[float] = []
        for k in range(count):
            own = np.flatnonzero(truth == k)
            if len(own) < size:
                break
            groups = [draws.choice(own, size, replace=False) for _ in range(tries)]
            shares.append(float(np.mean([pooled(vectors[g]).argmax() == k for g in groups])))
        if len(shares) < count:
            continue
        if min(shares) < SURE:
            return enough
        enough = size
    return enough
