"""Autocorrelation of fingerprints against SciPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.signal import correlate2d

from artfp.passive_studies.marra2019.energy import (
    Peak,
    autocorrelation,
    crop_shifts,
    strongest_peak,
)


def test_like_scipy_on_random_fingerprints() -> None:
    x = np.random.default_rng(0).normal(0.3, 1.0, (2, 3, 9, 12))
    found = autocorrelation(torch.from_numpy(x)).numpy()
    for surface, each in zip(found, x, strict=True):
        centred = each - each.mean()
        expected = sum(correlate2d(plane, plane) for plane in centred) / np.square(centred).sum()
        np.testing.assert_allclose(surface, expected, atol=1e-12)
        assert surface.shape == (17, 23) and surface[8, 11] == pytest.approx(1.0)


def test_a_constant_fingerprint_has_none() -> None:
    assert not autocorrelation(torch.full((1, 3, 6, 6), 0.25)).any()


def test_the_period_of_a_planted_grid_is_the_strongest() -> None:
    rng = np.random.default_rng(1)
    cell = rng.standard_normal((3, 8, 4))
    grid = np.tile(cell, (1, 4, 8)) + 0.1 * rng.standard_normal((3, 32, 32))
    surface = autocorrelation(torch.from_numpy(grid[None]))[0].numpy()
    peak = strongest_peak(surface, min_shift=2, max_shift=8)
    assert (peak.down, abs(peak.right)) == (0, 4) and peak.value > 0.8
    assert peak.value == surface[31, 31 + peak.right]


def test_middle_and_range() -> None:
    surface = np.zeros((9, 9))
    surface[4, 4], surface[3, 5], surface[6, 3], surface[2, 5] = 1.0, 0.9, -0.5, 0.5
    assert crop_shifts(surface, 2).shape == (5, 5) and crop_shifts(surface, 2)[2, 2] == 1.0
    assert crop_shifts(surface, 20).shape == (9, 9)
    assert strongest_peak(surface, min_shift=2, max_shift=4) == Peak(-0.5, 2, -1)
    with pytest.raises(ValueError, match="shifts from 5 to 9"):
        strongest_peak(surface, min_shift=5, max_shift=9)
