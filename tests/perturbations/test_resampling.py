"""Resampling by matrices against Pillow."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from artfp.data.pixels import to_unit
from artfp.perturbations.resampling import FILTERS, resample, resampling_matrix


@pytest.mark.parametrize("size", [(15, 12), (21, 18), (45, 38), (60, 50), (90, 75), (1, 1)])
@pytest.mark.parametrize("kind", FILTERS)
def test_against_pillow(kind: Image.Resampling, size: tuple[int, int], pixels: Tensor) -> None:
    """Up to the rounding to 8 bits, which Pillow does after each of the two axes."""
    pixels = pixels[..., :60, :50].contiguous()
    got = resample(to_unit(pixels), size, kind)
    assert got.shape == (4, 3, *size) and got.min() >= 0.0 and got.max() <= 1.0
    for image, original in zip(got, pixels, strict=True):
        whole = Image.fromarray(original.permute(1, 2, 0).numpy())
        expected = np.asarray(whole.resize((size[1], size[0]), kind)).transpose(2, 0, 1)
        assert np.abs(image.numpy() * 255 - expected).max() <= 1.6


@pytest.mark.parametrize("kind", FILTERS)
@pytest.mark.parametrize(("before", "after"), [(64, 16), (64, 37), (16, 64), (7, 7), (1, 5)])
def test_weights_sum_to_one(kind: Image.Resampling, before: int, after: int) -> None:
    matrix = resampling_matrix(before, after, kind)
    assert matrix.shape == (after, before)
    torch.testing.assert_close(matrix.sum(dim=1), torch.ones(after))
    if before == after:
        torch.testing.assert_close(matrix, torch.eye(before), atol=1e-6, rtol=0)
