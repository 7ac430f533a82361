"""What is usual for sources, against distances computed one by one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.distance import mahalanobis
from sklearn.covariance import LedoitWolf

from artfp.passive.attributors.traits import LEAST, Traits


def drawn(count: int, seed: int) -> tuple[torch.Tensor, np.ndarray]:
    """Traits of two sources, of which the second spreads three times as far."""
    rng = np.random.default_rng(seed)
    labels = np.tile([0, 1], count)
    values = rng.standard_normal((2 * count, 5)) * (1.0 + 2.0 * labels[:, None]) + labels[:, None]
    return torch.from_numpy(values), labels


def test_scores_are_logarithms_of_distances() -> None:
    known, labels = drawn(60, 0)
    traits = Traits.fit(known, labels)
    fresh, _ = drawn(4, 1)
    scores = traits.scores(fresh)
    assert scores.shape == (8, 2) and scores.dtype == torch.float32
    for k in range(2):
        model = LedoitWolf().fit(known[labels == k].numpy())
        for row, image in enumerate(fresh.numpy()):
            far = mahalanobis(image, model.location_, model.get_precision())
            assert float(scores[row, k]) == pytest.approx(-np.log(far**2), abs=1e-4)
    again = Traits.from_tensors(traits.tensors(), 2)
    assert torch.equal(again.scores(fresh), scores)


def test_what_never_varies_is_no_obstacle() -> None:
    known, labels = drawn(30, 2)
    known[:, 3] = 7.0
    traits = Traits.fit(known, labels)
    assert torch.isfinite(traits.scores(known)).all()
    same = torch.ones(2 * LEAST, 4)
    assert torch.isfinite(Traits.fit(same, labels[: 2 * LEAST]).scores(same)).all()


def test_what_cannot_be_fitted_or_read() -> None:
    known, labels = drawn(LEAST, 3)
    with pytest.raises(ValueError, match=f"{LEAST - 1} images of a source"):
        Traits.fit(known[1:], labels[1:])
    known[3, 2] = torch.nan
    with pytest.raises(ValueError, match="not finite"):
        Traits.fit(known, labels)
    good = Traits.fit(*drawn(LEAST, 4)).tensors()
    with pytest.raises(ValueError, match="for 3 sources"):
        Traits.from_tensors(good, 3)
    with pytest.raises(ValueError, match="for 2 sources"):
        Traits.from_tensors({**good, "precision": good["precision"][:, :4]}, 2)
    with pytest.raises(KeyError):
        Traits.from_tensors({"means": good["means"]}, 2)
