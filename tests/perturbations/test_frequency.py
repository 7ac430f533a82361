"""Gaussians against SciPy's, and the two halves of an image."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter1d
from torch import Tensor

from artfp.perturbations import Blur, LowPass, Residual
from artfp.perturbations.frequency import gaussian

UNUSED = torch.Generator()


def scipy_gaussian(image: Tensor, sigma: float, radius: int, mode: str = "mirror") -> np.ndarray:
    out = image.double().numpy()
    for axis in (1, 2):
        out = gaussian_filter1d(out, sigma, axis, mode=mode, radius=radius)
    return out


@pytest.mark.parametrize("sigma", [0.3, 0.7, 1.0])
def test_blur_against_scipy(sigma: float, x: Tensor) -> None:
    """Each image by its own deviation, all cut at three deviations of the widest."""
    strength = torch.tensor([sigma, 1.0])
    got = Blur().differentiable(x[:2], strength, UNUSED)
    for image, original, deviation in zip(got, x, strength.tolist(), strict=False):
        expected = scipy_gaussian(original, deviation, radius=3)
        np.testing.assert_allclose(image.numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("factor", [1.0, 4.0, 8.0, 32.0])
def test_lowpass_against_scipy(factor: float, x: Tensor) -> None:
    got = LowPass().differentiable(x[:1], torch.tensor([factor]), UNUSED)
    radius = int(1.5 * factor + 0.5)
    expected = scipy_gaussian(x[0], factor / 2, radius)
    np.testing.assert_allclose(got[0].numpy(), expected, atol=1e-5)


def test_a_gaussian_wider_than_the_image_repeats_its_border(x: Tensor) -> None:
    small = x[:1, :, :20, :33]
    got = gaussian(small, torch.tensor([8.0]))
    expected = scipy_gaussian(small[0], 8.0, radius=24, mode="nearest")
    np.testing.assert_allclose(got[0].numpy(), expected, atol=1e-5)


def test_lowpass_leaves_0_29_at_the_new_nyquist_frequency() -> None:
    """exp(-(pi/2)^2 / 2) of a wave of 2 f pixels, as the docstring says."""
    place = torch.arange(128.0)
    for factor in (2, 4, 8):
        wave = 0.5 + 0.25 * torch.cos(torch.pi * place / factor)
        x = wave.expand(1, 3, 128, -1)
        got = (
            LowPass().differentiable(x, torch.tensor([float(factor)]), UNUSED)[0, 0, 64, 32:96]
            - 0.5
        )
        left = float(got.square().mean().sqrt() / (wave[32:96] - 0.5).square().mean().sqrt())
        assert left == pytest.approx(float(np.exp(-((np.pi / 2) ** 2) / 2)), abs=0.01)


@pytest.mark.parametrize("factor", [1.0, 2.0, 8.0, 32.0])
def test_lowpass_and_residual_are_the_whole(factor: float, x: Tensor) -> None:
    x = x.mul(0.45).add(0.25)  # so faint that nothing clips
    strength = torch.full((4,), factor)
    low, rest = (kind().differentiable(x, strength, UNUSED) for kind in (LowPass, Residual))
    assert rest.min() > 0.0 and rest.max() < 1.0
    torch.testing.assert_close(low + rest - 0.5, x, rtol=0, atol=1e-6)
    assert float((rest - 0.5).mean().abs()) < 0.02


def test_harsher_keeps_less(x: Tensor) -> None:
    """Of a residual its own energy; of a low-pass that of its details."""
    energies = []
    for factor in Residual.levels:
        rest = Residual().differentiable(x, torch.full((4,), factor), UNUSED) - 0.5
        energies.append(float(rest.square().mean()))
    assert energies == sorted(energies, reverse=True) and energies[-1] > 0
    details = []
    for factor in LowPass.levels:
        low = LowPass().differentiable(x, torch.full((4,), factor), UNUSED)
        details.append(float((low - x).square().mean()))
    assert details == sorted(details)
