"""The wavelet residual against PyWavelets and SciPy in float64."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import pywt
import torch
from numpy.typing import NDArray
from scipy import ndimage

from artfp.passive.residuals import load_extractor


def by_pywavelets(x: NDArray[np.float64], sigma: float, levels: int) -> NDArray[np.float64]:
    """The published formula, plane for plane, in grey levels."""
    variance = sigma**2

    def noise(detail: NDArray[np.float64]) -> NDArray[np.float64]:
        means = [ndimage.uniform_filter(detail**2, side, mode="constant") for side in (3, 5, 7, 9)]
        signal = np.maximum(np.min(means, axis=0) - variance, 0.0)
        return np.asarray(detail * variance / (signal + variance))

    found = np.empty_like(x)
    for at in np.ndindex(x.shape[:2]):
        approximation, *details = pywt.wavedec2(255 * x[at], "db4", "symmetric", levels)
        kept = [tuple(noise(detail) for detail in bands) for bands in details]
        whole = pywt.waverec2([np.zeros_like(approximation), *kept], "db4", "symmetric")
        found[at] = whole[: x.shape[2], : x.shape[3]]
    return found


def textured(shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Images with flat, smooth and rough places, in [0, 1]."""
    rng = np.random.default_rng(3)
    smooth = ndimage.gaussian_filter(rng.random(shape), (0, 0, 4, 4), mode="wrap")
    smooth = (smooth - smooth.min()) / (smooth.max() - smooth.min())
    return np.asarray(np.clip(smooth + 0.3 * (smooth > 0.6) * rng.standard_normal(shape), 0, 1))


@pytest.mark.filterwarnings("ignore:Level value")
@pytest.mark.parametrize("sigma", [5.0, 0.2])
@pytest.mark.parametrize(
    ("shape", "levels"),
    [
        ((2, 3, 32, 32), 2),
        ((1, 3, 96, 128), 3),
        ((1, 3, 112, 113), 4),
        ((2, 1, 131, 250), 4),
        ((3, 2, 7, 22), 1),
        ((1, 1, 3, 1), 1),
        ((1, 3, 512, 512), 4),
    ],
)
def test_is_the_published_formula(
    shape: tuple[int, int, int, int], levels: int, sigma: float
) -> None:
    x = textured(shape)
    found = load_extractor(f"wavelet:sigma={sigma}")(torch.from_numpy(x))
    np.testing.assert_allclose(255 * found.numpy(), by_pywavelets(x, sigma, levels), atol=1e-4)
    exact = load_extractor(f"wavelet:sigma={sigma},levels=1")(torch.from_numpy(x))
    np.testing.assert_allclose(255 * exact.numpy(), by_pywavelets(x, sigma, 1), atol=1e-4)


def test_a_batch_is_its_images_whatever_lies_beside_them() -> None:
    torch.manual_seed(0)
    x = torch.rand(40, 3, 70, 61)
    x[1::2] = (x[1::2] > 0.5).float()
    extractor = load_extractor("wavelet")
    each = torch.cat([extractor(image[None]) for image in x])
    torch.testing.assert_close(extractor(x), each, atol=1e-7, rtol=0)
    layout = x.to(memory_format=torch.channels_last)
    torch.testing.assert_close(extractor(layout), each, atol=1e-7, rtol=0)


def test_a_flat_image_has_none_and_no_images_give_none() -> None:
    extractor = load_extractor("wavelet:sigma=0.05")
    assert extractor(torch.full((1, 3, 40, 48), 0.7)).abs().max() < 1e-5 / 255
    assert extractor(torch.zeros(0, 3, 16, 16)).shape == (0, 3, 16, 16)


def test_what_came_before_does_not_matter() -> None:
    torch.manual_seed(1)
    extractor = load_extractor("wavelet")
    sizes = [(3, 64, 40), (1, 64, 40), (3, 40, 64), (40, 300, 300), (3, 64, 40)]
    images = [torch.rand(1, *size) for size in sizes]
    alone = [load_extractor("wavelet")(x) for x in images]
    with torch.inference_mode():
        extractor(images[0])
    found = [extractor(x) for x in images]
    for one, other in zip(found, alone, strict=True):
        assert torch.equal(one, other)
    with ThreadPoolExecutor(4) as pool:
        for one, other in zip(pool.map(extractor, images * 3), alone * 3, strict=True):
            assert torch.equal(one, other)


@pytest.mark.gpu
def test_gpu_finds_what_the_cpu_finds() -> None:
    x = torch.from_numpy(textured((4, 3, 90, 203))).float()
    extractor = load_extractor("wavelet")
    found = extractor(x.cuda())
    assert found.is_cuda
    torch.testing.assert_close(255 * found.cpu(), 255 * extractor(x), atol=1e-4, rtol=0)
