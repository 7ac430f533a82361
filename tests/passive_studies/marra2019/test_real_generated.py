"""Real against generated, against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from artfp.passive.roc import CorrelationScores
from artfp.passive_studies.marra2019.dependence import compare_real_generated

NAMES = ("dcgan", "photos", "progan", "real")


@pytest.fixture
def scores() -> CorrelationScores:
    rng = np.random.default_rng(0)
    own = 0.05 * np.eye(4)
    own[1, 1] = own[3, 3] = 0.5  # that real images correlate with their own is not to count
    values = tuple(rng.normal(own[i], 0.03, (30 + i, 4)) for i in range(4))
    return CorrelationScores(NAMES, values)


def test_largest_correlation_with_any_generator(scores: CorrelationScores) -> None:
    found = compare_real_generated(scores, ["real", "photos"])
    v = scores.values
    real = np.concatenate([v[1], v[3]])
    known = [v[i][:, [0, 2]].max(1) for i in (0, 2)]
    assert [each.source for each in found.generated] == ["dcgan", "progan"]
    whole = roc_auc_score(
        [0] * len(real) + [1] * 62, np.concatenate([real[:, [0, 2]].max(1), *known])
    )
    assert found.known().value == pytest.approx(whole)
    assert (found.known().negatives, found.known().positives) == (64, 62)
    one = roc_auc_score([0] * 64 + [1] * 32, np.concatenate([real[:, [0, 2]].max(1), known[1]]))
    assert found.known(1).value == pytest.approx(one)
    unseen = roc_auc_score([0] * 64 + [1] * 32, np.concatenate([real[:, 0], v[2][:, 0]]))
    without = found.unknown(1)
    assert without is not None and without.value == pytest.approx(unseen)


def test_a_single_generator_has_no_others(scores: CorrelationScores) -> None:
    found = compare_real_generated(scores, ["real", "photos", "progan"])
    assert found.unknown(0) is None and found.known().positives == 30


@pytest.mark.parametrize("real", [[], ["camera"], list(NAMES)])
def test_no_real_source_no_generator_or_no_such_name(
    scores: CorrelationScores, real: list[str]
) -> None:
    with pytest.raises(ValueError, match="real sources"):
        compare_real_generated(scores, real)
