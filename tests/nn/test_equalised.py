"""Equalised layers against plain ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from artfp.nn.equalised import EqualisedConv2d, EqualisedLinear


def test_equal_linear_is_a_scaled_linear_layer() -> None:
    torch.manual_seed(0)
    layer = EqualisedLinear(400, 300, gain=1.5, lr_multiplier=0.01, bias=1.0)
    assert layer.weight.std().item() == pytest.approx(100.0, rel=0.02)
    weight = layer.weight.detach().double().numpy() * 1.5 * 0.01 / 20.0
    x = torch.randn(500, 400)
    expected = x.double().numpy() @ weight.T + 1.0
    np.testing.assert_allclose(layer(x).detach().numpy(), expected, atol=1e-4)
    # Whatever the learning rate, the outputs begin with the variance gain^2.
    assert (layer(x) - 1.0).std().item() == pytest.approx(1.5, rel=0.05)


def test_equal_convolutions_keep_size_and_variance() -> None:
    torch.manual_seed(0)
    for side in (1, 3):
        layer = EqualisedConv2d(64, 32, side, gain=1.0)
        assert layer.weight.std().item() == pytest.approx(1.0, rel=0.05)
        y = layer(torch.randn(8, 64, 12, 12))
        assert y.shape == (8, 32, 12, 12)
        assert y[..., 1:-1, 1:-1].std().item() == pytest.approx(1.0, rel=0.05)
    plain = nn.Conv2d(64, 32, 3, padding=1)
    plain.load_state_dict({"weight": layer.weight / 24.0, "bias": layer.bias})
    x = torch.randn(2, 64, 7, 7)
    torch.testing.assert_close(layer(x), plain(x), atol=1e-5, rtol=1e-4)
