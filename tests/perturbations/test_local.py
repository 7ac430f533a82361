"""Relighting is smooth and of the stated depth; erasing takes the stated area, no more."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.fft import dctn
from torch import Tensor

from artfp.perturbations import Erase, Relight

Seeded = Callable[..., torch.Generator]


@pytest.mark.parametrize("stops", [0.25, 1.0, 1.5])
def test_relight_spans_the_stops_smoothly(stops: float, seeded: Seeded) -> None:
    dark = torch.full((16, 3, 48, 80), 0.2)  # so dark that nothing clips
    out = Relight().differentiable(dark, torch.full((16,), stops), seeded(1))
    field = (out / 0.2).log2().double().numpy()
    np.testing.assert_allclose(field[:, 1:], field[:, :1].repeat(2, axis=1), atol=1e-6)
    peaks = np.abs(field[:, 0]).max(axis=(1, 2))
    np.testing.assert_allclose(peaks, stops, rtol=1e-4)
    spectrum = dctn(field[:, 0], axes=(1, 2), norm="ortho") ** 2
    slow = spectrum[:, :6, :6].sum(axis=(1, 2))  # up to 2.5 cycles a side
    assert (slow > 0.99 * spectrum.sum(axis=(1, 2))).all()
    steps = max(np.abs(np.diff(field, axis=2)).max(), np.abs(np.diff(field, axis=3)).max())
    assert steps < 0.2 * stops
    shapes = field[:, 0].reshape(16, -1)
    others = np.corrcoef(shapes)[~np.eye(16, dtype=bool)]
    assert np.abs(others).mean() < 0.5  # another light for each image


def test_relight_at_0_is_no_change(x: Tensor, seeded: Seeded) -> None:
    assert torch.equal(Relight().differentiable(x, torch.zeros(4), seeded()), x)


def erased(x: Tensor, strength: Tensor, generator: torch.Generator) -> Tensor:
    """Which pixels (N, H, W) were set to 0 in an image without black."""
    out = Erase().differentiable(x.mul(0.9).add(0.1), strength, generator)
    gone = (out == 0).all(dim=1)
    assert torch.equal((out == 0).any(dim=1), gone)
    kept = ~gone.unsqueeze(1).expand_as(out)
    assert torch.equal(out[kept], x.mul(0.9).add(0.1)[kept])
    return gone


@pytest.mark.parametrize("share", [0.02, 0.1, 0.25])
@pytest.mark.parametrize("size", [(64, 64), (100, 61)])
def test_erase_takes_a_rectangle_of_the_area(
    share: float, size: tuple[int, int], seeded: Seeded
) -> None:
    height, width = size
    gone = erased(torch.ones(300, 3, height, width), torch.full((300,), share), seeded(2))
    tall = gone.any(dim=2).sum(dim=1).double()
    wide = gone.any(dim=1).sum(dim=1).double()
    area = gone.sum(dim=(1, 2)).double()
    assert torch.equal(area, tall * wide)  # a full rectangle
    exact = share * height * width
    # Each side is rounded by half a pixel at most.
    assert ((area - exact).abs() <= 0.5 * (tall + wide) + 0.75).all()
    aspect = ((tall / height) / (wide / width)).log2()
    slack = 1.5 / min(float(tall.min()), float(wide.min()))
    assert aspect.abs().max() <= 1 + slack * 1.5
    assert aspect.max() > 0.8 and aspect.min() < -0.8 and abs(float(aspect.mean())) < 0.15
    top = gone.any(dim=2).double().argmax(dim=1)
    left = gone.any(dim=1).double().argmax(dim=1)
    for first, side, whole in ((top, tall, height), (left, wide, width)):
        assert (first == 0).any() and (first + side == whole).any()  # anywhere, to the edges
        assert abs(float((first / (whole - side)).mean()) - 0.5) < 0.08


def test_erase_by_strengths(x: Tensor, seeded: Seeded) -> None:
    areas = erased(x, torch.tensor([0.02, 0.1, 0.2, 0.25]), seeded(3)).double().mean(dim=(1, 2))
    torch.testing.assert_close(areas.float(), torch.tensor([0.02, 0.1, 0.2, 0.25]), rtol=0,
                               atol=0.01)  # fmt: skip


def test_erased_pixels_have_no_gradient(x: Tensor, seeded: Seeded) -> None:
    x = x.mul(0.9).add(0.1).requires_grad_()
    out = Erase().differentiable(x, torch.full((4,), 0.25), seeded(3))
    out.sum().backward()
    assert x.grad is not None and torch.equal(x.grad, (out != 0).float())
