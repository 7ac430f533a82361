"""Figures of one attributor under one condition: accuracies, and TPR at a fixed FPR."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from artfp.passive.attributors.base import Attributor, ExactAttributor

_Z95 = 1.959963984540054
"""97.5% quantile of the normal distribution."""

EXACT, NEGATIVES = "exact", "negatives"
"""Origin of a threshold: an exact null distribution, or unmarked images."""


@dataclass(frozen=True)
class SweepFigures:
    """Counts of one attributor under one condition; None where they have no meaning.

    `images` marked ones, of `sources` sources. `bits`, and `bit_accuracy`, the mean share of
    matching bits, with its quantile at 5%: only of attributors that read bits. `source_accuracy`:
    share of the images whose true source has the best score (1/t where t sources share it), if
    there are several. `tpr`: share of the images found to be of their true source in a test with
    false positive rate `fpr`, with Wilson's 95% interval. `threshold`: "exact" (p-value), or
    "negatives" (from unmarked images under the same condition); `fpr_high` is what the false
    positive rate then is at most (for "negatives": with 95% confidence). `negatives`: how many
    unmarked images; `false_positives`: share of them, over all sources, that the test took.
    """

    images: int
    sources: int
    bits: int | None
    bit_accuracy: float | None
    bit_accuracy_q05: float | None
    source_accuracy: float | None
    tpr: float | None
    tpr_low: float | None
    tpr_high: float | None
    threshold: str
    fpr: float
    fpr_high: float | None
    negatives: int
    false_positives: float | None


class Counts:
    """Scores of one attributor under one condition, added batch after batch."""

    def __init__(self, attributor: Attributor, fpr: float) -> None:
        """`fpr` is the false positive rate of the test, above 0 and below 1."""
        self._attributor, self._fpr = attributor, fpr
        self._truth: list[Tensor] = []
        self._scores: list[Tensor] = []  # of the true source
        self._firsts: list[Tensor] = []
        self._passed: list[Tensor] = []  # by an exact p-value
        self._negatives: list[Tensor] = []
        self._negatives_passed: list[Tensor] = []

    @torch.inference_mode()
    def add(self, x: Tensor, truth: Tensor | None) -> None:
        """Score images (N, 3, H, W) in [0, 1] of true sources (N,), or of none if that is None.

        Raises ValueError: scores of a wrong shape, or not numbers.
        """
        scores = self._checked(self._attributor.scores(x).detach().cpu(), len(x))
        passed = None
        if isinstance(self._attributor, ExactAttributor):
            passed = self._attributor.log_p(scores) <= math.log(self._fpr)
        if truth is None:
            self._negatives.append(scores.double())
            if passed is not None:
                self._negatives_passed.append(passed)
            return
        column = truth.view(-1, 1)
        best = scores == scores.amax(dim=1, keepdim=True)
        self._truth.append(truth)
        self._scores.append(scores.gather(1, column)[:, 0].double())
        self._firsts.append(best.gather(1, column)[:, 0].double() / best.sum(dim=1))
        if passed is not None:
            self._passed.append(passed.gather(1, column)[:, 0])

    def figures(self) -> SweepFigures:
        """Return the figures. Raises ValueError: no marked image was added."""
        if not self._scores:
            raise ValueError(f"{self._attributor.name} was given no image with a source")
        attributor = self._attributor
        scores = torch.cat(self._scores).numpy()
        exact = isinstance(attributor, ExactAttributor)
        bits = attributor.bits if isinstance(attributor, ExactAttributor) else None
        shares = None if bits is None else scores / bits
        passed, taken = self._exact() if exact else self._by_negatives(scores)
        low, high = (None, None) if passed is None else wilson(int(passed.sum()), len(passed))
        several = len(attributor.sources) > 1
        negatives = sum(map(len, self._negatives))
        fpr_high = None
        if passed is not None:
            fpr_high = self._fpr if exact else self._proven(taken)
        return SweepFigures(
            images=len(scores),
            sources=len(attributor.sources),
            bits=bits,
            bit_accuracy=None if shares is None else float(shares.mean()),
            bit_accuracy_q05=None if shares is None else float(np.quantile(shares, 0.05)),
            source_accuracy=float(torch.cat(self._firsts).mean()) if several else None,
            tpr=None if passed is None else float(passed.mean()),
            tpr_low=low,
            tpr_high=high,
            threshold="" if passed is None else EXACT if exact else NEGATIVES,
            fpr=self._fpr,
            fpr_high=fpr_high,
            negatives=negatives,
            false_positives=None if taken is None else float(taken.mean()),
        )

    def _exact(self) -> tuple[NDArray[np.bool_], NDArray[np.bool_] | None]:
        """Return which marked images pass (N,), and which unmarked ones (M, sources)."""
        taken = torch.cat(self._negatives_passed).numpy() if self._negatives_passed else None
        return torch.cat(self._passed).numpy(), taken

    def _by_negatives(
        self, scores: NDArray[np.float64]
    ) -> tuple[NDArray[np.bool_] | None, NDArray[np.bool_] | None]:
        """The same, by a threshold of its own for each source; (None, None) without negatives.

        Of M unmarked images floor(fpr * M) may score above it.
        """
        if not self._negatives:
            return None, None
        negatives = torch.cat(self._negatives).numpy()
        allowed = math.floor(self._fpr * len(negatives))
        thresholds = np.sort(negatives, axis=0)[len(negatives) - 1 - allowed]
        return scores > thresholds[torch.cat(self._truth).numpy()], negatives > thresholds

    @staticmethod
    def _proven(taken: NDArray[np.bool_] | None) -> float | None:
        """Return an upper bound of the false positive rate, from the worst source's count."""
        if taken is None:
            return None
        return wilson(int(taken.sum(axis=0).max()), len(taken))[1]

    def _checked(self, scores: Tensor, count: int) -> Tensor:
        expected = (count, len(self._attributor.sources))
        if tuple(scores.shape) != expected:
            raise ValueError(
                f"{self._attributor.name} gave scores of shape {tuple(scores.shape)}, "
                f"expected {expected}"
            )
        if scores.isnan().any():
            raise ValueError(f"{self._attributor.name} gave scores that are not numbers")
        return scores


def wilson(hits: int, count: int) -> tuple[float, float]:
    """Return the 95% confidence interval of a share, `hits` of `count` (Wilson 1927)."""
    share, weight = hits / count, _Z95**2 / count
    centre = share + weight / 2.0
    half = _Z95 * math.sqrt(share * (1.0 - share) / count + weight / (4.0 * count))
    low = 0.0 if hits == 0 else (centre - half) / (1.0 + weight)
    return low, 1.0 if hits == count else (centre + half) / (1.0 + weight)
