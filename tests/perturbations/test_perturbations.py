"""Each perturbation: its training form against the true one and against a formula."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter1d
from torch import Tensor

from artfp.data.pixels import to_unit
from artfp.perturbations import (
    Blur,
    Brightness,
    Contrast,
    Jpeg,
    Mirror,
    Noise,
    Perturbation,
    ResizeBack,
)

ALL = [Blur, Brightness, Contrast, Jpeg, Mirror, Noise, ResizeBack]


@pytest.fixture(scope="module")
def pixels(photo_crops: Callable[..., Tensor]) -> Tensor:
    return photo_crops(4, 64, seed=9)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("reach", [1.0, 0.4])
@pytest.mark.parametrize("kind", ALL)
def test_draws_lie_in_the_range_and_replay(kind: type[Perturbation], reach: float) -> None:
    perturbation = kind()
    drawn = perturbation.draw(2000, generator(1), reach)
    mild = perturbation.mildest
    end = mild + reach * (perturbation.harshest - mild)
    low, high = sorted((2 * mild - end if perturbation.both_ways else mild, end))
    assert drawn.shape == (2000,)
    assert low - 1e-5 <= drawn.min() and drawn.max() <= high + 1e-5
    assert drawn.max() - drawn.min() >= 0.98 * (high - low)
    assert abs(float(drawn.mean()) - (low + high) / 2) <= 0.05 * (high - low) + 1e-6
    assert torch.equal(drawn, perturbation.draw(2000, generator(1), reach))


@pytest.mark.parametrize("kind", ALL)
def test_same_strength_and_generator_same_result(kind: type[Perturbation], pixels: Tensor) -> None:
    perturbation, x = kind(), to_unit(pixels)
    strength = perturbation.draw(len(x), generator(3))
    kept = x.clone()
    one = perturbation.soft(x, strength, generator(4))
    assert torch.equal(x, kept)
    assert torch.equal(one, perturbation.soft(x, strength, generator(4)))
    assert one.shape == x.shape and one.dtype == x.dtype
    assert one.min() >= -1e-6 and one.max() <= 1 + 1e-6
    assert not torch.equal(one, x)
    harsh = perturbation.harshest
    assert torch.equal(
        perturbation.true(pixels, harsh, generator(4)),
        perturbation.true(pixels, harsh, generator(4)),
    )


@pytest.mark.parametrize("kind", ALL)
def test_gradients_reach_every_image(kind: type[Perturbation], pixels: Tensor) -> None:
    x = to_unit(pixels).mul(0.8).add(0.1).requires_grad_()
    perturbation = kind()
    out = perturbation.soft(x, perturbation.draw(len(x), generator(3)), generator(4))
    (out * torch.randn(out.shape, generator=generator(5))).sum().backward()
    assert x.grad is not None and torch.isfinite(x.grad).all()
    assert (x.grad.abs().mean(dim=(1, 2, 3)) > 0.1).all()


@pytest.mark.parametrize("kind", [k for k in ALL if k is not Jpeg])
def test_true_form_is_the_soft_form_in_8_bits(kind: type[Perturbation], pixels: Tensor) -> None:
    perturbation = kind()
    for strength in (perturbation.mildest, perturbation.harshest):
        true = perturbation.true(pixels, strength, generator(6))
        soft = perturbation.soft(to_unit(pixels), torch.full((4,), strength), generator(6))
        assert true.dtype == torch.uint8
        assert (to_unit(true) - soft).abs().max() <= 0.5001 / 255


def test_mirror(pixels: Tensor) -> None:
    expected = np.ascontiguousarray(pixels.numpy()[:, :, :, ::-1])
    assert np.array_equal(Mirror().true(pixels, 1.0, generator()).numpy(), expected)


def test_noise_has_the_stated_deviation() -> None:
    strength = torch.tensor([0.0, 0.01, 0.04])
    grey = torch.full((3, 3, 128, 128), 0.5)
    noise = Noise().soft(grey, strength, generator(2)) - grey
    for values, deviation in zip(noise, strength, strict=True):
        standard_error = float(deviation) / (2 * values.numel()) ** 0.5
        assert abs(float(values.std()) - float(deviation)) <= 4 * standard_error + 1e-9
        assert abs(float(values.mean())) <= 4 * float(deviation) / values.numel() ** 0.5
    other = Noise().soft(grey, strength, generator(3)) - grey
    assert abs(float((noise[2] * other[2]).mean())) < 1e-4  # other generator, other noise


@pytest.mark.parametrize("sigma", [0.3, 0.7, 1.0])
def test_blur_against_scipy(sigma: float, pixels: Tensor) -> None:
    """Each image by its own deviation, all cut at three deviations of the widest."""
    x = to_unit(pixels[:2])
    strength = torch.tensor([sigma, 1.0])
    got = Blur().soft(x, strength, generator())
    for image, original, deviation in zip(got, x, strength, strict=True):
        expected = original.double().numpy()
        for axis in (1, 2):
            expected = gaussian_filter1d(expected, float(deviation), axis, mode="mirror", radius=3)
        np.testing.assert_allclose(image.numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("kind", [Brightness, Contrast])
def test_photometric_formulas(kind: type[Perturbation], pixels: Tensor) -> None:
    strength = torch.tensor([0.7, 0.9, 1.1, 1.3])
    got = kind().soft(to_unit(pixels), strength, generator())
    for image, values, factor in zip(got, pixels.double().numpy() / 255, strength, strict=True):
        centre = 0.0 if kind is Brightness else values.mean()
        expected = np.clip(centre + float(factor) * (values - centre), 0, 1)
        np.testing.assert_allclose(image.numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("share", [0.95, 0.75, 0.5])
def test_resize_keeps_what_is_smooth_and_drops_what_is_fine(share: float) -> None:
    place = torch.arange(64, dtype=torch.float32)
    waves = {period: 0.5 + 0.25 * torch.cos(2 * torch.pi * place / period) for period in (32, 2)}
    kept = {}
    for period, wave in waves.items():
        x = wave.expand(1, 3, 64, 64)
        out = ResizeBack().soft(x, torch.tensor([share]), generator())
        middle = out[0, 0, 32, 8:-8] - 0.5
        kept[period] = float((middle.square().mean() / (wave[8:-8] - 0.5).square().mean()).sqrt())
    assert kept[32] > 0.95
    assert kept[2] < {0.95: 0.75, 0.75: 0.35, 0.5: 0.1}[share]
    grey = torch.full((1, 3, 50, 33), 0.3)
    out = ResizeBack().soft(grey, torch.tensor([share]), generator())
    torch.testing.assert_close(out, grey)
