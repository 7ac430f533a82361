"""Figures of methods on scores whose distribution is known."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from artfp.comparison.scores import MethodScores, claim_thresholds, score_method
from artfp.passive.attributors.score_model import Values


def _scores(
    gap: float, images: int = 3000, sources: int = 3, seed: int = 0
) -> tuple[Values, NDArray[np.int64]]:
    """Standard normal scores, that of the true source higher by `gap`."""
    rng = np.random.default_rng(seed)
    truth = np.repeat(np.arange(sources), images)
    scores = rng.normal(size=(len(truth), sources))
    scores[np.arange(len(truth)), truth] += gap
    return scores, truth


def _figures(scores: Values, truth: NDArray[np.int64], fixed: Values | None = None) -> MethodScores:
    fixed = claim_thresholds(scores, truth) if fixed is None else fixed
    draws = np.random.default_rng(1)
    return score_method(scores, truth, scores, lambda group: group.sum(0), fixed, draws, groups=100)


def test_against_normal_theory() -> None:
    """Accuracy is an integral over the best of the others; TPR the tail beyond a quantile."""
    scores, truth = _scores(3.0)
    found = _figures(scores, truth)
    grid = np.linspace(-6, 12, 20001)
    density = stats.norm.pdf(grid - 3.0) * stats.norm.cdf(grid) ** 2
    assert found.accuracy == pytest.approx(np.trapezoid(density, grid), abs=0.006)
    assert found.accuracy == pytest.approx(np.mean(found.per_source))
    assert found.tpr == pytest.approx(stats.norm.sf(stats.norm.isf(1e-3) - 3.0), abs=0.07)
    assert found.fixed_tpr == found.tpr and found.fixed_fpr <= 1e-3


def test_thresholds_let_through_no_more_than_their_share() -> None:
    scores, truth = _scores(1.0)
    for fpr in (1e-3, 0.01, 0.1):
        limits = claim_thresholds(scores, truth, fpr)
        for k in range(3):
            false = scores[truth != k, k]
            assert (false > limits[k]).mean() <= fpr
            assert (false >= limits[k]).mean() > fpr - 1 / len(false)


def test_fixed_thresholds_show_what_a_perturbation_does() -> None:
    scores, truth = _scores(3.0)
    fixed = claim_thresholds(scores, truth)
    moved = _figures(scores + 2.0, truth, fixed)
    assert moved.tpr == _figures(scores, truth).tpr
    assert moved.fixed_tpr > moved.tpr
    assert moved.fixed_fpr == pytest.approx(stats.norm.sf(stats.norm.isf(1e-3) - 2.0), rel=0.3)


@pytest.mark.parametrize(("gap", "images"), [(6.0, 1), (1.0, 10), (0.3, 100), (0.0, None)])
def test_images_needed(gap: float, images: int | None) -> None:
    """n summed scores are apart by gap * sqrt(n / 2) deviations of their difference."""
    scores, truth = _scores(gap, images=2000, sources=2)
    found = _figures(scores, truth).images
    if images is None:
        assert found is None
    else:
        exact = 2 * (stats.norm.isf(0.05) / gap) ** 2
        assert found is not None and exact <= found * 1.3 and found <= images


def test_shared_best_scores_count_in_part_and_few_images_limit_the_groups() -> None:
    truth = np.repeat([0, 1], 4)
    found = _figures(np.zeros((8, 2)), truth)
    assert found.accuracy == 0.5 and found.tpr == 0.0
    certain = np.eye(2)[truth]
    assert _figures(certain, truth).images == 1
