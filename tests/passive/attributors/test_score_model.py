"""Likelihoods, p-values and verdicts from scores."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats
from sklearn.covariance import LedoitWolf

from artfp.core.errors import UserError
from artfp.passive.attributors.score_model import (
    MIN_CALIBRATED,
    ScoreModel,
    likelihood_ratios,
    log_loss,
    posteriors,
)
from artfp.passive.attributors.verdicts import (
    NONE,
    SOURCE,
    UNDECIDED,
    DecisionRule,
    predict_group,
    predict_images,
)

NAMES = ("a", "b", "c")
Array = NDArray[np.float64]


class Scores:
    """Normal scores of three sources in five dimensions, correlated within each."""

    def __init__(self, seed: int = 0, apart: float = 1.0) -> None:
        self.rng = np.random.default_rng(seed)
        self.mixing = np.random.default_rng(1).standard_normal((5, 5))
        self.means = apart * np.random.default_rng(2).standard_normal((3, 5)) @ self.mixing

    def draw(self, counts: tuple[int, ...]) -> tuple[Array, NDArray[np.int64]]:
        labels = np.repeat(np.arange(3), counts)
        return self.rng.standard_normal((len(labels), 5)) @ self.mixing + self.means[labels], labels


def test_likelihoods_are_the_normal_ones() -> None:
    scores = Scores()
    z, labels = scores.draw((900, 700, 800))
    model = ScoreModel.fit(z, labels)
    fresh, _ = scores.draw((40, 40, 40))
    truth = np.stack(
        [stats.multivariate_normal(m, scores.mixing.T @ scores.mixing).logpdf(fresh)
         for m in scores.means], 1,
    )  # fmt: skip
    assert model.inverse_temperature == pytest.approx(1.0, abs=0.2)
    found, expected = posteriors(model.log_likelihoods(fresh)), posteriors(truth)
    assert np.abs(found - expected).max() < 0.1 and np.abs(found - expected).mean() < 0.02
    # And the distances exactly those of the shrunk covariance within sources.
    own = np.stack([z[labels == k].mean(0) for k in range(3)])
    within = z - own[labels]
    scale = np.sqrt((within**2).sum(0) / (len(z) - 3))
    shrunk = LedoitWolf(assume_centered=True).fit(within / scale).covariance_ * len(z)
    inverse = np.linalg.inv(shrunk / (len(z) - 3) * np.outer(scale, scale))
    expected = np.stack([((fresh - m) @ inverse * (fresh - m)).sum(1) for m in own], 1)
    np.testing.assert_allclose(
        model.log_likelihoods(fresh), -0.5 * model.inverse_temperature * expected, rtol=1e-6
    )


def test_distances_are_of_images_left_out() -> None:
    """Sherman and Morrison's formula against doing it, with the shrinkage near none."""
    z, labels = Scores().draw((400, 400, 400))
    model = ScoreModel.fit(z, labels)
    for row in (3, 500, 1100):
        kept = np.arange(len(z)) != row
        own = np.stack([z[kept & (labels == k)].mean(0) for k in range(3)])
        within = z[kept] - own[labels[kept]]
        inverse = np.linalg.inv(within.T @ within / (kept.sum() - 3))
        apart = z[row] - own[labels[row]]
        expected = apart @ inverse @ apart
        nearest = np.abs(model.distances[0][labels[row]] - expected).min()
        assert nearest < 0.02 * expected


