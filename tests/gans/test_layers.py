"""Shared layers against independent computations."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from artfp.gans.layers import (
    EqualConv,
    EqualLinear,
    minibatch_deviation,
    pixel_norm,
    spectral_norm,
)


@pytest.mark.parametrize(
    ("layer", "x"),
    [
        (nn.Linear(20, 30), torch.randn(4, 20)),
        (nn.Conv2d(6, 10, 3, padding=1), torch.randn(2, 6, 5, 5)),
    ],
)
def test_spectral_norm_divides_by_the_largest_singular_value(
    layer: nn.Module, x: torch.Tensor
) -> None:
    torch.manual_seed(0)
    nn.init.normal_(layer.weight, std=0.5)  # type: ignore[arg-type]
    before = np.linalg.svd(layer.weight.detach().flatten(1).double().numpy())[1]  # type: ignore
    spectral_norm(layer).train()
    for _ in range(200):  # each use is a step of the power iteration
        layer(x)
    layer.eval()
    after = np.linalg.svd(layer.weight.detach().flatten(1).double().numpy())[1]  # type: ignore
    assert before[0] > 2.0 and after[0] == pytest.approx(1.0, abs=1e-3)
    np.testing.assert_allclose(after, before / before[0], rtol=2e-3)


def test_equal_linear_is_a_scaled_linear_layer() -> None:
    torch.manual_seed(0)
    layer = EqualLinear(400, 300, gain=1.5, rate=0.01, bias=1.0)
    assert layer.weight.std().item() == pytest.approx(100.0, rel=0.02)
    weight = layer.weight.detach().double().numpy() * 1.5 * 0.01 / 20.0
    x = torch.randn(500, 400)
    expected = x.double().numpy() @ weight.T + 1.0
    np.testing.assert_allclose(layer(x).detach().numpy(), expected, atol=1e-4)
    # Whatever the rate, the outputs begin with the variance gain^2.
    assert (layer(x) - 1.0).std().item() == pytest.approx(1.5, rel=0.05)


def test_equal_convolutions_keep_size_and_variance() -> None:
    torch.manual_seed(0)
    for side in (1, 3):
        layer = EqualConv(64, 32, side, gain=1.0)
        assert layer.weight.std().item() == pytest.approx(1.0, rel=0.05)
        y = layer(torch.randn(8, 64, 12, 12))
        assert y.shape == (8, 32, 12, 12)
        assert y[..., 1:-1, 1:-1].std().item() == pytest.approx(1.0, rel=0.05)
    plain = nn.Conv2d(64, 32, 3, padding=1)
    plain.load_state_dict({"weight": layer.weight / 24.0, "bias": layer.bias})
    x = torch.randn(2, 64, 7, 7)
    torch.testing.assert_close(layer(x), plain(x), atol=1e-5, rtol=1e-4)


def test_pixel_norm() -> None:
    x = torch.randn(3, 8, 4, 5) * 7
    expected = x / ((x.double() ** 2).mean(dim=1, keepdim=True) + 1e-8) ** 0.5
    torch.testing.assert_close(pixel_norm(x).double(), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("count", "group"), [(8, 4), (6, 3), (3, 3), (1, 1), (5, 1), (2, 2)])
def test_minibatch_deviation(count: int, group: int) -> None:
    """Images i, i + M, i + 2M, ... of M groups differ by what their new channel says."""
    x = torch.randn(count, 5, 2, 2, dtype=torch.float64)
    y = minibatch_deviation(x)
    assert y.shape == (count, 6, 2, 2) and torch.equal(y[:, :5], x)
    groups = count // group
    for image in range(count):
        members = x.numpy()[image % groups :: groups]
        assert len(members) == group
        expected = np.sqrt(members.var(axis=0) + 1e-8).mean()
        np.testing.assert_allclose(y[image, 5].numpy(), expected, rtol=1e-9)
