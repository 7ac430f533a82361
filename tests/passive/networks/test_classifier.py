"""Classifiers of sources."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from artfp.core.errors import UserError
from artfp.passive.networks.classifier import (
    MAX_STATISTICS,
    ClassifierDesign,
    CompactClassifier,
    PublishedClassifier,
    low_pass_filter,
)


@pytest.mark.parametrize("side", [32, 64, 128, 256])
@pytest.mark.parametrize(("name", "width"), [("published", 512), ("compact", 64)])
def test_shapes(name: str, width: int, side: int) -> None:
    network = ClassifierDesign(name, side).build(5).eval()
    x = torch.rand(2, 3, side, side)
    with torch.inference_mode():
        features, logits = network.features(x), network(x)
        alone = network(x[1:])
        again = network.head(features)
    assert features.shape == (2, width) and logits.shape == (2, 5)
    assert torch.allclose(again, logits, atol=1e-5)
    assert torch.allclose(alone, logits[1:], atol=1e-4)
    with pytest.raises(ValueError, match="expected"):
        network(torch.rand(1, 3, side, side // 2))


@pytest.mark.parametrize("side", [32, 128])
@pytest.mark.parametrize(
    ("settings", "layers"),
    [
        ({}, {32: (1, 2, 3, 4), 128: (1, 2, 3, 4)}),
        ({"network": "published"}, {32: (1,), 128: (1, 3, 6)}),
        ({"network": "published", "convolve_from": 32}, {32: (1,), 128: (1, 3, 6)}),
    ],
)
def test_seen(side: int, settings: dict[str, Any], layers: dict[int, tuple[int, ...]]) -> None:
    """Logits as without a look at the maps, and their moments over places, from hooks."""
    network = ClassifierDesign(resolution=side, **settings).build(3).eval()
    x = torch.rand(2, 3, side, side)
    maps: dict[int, torch.Tensor] = {}
    for number, module in enumerate(network.trunk):
        module.register_forward_hook(lambda m, i, out, n=number: maps.__setitem__(n, out))
    with torch.inference_mode():
        logits, statistics = network.logits_and_statistics(x)
        assert torch.allclose(network(x), logits, atol=1e-5)
    expected = []
    for number in layers[side]:
        values = maps[number].flatten(2).double().numpy()
        expected += [values.mean(2), values.std(2, ddof=1)]
    assert np.allclose(np.concatenate(expected, 1), statistics.numpy(), atol=1e-4)
    assert statistics.shape[1] <= MAX_STATISTICS


def test_published_layers() -> None:
    network = ClassifierDesign("published", 128).build(5)
    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
    assert [(c.in_channels, c.out_channels) for c in convolutions] == [
        (3, 16), (16, 32), (32, 32), (32, 64), (64, 64), (64, 128), (128, 128), (128, 256),
        (256, 256), (256, 512), (512, 512),
    ]  # fmt: skip
    assert all(c.kernel_size == (3, 3) for c in convolutions)
    linear = [m for m in network.modules() if isinstance(m, nn.Linear)]
    assert [(m.in_features, m.out_features) for m in linear] == [(8192, 512), (512, 5)]
    assert not any("Norm" in type(m).__name__ for m in network.modules())
    weights = torch.cat([p.detach().flatten() for p in network.parameters() if p.ndim > 1])
    assert float(weights.std()) == pytest.approx(1.0, abs=0.01)  # as equalised rates need it


def test_published_network_against_a_formula() -> None:
    """Convolutions, dense layers and pooling by hand, in float64, with He's factors in use."""
    network = ClassifierDesign("published", 32).build(3).double()
    x = torch.rand(1, 3, 32, 32, dtype=torch.float64)
    found = network(x).detach().numpy()
    maps = 2.0 * x.numpy()[0] - 1.0
    state = {name: t.detach().numpy() for name, t in network.state_dict().items()}
    names = [name.removesuffix(".weight") for name in state if name.endswith("weight")]
    side, number = 32, 0
    while side >= 4:
        for _ in range(2 if side > 4 else 1):
            weight, bias = state[f"{names[number]}.weight"], state[f"{names[number]}.bias"]
            weight = weight * np.sqrt(2.0 / weight[0].size)
            padded = np.pad(maps, ((0, 0), (1, 1), (1, 1)))
            windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (1, 2))
            maps = np.einsum("ocij,cyxij->oyx", weight, windows, optimize=True)
            maps = maps + bias[:, None, None]
            maps = np.maximum(maps, 0.2 * maps)
            number += 1
        if side > 4:
            maps = maps.reshape(len(maps), side // 2, 2, side // 2, 2).mean((2, 4))
        side //= 2
    dense, last = (state[f"{name}.weight"] for name in names[number:])
    hidden = dense @ maps.ravel() * np.sqrt(2.0 / dense.shape[1]) + state[f"{names[number]}.bias"]
    hidden = np.maximum(hidden, 0.2 * hidden)
    logits = last @ hidden / np.sqrt(last.shape[1]) + state[f"{names[number + 1]}.bias"]
    assert np.allclose(found[0], logits, atol=1e-10)


@pytest.mark.parametrize(
    ("side", "convolve_from", "field"),
    [(128, 128, 3), (128, 64, 10), (128, 32, 24), (128, 16, 52), (128, 8, 108), (64, 8, 52),
     (32, 16, 10)],
)  # fmt: skip
def test_receptive_field_by_gradient(side: int, convolve_from: int, field: int) -> None:
    network = ClassifierDesign("published", side, convolve_from=convolve_from).build(2)
    assert isinstance(network, PublishedClassifier) and network.receptive_field == field
    last = max(number for number, layer in enumerate(network.trunk) if isinstance(layer, nn.Conv2d))
    x = torch.rand(1, 3, side, side, requires_grad=True)
    maps = nn.Sequential(*list(network.trunk)[: last + 1])(x)
    assert maps.shape[-1] == convolve_from
    middle = convolve_from // 2
    maps[0, :, middle, middle].sum().backward()
    assert x.grad is not None
    touched = x.grad[0].abs().sum(0) > 0
    rows, columns = (torch.nonzero(touched.any(axis)).flatten() for axis in (1, 0))
    for places in (rows, columns):
        assert int(places[-1] - places[0]) + 1 == field


def test_published_receptive_fields() -> None:
    fields = []
    for side in (128, 64, 32, 16, 8, 4):
        network = ClassifierDesign("published", 128, convolve_from=side).build(2)
        assert isinstance(network, PublishedClassifier)
        fields.append(network.receptive_field)
        assert network(torch.rand(1, 3, 128, 128)).shape == (1, 2)
    assert fields == [3, 10, 24, 52, 108, 128]


@pytest.mark.parametrize("factor", [2, 4, 8, 16, 32])
def test_bands(factor: int) -> None:
    x = torch.rand(2, 3, 64, 64)
    low, rest = (
        ClassifierDesign("compact", 64, low_pass=factor),
        ClassifierDesign("compact", 64, residual=factor),
    )
    whole = low.input_band(x) + rest.input_band(x)
    assert torch.allclose(whole, 2.0 * x - 1.0, atol=1e-6)
    means = x.reshape(2, 3, 64 // factor, factor, 64 // factor, factor).mean((3, 5))
    enlarged = nn.functional.interpolate(means, (64, 64), mode="bilinear")
    assert torch.allclose(low_pass_filter(x, factor), enlarged, atol=1e-6)
    # Nothing of what the means leave out is seen by the one, and little else by the other.
    checks = ((torch.arange(64)[:, None] + torch.arange(64)) % 2).float().expand(1, 3, 64, 64)
    assert float(low.input_band(checks).abs().max()) < 1e-6
    flat = torch.full((1, 3, 64, 64), 0.7)
    assert float(rest.input_band(flat).abs().max()) < 1e-4


def test_compact_does_not_pool_at_first() -> None:
    network = ClassifierDesign("compact", 64).build(4)
    assert isinstance(network, CompactClassifier)
    x = torch.rand(2, 3, 64, 64)
    sides = []
    for layer in network.trunk:
        x = layer(x)
        sides.append(x.shape[-1])
    assert sides[:3] == [64, 64, 64] and sides[-3] == 4


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        ({"network": "resnet"}, "choose from published, compact"),
        ({"resolution": 48}, "power of two from 32 to 256"),
        ({"low_pass": 3}, "choose from 1, 2, 4"),
        ({"residual": 1}, "choose from 2, 4"),
        ({"low_pass": 2, "residual": 2}, "exclude each other"),
        ({"network": "published", "convolve_from": 256}, "at 128 px choose from 4, 8"),
        ({"convolve_from": 8}, "published network alone"),
    ],
)
def test_bad_designs(wrong: dict[str, Any], match: str) -> None:
    with pytest.raises(UserError, match=match):
        ClassifierDesign(**wrong)


def test_a_card_makes_the_design_again() -> None:
    design = ClassifierDesign("published", 64, residual=4, convolve_from=16)
    assert ClassifierDesign.load(design.card()) == design
    with pytest.raises(KeyError):
        ClassifierDesign.load({"network": "compact"})
    with pytest.raises(UserError, match="two sources"):
        design.build(1)
