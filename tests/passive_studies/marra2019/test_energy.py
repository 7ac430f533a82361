"""Energies of averaged residuals against NumPy and the closed form."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import optimize

from artfp.passive_studies.marra2019.energy import block_means, fit_energies, fit_energy_curve


def _residuals(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Noise of standard deviation 0.02 over a pattern of 0.005; (N, 3, 8, 8), and the pattern."""
    rng = np.random.default_rng(seed)
    pattern = rng.choice([-0.005, 0.005], (3, 8, 8))
    return pattern + 0.02 * rng.standard_normal((count, 3, 8, 8)), pattern


def test_blocks_are_means_of_consecutive_residuals() -> None:
    x, _ = _residuals(22)
    found = block_means(torch.from_numpy(x).split(5), keep=3)
    assert found.count == 22
    for size, blocks in ((1, 22), (2, 11), (4, 5), (8, 2), (16, 1), (22, 1)):
        means = x[: blocks * size].reshape(blocks, size, 3, 8, 8).mean(1)
        energies = np.square(means * 255.0).mean((1, 2, 3))
        np.testing.assert_allclose(found.energies[size], energies, rtol=1e-12)
        assert len(found.means[size]) == min(3, blocks)
        for kept, mean in zip(found.means[size], means, strict=False):
            np.testing.assert_allclose(kept.numpy(), mean, atol=1e-8)
    assert sorted(found.energies) == list(found.mean_energies()) == [1, 2, 4, 8, 16, 22]


def test_nothing_kept_and_nothing_seen() -> None:
    assert block_means([torch.zeros(2, 1, 4, 4)]).means[2] == []
    empty = block_means([])
    assert empty.count == 0 and empty.mean_energies() == {}


@pytest.mark.parametrize("relative", [True, False])
@pytest.mark.parametrize("shape", ["averaging", "halving"])
def test_fit_is_the_least_squares_one(shape: str, relative: bool) -> None:
    counts = [1, 2, 4, 8, 16, 32]
    measured = np.random.default_rng(1).uniform(0.5, 2.0, 6) / np.asarray(counts) + 0.1
    basis = [1.0 / n if shape == "averaging" else 2.0**-n for n in counts]

    def off(parameters: np.ndarray) -> np.ndarray:
        deviation = parameters[0] + parameters[1] * np.asarray(basis) - measured
        return np.asarray(deviation / measured if relative else deviation)

    expected = optimize.least_squares(off, [0.0, 1.0]).x
    found = fit_energies(counts, list(measured), shape, relative)
    assert (found.limit, found.excess) == pytest.approx(tuple(expected), abs=1e-6)
    rms = found.relative_rms if relative else found.rms
    assert rms == pytest.approx(np.sqrt(np.mean(off(expected) ** 2)), rel=1e-5)
    np.testing.assert_allclose(found.at(counts), expected[0] + expected[1] * np.asarray(basis))


@pytest.mark.parametrize(("shape", "other"), [("averaging", "halving"), ("halving", "averaging")])
def test_energies_of_a_shape_are_fitted_by_it(shape: str, other: str) -> None:
    counts = [2**k for k in range(8)]
    energies = list(fit_energies([1, 2], [10.0, 6.0], shape, False).at(counts))
    for relative in (True, False):
        exact, wrong = (fit_energies(counts, energies, each, relative) for each in (shape, other))
        assert exact.rms == pytest.approx(0.0, abs=1e-9) and exact.relative_rms < 1e-9
        assert wrong.rms > 0.05 and wrong.relative_rms > 0.05


def test_averaged_residuals_follow_one_over_n() -> None:
    x, pattern = _residuals(256)
    found = fit_energy_curve("planted", block_means(torch.from_numpy(x).split(64)))
    assert found.better() == found.better(relative=False) == "averaging"
    planted = float(np.square(pattern * 255.0).mean())
    assert found.fit("averaging").limit == pytest.approx(planted, rel=0.1)
    assert found.fit("averaging").excess == pytest.approx((0.02 * 255.0) ** 2, rel=0.05)
    assert found.fit("averaging").relative_rms < 0.05 < found.fit("halving").relative_rms
    rows = x.reshape(256, -1) * 255.0
    products = rows @ rows.T / rows.shape[1]
    different = products[~np.eye(256, dtype=bool)].mean()
    assert found.shared == pytest.approx(different, rel=1e-9)


def test_too_few_or_nothing_there() -> None:
    with pytest.raises(ValueError, match="energies of 3 images"):
        fit_energy_curve("few", block_means([torch.ones(3, 1, 2, 2)]))
    with pytest.raises(ValueError, match="over 0"):
        fit_energy_curve("black", block_means([torch.zeros(8, 1, 2, 2)]))
