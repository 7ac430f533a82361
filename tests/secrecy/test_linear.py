"""Steganalysers without a network."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import fft
from torch import Tensor

from artfp.secrecy.linear import (
    SecrecyScorer,
    _Within,
    coefficients,
    linear_discriminant,
    mean_residual,
    spectrum_discriminant,
)
from artfp.stats.intervals import auc

Attacker = Callable[[tuple[Tensor, Tensor], tuple[Tensor, Tensor]], SecrecyScorer]
ATTACKERS: list[Attacker] = [mean_residual, linear_discriminant, spectrum_discriminant]


@pytest.mark.parametrize("images", [7, 90])
@pytest.mark.parametrize("shrinkage", [1.0, 0.4, 0.05])
def test_direction_against_solving(images: int, shrinkage: float) -> None:
    """With fewer images than features, and with more: the same as the formula in float64."""
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(20, 20))
    clean, marked = (rng.normal(size=(images, 20)) @ mixing + shift for shift in (0.0, 0.5))
    centred = np.concatenate([clean - clean.mean(0), marked - marked.mean(0)])
    scale = centred.std(axis=0)
    covariance = np.cov((centred / scale).T, bias=True)
    mixed = (1 - shrinkage) * covariance + shrinkage * np.eye(20)
    expected = np.linalg.solve(mixed, (marked.mean(0) - clean.mean(0)) / scale) / scale
    within = _Within(clean.astype(np.float32), marked.astype(np.float32))
    assert within.dual == (images == 7)
    assert np.allclose(within.direction(shrinkage), expected, rtol=2e-3, atol=1e-4)


def test_coefficients_one_axis_after_another() -> None:
    x = np.random.default_rng(1).normal(size=(2, 3, 8, 6)).astype(np.float32)
    expected = x
    for axis in (1, 2, 3):
        expected = fft.dct(expected, axis=axis, norm="ortho")
    assert np.allclose(coefficients(x), expected.reshape(2, -1), atol=1e-5)


@pytest.fixture(scope="module")
def pieces(photo_crops: Callable[..., Tensor]) -> Tensor:
    """Pieces of photographs in no order, (560, 3, 16, 16), 8-bit."""
    return photo_crops(560, 16, seed=3)[np.random.default_rng(0).permutation(560)]


def area(attacker: Attacker, mark: Callable[[Tensor], Tensor], pieces: Tensor) -> float:
    """With the test's images apart from the attacker's."""
    clean, other, test_clean, test_other = pieces.split(140)
    training, validation = (clean[:112], mark(other[:112])), (clean[112:], mark(other[112:]))
    score = attacker(training, validation)
    return auc(score(test_clean), score(mark(test_other)))


def constant(x: Tensor) -> Tensor:
    """One pattern in all images."""
    draws = torch.Generator().manual_seed(5)
    pattern = torch.randint(0, 2, x.shape[1:], generator=draws) * 24 - 12
    return (x.int() + pattern).clamp(0, 255).byte()


def random(x: Tensor) -> Tensor:
    """A pattern of its own in each image."""
    draws = torch.Generator().manual_seed(len(x))
    pattern = torch.randint(0, 2, x.shape, generator=draws) * 24 - 12
    return (x.int() + pattern).clamp(0, 255).byte()


@pytest.mark.parametrize("attacker", ATTACKERS)
def test_finds_a_loud_pattern(attacker: Attacker, pieces: Tensor) -> None:
    assert area(attacker, constant, pieces) > 0.95


@pytest.mark.parametrize("attacker", ATTACKERS)
def test_nothing_where_nothing_is(attacker: Attacker, pieces: Tensor) -> None:
    assert abs(area(attacker, lambda x: x, pieces) - 0.5) < 0.12


def test_only_the_spectrum_shows_random_patterns(pieces: Tensor) -> None:
    found = {attacker.__name__: area(attacker, random, pieces) for attacker in ATTACKERS}
    assert found["spectrum_discriminant"] > 0.95
    assert abs(found["mean_residual"] - 0.5) < 0.12
