"""Residuals on images of any size, and the limits of bits and resolutions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from artfp.watermark import build_pair
from artfp.watermark.networks.base import Encoder, add_residual, limit_psnr, resize_residual


def bicubic(coordinates: np.ndarray, samples: np.ndarray) -> np.ndarray:
    """Cubic convolution (Keys 1981, a = -0.75) along axis 0, edges replicated, in float64."""
    a = -0.75
    left = np.floor(coordinates).astype(int)
    out = np.zeros((len(coordinates), *samples.shape[1:]))
    for tap in range(-1, 3):
        distance = np.abs(coordinates - (left + tap))
        near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
        far = a * (((distance - 5) * distance + 8) * distance - 4)
        weight = np.where(distance <= 1, near, np.where(distance < 2, far, 0.0))
        taken = samples[np.clip(left + tap, 0, len(samples) - 1)]
        out += weight.reshape(-1, *[1] * (samples.ndim - 1)) * taken
    return out


def grow(plane: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A plane (h, w) enlarged to `size` with pixel centres aligned, in float64."""
    rows = (np.arange(size[0]) + 0.5) * plane.shape[0] / size[0] - 0.5
    columns = (np.arange(size[1]) + 0.5) * plane.shape[1] / size[1] - 0.5
    return bicubic(columns, bicubic(rows, plane).T).T


@pytest.mark.parametrize("size", [(8, 8), (37, 64), (301, 77), (8, 1000)])
def test_spread_enlarges_by_cubic_convolution(size: tuple[int, int]) -> None:
    residual = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    got = resize_residual(residual, size)
    assert got.shape == (2, 3, *size)
    for plane, expected in zip(got.flatten(0, 1), residual.flatten(0, 1), strict=True):
        reference = grow(expected.double().numpy(), size)
        np.testing.assert_allclose(plane.numpy(), reference, atol=1e-5)


def test_spread_shrinks_without_aliasing() -> None:
    """Against Pillow's antialiased bicubic resize of float planes."""
    residual = torch.randn(1, 1, 64, 48, generator=torch.Generator().manual_seed(0))
    got = resize_residual(residual.expand(-1, 3, -1, -1), (20, 17))
    image = Image.fromarray(residual[0, 0].numpy())
    expected = np.asarray(image.resize((17, 20), Image.Resampling.BICUBIC))
    np.testing.assert_allclose(got[0, 1].numpy(), expected, atol=1e-5)
    alternating = torch.ones(1, 3, 64, 64)
    alternating[..., ::2] = -1.0
    assert resize_residual(alternating, (16, 16)).abs().max() < 0.1


@pytest.mark.parametrize("size", [(16, 16), (700, 1111), (33, 512)])
def test_add_residual_rounds_and_clamps(size: tuple[int, int]) -> None:
    draws = torch.Generator().manual_seed(3)
    pixels = torch.randint(0, 256, (2, 3, *size), generator=draws, dtype=torch.uint8)
    pixels[0, :, : size[0] // 2] = 255
    pixels[1, :, : size[0] // 2] = 0
    residual = 0.1 * torch.randn(2, 3, 16, 16, generator=draws)
    before = pixels.clone()
    got = add_residual(pixels, residual)
    assert got.dtype == torch.uint8 and torch.equal(pixels, before)
    grown = np.stack([grow(p.double().numpy(), size) for p in residual.flatten(0, 1)]).reshape(
        2, 3, *size
    )
    exact = before.numpy() + 255.0 * grown
    expected = np.clip(np.rint(exact), 0, 255)
    doubtful = np.abs(exact - np.floor(exact) - 0.5) < 1e-3  # halves within float32's precision
    assert doubtful.mean() < 0.01
    np.testing.assert_array_equal(got.numpy()[~doubtful], expected[~doubtful])
    assert np.abs(got.numpy() - expected).max() <= 1
    assert (exact > 256).any() and (exact < -1).any()


def test_add_residual_is_what_forward_does_up_to_rounding() -> None:
    encoder, _ = build_pair("residual", 16, 32)
    encoder.eval()
    draws = torch.Generator().manual_seed(3)
    pixels = torch.randint(0, 256, (2, 3, 32, 32), generator=draws, dtype=torch.uint8)
    bits = torch.randint(0, 2, (2, 16), generator=draws).float()
    with torch.no_grad():
        marked = encoder(pixels / 255.0, bits)
        written = add_residual(pixels, encoder.residual(pixels / 255.0, bits))
    assert (written / 255.0 - marked).abs().max() <= 0.5001 / 255


def test_weaken_limits_each_image_alone() -> None:
    residual = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    residual *= torch.tensor([0.001, 0.02, 0.3]).view(3, 1, 1, 1)
    limited = limit_psnr(residual, 36.0)
    psnr = -10 * np.log10((limited.double().numpy() ** 2).mean(axis=(1, 2, 3)))
    assert torch.equal(limited[0], residual[0]) and psnr[1:] == pytest.approx(36.0, abs=1e-3)
    torch.testing.assert_close(limited[2] / limited[2].norm(), residual[2] / residual[2].norm())
    assert torch.equal(limit_psnr(residual, 0.0), residual)
    assert torch.equal(limit_psnr(torch.zeros(1, 3, 8, 8), 36.0), torch.zeros(1, 3, 8, 8))


class Constant(Encoder):
    def residual(self, x: torch.Tensor, bits: torch.Tensor) -> torch.Tensor:
        return torch.full((len(x), 3, 8, 8), 0.25)


def test_forward_adds_and_clamps() -> None:
    x = torch.tensor([0.0, 0.5, 0.9]).view(1, 3, 1, 1).expand(2, 3, 32, 32)
    marked = Constant(8, 32)(x, torch.zeros(2, 8))
    expected = torch.tensor([0.25, 0.75, 1.0]).view(1, 3, 1, 1).expand_as(x)
    torch.testing.assert_close(marked, expected)
    with pytest.raises(NotImplementedError, match="Constant has no adjustable strength"):
        Constant(8, 32).rescale(2.0)


@pytest.mark.parametrize("architecture", ["residual", "stegastamp"])
def test_read_is_forward_and_has_nothing_to_tell(architecture: str) -> None:
    """Of a decoder that realigns nothing, whatever the images' shapes were."""
    _, decoder = build_pair(architecture, 16, 32)
    x = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    logits, notes = decoder.eval().decode(x, torch.tensor([1.0, 0.5, 3.0]))
    assert torch.equal(logits, decoder(x)) and notes == ["", "", ""]


@pytest.mark.parametrize(
    ("architecture", "bits", "most"),
    [("residual", bits, "8 to 256") for bits in (-1, 0, 7, 257)]
    + [("stegastamp", bits, "1 to 512") for bits in (-1, 0, 513)],
)
def test_bits_out_of_range(architecture: str, bits: int, most: str) -> None:
    with pytest.raises(ValueError, match=f"bits is {bits}; .* {most}"):
        build_pair(architecture, bits, 64)


@pytest.mark.parametrize(
    ("architecture", "resolution", "choice"),
    [("residual", side, "a power of two") for side in (-32, 0, 16, 100, 96, 1024)]
    + [("stegastamp", side, "16, or a multiple of 32") for side in (-32, 0, 8, 48, 100, 1056)],
)
def test_resolutions_out_of_range(architecture: str, resolution: int, choice: str) -> None:
    with pytest.raises(ValueError, match=f"resolution is {resolution}; take {choice}"):
        build_pair(architecture, 16, resolution)
