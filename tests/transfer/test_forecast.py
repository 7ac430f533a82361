"""Forecasts of encoders whose residuals are known to be the same in all images, or in none."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from artfp.transfer.forecast import forecast
from artfp.watermark.networks.base import Decoder, Encoder

BITS, SIDE = 8, 32


class Stripes(Encoder):
    """Writes each bit as a lighter or darker band of rows, whatever the image."""

    def __init__(self) -> None:
        super().__init__(BITS, SIDE)
        self.none = nn.Parameter(torch.zeros(()))

    def residual(self, x: Tensor, bits: Tensor) -> Tensor:
        rows = (bits * 2 - 1).repeat_interleave(SIDE // BITS, 1).view(len(x), 1, SIDE, 1)
        return 0.2 * rows.expand(-1, 3, -1, SIDE)


class Fickle(Stripes):
    """The same, upside down in every other image."""

    def residual(self, x: Tensor, bits: Tensor) -> Tensor:
        signs = 1 - 2 * (torch.arange(len(x)) % 2).view(-1, 1, 1, 1)
        return super().residual(x, bits) * signs


class OneSided(Stripes):
    """In the left half only, and its negative in the right."""

    def residual(self, x: Tensor, bits: Tensor) -> Tensor:
        half = torch.ones(SIDE)
        half[SIDE // 2 :] = -1
        return super().residual(x, bits) * half


class Reader(Decoder):
    def __init__(self, columns: int = SIDE) -> None:
        super().__init__(BITS, SIDE)
        self.columns = columns

    def forward(self, x: Tensor) -> Tensor:
        rows = x[..., : self.columns].reshape(len(x), 3, BITS, -1).mean(dim=(1, 3))
        return rows - 0.5


@pytest.fixture
def gray() -> Tensor:
    """64 images of noise about the middle gray."""
    draws = torch.Generator().manual_seed(1)
    return torch.randint(118, 138, (64, 3, SIDE, SIDE), generator=draws, dtype=torch.uint8)


def test_a_constant_residual_transfers(gray: Tensor) -> None:
    found = forecast(Stripes(), Reader(), gray, words=3)
    assert found.images == 64 and found.words == 3
    assert found.constant == pytest.approx(1.0, abs=1e-5)
    assert found.bit_accuracy == found.transplanted == found.early == found.worst == 1.0
    assert found.psnr == pytest.approx(-20 * torch.tensor(0.2).log10().item(), abs=0.1)


def test_a_residual_that_changes_with_the_image_does_not(gray: Tensor) -> None:
    found = forecast(Fickle(), Reader(), gray)
    assert found.constant < 1e-6 and found.bit_accuracy == pytest.approx(0.5)
    assert 0.2 < found.transplanted < 0.8


def test_what_mirroring_cancels_is_lost(gray: Tensor) -> None:
    reader = Reader(SIDE // 2)
    found = forecast(OneSided(), reader, gray)
    assert found.bit_accuracy == 1.0 and 0.2 < found.transplanted < 0.8
    kept = forecast(OneSided(), reader, gray, mirror=False)
    assert kept.transplanted == 1.0 and kept.bit_accuracy == found.bit_accuracy


def test_strength_and_seed(gray: Tensor) -> None:
    weak = forecast(Stripes(), Reader(), gray, words=2, strength=0.01)
    assert weak.psnr > forecast(Stripes(), Reader(), gray, words=2).psnr + 10
    assert weak == forecast(Stripes(), Reader(), gray, words=2, strength=0.01)


def test_too_few_images_are_refused(photo_crops: Callable[..., Tensor]) -> None:
    with pytest.raises(ValueError, match="15 images; a forecast needs 16"):
        forecast(Stripes(), Reader(), photo_crops(15, SIDE))
