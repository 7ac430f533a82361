"""WebP: the real codec both ways; only the gradient is made up."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from artfp.data.pixels import to_unit
from artfp.perturbations import Webp

UNUSED = torch.Generator()


def pillow(pixels: Tensor, quality: int) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(file, "WEBP", quality=quality)
    return np.asarray(Image.open(file).convert("RGB"))


@pytest.mark.parametrize("quality", [90, 50, 10])
@pytest.mark.parametrize("size", [(64, 64), (33, 50)])
def test_both_forms_are_pillow(quality: int, size: tuple[int, int], pixels: Tensor) -> None:
    pixels = pixels[..., : size[0], : size[1]].contiguous()
    real = Webp().real(pixels, float(quality), UNUSED)
    for image, original in zip(real, pixels, strict=True):
        np.testing.assert_array_equal(image.permute(1, 2, 0).numpy(), pillow(original, quality))
    soft = Webp().differentiable(to_unit(pixels), torch.full((4,), float(quality)), UNUSED)
    torch.testing.assert_close(soft, to_unit(real), rtol=0, atol=1e-6)


def test_qualities_differ_within_a_batch(pixels: Tensor, x: Tensor) -> None:
    soft = Webp().differentiable(x, torch.tensor([90.0, 10.0, 50.4, 30.0]), UNUSED)
    for image, original, quality in zip(soft, pixels, (90, 10, 50, 30), strict=True):
        expected = pillow(original, quality) / np.float32(255)
        np.testing.assert_allclose(image.permute(1, 2, 0).numpy(), expected, atol=1e-6)


@pytest.mark.parametrize("size", [(16, 16), (15, 9)])
def test_gradient_is_that_of_halved_chroma(size: tuple[int, int]) -> None:
    """Gray changes pass as they are; a colour change of one pixel spreads over its neighbours."""
    x = torch.full((1, 3, *size), 0.5, requires_grad=True)
    out = Webp().differentiable(x, torch.tensor([50.0]), UNUSED)
    out[0, :, 4, 4].sum().backward(retain_graph=True)
    luma = torch.autograd.grad(out.sum(), x, retain_graph=True)[0]
    torch.testing.assert_close(luma, torch.ones_like(x), rtol=0, atol=1e-4)
    red = torch.autograd.grad(out[0, 0, 4, 4] - out[0, 1, 4, 4], x)[0]
    assert red[0, 0, 5, 5] > 0.05  # of the same 2 x 2 pixels
    assert red[0, :, 0].abs().max() < 1e-6  # far away


def test_slightly_out_of_range_is_no_error(x: Tensor) -> None:
    """Training adds the noise of rounding before any perturbation."""
    out = Webp().differentiable(x + 0.3, torch.full((4,), 75.0), UNUSED)
    assert torch.isfinite(out).all() and out.min() >= 0 and out.max() <= 1 + 1e-6
