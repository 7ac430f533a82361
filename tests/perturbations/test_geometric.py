"""Crops, turns, mirrors and resizes against NumPy, Pillow and a bicubic written by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from artfp.data.pixels import to_unit
from artfp.perturbations import CentreCrop, Mirror, RandomCrop, ResizeBack, Rotation, warp

Seeded = Callable[..., torch.Generator]
BICUBIC = Image.Resampling.BICUBIC


def cubic(samples: np.ndarray, coordinates: np.ndarray) -> np.ndarray:
    """Cubic convolution (Keys 1981, a = -0.75) along the last axis, in float64."""
    a = -0.75
    left = np.floor(coordinates).astype(int)
    out = np.zeros((*samples.shape[:-1], len(coordinates)))
    for tap in range(-1, 3):
        distance = np.abs(coordinates - (left + tap))
        near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
        far = a * (((distance - 5) * distance + 8) * distance - 4)
        weight = np.where(distance <= 1, near, np.where(distance < 2, far, 0.0))
        out += weight * samples[..., np.clip(left + tap, 0, samples.shape[-1] - 1)]
    return out


def pillow(pixels: Tensor, change: Callable[[Image.Image], Image.Image]) -> Tensor:
    images = [Image.fromarray(p.permute(1, 2, 0).numpy()) for p in pixels]
    return torch.from_numpy(np.stack([np.array(change(i)) for i in images])).permute(0, 3, 1, 2)


def test_mirror(pixels: Tensor, seeded: Seeded) -> None:
    expected = np.ascontiguousarray(pixels.numpy()[:, :, :, ::-1])
    assert np.array_equal(Mirror().real(pixels, 1.0, seeded()).numpy(), expected)


@pytest.mark.parametrize("share", [0.95, 0.75, 0.5])
def test_resize_keeps_what_is_smooth_and_drops_what_is_fine(share: float, seeded: Seeded) -> None:
    place = torch.arange(64, dtype=torch.float32)
    waves = {period: 0.5 + 0.25 * torch.cos(2 * torch.pi * place / period) for period in (32, 2)}
    kept = {}
    for period, wave in waves.items():
        x = wave.expand(1, 3, 64, 64)
        out = ResizeBack().differentiable(x, torch.tensor([share]), seeded())
        middle = out[0, 0, 32, 8:-8] - 0.5
        kept[period] = float((middle.square().mean() / (wave[8:-8] - 0.5).square().mean()).sqrt())
    assert kept[32] > 0.95
    assert kept[2] < {0.95: 0.75, 0.75: 0.35, 0.5: 0.1}[share]
    grey = torch.full((1, 3, 50, 33), 0.3)
    out = ResizeBack().differentiable(grey, torch.tensor([share]), seeded())
    torch.testing.assert_close(out, grey)


@pytest.mark.parametrize("share", [0.95, 0.5, 0.01])
def test_resize_is_pillow_there_and_back(share: float, pixels: Tensor, seeded: Seeded) -> None:
    pixels = pixels[..., :50].contiguous()
    small = max(1, round(50 * share)), max(1, round(64 * share))
    expected = pillow(pixels, lambda i: i.resize(small, BICUBIC).resize(i.size, BICUBIC))
    assert torch.equal(ResizeBack().real(pixels, share, seeded()), expected)
    ResizeBack().differentiable(
        to_unit(pixels), torch.full((4,), share), seeded()
    )  # never of no size


def test_crops_of_nothing(x: Tensor, pixels: Tensor, seeded: Seeded) -> None:
    none = torch.zeros(4)
    for kind in (CentreCrop(), RandomCrop()):
        torch.testing.assert_close(kind.differentiable(x, none, seeded()), x, rtol=0, atol=1e-5)
        assert torch.equal(kind.real(pixels, 0.0, seeded()), pixels)
        assert torch.equal(kind.transform(none, (64, 64), seeded()), warp.identity(4))


@pytest.mark.parametrize("size", [(64, 64), (50, 81)])
@pytest.mark.parametrize("share", [0.05, 0.1, 0.2])
def test_centre_crop_against_slicing(
    share: float, size: tuple[int, int], photo_crops: Callable[..., Tensor], seeded: Seeded
) -> None:
    """What NumPy cuts out, enlarged by cubic convolution; torch also sees beyond the cut."""
    pixels = photo_crops(2, 96, seed=2)[..., : size[0], : size[1]].contiguous()
    x = to_unit(pixels)
    got = CentreCrop().differentiable(x, torch.full((2,), share), seeded()).numpy()
    out = x.double().numpy()
    cut = [round(share * side) for side in size]
    for axis, (lost, side) in enumerate(zip(cut, size, strict=True)):
        places = lost + (np.arange(side) + 0.5) * (side - 2 * lost) / side - 0.5
        out = np.moveaxis(cubic(np.moveaxis(out, 2 + axis, -1), places), -1, 2 + axis)
    np.testing.assert_allclose(got, np.clip(out, 0, 1), atol=1e-4)

    box = (cut[1], cut[0], size[1] - cut[1], size[0] - cut[0])
    expected = pillow(pixels, lambda i: i.crop(box).resize(i.size, BICUBIC))
    assert torch.equal(CentreCrop().real(pixels, share, seeded()), expected)


def test_random_crop_windows(seeded: Seeded) -> None:
    """Whole pixels, inside, of the stated sides; every place alike."""
    count, size, share = 4000, (100, 60), 0.2
    boxes = RandomCrop().boxes(torch.full((count,), share), size, seeded(1))
    assert boxes.shape == (count, 4) and torch.equal(boxes, boxes.round())
    left, top, width, height = boxes.unbind(1)
    assert (width == 48).all() and (height == 80).all()
    for first, lost in ((left, 12), (top, 20)):
        counts = torch.bincount(first.long(), minlength=lost + 1).double()
        assert len(counts) == lost + 1
        odds = torch.full((lost + 1,), 1 / lost)
        odds[[0, -1]] /= 2  # the ends are rounded to from one side only
        deviation = (count * odds * (1 - odds)).sqrt()
        assert ((counts - count * odds).abs() < 4.5 * deviation).all()
    assert abs(float(torch.corrcoef(torch.stack([left, top]))[0, 1])) < 4.5 / count**0.5


@pytest.mark.parametrize("share", [0.05, 0.2])
def test_random_crop_is_one_window_in_all_forms(
    share: float, pixels: Tensor, x: Tensor, seeded: Seeded
) -> None:
    strength = torch.full((4,), share)
    boxes = RandomCrop().boxes(strength, (64, 64), seeded(5)).long()
    real = RandomCrop().real(pixels, share, seeded(5))
    transform = RandomCrop().transform(strength, (64, 64), seeded(5))
    for n, (left, top, width, height) in enumerate(boxes.tolist()):
        one = pixels[n : n + 1, :, top : top + height, left : left + width]
        assert torch.equal(real[n : n + 1], pillow(one, lambda i: i.resize((64, 64), BICUBIC)))
    soft = RandomCrop().differentiable(x, strength, seeded(5))
    torch.testing.assert_close(
        soft[..., 6:-6, 6:-6], warp.warp(x, transform)[..., 6:-6, 6:-6].clamp(0, 1)
    )
    assert len({tuple(b) for b in boxes.tolist()}) > 1


def test_random_crop_of_scale_1_is_slicing(x: Tensor, seeded: Seeded) -> None:
    """The transform of a window as large as the image shifts by whole pixels."""
    shift = warp.window(*(torch.tensor([v]) for v in (8 / 64, -4 / 64, 1.0, 1.0)))
    got = warp.warp(x[:1], shift)
    torch.testing.assert_close(got[..., 4:, :-8], x[:1, :, :-4, 8:], rtol=0, atol=1e-4)


@pytest.mark.parametrize("degrees", [10.0, -25.0, 45.0])
@pytest.mark.parametrize("size", [(64, 64), (96, 60)])
def test_rotation_turns_as_pillow_does(
    degrees: float, size: tuple[int, int], photo_crops: Callable[..., Tensor], seeded: Seeded
) -> None:
    pixels = photo_crops(2, 96, seed=2)[..., : size[0], : size[1]].contiguous()
    real = Rotation().real(pixels, degrees, seeded())
    assert torch.equal(real, pillow(pixels, lambda i: i.rotate(degrees, BICUBIC)))
    strength = torch.full((2,), degrees)
    soft = Rotation().differentiable(to_unit(pixels), strength, seeded())
    other = Rotation().differentiable(to_unit(pixels), -strength, seeded())
    middle = (..., slice(size[0] // 3, -size[0] // 3), slice(size[1] // 3, -size[1] // 3))
    right, wrong = (float((form - to_unit(real))[middle].square().mean()) for form in (soft, other))
    assert right < 0.01 * wrong
    assert soft[..., 0, 0].max() < 1e-6 and real[..., 0, 0].max() == 0  # black corners


def test_transform_undoes_a_rotation_of_an_oblong(ramps: Callable[[int, int], Tensor],
                                                  seeded: Seeded) -> None:  # fmt: skip
    x = ramps(60, 90)
    strength = torch.tensor([12.0])
    moved = Rotation().transform(strength, (60, 90), seeded())
    back = warp.realign(Rotation().differentiable(x, strength, seeded()), moved)
    torch.testing.assert_close(back[..., 15:-15, 20:-20], x[..., 15:-15, 20:-20], rtol=0, atol=2e-3)
