"""PSNR and SSIM against NumPy and scikit-image."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Tensor

from artfp.metrics.fidelity import psnr, psnr_8bit, psnr_of_error, ssim


@pytest.fixture(scope="module")
def pair(photo_crops: Callable[..., Tensor]) -> tuple[Tensor, Tensor]:
    """Photographs, and the same with noise that grows from image to image."""
    x = photo_crops(4, 96, seed=5) / 255.0
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    deviation = torch.tensor([0.002, 0.01, 0.05, 0.2]).view(4, 1, 1, 1)
    return x, (x + noise * deviation).clamp(0, 1)


def test_psnr(pair: tuple[Tensor, Tensor]) -> None:
    x, y = pair
    got = psnr(x, y)
    assert got.shape == (4,)
    for value, a, b in zip(got.tolist(), x.double().numpy(), y.double().numpy(), strict=True):
        assert value == pytest.approx(10 * math.log10(1 / ((a - b) ** 2).mean()), abs=1e-3)
        assert value == pytest.approx(peak_signal_noise_ratio(a, b, data_range=1.0), abs=1e-3)


def test_psnr_of_a_known_error_and_of_equal_images() -> None:
    x = torch.full((2, 3, 8, 8), 0.5)
    y = x.clone()
    y[1] += 0.01
    torch.testing.assert_close(psnr(x, y), torch.tensor([99.0, 40.0]), rtol=0, atol=1e-3)


def reference_ssim(a: np.ndarray, b: np.ndarray) -> float:
    """Wang et al. 2004 on one channel in float64, borders mirrored about the edge pixel."""

    def mean(values: np.ndarray) -> np.ndarray:
        return np.asarray(gaussian_filter(values, 1.5, mode="mirror", truncate=3.5))

    c1, c2 = 0.01**2, 0.03**2
    ma, mb = mean(a), mean(b)
    va, vb, cov = mean(a * a) - ma**2, mean(b * b) - mb**2, mean(a * b) - ma * mb
    top = (2 * ma * mb + c1) * (2 * cov + c2)
    return float((top / ((ma**2 + mb**2 + c1) * (va + vb + c2))).mean())


def test_ssim(pair: tuple[Tensor, Tensor]) -> None:
    """Within 1e-4 of the formula; within 0.02 of scikit-image, which leaves out the border."""
    x, y = pair
    got = ssim(x, y)
    assert got.shape == (4,)
    assert (got[:-1] > got[1:]).all()
    for value, a, b in zip(got.tolist(), x.double().numpy(), y.double().numpy(), strict=True):
        formula = np.mean([reference_ssim(a[c], b[c]) for c in range(3)])
        assert value == pytest.approx(float(formula), abs=1e-4)
        skimage = structural_similarity(
            a, b, channel_axis=0, gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
            data_range=1.0,
        )  # fmt: skip
        assert value == pytest.approx(float(skimage), abs=0.02)


def test_ssim_of_equal_images(pair: tuple[Tensor, Tensor]) -> None:
    torch.testing.assert_close(ssim(pair[0], pair[0]), torch.ones(4))


def test_psnr_of_8_bit_images(pair: tuple[Tensor, Tensor]) -> None:
    a, b = (np.round(255 * x.permute(0, 2, 3, 1).numpy()).astype(np.uint8) for x in pair)
    for one, other in zip(a, b, strict=True):
        assert psnr_8bit(one, other) == pytest.approx(peak_signal_noise_ratio(one, other), abs=1e-9)
    assert psnr_8bit(a[0], a[0]) == psnr_of_error(0.0) == pytest.approx(99.0)


def test_ssim_of_bands_is_that_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(2, 3, 60, 40, generator=generator)
    y = (x + 0.2 * torch.rand(2, 3, 60, 40, generator=generator)).clamp(0, 1)
    whole = ssim(x, y)
    for rows in (1, 7, 25, 50):
        monkeypatch.setattr("artfp.metrics.fidelity._SSIM_PIXELS", 40 * rows)
        torch.testing.assert_close(ssim(x, y), whole, atol=1e-6, rtol=0)
