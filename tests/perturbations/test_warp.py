"""Affine maps: where pixels come from, by hand, and that undoing undoes."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from artfp.perturbations import warp

Ramps = Callable[[int, int], Tensor]


def sources(image: Tensor) -> np.ndarray:
    """Of a warped image of ramps (3, H, W): column and row that each pixel shows, (2, H, W)."""
    sides = np.array([image.shape[2], image.shape[1]]).reshape(2, 1, 1)
    return np.asarray((image[:2].double().numpy() - 0.2) / 0.6 * sides - 0.5)


def grid(height: int, width: int) -> np.ndarray:
    """Column and row of each pixel, (2, H, W)."""
    return np.stack(np.meshgrid(np.arange(width), np.arange(height))).astype(float)


def inner(shown: np.ndarray) -> np.ndarray:
    """Pixels whose bicubic neighbourhood lies inside the image, (H, W)."""
    height, width = shown.shape[1:]
    inside = (shown[0] >= 2) & (shown[0] <= width - 3)
    return np.asarray(inside & (shown[1] >= 2) & (shown[1] <= height - 3))


def test_identity(x: Tensor) -> None:
    assert torch.equal(warp.identity(4), torch.eye(3).expand(4, 3, 3))
    torch.testing.assert_close(warp.warp(x, warp.identity(4)), x, rtol=0, atol=1e-5)


@pytest.mark.parametrize("size", [(64, 64), (48, 72)])
def test_window_by_hand(size: tuple[int, int], ramps: Ramps) -> None:
    """Pixel p of the result shows left + (p + 1/2) * width / W - 1/2."""
    height, width = size
    box = np.array([0.1, 0.25, 0.6, 0.5])  # left, top, width, height in shares
    transform = warp.window(*(torch.tensor([v], dtype=torch.float32) for v in box))
    shown = sources(warp.warp(ramps(*size), transform)[0])
    expected = grid(*size)
    expected[0] = box[0] * width + (expected[0] + 0.5) * box[2] - 0.5
    expected[1] = box[1] * height + (expected[1] + 0.5) * box[3] - 0.5
    np.testing.assert_allclose(shown, expected, atol=0.06)


@pytest.mark.parametrize("size", [(64, 64), (48, 72), (71, 33)])
@pytest.mark.parametrize("degrees", [-33.0, 7.0, 45.0, 90.0])
def test_turn_by_hand(size: tuple[int, int], degrees: float, ramps: Ramps) -> None:
    """In pixels a turn is a turn whatever the shape: right angles stay."""
    height, width = size
    transform = warp.turn(torch.tensor([degrees]), size)
    shown = sources(warp.warp(ramps(*size), transform)[0])
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    right = grid(*size)[0] - (width - 1) / 2
    up = (height - 1) / 2 - grid(*size)[1]
    # Content moves counter-clockwise, so what a place shows comes from a place further clockwise.
    expected = np.stack(
        [
            (width - 1) / 2 + cosine * right + sine * up,
            (height - 1) / 2 - (-sine * right + cosine * up),
        ]
    )
    where = inner(expected)
    assert where.mean() > 0.2
    np.testing.assert_allclose(shown[:, where], expected[:, where], atol=0.06)


@pytest.mark.parametrize("size", [(64, 64), (40, 64), (64, 40)])
def test_quarter_turn_against_numpy(
    size: tuple[int, int], photo_crops: Callable[..., Tensor]
) -> None:
    x = photo_crops(1, 64, seed=3)[:, :, : size[0], : size[1]] / 255.0
    got = warp.warp(x, warp.turn(torch.tensor([90.0]), size))[0].numpy()
    side = min(size)
    top, left = (size[0] - side) // 2, (size[1] - side) // 2
    square = x[0, :, top : top + side, left : left + side].numpy()
    expected = np.rot90(square, axes=(1, 2))  # counter-clockwise
    np.testing.assert_allclose(got[:, top : top + side, left : left + side], expected, atol=1e-4)


def test_bilinear_by_hand_agrees_on_a_smooth_image(photo_crops: Callable[..., Tensor]) -> None:
    """Any affine map, against float64 bilinear interpolation, far enough from the border."""
    smooth = F.avg_pool2d(photo_crops(1, 64, seed=3) / 255.0, 15, 1, 7, count_include_pad=False)
    matrix = torch.tensor([[0.9, -0.2, 0.05], [0.15, 0.8, -0.1], [0.0, 0.0, 1.0]])
    got = warp.warp(smooth, matrix[None])[0].double().numpy()
    places = (grid(64, 64) + 0.5) / 32 - 1
    m = matrix.double().numpy()
    shown = np.stack([m[i, 0] * places[0] + m[i, 1] * places[1] + m[i, 2] for i in (0, 1)])
    shown = (shown + 1) * 32 - 0.5
    where = inner(shown)
    columns, rows = shown[0][where], shown[1][where]
    left, top = np.floor(columns).astype(int), np.floor(rows).astype(int)
    a, b = columns - left, rows - top
    values = smooth[0].double().numpy()
    expected = (1 - b) * ((1 - a) * values[:, top, left] + a * values[:, top, left + 1])
    expected += b * ((1 - a) * values[:, top + 1, left] + a * values[:, top + 1, left + 1])
    assert where.mean() > 0.7
    np.testing.assert_allclose(got[:, where], expected, atol=0.008)


def test_shift_by_whole_pixels_and_fill() -> None:
    """Outside is `fill`: a number, or a colour for each image."""
    x = torch.rand(2, 3, 32, 48, generator=torch.Generator().manual_seed(0))
    shift = warp.identity(2)
    shift[:, 0, 2], shift[:, 1, 2] = 2 * 5 / 48, -2 * 3 / 32
    colours = torch.tensor([[0.1, 0.2, 0.3], [0.9, 0.8, 0.7]]).view(2, 3, 1, 1)
    for fill in (0.0, 0.25, colours):
        got = warp.warp(x, shift, fill)
        torch.testing.assert_close(got[:, :, 3:, :-5], x[:, :, :-3, 5:], rtol=0, atol=1e-4)
        outside = torch.as_tensor(fill).expand(2, 3, 1, 1)
        for part in (got[:, :, :1], got[..., -3:]):
            torch.testing.assert_close(part, outside.expand_as(part), rtol=0, atol=1e-5)


@pytest.mark.parametrize("size", [(64, 64), (48, 72)])
def test_realign_undoes(size: tuple[int, int], ramps: Ramps) -> None:
    """A window and a turn, each for its own image; what was lost is the image's mean colour."""
    x = ramps(*size).expand(2, -1, -1, -1)
    box = [torch.tensor([v]) for v in (0.05, 0.1, 0.85, 0.8)]
    moved = torch.cat([warp.window(*box), warp.turn(torch.tensor([20.0]), size)])
    received = warp.warp(x, moved)
    back = warp.realign(received, moved)
    seen = warp.warp(torch.ones_like(x), torch.linalg.inv(moved)) * warp.realign(
        warp.warp(torch.ones_like(x), moved), moved
    )
    whole = -F.max_pool2d(-seen, 9, 1, 4) > 0.999
    assert (whole.float().mean(dim=(1, 2, 3)) > 0.4).all()
    torch.testing.assert_close(back[whole], x[whole], rtol=0, atol=2e-3)
    torch.testing.assert_close(back[0, :, 0, 0], received[0].mean(dim=(1, 2)), rtol=0, atol=1e-4)
    assert (warp.realign(received, warp.identity(2)) - received.clamp(0, 1)).abs().max() < 1e-5


def test_realign_stays_in_range_and_passes_gradients(x: Tensor, pixels: Tensor) -> None:
    hard = (x > 0.5).float().requires_grad_()
    out = warp.realign(hard, warp.turn(torch.full((4,), 15.0), (64, 64)))
    assert out.min() >= 0 and out.max() <= 1
    out.sum().backward()
    assert hard.grad is not None and torch.isfinite(hard.grad).all() and hard.grad.abs().sum() > 0
