"""SNGAN: Lipschitz layers, blocks in the order of the paper, updates."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrize

from artfp.generators import DataBatch, TrainingStep, build_model
from artfp.generators.models.sngan import SNGAN, SNGANDownBlock, SNGANUpBlock, sngan_widths
from artfp.nn.random_inputs import RandomInputs


@pytest.mark.parametrize("residual", [True, False])
@pytest.mark.parametrize("side", [32, 64])
def test_every_layer_of_the_discriminator_has_spectral_norm_1(side: int, residual: bool) -> None:
    changes = {"width": 8, "discriminator_width": 8, "max_width": 16, "residual": residual}
    model = build_model("sngan", side, seed=1, changes=changes)
    assert isinstance(model, SNGAN)
    critic = model.discriminator.train()
    with torch.no_grad():
        for _ in range(60):
            critic(torch.rand(1, 3, side, side))
    critic.eval()
    layers = [m for m in critic.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert len(layers) == ({32: 11, 64: 15} if residual else {32: 8, 64: 10})[side]
    for layer in layers:
        assert parametrize.is_parametrized(layer, "weight")
        weight = layer.weight.detach().flatten(1).double().numpy()
        assert np.linalg.svd(weight)[1][0] == pytest.approx(1.0, abs=0.03)
    assert not any(parametrize.is_parametrized(m) for m in model.generator.modules())


def test_blocks_add_their_branches_in_the_order_of_the_paper() -> None:
    """Shortcuts: enlarge, then convolve; convolve, then average. Ours commute these."""
    torch.manual_seed(0)
    x = torch.randn(2, 6, 8, 8)
    up = SNGANUpBlock(6, 4).eval()
    enlarge = nn.Upsample(scale_factor=2)
    h = up.convs[0](enlarge(F.relu(up.norms[0](x))))
    h = up.convs[1](F.relu(up.norms[1](h)))
    torch.testing.assert_close(up(x), h + up.shortcut(enlarge(x)), atol=1e-5, rtol=1e-5)
    halve = nn.AvgPool2d(2)
    for first in (False, True):
        down = SNGANDownBlock(6, 4, first=first).eval()
        assert down.shortcut is not None
        h = x if first else F.relu(x)
        h = halve(down.convs[1](F.relu(down.convs[0](h))))
        expected = h + halve(down.shortcut(x))
        torch.testing.assert_close(down(x), expected, atol=1e-5, rtol=1e-5)
    same = SNGANDownBlock(6, 6, halve=False).eval()
    assert same.shortcut is None
    expected = x + same.convs[1](F.relu(same.convs[0](F.relu(x))))
    torch.testing.assert_close(same(x), expected, atol=1e-5, rtol=1e-5)


def test_the_widths_of_the_paper() -> None:
    assert sngan_widths(32, 256, 1024) == [256] * 4
    assert sngan_widths(64, 64, 1024) == [1024, 512, 256, 128, 64]
    assert sngan_widths(128, 64, 1024) == [1024, 1024, 512, 256, 128, 64]
    model = build_model("sngan", 64, "paper")
    assert isinstance(model, SNGAN)
    blocks = [block for block in model.discriminator.blocks if isinstance(block, SNGANDownBlock)]
    last = [block.convs[1] for block in blocks]
    assert [m.out_channels for m in last if isinstance(m, nn.Conv2d)] == [64, 128, 256, 512, 1024]


def test_scores_sum_over_pixels_and_losses_are_hinges() -> None:
    model = build_model(
        "sngan", 16, seed=2, changes={"width": 8, "discriminator_width": 8, "residual": True}
    )
    assert isinstance(model, SNGAN)
    critic = model.discriminator.eval()
    x = torch.rand(6, 3, 16, 16)
    y = 2 * x - 1
    with torch.no_grad():
        maps = F.relu(critic.blocks(y)).numpy().astype(np.float64)
        weight, bias = (p.detach().double().numpy() for p in (critic.last.weight, critic.last.bias))
        scores = maps.sum(axis=(2, 3)) @ weight[0] + bias
        np.testing.assert_allclose(critic(y).numpy(), scores, rtol=1e-3, atol=1e-5)
        model.generator.eval()

        def rng() -> RandomInputs:
            return RandomInputs(torch.Generator().manual_seed(3), 6)

        fake = critic(model.generator(rng().normal(128))).numpy()
        first, second = model.trained_networks()
        loss, _ = first.loss(DataBatch((x,)), rng(), TrainingStep(0, 1))
        expected = np.maximum(0, 1 - scores).mean() + np.maximum(0, 1 + fake).mean()
        assert float(loss) == pytest.approx(expected, rel=1e-4)
        loss, _ = second.loss(DataBatch((x,)), rng(), TrainingStep(0, 1))
        assert float(loss) == pytest.approx(-fake.mean(), rel=1e-4, abs=1e-6)


def test_five_turns_of_the_critic_as_published() -> None:
    paper, small = (
        build_model("sngan", 16, size).trained_networks() for size in ("paper", "small")
    )
    assert [p.updates_per_step for p in paper] == [5, 1] and [
        p.updates_per_step for p in small
    ] == [1, 1]
    assert all(p.betas == (0.0, 0.9) and p.lr == 2e-4 for p in paper)


def test_the_plain_networks_of_the_paper() -> None:
    """Table 3 for 32 px: each halving follows a convolution, and the last map is read whole."""
    changes = {"width": 64, "discriminator_width": 64, "max_width": 512}
    model = build_model("sngan", 32, seed=2, changes=changes)
    assert isinstance(model, SNGAN)
    convs = [m for m in model.discriminator.modules() if isinstance(m, nn.Conv2d)]
    shapes = [(c.in_channels, c.out_channels, c.kernel_size[0], c.stride[0]) for c in convs]
    assert shapes == [
        (3, 64, 3, 1),
        (64, 64, 4, 2),
        (64, 128, 3, 1),
        (128, 128, 4, 2),
        (128, 256, 3, 1),
        (256, 256, 4, 2),
        (256, 512, 3, 1),
    ]
    assert model.discriminator.last.in_features == 512 * 16
    ups = [m for m in model.generator.modules() if isinstance(m, nn.ConvTranspose2d)]
    assert [(u.in_channels, u.out_channels) for u in ups] == [(512, 256), (256, 128), (128, 64)]
    generated = model.generator.sample(RandomInputs(torch.Generator().manual_seed(1), 3))
    assert generated.shape == (3, 3, 32, 32)


def test_the_plain_discriminator_is_the_product_of_its_layers() -> None:
    model = build_model(
        "sngan", 16, seed=4, changes={"width": 8, "discriminator_width": 8, "max_width": 16}
    )
    assert isinstance(model, SNGAN)
    critic = model.discriminator.eval()
    y = torch.rand(3, 3, 16, 16) * 2 - 1
    h = y
    for layer in (m for m in critic.modules() if isinstance(m, nn.Conv2d)):
        side = layer.kernel_size[0]
        h = F.conv2d(h, layer.weight, layer.bias, stride=layer.stride, padding=(side - 1) // 2)
        h = torch.where(h > 0, h, 0.1 * h)
    expected = (h.flatten(1) * critic.last.weight).sum(dim=1) + critic.last.bias
    torch.testing.assert_close(critic(y), expected)
