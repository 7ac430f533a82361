"""The area under the ROC curve and its interval."""

from __future__ import annotations

import numpy as np
import pytest

from artfp.stats.intervals import auc, auc_interval


@pytest.mark.parametrize("seed", range(4))
def test_area_by_counting_pairs(seed: int) -> None:
    rng = np.random.default_rng(seed)
    low, high = rng.integers(0, 9, 37), rng.integers(2, 12, 23)  # with ties
    pairs = [(b > a) + 0.5 * (b == a) for a in low for b in high]
    assert auc(low, high) == pytest.approx(np.mean(pairs), abs=1e-12)


@pytest.mark.parametrize("area", [0.0, 0.2, 0.5, 0.93, 0.9999, 1.0])
@pytest.mark.parametrize("counts", [(30, 30), (200, 80)])
def test_interval_by_search_over_all_areas(area: float, counts: tuple[int, int]) -> None:
    """The areas that the variance formula of Hanley and McNeil, written by hand, allows."""
    m, n = counts
    t = np.linspace(0, 1, 2_000_001)[1:-1]
    q1, q2, mean = t / (2 - t), 2 * t**2 / (1 + t), (m + n) / 2
    variance = (t * (1 - t) + (mean - 1) * (q1 - t**2) + (mean - 1) * (q2 - t**2)) / (m * n)
    allowed = t[np.abs(area - t) <= 1.959963984540054 * np.sqrt(variance)]
    low, high = auc_interval(area, m, n)
    assert low == pytest.approx(allowed.min(), abs=2e-6)
    assert high == pytest.approx(allowed.max(), abs=2e-6)
    assert low < high


@pytest.mark.parametrize("shift", [0.0, 1.0, 3.0])
def test_coverage(shift: float) -> None:
    """Of Gaussian scores, whose true area is known."""
    from scipy.stats import norm

    rng = np.random.default_rng(1)
    truth = norm.cdf(shift / np.sqrt(2))
    covered = 0
    for _ in range(400):
        found = auc(rng.normal(0, 1, 60), rng.normal(shift, 1, 60))
        low, high = auc_interval(found, 60, 60)
        covered += low <= truth <= high
    assert 0.92 <= covered / 400 <= 0.99


def test_refused() -> None:
    with pytest.raises(ValueError, match="negatives"):
        auc([], [1.0])
    with pytest.raises(ValueError, match="positives"):
        auc([1.0], [np.nan])
    with pytest.raises(ValueError, match=r"area of 1\.5"):
        auc_interval(1.5, 3, 3)
    with pytest.raises(ValueError, match="confidence"):
        auc_interval(0.5, 3, 3, 1.0)
