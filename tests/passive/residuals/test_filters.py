"""Low-pass residuals against SciPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage, signal
from skimage.restoration import denoise_nl_means

from artfp.core.errors import UserError
from artfp.passive.residuals import load_extractor


@pytest.mark.parametrize(("sigma", "shape"), [(0.5, (9, 12)), (1.0, (5, 40)), (2.5, (33, 7))])
def test_gaussian_is_scipys(sigma: float, shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    x = rng.random((2, 3, *shape))
    low = ndimage.gaussian_filter(x, sigma, axes=(2, 3), radius=round(4 * sigma))
    found = load_extractor(f"gaussian:sigma={sigma}")(torch.from_numpy(x))
    np.testing.assert_allclose(found.numpy(), x - low, atol=2e-6)


@pytest.mark.parametrize(("side", "shape"), [(3, (20, 31)), (5, (33, 16)), (7, (5, 4))])
@pytest.mark.parametrize("sigma", [0.0, 0.1, 5.0])
def test_wiener_is_scipys_of_the_mirrored_image(
    side: int, shape: tuple[int, int], sigma: float
) -> None:
    rng = np.random.default_rng(1)
    x = ndimage.gaussian_filter(rng.random((2, 3, *shape)), 1.0, axes=(2, 3))
    x[..., :4] += 0.02 * rng.random((2, 3, shape[0], 4))
    found = load_extractor(f"wiener:side={side},sigma={sigma}")(torch.from_numpy(x)).numpy()
    reach = side // 2
    inside = (slice(reach, -reach), slice(reach, -reach))
    for at in np.ndindex(2, 3):
        plane = np.float64(np.float32(x[at]))
        wide = np.pad(plane, side, mode="symmetric")
        mean = ndimage.uniform_filter(plane, side)
        spread = ndimage.uniform_filter((plane - mean[0, 0]) ** 2, side) - (mean - mean[0, 0]) ** 2
        noise = (sigma / 255) ** 2 if sigma else spread.mean()
        low = signal.wiener(wide, side, noise)[side:-side, side:-side]
        np.testing.assert_allclose(found[at], plane - low, atol=1e-7)
        if sigma:
            plain = plane - signal.wiener(plane, side, noise)
            np.testing.assert_allclose(found[at][inside], plain[inside], atol=1e-7)


@pytest.mark.parametrize(
    ("side", "shape"), [(3, (12, 17)), (5, (40, 9)), (7, (6, 4)), (9, (11, 11))]
)
def test_median_is_scipys(side: int, shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(2)
    x = rng.integers(0, 40, (2, 3, *shape)) / 255
    low = ndimage.median_filter(x, side, axes=(2, 3))
    found = load_extractor(f"median:side={side}")(torch.from_numpy(x))
    np.testing.assert_allclose(found.numpy(), x - low, atol=1e-7)


@pytest.mark.parametrize("text", ["median", "wiener", "wiener:sigma=0"])
def test_many_images_are_filtered_as_each_alone(text: str) -> None:
    torch.manual_seed(0)
    x = torch.rand(3, 3, 500, 600)
    extractor = load_extractor(text)
    each = torch.cat([extractor(plane) for plane in x.view(9, 1, 1, 500, 600)]).view_as(x)
    assert torch.equal(extractor(x), each)


def test_is_scikit_images_plane_by_plane() -> None:
    x = np.random.default_rng(0).random((2, 3, 24, 31))
    found = load_extractor("nonlocal_means:sigma=20,strength=0.5,patch=3,distance=4")
    residual = found(torch.from_numpy(x)).numpy()
    for at in np.ndindex(2, 3):
        level = 20 / 255
        low = denoise_nl_means(x[at], 3, 4, 0.5 * level, sigma=level, fast_mode=True)
        np.testing.assert_allclose(residual[at], x[at] - low, atol=1e-6)


def test_takes_noise_off_a_texture_that_comes_again() -> None:
    rng = np.random.default_rng(1)
    texture = np.tile(rng.random((1, 1, 6, 6)), (1, 1, 8, 8))
    noise = 5 / 255 * rng.standard_normal(texture.shape)
    residual = load_extractor("nonlocal_means")(torch.from_numpy(texture + noise)).numpy()
    inside = (..., slice(6, -6), slice(6, -6))
    assert np.corrcoef(residual[inside].ravel(), noise[inside].ravel())[0, 1] > 0.8


@pytest.mark.parametrize("setting", ["sigma=0", "strength=-1", "patch=0", "distance=0"])
def test_numbers_out_of_range_are_refused(setting: str) -> None:
    with pytest.raises(UserError, match=setting.split("=")[0]):
        load_extractor(f"nonlocal_means:{setting}")
