"""Values against Pillow, NumPy and formulas written by hand."""

from __future__ import annotations

import colorsys
from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance
from torch import Tensor

from artfp.perturbations import (
    Brightness,
    Contrast,
    Gamma,
    Hue,
    Noise,
    Perturbation,
    Quantise,
    Saturation,
)
from artfp.perturbations.photometric import gray

Seeded = Callable[..., torch.Generator]
UNUSED = torch.Generator()


def same(x: Tensor, value: float) -> Tensor:
    return torch.full((len(x),), value)


def test_noise_has_the_stated_deviation(seeded: Seeded) -> None:
    strength = torch.tensor([0.0, 0.01, 0.04])
    grey = torch.full((3, 3, 128, 128), 0.5)
    noise = Noise().differentiable(grey, strength, seeded(2)) - grey
    for values, deviation in zip(noise, strength, strict=True):
        standard_error = float(deviation) / (2 * values.numel()) ** 0.5
        assert abs(float(values.std()) - float(deviation)) <= 4 * standard_error + 1e-9
        assert abs(float(values.mean())) <= 4 * float(deviation) / values.numel() ** 0.5
    other = Noise().differentiable(grey, strength, seeded(3)) - grey
    assert abs(float((noise[2] * other[2]).mean())) < 1e-4  # other generator, other noise


