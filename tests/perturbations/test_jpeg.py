"""JPEG against Pillow's codec (libjpeg)."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.fft import dctn
from torch import Tensor

from artfp.data.pixels import to_8bit, to_unit
from artfp.perturbations import Jpeg
from artfp.perturbations.codec import (
    _TO_YCC,
    CHROMA_TABLE,
    LUMA_TABLE,
    _code,
    _dct_matrix,
    quantisation,
)


def pillow(pixels: np.ndarray, quality: int) -> Image.Image:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality, subsampling="4:2:0")
    return Image.open(file)


@pytest.mark.parametrize("quality", [1, 10, 30, 49, 50, 51, 75, 90, 95, 100])
def test_tables_are_those_in_files(quality: int) -> None:
    written = pillow(np.zeros((16, 16, 3), np.uint8), quality).quantization  # type: ignore[attr-defined]
    for number, table in enumerate((LUMA_TABLE, CHROMA_TABLE)):
        got = quantisation(table, torch.tensor([float(quality)]))
        assert got.shape == (1, 8, 8)
        assert got.flatten().tolist() == written[number]


def test_each_image_has_its_own_quality() -> None:
    got = quantisation(LUMA_TABLE, torch.tensor([50.0, 30.4, 95.0]))
    for table, quality in zip(got, (50.0, 30.0, 95.0), strict=True):
        assert torch.equal(table, quantisation(LUMA_TABLE, torch.tensor([quality]))[0])


def test_colours_of_jfif() -> None:
    """JFIF 1.02 gives the conversion with four decimals."""
    expected = [[0.299, 0.587, 0.114], [-0.1687, -0.3313, 0.5], [0.5, -0.4187, -0.0813]]
    np.testing.assert_allclose(_TO_YCC, expected, atol=5.1e-5)


def test_dct_against_scipy() -> None:
    block = np.random.default_rng(0).normal(size=(8, 8))
    matrix = _dct_matrix().double().numpy()
    np.testing.assert_allclose(matrix @ block @ matrix.T, dctn(block, norm="ortho"), atol=1e-6)


def test_blocks_against_scipy() -> None:
    """Every 8 x 8 block of a plane is quantised in SciPy's DCT domain."""
    plane = torch.from_numpy(np.random.default_rng(1).uniform(-128, 127, (2, 24, 16)))
    steps = quantisation(LUMA_TABLE, torch.tensor([60.0, 20.0]))
    got = _code(plane, steps)
    for image, coded, table in zip(plane.numpy(), got.numpy(), steps.numpy(), strict=True):
        for top in range(0, 24, 8):
            for left in range(0, 16, 8):
                block = dctn(image[top : top + 8, left : left + 8], norm="ortho")
                back = dctn(coded[top : top + 8, left : left + 8], norm="ortho")
                np.testing.assert_allclose(back, np.rint(block / table) * table, atol=1e-3)


@pytest.mark.parametrize("quality", [90, 75, 50, 30])
@pytest.mark.parametrize("size", [(256, 256), (101, 75)])
def test_soft_form_against_pillow(
    quality: int, size: tuple[int, int], photographs: list[np.ndarray]
) -> None:
    """What remains unexplained is under a tenth of the energy of what the codec changes.

    The difference is libjpeg's integer arithmetic, which rounds some coefficients the other way.
    """
    pixels = np.stack([p[40 : 40 + size[0], 60 : 60 + size[1]] for p in photographs[:2]])
    x = to_unit(torch.from_numpy(pixels).permute(0, 3, 1, 2))
    got = Jpeg().differentiable(x, torch.full((2,), float(quality)), torch.Generator())
    coded = np.stack([np.asarray(pillow(p, quality)) for p in pixels])
    expected = to_unit(torch.from_numpy(coded).permute(0, 3, 1, 2))
    missed = (got - expected).square().mean()
    changed = (expected - x).square().mean()
    assert missed < 0.1 * changed, float(missed / changed)


def test_qualities_differ_within_a_batch(photographs: list[np.ndarray]) -> None:
    x = to_unit(torch.from_numpy(photographs[0][:64, :64].copy()).permute(2, 0, 1)[None])
    both = Jpeg().differentiable(
        x.expand(2, -1, -1, -1), torch.tensor([90.0, 30.0]), torch.Generator()
    )
    for image, quality in zip(both, (90.0, 30.0), strict=True):
        alone = Jpeg().differentiable(x, torch.tensor([quality]), torch.Generator())
        torch.testing.assert_close(image, alone[0], rtol=0, atol=1e-5)


@pytest.mark.parametrize("quality", [90, 50])
def test_true_form_is_pillow(quality: int, photographs: list[np.ndarray]) -> None:
    pixels = np.stack([p[:50, :70] for p in photographs[:2]])
    batch = torch.from_numpy(pixels).permute(0, 3, 1, 2)
    got = Jpeg().real(batch, float(quality), torch.Generator())
    assert got.dtype == torch.uint8
    for image, source in zip(got.permute(0, 2, 3, 1).numpy(), pixels, strict=True):
        np.testing.assert_array_equal(image, np.asarray(pillow(source, quality)))


def test_gradient_is_that_of_the_unrounded_codec() -> None:
    """With roundings passed through, luma and chroma of a grey shift have gradient 1."""
    x = torch.full((1, 3, 16, 16), 0.5, requires_grad=True)
    Jpeg().differentiable(x, torch.tensor([50.0]), torch.Generator()).sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad, torch.ones_like(x), rtol=0, atol=1e-4)


def test_round_trip_of_8_bits() -> None:
    """Every value survives the two conversions, and out-of-range values are clamped."""
    values = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).expand(1, 3, -1, -1)
    assert torch.equal(to_8bit(to_unit(values)), values)
    wild = torch.tensor([-0.2, 0.4999 / 255, 0.5001 / 255, 1.7])
    got: Tensor = to_8bit(wild)
    assert got.tolist() == [0, 0, 1, 255]
