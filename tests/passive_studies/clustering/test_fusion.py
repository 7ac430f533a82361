"""Fusion on planted sources: better where clusters are right, unharmed where they say nothing."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from artfp.passive_studies.clustering.fusion import fuse_scores


def planted(
    auc: float, seed: int, wrong: float = 0.0, each: int = 60, sources: int = 8
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(scores, labels, truth): half of the sources are generated; `wrong`, images put anywhere."""
    rng = np.random.default_rng(seed)
    source = np.repeat(np.arange(sources), each)
    truth = source < sources // 2
    scores = rng.normal(size=len(source)) + np.sqrt(2.0) * stats.norm.ppf(auc) * truth
    moved = rng.random(len(source)) < wrong
    labels = np.where(moved, rng.integers(0, sources, len(source)), source)
    return scores, labels, truth


@pytest.mark.parametrize(("auc", "reached"), [(0.7, 0.97), (0.9, 0.999)])
def test_right_clusters_lift_the_detector(auc: float, reached: float) -> None:
    for seed in range(3):
        scores, labels, truth = planted(auc, seed)
        found = fuse_scores(scores, labels)
        assert roc_auc_score(truth, found.scores) > max(reached, roc_auc_score(truth, scores))
        assert found.fractions is not None
        assert min(found.fractions[:4]) > 0.8 and max(found.fractions[4:]) < 0.2


def test_partly_wrong_clusters_help_too() -> None:
    before, after = [], []
    for seed in range(5):
        scores, labels, truth = planted(0.8, seed, wrong=0.3)
        before.append(roc_auc_score(truth, scores))
        after.append(roc_auc_score(truth, fuse_scores(scores, labels).scores))
    assert np.mean(after) > np.mean(before) + 0.08


def test_clusters_that_say_nothing_do_no_harm() -> None:
    kept = 0
    for seed in range(40):
        scores, labels, truth = planted(0.8, seed, wrong=1.0)
        found = fuse_scores(scores, labels)
        if found.fractions is None:
            kept += 1
            assert roc_auc_score(truth, found.scores) == pytest.approx(roc_auc_score(truth, scores))
    assert kept >= 38  # LEVEL is one in a hundred


def test_p_value_is_the_one_way_analysis_of_variance() -> None:
    scores, labels, _ = planted(0.55, 3, each=25)
    normal = stats.norm.ppf((stats.rankdata(scores) - 0.5) / len(scores))
    expected = stats.f_oneway(*(normal[labels == k] for k in range(8)))
    assert fuse_scores(scores, labels).p_value == pytest.approx(expected.pvalue, rel=1e-9)


def test_any_increasing_scale_gives_the_same() -> None:
    scores, labels, _ = planted(0.8, 4)
    probabilities = 1.0 / (1.0 + np.exp(-scores))
    np.testing.assert_allclose(
        fuse_scores(scores, labels).scores, fuse_scores(probabilities, labels).scores, atol=1e-9
    )


def test_images_in_no_cluster_stand_alone() -> None:
    """Their order is that of the detector; those of a cluster move together."""
    scores, labels, truth = planted(0.85, 5)
    labels = labels.copy()
    alone = np.arange(0, len(labels), 7)
    labels[alone] = -1
    found = fuse_scores(scores, labels)
    assert found.fractions is not None and len(found.fractions) == 8
    order = np.argsort(scores[alone])
    assert (np.diff(found.scores[alone][order]) > 0).all()
    inside = labels >= 0
    assert roc_auc_score(truth[inside], found.scores[inside]) > 0.99


def test_log_odds_stay_finite() -> None:
    scores, labels, _ = planted(0.9999, 6, each=400)
    assert np.isfinite(fuse_scores(scores, labels).scores).all()


@pytest.mark.parametrize("labels", [[0] * 6, [-1] * 6, list(range(6))])
def test_nothing_to_fuse_scores(labels: list[int]) -> None:
    scores = np.array([3.0, 1.0, 2.0, 9.0, -4.0, 0.0])
    found = fuse_scores(scores, labels)
    assert (found.fractions, found.p_value) == (None, 1.0)
    assert (np.argsort(found.scores) == np.argsort(scores)).all()


def test_refused() -> None:
    for scores, labels in (([], []), ([1.0], [0, 1]), ([[1.0]], [[0]])):
        with pytest.raises(ValueError, match="expected"):
            fuse_scores(scores, labels)
    with pytest.raises(ValueError, match="not finite"):
        fuse_scores([1.0, np.nan], [0, 1])