def test_overconfident_scores_are_tempered() -> None:
    """Copies of a score with a little noise each are one piece of evidence, which fusion sees."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(2), 500)
    one = rng.standard_normal(1000) + 1.0 * labels
    heavy = one + rng.standard_t(3, 1000)  # not normal at all
    model = ScoreModel.fit(np.stack([heavy, heavy + 0.01 * rng.standard_normal(1000)], 1), labels)
    fresh = rng.standard_normal(4000) + 1.0 * (own := np.repeat(np.arange(2), 2000))
    z = fresh + rng.standard_t(3, 4000)
    logs = model.log_likelihoods(np.stack([z, z + 0.01 * rng.standard_normal(4000)], 1))
    loss = log_loss(logs, own)
    assert loss < np.log(2)
    assert loss <= min(log_loss(logs * factor, own) for factor in (0.1, 10.0))


def test_p_values_hold_their_level_in_any_distribution() -> None:
    """Over many calibrations with few images: a fraction alpha, with heavy tails as well."""
    rng = np.random.default_rng(0)
    labels, taken = np.repeat(np.arange(2), 30), []
    for _ in range(200):
        z = rng.standard_t(3, (60, 4)) + 3 * labels[:, None]
        model = ScoreModel.fit(z, labels)
        fresh = rng.standard_t(3, (20, 4))
        taken.append((model.p_values(fresh)[:, 0] <= 0.1).mean())
    assert np.mean(taken) == pytest.approx(0.1, abs=0.02)


def test_unknown_sources_do_not_fit() -> None:
    scores = Scores(apart=2.0)
    model = ScoreModel.fit(*scores.draw((200, 200, 200)))
    away = scores.rng.standard_normal((100, 5)) @ scores.mixing - scores.means.sum(0)
    found = predict_images(model.log_likelihoods(away), model.p_values(away), NAMES, DecisionRule())
    assert np.mean([each.verdict == NONE for each in found]) > 0.9
    z, labels = scores.draw((200, 200, 200))
    found = predict_images(model.log_likelihoods(z), model.p_values(z), NAMES, DecisionRule())
    assert np.mean([each.verdict == NONE for each in found]) == pytest.approx(0.05, abs=0.03)
    sure = [(each, k) for each, k in zip(found, labels, strict=True) if each.verdict == SOURCE]
    assert np.mean([each.source == NAMES[k] for each, k in sure]) > 0.97
    # "undecided" is what has no posterior of .95.
    assert all((each.posterior >= 0.95) == (each.verdict == SOURCE)
               for each in found if each.verdict != NONE)  # fmt: skip
    assert any(each.verdict == UNDECIDED for each in found)


def test_ratios_against_a_loop() -> None:
    logs = np.log(np.array([[0.5, 0.2, 0.1], [1e-300, 1.0, 1e-300]]))
    found = likelihood_ratios(logs)
    for row in range(2):
        p = np.exp(logs[row])
        for k in range(3):
            expected = np.log(p[k]) - np.log(np.delete(p, k).mean())
            assert found[row, k] == pytest.approx(expected)


def test_several_images_prove_more_than_one() -> None:
    scores = Scores(apart=0.4)
    model = ScoreModel.fit(*scores.draw((300, 300, 300)))
    alone, together, rejected = [], [], []
    for k in range(3):
        for _ in range(20):
            z = scores.draw(tuple(30 if j == k else 0 for j in range(3)))[0]
            logs, fits = model.log_likelihoods(z), model.p_values(z)
            group = predict_group(logs, fits, NAMES, DecisionRule(), model.images)
            alone.append(np.mean(logs.argmax(1) == k))
            together.append(group.source == NAMES[k])
            rejected.append(group.verdict == NONE)
            assert sum(group.votes.values()) == group.images == 30
    assert np.mean(alone) < 0.75 and np.mean(together) > 0.95
    assert np.mean(rejected) <= 0.1
    # A slight misfit shows in many images together.
    off = scores.draw((60, 0, 0))[0] + 0.7 * np.random.default_rng(9).choice((-1, 1), 5)
    off = off + 1.2 * (off - scores.means[0])
    group = predict_group(
        model.log_likelihoods(off), model.p_values(off), NAMES, DecisionRule(), model.images
    )
    assert group.verdict == NONE


def test_no_image_decides_alone() -> None:
    """Nine images speak for b a little, one for a beyond measure."""
    model = ScoreModel.fit(*Scores().draw((60, 50, 70)))
    assert model.images == 50 and model.limit == pytest.approx(np.log(101))
    logs = model.limited(np.array([[-2.0, 0.0, -9.0]] * 9 + [[-7.0, -507.0, -507.0]]))
    assert logs.max(1).tolist() == [0.0] * 10
    found = predict_group(logs, np.full((10, 3), 0.5), NAMES, DecisionRule(), model.images)
    assert found.source == "b" and found.votes == {UNDECIDED: 9, "a": 1}
    assert found.log_ratio == pytest.approx(18 - np.log(101) + np.log(2), abs=1e-3)
    (alone,) = predict_images(logs[9:], np.full((1, 3), 0.5), NAMES, DecisionRule())
    assert alone.log_ratio == pytest.approx(model.limit) and alone.posterior < 1


def test_one_image_is_judged_as_alone() -> None:
    logs, fits = np.array([[-4.0, -0.5, -2.0]]), np.array([[0.1, 0.04, 0.3]])
    (alone,) = predict_images(logs, fits, NAMES, DecisionRule())
    group = predict_group(logs, fits, NAMES, DecisionRule(), 1000)
    assert alone.verdict == group.verdict == NONE and alone.p_value == group.p_value == 0.04
    assert alone.log_ratio == pytest.approx(group.log_ratio)
    assert predict_images(np.empty((0, 3)), np.empty((0, 3)), NAMES, DecisionRule()) == []


def in_states(counts: tuple[int, ...], shift: float = 4.0) -> tuple[Array, Array, Array]:
    """Scores, labels and states: in state 1 scores are turned, weaker, moved, with other noise."""
    scores = Scores(1)
    (plain, labels), (weak, _) = scores.draw(counts), scores.draw(counts)
    weak = -0.5 * weak + shift + 0.3 * scores.rng.standard_normal(weak.shape)
    states = np.repeat([0, 1], len(labels))
    return np.concatenate([plain, weak]), np.concatenate([labels, labels]), states


def test_a_state_that_is_not_known_is_averaged_over() -> None:
    z, labels, states = in_states((300, 200, 250))
    model = ScoreModel.fit(z, labels, states)
    fresh, truth, state = in_states((100, 100, 100))
    densities, fits = [], []
    for s in range(2):
        alone = ScoreModel.fit(z[states == s], labels[states == s])
        covariance = np.linalg.inv(alone.precision[0]) / alone.inverse_temperature[0]
        densities.append([stats.multivariate_normal(mean, covariance).pdf(fresh)
                          for mean in alone.means[0]])  # fmt: skip
        fits.append(alone.p_values(fresh))
    found, whole = posteriors(model.log_likelihoods(fresh)), np.mean(densities, 0).T
    np.testing.assert_allclose(found, whole / whole.sum(1, keepdims=True), atol=1e-9)
    np.testing.assert_array_equal(model.p_values(fresh), np.max(fits, 0))
    # Better than a model that takes all for one state, and of the right size in each.
    pooled = ScoreModel.fit(z, labels).log_likelihoods(fresh)
    assert log_loss(model.log_likelihoods(fresh), truth) < 0.7 * log_loss(pooled, truth)
    own = model.p_values(fresh)[np.arange(len(truth)), truth]
    for s in range(2):
        assert 0.02 < (own[state == s] <= 0.1).mean() < 0.17


def test_tensors_and_back() -> None:
    z, labels = Scores().draw((40, 30, 50))
    model = ScoreModel.fit(z, labels)
    again = ScoreModel.from_tensors(model.tensors())
    assert np.array_equal(again.p_values(z), model.p_values(z)) and again.images == 30
    two = ScoreModel.fit(np.concatenate([z, z[::2] ** 2]), np.concatenate([labels, labels[::2]]),
                         np.repeat([0, 1], [120, 60]))  # fmt: skip
    there = ScoreModel.from_tensors(two.tensors())
    assert np.array_equal(there.p_values(z), two.p_values(z)) and there.images == 15
    assert np.array_equal(there.log_likelihoods(z), two.log_likelihoods(z))
    assert there.shape == two.shape == (3, 5)
    assert np.array_equal(again.log_likelihoods(z), model.log_likelihoods(z))
    for name in ("distances", "precision", "counts"):
        broken = model.tensors()
        broken[name] = broken[name][:-1]
        with pytest.raises(ValueError):
            ScoreModel.from_tensors(broken)


def test_refused() -> None:
    z, labels = Scores().draw((40, MIN_CALIBRATED - 1, 50))
    with pytest.raises(ValueError, match="each takes 3"):
        ScoreModel.fit(z, labels)
    with pytest.raises(ValueError, match="finite"):
        ScoreModel.fit(z * np.nan, labels)
    for rules in ({"alpha": 0.0}, {"confidence": 1.0}, {"alpha": float("nan")}):
        with pytest.raises(UserError, match="above 0 and below 1"):
            DecisionRule(**rules)
