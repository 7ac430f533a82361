"""The tiny autoencoder against its description, any size, and its gradients."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from artfp.nn import TinyAutoencoder, latent_autoencoder

Weights = dict[str, Tensor]


@pytest.fixture
def network() -> TinyAutoencoder:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return TinyAutoencoder(channels=4, width=8).requires_grad_(False)


@pytest.fixture
def exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """Computes in float32 on any processor."""
    monkeypatch.setattr(latent_autoencoder, "fast_precision", lambda device: nullcontext())


def conv(x: Tensor, weights: Weights, name: str, stride: int = 1) -> Tensor:
    weight = weights[f"{name}.weight"]
    bias = weights.get(f"{name}.bias")
    return F.conv2d(x, weight, bias, stride, padding=weight.shape[-1] // 2)


def block(x: Tensor, weights: Weights, name: str) -> Tensor:
    """A block by the keys of a state dict; one with `pool` is a middle block."""
    if f"{name}.pool.0.weight" in weights:
        norm = weights[f"{name}.pool.1.weight"], weights[f"{name}.pool.1.bias"]
        pooled = F.relu(F.group_norm(conv(x, weights, f"{name}.pool.0"), 4, *norm))
        x = x + conv(pooled, weights, f"{name}.pool.3")
    inner = F.relu(conv(x, weights, f"{name}.conv.0"))
    inner = F.relu(conv(inner, weights, f"{name}.conv.2"))
    return F.relu(conv(inner, weights, f"{name}.conv.4") + x)


def encoded(x: Tensor, weights: Weights) -> Tensor:
    x = block(conv(x, weights, "0"), weights, "1")
    for start in (2, 6, 10):
        x = conv(x, weights, str(start), stride=2)
        for number in range(start + 1, start + 4):
            x = block(x, weights, str(number))
    return conv(x, weights, "14")


def decoded(latents: Tensor, weights: Weights) -> Tensor:
    x = F.relu(conv(3 * torch.tanh(latents / 3), weights, "1"))
    for number in (3, 4, 5):
        x = block(x, weights, str(number))
    for start, blocks in ((7, (8, 9, 10)), (12, (13, 14, 15)), (17, (18,))):
        x = x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
        x = conv(x, weights, str(start))
        for number in blocks:
            x = block(x, weights, str(number))
    return conv(x, weights, "19").clamp(0, 1)


def test_against_its_description(network: TinyAutoencoder, exact: None, x: Tensor) -> None:
    """By the names of the weights, with plain functions."""
    latents = network.encode(x)
    expected = encoded(x, dict(network.encoder.state_dict()))
    torch.testing.assert_close(latents, expected, rtol=1e-4, atol=1e-5)
    latents = latents * 4.0  # into the squashed range
    expected = decoded(latents, dict(network.decoder.state_dict()))
    torch.testing.assert_close(network.decode(latents), expected, rtol=1e-4, atol=1e-5)
    pools = [name for name in network.encoder.state_dict() if "pool.0" in name]
    assert pools == [f"{number}.pool.0.weight" for number in (11, 12, 13)]


def test_published_size() -> None:
    """At the default width about 1.34 million parameters a half, as the published files have."""
    with torch.device("meta"):
        network = TinyAutoencoder()
    for part in (network.encoder, network.decoder):
        assert abs(sum(p.numel() for p in part.parameters()) - 1.34e6) < 0.01e6


@pytest.mark.parametrize("size", [(8, 8), (11, 30), (33, 64), (1, 9)])
def test_any_size(size: tuple[int, int], network: TinyAutoencoder, x: Tensor, exact: None) -> None:
    """Edges repeat up to whole blocks."""
    x = x[..., : size[0], : size[1]]
    rows, columns = (-(-side // 8) for side in size)
    latents = network.encode(x)
    assert latents.shape == (4, 4, rows, columns) and latents.dtype == torch.float32
    padded = F.pad(x, (0, columns * 8 - size[1], 0, rows * 8 - size[0]), mode="replicate")
    torch.testing.assert_close(latents, network.encode(padded), rtol=0, atol=0)
    images = network.decode(latents)
    assert images.shape == (4, 3, rows * 8, columns * 8) and images.dtype == torch.float32
    assert images.min() >= 0.0 and images.max() <= 1.0


def test_fast_precision_is_close_and_gradients_pass(
    network: TinyAutoencoder, x: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the processor computes in, also inside a block that forbids half precision."""
    x = x.requires_grad_()
    with torch.autocast("cpu", enabled=False):
        out = network.decode(network.encode(x))
    (gradient,) = torch.autograd.grad(out.sum(), x)
    assert torch.isfinite(gradient).all() and (gradient.abs().sum(dim=(1, 2, 3)) > 0).all()
    monkeypatch.setattr(latent_autoencoder, "fast_precision", lambda device: nullcontext())
    exact = network.decode(network.encode(x))
    assert (out - exact).square().mean() < 1e-5
    assert all(parameter.grad is None for parameter in network.parameters())
