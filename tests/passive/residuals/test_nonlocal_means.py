"""The non-local means' residual: scikit-image's, in grey levels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage.restoration import denoise_nl_means

from artfp.core.errors import UserError
from artfp.passive.residuals import load_extractor


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
