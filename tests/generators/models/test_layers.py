"""Shared layers against independent computations."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from artfp.generators.models.layers import minibatch_deviation, pixel_norm, spectral_norm


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
