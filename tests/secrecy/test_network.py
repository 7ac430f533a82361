"""The network that tells clean images from fingerprinted ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from artfp.nn.blocks import (
    high_pass,
)
from artfp.secrecy.network import (
    Steganalyser,
)


@pytest.mark.parametrize("shape", [(16, 16), (32, 32), (40, 56), (128, 128)])
def test_any_size_gives_one_logit(shape: tuple[int, int]) -> None:
    network = Steganalyser().eval()
    x = torch.rand(3, 3, *shape)
    with torch.inference_mode():
        logits = network(x)
        alone = network(x[1:2])
    assert logits.shape == (3,) and torch.isfinite(logits).all()
    assert torch.allclose(logits[1:2], alone, atol=1e-4)


def test_first_layers_do_not_pool() -> None:
    network = Steganalyser()
    maps = network.plain(network.stem(torch.rand(2, 6, 32, 32)))
    assert maps.shape == (2, 16, 32, 32)
    assert network.pooled(maps).shape == (2, 64, 4, 4)


def test_high_pass_against_scipy() -> None:
    x = np.random.default_rng(0).random((2, 3, 9, 12))
    mean = ndimage.uniform_filter(x, (1, 1, 3, 3), mode="nearest")
    assert np.allclose(high_pass(torch.from_numpy(x)).numpy(), x - mean, atol=1e-12)