@pytest.mark.parametrize("kind", [Brightness, Contrast])
def test_brightness_and_contrast(kind: type[Perturbation], x: Tensor) -> None:
    factors = torch.tensor([0.8, 1.2, 1.0, 2.0])
    got = kind().differentiable(x, factors, UNUSED)
    for image, original, factor in zip(got, x, factors, strict=True):
        values = original.double().numpy()
        centre = 0.0 if kind is Brightness else values.mean()
        expected = np.clip(centre + float(factor) * (values - centre), 0, 1)
        np.testing.assert_allclose(image.numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("factor", [0.0, 0.5, 1.0, 1.5, 2.0])
def test_saturation_against_pillow(factor: float, pixels: Tensor) -> None:
    """Pillow rounds its gray to 8 bits, which the factor carries into the result."""
    got = Saturation().real(pixels, factor, UNUSED).permute(0, 2, 3, 1).numpy().astype(int)
    for image, original in zip(got, pixels.permute(0, 2, 3, 1).numpy(), strict=True):
        enhanced = ImageEnhance.Color(Image.fromarray(original)).enhance(factor)
        difference = np.abs(image - np.asarray(enhanced).astype(int))
        assert difference.max() <= 1 + round(abs(1 - factor))


def test_gray_against_pillow(pixels: Tensor, x: Tensor) -> None:
    for image, original in zip(gray(x), pixels.permute(0, 2, 3, 1).numpy(), strict=True):
        expected = np.asarray(Image.fromarray(original).convert("L")).astype(float)
        assert np.abs(image[0].numpy() * 255 - expected).max() <= 1.0


@pytest.mark.parametrize("exponent", [0.5, 0.75, 1.0, 1.6, 2.0])
def test_gamma_against_numpy(exponent: float) -> None:
    """All 8-bit values; only under one grey level, where there is none, it is a straight line."""
    values = torch.arange(256.0).div(255.0).view(1, 1, 16, 16).expand(1, 3, -1, -1)
    got = Gamma().differentiable(values, same(values, exponent), UNUSED)
    np.testing.assert_allclose(got.numpy(), values.double().numpy() ** exponent, atol=1e-6)
    low = torch.tensor([0.0, 0.25, 0.5, 1.0]).div(255.0).view(1, 1, 2, 2)
    line = Gamma().differentiable(low, same(low, exponent), UNUSED)
    np.testing.assert_allclose(line, low * 255.0 ** (1.0 - exponent), rtol=1e-5)


def rotated_by_hand(x: np.ndarray, degrees: float) -> np.ndarray:
    """(H, W, 3) with Cb and Cr (ITU-R BT.601) turned counter-clockwise, unclamped, in float64."""
    kr, kg, kb = 0.299, 0.587, 0.114
    y = kr * x[..., 0] + kg * x[..., 1] + kb * x[..., 2]
    chroma = (x[..., 2] - y) / (2 - 2 * kb) + 1j * (x[..., 0] - y) / (2 - 2 * kr)
    chroma = chroma * np.exp(1j * np.deg2rad(degrees))
    r, b = y + (2 - 2 * kr) * chroma.imag, y + (2 - 2 * kb) * chroma.real
    return np.stack([r, (y - kr * r - kb * b) / kg, b], axis=-1)


@pytest.mark.parametrize("degrees", [-60.0, -10.0, 30.0, 120.0, 180.0])
def test_hue_against_a_formula(degrees: float, x: Tensor) -> None:
    got = Hue().differentiable(x, same(x, degrees), UNUSED)
    for image, original in zip(got, x.permute(0, 2, 3, 1).double().numpy(), strict=True):
        expected = np.clip(rotated_by_hand(original, degrees), 0, 1)
        np.testing.assert_allclose(image.permute(1, 2, 0).numpy(), expected, atol=1e-5)


def test_hue_turns_whole(x: Tensor) -> None:
    for degrees in (0.0, 360.0, -360.0):
        torch.testing.assert_close(
            Hue().differentiable(x, same(x, degrees), UNUSED), x, rtol=0, atol=1e-5
        )
    thrice = x.mul(0.2).add(0.4)  # so faint that nothing clips
    for _ in range(3):
        thrice = Hue().differentiable(thrice, same(x, 120.0), UNUSED)
    torch.testing.assert_close(thrice, x.mul(0.2).add(0.4), rtol=0, atol=1e-5)


def test_hue_keeps_luma_and_leaves_gray_alone(x: Tensor) -> None:
    faint = x.mul(0.2).add(0.4)
    for degrees in (20.0, 77.0, 180.0):
        turned = Hue().differentiable(faint, same(x, degrees), UNUSED)
        assert turned.min() > 0.01 and turned.max() < 0.99
        torch.testing.assert_close(gray(turned), gray(faint), rtol=0, atol=1e-5)
        assert (turned - faint).abs().max() > 0.01
        plain = gray(x).expand(-1, 3, -1, -1)
        torch.testing.assert_close(
            Hue().differentiable(plain, same(x, degrees), UNUSED), plain, rtol=0, atol=1e-5
        )


def test_hue_goes_the_way_of_hsv() -> None:
    """A faint red turned by a positive angle goes one and the same way round the colours."""
    red = torch.tensor([0.6, 0.5, 0.5]).view(1, 3, 1, 1)
    hues = [
        colorsys.rgb_to_hsv(
            *Hue().differentiable(red, torch.tensor([d]), UNUSED).flatten().tolist()
        )[0]
        for d in (0.0, 60.0, 120.0, 180.0)
    ]
    steps = np.diff(np.unwrap(np.array(hues) * 2 * np.pi))
    assert (steps > 0.5).all() or (steps < -0.5).all()


@pytest.mark.parametrize("bits", [1, 2, 3, 5, 8])
def test_quantise_against_numpy(bits: int, x: Tensor) -> None:
    got = Quantise().differentiable(x, same(x, float(bits)), UNUSED).numpy()
    steps = 2**bits - 1
    np.testing.assert_allclose(got, np.rint(x.numpy() * np.float32(steps)) / steps, atol=1e-6)
    assert len(np.unique(np.rint(got * steps))) <= 2**bits
    assert np.abs(got - x.numpy()).max() <= 0.5 / steps + 1e-6


def test_quantise_rounds_the_strength_and_passes_gradients(x: Tensor) -> None:
    strength = torch.tensor([3.4, 2.6, 5.0, 5.49])
    expected = Quantise().differentiable(x, torch.tensor([3.0, 3.0, 5.0, 5.0]), UNUSED)
    assert torch.equal(Quantise().differentiable(x, strength, UNUSED), expected)
    x.requires_grad_()
    Quantise().differentiable(x, strength, UNUSED).sum().backward()
    assert x.grad is not None and torch.equal(x.grad, torch.ones_like(x))


@pytest.mark.parametrize(
    "perturbation", [Noise(), Brightness(), Contrast(), Saturation(), Hue(), Gamma()]
)
def test_mildest_changes_nothing(perturbation: Perturbation, x: Tensor) -> None:
    got = perturbation.differentiable(x, same(x, perturbation.mildest), UNUSED)
    torch.testing.assert_close(got, x, rtol=0, atol=1e-6)
