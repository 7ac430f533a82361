"""Figures of stubs whose truth is known."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from artfp.evaluation.measure import CONDITIONS, measure
from artfp.models import build_pair
from artfp.models.base import Decoder, Encoder

BITS = 16


class Nothing(Encoder):
    def __init__(self) -> None:
        super().__init__(BITS, 64)
        self.none = nn.Parameter(torch.zeros(()))

    def residual(self, x: Tensor, bits: Tensor) -> Tensor:
        return torch.zeros_like(x)


class Rows(Nothing):
    """Writes each bit as a bright or dark block of rows over the whole width."""

    def residual(self, x: Tensor, bits: Tensor) -> Tensor:
        rows = 0.5 + 0.4 * (bits * 2 - 1)
        return rows.repeat_interleave(64 // BITS, 1).view(len(x), 1, 64, 1) - x


class RowReader(Decoder):
    def __init__(self) -> None:
        super().__init__(BITS, 64)

    def forward(self, x: Tensor) -> Tensor:
        return x.reshape(len(x), 3, BITS, -1).mean(dim=(1, 3)) - 0.45


class AllOnes(Decoder):
    def __init__(self) -> None:
        super().__init__(BITS, 64)

    def forward(self, x: Tensor) -> Tensor:
        return torch.ones(len(x), BITS)


@pytest.fixture(scope="module")
def images(photo_crops: Callable[..., Tensor]) -> list[np.ndarray]:
    """Twenty pictures, some larger than the networks and not square."""
    crops = photo_crops(20, 128, seed=6).permute(0, 2, 3, 1).numpy()
    sizes = [(64, 64), (128, 128), (100, 128), (128, 71)]
    return [c[: sizes[i % 4][0], : sizes[i % 4][1]].copy() for i, c in enumerate(crops)]


def test_perfect_decoder(images: list[np.ndarray]) -> None:
    figures = measure(Rows(), RowReader(), images)
    assert figures["images"] == 20
    for name in ["", *(f"_{condition}" for condition in CONDITIONS)]:
        assert figures[f"bit_accuracy{name}"] == 1.0, name
    assert figures["perfect_share"] == 1.0
    assert 0.35 < figures["bit_accuracy_unmarked"] < 0.65
    assert figures["psnr"] < 15


def test_useless_decoder(images: list[np.ndarray]) -> None:
    """A constant word meets random bits: half of them, within 4 standard errors."""
    figures = measure(Nothing(), AllOnes(), images)
    for name, value in figures.items():
        if name.startswith("bit_accuracy"):
            assert abs(value - 0.5) < 4 * 0.5 / (20 * BITS) ** 0.5, name
    assert figures["perfect_share"] == 0.0
    assert figures["psnr"] == pytest.approx(99.0, abs=1e-3)
    assert figures["psnr_worst"] == pytest.approx(99.0, abs=1e-3)
    assert figures["ssim"] == pytest.approx(1.0)


def test_worst_image(images: list[np.ndarray]) -> None:
    class OneBad(Nothing):
        """Adds 0.1 to flat images, nothing to others."""

        def residual(self, x: Tensor, bits: Tensor) -> Tensor:
            return torch.full_like(x, 0.1) * float(x.std() < 1e-4)

    flat = np.full((64, 64, 3), 101, np.uint8)
    figures = measure(OneBad(), AllOnes(), [*images, flat])
    worst = -20 * math.log10(26 / 255)  # 101 + 25.5 = 126.5, rounded to even: 126 or 127
    assert figures["psnr_worst"] == pytest.approx(worst, abs=0.4)
    assert figures["psnr"] == pytest.approx((20 * 99.0 + figures["psnr_worst"]) / 21, abs=0.01)


def test_the_seed_decides(images: list[np.ndarray]) -> None:
    encoder, decoder = (network.eval() for network in build_pair("residual", BITS, 64))
    one = measure(encoder, decoder, images[:4], seed=1)  # type: ignore[arg-type]
    assert one == measure(encoder, decoder, images[:4], seed=1)  # type: ignore[arg-type]
    assert one != measure(encoder, decoder, images[:4], seed=2)  # type: ignore[arg-type]


def test_no_image() -> None:
    with pytest.raises(ValueError, match="no image to measure on"):
        measure(Nothing(), AllOnes(), [])
