"""The network of fingerprints."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from artfp.passive.networks.visnet import VisNet, VisNetCritic


def random_network() -> VisNet:
    """Also of random fingerprints, which are 0 at first."""
    torch.manual_seed(0)
    network = VisNet(4, 16)
    nn.init.normal_(network.fingerprints, std=0.05)
    return network


@pytest.mark.parametrize("side", [16, 32, 64, 128])
def test_shapes(side: int) -> None:
    network, x = VisNet(3, side, width=2), torch.rand(2, 3, side, side)
    assert network(x).shape == (2, 3)
    assert network.fingerprint(x).shape == network.rescale(x).shape == x.shape
    assert network.encoder(network.rescale(x)).shape[2:] == (4, 4)
    assert network.fingerprints.shape == (3, 3, side, side)
    assert VisNetCritic(side, width=2)(network.rescale(x)).shape == (2,)


def test_logits_are_inner_products_of_fingerprints() -> None:
    network, x = random_network(), torch.rand(5, 3, 16, 16)
    assert not bool(VisNet(4, 16).fingerprints.any())
    inside = 2.0 * x.double() - 1.0
    given = network.double().decoder(network.encoder(inside))
    own = (inside - given).detach().numpy()
    models = network.fingerprints.detach().numpy()
    expected = np.array([[(a * b).sum() for b in models] for a in own])
    found = network.float()(x).detach().numpy()
    np.testing.assert_allclose(found, expected, atol=1e-4)
    # The same by one valid convolution of full size.
    with torch.no_grad():
        convolved = nn.functional.conv2d(torch.from_numpy(own), torch.from_numpy(models))
    np.testing.assert_allclose(convolved[:, :, 0, 0].numpy(), expected, atol=1e-9)


def test_logits_are_not_taken_in_half_precision() -> None:
    network, own = random_network(), torch.randn(5, 3, 16, 16)
    exact = network.logits(own)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(network.logits(own), exact)


def test_a_critic_judges_each_image_by_itself() -> None:
    torch.manual_seed(0)
    critic, x = VisNetCritic(16), torch.randn(4, 3, 16, 16)
    torch.testing.assert_close(critic(x), torch.cat([critic(each[None]) for each in x]))


@pytest.mark.parametrize("side", [32, 128])
def test_the_published_size_has_the_published_layers(side: int) -> None:
    with torch.device("meta"):
        network, critic = VisNet(2, side, size="published"), VisNetCritic(side, size="published")
        x = torch.zeros(1, 3, side, side)
        assert network.fingerprint(x).shape == x.shape
        assert network.encoder(x).shape == (1, 512, 4, 4) and critic(x).shape == (1,)
    own = network.weights - network.fingerprints.numel()
    # ProGAN's widths: 2048 channels over the side, 512 at most; 3x3 convolutions with biases.
    wide = {2**k: min(512, 2048 >> k) for k in range(2, 8)}
    sides = [2**k for k in range(3, 8) if 2**k <= side]
    count = 4 * (9 * 512 * 512 + 512) + 9 * wide[side] * 3 + 3 + 9 * 3 * wide[side] + wide[side]
    for one in sides:
        here, below = wide[one], wide[one // 2]
        count += 9 * here * below + below + 9 * below * here + here + 9 * here * here + here
        count += 9 * here * here + here if one < side else 0
    assert own == count and 14.0e6 < own < 14.2e6


def test_bad_input() -> None:
    for side in (8, 24):
        with pytest.raises(ValueError, match=f"resolution {side}"):
            VisNet(3, side)
    with pytest.raises(ValueError, match="1 sources"):
        VisNet(1, 16)
    with pytest.raises(ValueError, match=r"images \(2, 3, 32, 32\)"):
        VisNet(3, 16)(torch.zeros(2, 3, 32, 32))
