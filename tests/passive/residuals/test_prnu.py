"""Extras of camera forensics against formulas by hand in float64."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from artfp.core.errors import UserError
from artfp.passive.residuals import prnu
from artfp.passive.residuals.prnu import (
    clean_residuals,
    compare_residuals,
    reference_patterns,
)
from artfp.passive.residuals.residual_fingerprint import ResidualFingerprint, correlation
from artfp.passive.residuals.settings import PrnuSettings

Array = NDArray[np.float64]


def _noise(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(size=shape)


def _tensor(x: Array) -> torch.Tensor:
    return torch.from_numpy(x).float()


def test_grey_is_the_luma() -> None:
    x = _noise(2, 3, 5, 6)
    expected = 0.299 * x[:, 0] + 0.587 * x[:, 1] + 0.114 * x[:, 2]
    np.testing.assert_allclose(prnu.grey(_tensor(x))[:, 0].numpy(), expected, atol=1e-6)
    with pytest.raises(UserError, match="expected"):
        prnu.grey(_tensor(x)[:, :1])


@pytest.mark.parametrize("shape", [(2, 3, 12, 10), (1, 1, 7, 9), (1, 2, 1, 4)])
def test_zero_mean_takes_rows_and_columns_off_each_sub_lattice(shape: tuple[int, ...]) -> None:
    x = _noise(*shape) + 3.0
    expected = x.copy()
    for n in range(shape[0]):
        for c in range(shape[1]):
            for i, j in ((0, 0), (0, 1), (1, 0), (1, 1)):
                part = expected[n, c, i::2, j::2]
                if part.size:
                    part -= part.mean()
                    part -= np.outer(part.mean(1), np.ones(part.shape[1]))
                    part -= np.outer(np.ones(part.shape[0]), part.mean(0))
    found = prnu.zero_mean(_tensor(x))
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-5)


def _wiener_by_hand(plane: Array, sigma: float) -> Array:
    height, width = plane.shape
    spectrum = np.fft.fft2(plane)
    power = np.abs(spectrum) ** 2 / (height * width)
    excess = [
        np.maximum(0.0, ndimage.uniform_filter(power, side, mode="wrap") - sigma**2)
        for side in (3, 5, 7, 9)
    ]
    return np.fft.ifft2(spectrum * sigma**2 / (sigma**2 + np.min(excess, 0))).real


@pytest.mark.parametrize("sigma", [None, 0.3])
@pytest.mark.parametrize("size", [(32, 32), (21, 40)])
def test_wiener_is_the_formula(sigma: float | None, size: tuple[int, int]) -> None:
    x = _noise(2, 2, *size)
    x[0, 1] += 2.0 * np.cos(np.arange(size[1]) * np.pi / 2)
    found = prnu.wiener_dft(_tensor(x), sigma).numpy()
    for n in range(2):
        for c in range(2):
            own = x[n, c].std() if sigma is None else sigma
            np.testing.assert_allclose(found[n, c], _wiener_by_hand(x[n, c], own), atol=1e-5)


def test_wiener_takes_a_sine_away_and_leaves_noise() -> None:
    noise = _noise(1, 1, 64, 64)
    sine = 3.0 * np.cos(np.arange(64) * 2 * np.pi * 9 / 64)
    found = prnu.wiener_dft(_tensor(noise + sine), 1.0).double().numpy()

    def amount(x: Array) -> float:
        return float(np.vdot(x, np.broadcast_to(sine, x.shape)) / np.vdot(sine, sine) / 64)

    assert abs(amount(found)) < 0.15 * amount(noise + sine)
    assert np.corrcoef(found.ravel(), noise.ravel())[0, 1] > 0.9
    assert not prnu.wiener_dft(torch.zeros(1, 1, 16, 16)).any()


def test_maximum_likelihood_is_the_formula_and_finds_k() -> None:
    rng = np.random.default_rng(0)
    k = rng.normal(size=(3, 16, 16)) * 0.02
    images = rng.uniform(0.0, 1.0, (400, 3, 16, 16))
    images[:, :, 0, 0] = 0.0
    residuals = images * k + rng.normal(size=images.shape) * 0.3
    fingerprint = ResidualFingerprint.empty((3, 16, 16), "gaussian", "a", weighted=True)
    fingerprint.add(_tensor(residuals), _tensor(images))
    found = prnu.maximum_likelihood(fingerprint)
    square = (images**2).sum(0)
    expected = (residuals * images).sum(0) / np.where(square > 0, square, 1.0)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-6)
    assert not found[:, 0, 0].any()
    truth = _tensor(k)[None]
    # From the errors' variances s^2 / (N E[I]^2) and s^2 / (N E[I^2]).
    for estimate, gain in ((fingerprint.mean, 1 / 4), (found, 1 / 3)):
        theory = (1.0 + 0.3**2 / (400 * 0.02**2 * gain)) ** -0.5
        assert float(correlation(estimate[None], truth)) == pytest.approx(theory, abs=0.025)
    with pytest.raises(UserError, match="weighted=True"):
        prnu.maximum_likelihood(ResidualFingerprint.empty((3, 16, 16), "gaussian", "a"))


def _pce_by_hand(a: Array, b: Array, reach: int | None) -> tuple[float, float, tuple[int, int]]:
    height, width = a.shape[-2:]
    a, b = a - a.mean(), b - b.mean()
    a, b = a / np.linalg.norm(a), b / np.linalg.norm(b)
    surface = np.array(
        [[np.vdot(a, np.roll(b, (dy, dx), (1, 2))) for dx in range(width)] for dy in range(height)]
    )
    best = (0, 0)
    for dy in range(height):
        for dx in range(width):
            far = max(min(dy, height - dy), min(dx, width - dx))
            if (reach is None or far <= reach) and surface[dy, dx] > surface[best]:
                best = (dy, dx)
    rest = [
        surface[y, x] ** 2
        for y in range(height)
        for x in range(width)
        if min(abs(y - best[0]), height - abs(y - best[0])) > 5
        or min(abs(x - best[1]), width - abs(x - best[1])) > 5
    ]
    peak = surface[best]
    shift = (
        best[0] - height if best[0] > height // 2 else best[0],
        best[1] - width if best[1] > width // 2 else best[1],
    )
    return float(np.sign(peak) * peak**2 / np.mean(rest)), float(peak), shift


@pytest.mark.parametrize("reach", [None, 0, 2])
def test_pce_is_the_formula(reach: int | None) -> None:
    a, b = _noise(3, 2, 20, 17), _noise(2, 2, 20, 17, seed=1)
    a[0] += np.roll(b[1], (3, -4), (1, 2))
    a[1] -= b[0]
    found = prnu.pce(_tensor(a), _tensor(b), reach)
    for n in range(3):
        for k in range(2):
            ratio, peak, shift = _pce_by_hand(a[n], b[k], reach)
            assert float(found.pce[n, k]) == pytest.approx(ratio, rel=1e-3)
            assert float(found.correlation[n, k]) == pytest.approx(peak, abs=1e-5)
            assert tuple(found.shift[n, k].tolist()) == shift
    if reach is None:
        assert found.shift[0, 1].tolist() == [3, -4] and found.pce[0, 1] > 50
    if reach == 0:
        assert found.pce[1, 0] < -20  # what correlates negatively has a negative one


def test_pce_finds_where_a_crop_comes_from() -> None:
    whole = _tensor(_noise(1, 3, 48, 40))
    found = prnu.pce(whole[:, :, 9:33, 6:36], whole)
    assert found.shift[0, 0].tolist() == [-9, -6] and found.pce[0, 0] > 100
    back = prnu.pce(whole, whole[:, :, 9:33, 6:36])
    assert back.shift[0, 0].tolist() == [9, 6]


def test_pce_of_what_does_not_fit() -> None:
    with pytest.raises(UserError, match="expected"):
        prnu.pce(torch.rand(1, 3, 16, 16), torch.rand(1, 1, 16, 16))
    with pytest.raises(UserError, match="larger than 11"):
        prnu.pce(torch.rand(1, 3, 11, 9), torch.rand(1, 3, 8, 8))
    empty = prnu.pce(torch.rand(0, 3, 16, 16), torch.rand(2, 3, 16, 16))
    assert empty.pce.shape == (0, 2) and empty.shift.shape == (0, 2, 2)


SHAPE = (3, 16, 18)


def _print(seed: int, extractor: str = "gaussian", weighted: bool = True) -> ResidualFingerprint:
    draw = torch.Generator().manual_seed(seed)
    found = ResidualFingerprint.empty(SHAPE, extractor, f"source {seed}", weighted)
    found.add(torch.randn(5, *SHAPE, generator=draw), torch.rand(5, *SHAPE, generator=draw))
    return found


@pytest.fixture
def prints() -> list[ResidualFingerprint]:
    return [_print(seed) for seed in range(3)]


@pytest.fixture
def residuals() -> Tensor:
    return torch.randn(4, *SHAPE, generator=torch.Generator().manual_seed(7))


def _scores(residuals: Tensor, prints: list[ResidualFingerprint], settings: PrnuSettings) -> Tensor:
    references = reference_patterns(prints, settings)
    return compare_residuals(clean_residuals(residuals, settings), references, settings)


def test_by_default_it_is_plain_correlation(
    prints: list[ResidualFingerprint], residuals: Tensor
) -> None:
    means = torch.stack([each.mean for each in prints])
    plain = PrnuSettings()
    assert torch.equal(reference_patterns(prints, plain), means)
    found = _scores(residuals, prints, plain)
    assert torch.equal(found, correlation(residuals, means))


def _peaks(reach: int | None) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda a, b: prnu.pce(a, b, reach).pce


@pytest.mark.parametrize(
    ("settings", "clean", "compare"),
    [
        (PrnuSettings(grey=True), prnu.grey, correlation),
        (PrnuSettings(zero_mean=True), prnu.zero_mean, correlation),
        (PrnuSettings(wiener=True), prnu.wiener_dft, correlation),
        (
            PrnuSettings(grey=True, zero_mean=True, wiener=True),
            lambda x: prnu.wiener_dft(prnu.zero_mean(prnu.grey(x))),
            correlation,
        ),
        (PrnuSettings(pce=True, max_shift=0), lambda x: x, _peaks(0)),
        (PrnuSettings(pce=True), lambda x: x, _peaks(None)),
        (
            PrnuSettings(subtract_grand_mean=True),
            lambda x: x,
            lambda a, b: correlation(a, b - b.mean(0)),
        ),
    ],
)
def test_each_extra_is_its_function(
    prints: list[ResidualFingerprint],
    residuals: Tensor,
    settings: PrnuSettings,
    clean: Callable[[Tensor], Tensor],
    compare: Callable[[Tensor, Tensor], Tensor],
) -> None:
    means = torch.stack([each.mean for each in prints])
    found = _scores(residuals, prints, settings)
    torch.testing.assert_close(found, compare(clean(residuals), clean(means)))
    plain = PrnuSettings()
    assert not torch.allclose(found, _scores(residuals, prints, plain))


def test_maximum_likelihood(prints: list[ResidualFingerprint]) -> None:
    found = reference_patterns(prints, PrnuSettings(maximum_likelihood=True))
    assert torch.equal(found, torch.stack([prnu.maximum_likelihood(each) for each in prints]))


def test_fingerprints_that_cannot_be_compared(prints: list[ResidualFingerprint]) -> None:
    with pytest.raises(UserError, match="one extractor expected, found gaussian, wavelet"):
        reference_patterns([*prints, _print(3, "wavelet")], PrnuSettings())
    with pytest.raises(UserError, match="one shape expected, found none"):
        reference_patterns([], PrnuSettings())
    with pytest.raises(UserError, match="weighted=True"):
        reference_patterns([_print(1, weighted=False)], PrnuSettings(maximum_likelihood=True))
