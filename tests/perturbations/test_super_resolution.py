"""Upscaled small copies: each image by its own draws, at any size, and sharper than a resize."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from PIL import Image
from torch import Tensor

from artfp.data.pixels import to_unit
from artfp.perturbations import SuperResolution
from artfp.perturbations.super_resolution import _draw_degradations

Seeded = Callable[..., torch.Generator]


def test_draws_cover_their_ranges(seeded: Seeded) -> None:
    drawn = _draw_degradations(2000, seeded(1))
    counts = [sum(each.kind == kind for each in drawn) for kind in set(each.kind for each in drawn)]
    assert len(counts) == 4 and min(counts) > 400
    ranges = {
        "blur": (0.2, 0.7),
        "noise": (0.0, 3 / 255),
        "quality": (75.0, 95.0),
        "radius": (0.5, 0.8),
        "amount": (0.5, 1.5),
    }
    for name, (low, high) in ranges.items():
        values = torch.tensor([getattr(each, name) for each in drawn])
        assert low - 1e-5 <= values.min() and values.max() <= high + 1e-5
        assert values.max() - values.min() > 0.98 * (high - low)
    assert len({each.seed for each in drawn}) > 1990


def test_resamplers_are_those_of_upscalers(seeded: Seeded) -> None:
    assert {each.kind for each in _draw_degradations(100, seeded())} == {
        Image.Resampling.BOX,
        Image.Resampling.BILINEAR,
        Image.Resampling.BICUBIC,
        Image.Resampling.LANCZOS,
    }


@pytest.mark.parametrize("side", [11, 64, 200])
@pytest.mark.parametrize("share", [0.75, 0.25])
def test_any_size_in_both_forms(
    side: int, share: float, photo_crops: Callable[..., Tensor], seeded: Seeded
) -> None:
    pixels = photo_crops(4, side, seed=5)[..., :-2].contiguous()
    real = to_unit(SuperResolution().real(pixels, share, seeded(2)))
    x = to_unit(pixels)
    soft = SuperResolution().differentiable(x, torch.full((4,), share), seeded(2))
    assert real.shape == soft.shape == x.shape
    assert (real - soft).square().mean() < 0.1 * (real - x).square().mean()


def test_detail_beyond_the_small_copy_is_lost_and_edges_are_sharpened(seeded: Seeded) -> None:
    """A checkerboard of single pixels becomes gray; a step overshoots on both sides."""
    board = (torch.arange(64)[:, None] + torch.arange(64)) % 2
    edge = torch.where(torch.arange(64) < 32, 0.3, 0.7).expand(64, 64)
    x = torch.stack([board.float(), edge])[:, None].expand(-1, 3, -1, -1)
    out = SuperResolution().differentiable(x, torch.full((2,), 0.5), seeded(3))
    assert out[0].std() < 0.1 * x[0].std()
    assert out[1].min() < 0.29 and out[1].max() > 0.71


def test_images_of_one_batch_are_drawn_for_separately(x: Tensor, seeded: Seeded) -> None:
    same = x[:1].expand(4, -1, -1, -1)
    out = SuperResolution().differentiable(same, torch.full((4,), 0.5), seeded(4))
    assert all((out[i] - out[j]).abs().max() > 0.01 for i in range(4) for j in range(i))
