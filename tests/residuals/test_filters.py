"""Low-pass residuals against SciPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from artfp.residuals import load_extractor


@pytest.mark.parametrize(("sigma", "shape"), [(0.5, (9, 12)), (1.0, (5, 40)), (2.5, (33, 7))])
def test_gaussian_is_scipys(sigma: float, shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    x = rng.random((2, 3, *shape))
    low = ndimage.gaussian_filter(x, sigma, axes=(2, 3), radius=round(4 * sigma))
    found = load_extractor(f"gaussian:sigma={sigma}")(torch.from_numpy(x))
    np.testing.assert_allclose(found.numpy(), x - low, atol=2e-6)
