"""CycleGAN: its pool of past translations, its three losses, both directions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from artfp.core.errors import UserError
from artfp.generators import DataBatch, TrainingStep, build_model
from artfp.generators.models.cyclegan import CycleGAN, ImagePool
from artfp.generators.models.translators import PatchDiscriminator, ResNetTranslator
from artfp.nn.random_inputs import RandomInputs

NARROW = {"width": 4, "discriminator_width": 4, "residual_blocks": 1}


def new(**changes: object) -> CycleGAN:
    model = build_model("cyclegan", 32, seed=1, changes={**NARROW, **changes})
    assert isinstance(model, CycleGAN)
    return model


def rng(count: int, seed: int = 0) -> RandomInputs:
    return RandomInputs(torch.Generator().manual_seed(seed), count)


def numbered(numbers: range) -> Tensor:
    return torch.tensor(numbers, dtype=torch.float32).reshape(-1, 1, 1, 1).expand(-1, 3, 4, 4)


def images(count: int, seed: int) -> Tensor:
    return torch.rand(count, 3, 32, 32, generator=torch.Generator().manual_seed(seed))


def test_the_pool_returns_the_first_fifty_then_swaps_half() -> None:
    pool = ImagePool(50, 4)
    for start in range(0, 48, 8):
        generated = numbered(range(start, start + 8))
        assert torch.equal(pool.exchange(generated, rng(8, start)), generated)
    held, swapped, total = set(range(48)), 0, 0
    for step in range(6, 206):
        numbers = range(8 * step, 8 * step + 8)
        shown = pool.exchange(numbered(numbers), rng(8, step))
        assert (shown == shown[:, :1, :1, :1]).all()
        for own, got in zip(numbers, shown[:, 0, 0, 0].int().tolist(), strict=True):
            if len(held) < 50:  # the two places that are left
                held.add(own)
                assert got == own
                continue
            total += 1
            if got != own:
                swapped += 1
                held.remove(got)  # it was in the pool, and is not any more
                held.add(own)
        assert sorted(pool.images[: len(held), 0, 0, 0].int().tolist()) == sorted(held)
    assert abs(swapped / total - 0.5) < 4 * 0.5 / total**0.5


def test_the_pool_is_part_of_the_state_and_follows_the_draws() -> None:
    first, second = ImagePool(3, 4), ImagePool(3, 4)
    first.exchange(numbered(range(5)), rng(5))
    second.load_state_dict(first.state_dict())
    generated = numbered(range(5, 13)).clone().requires_grad_()
    shown = first.exchange(generated, rng(8, seed=1))
    assert torch.equal(shown, second.exchange(generated, rng(8, seed=1)))
    assert not shown.requires_grad and torch.equal(first.images, second.images)
    assert not torch.equal(shown, second.exchange(generated, rng(8, seed=2)))
    assert {"pools.0.images", "pools.1.filled"} <= new().state_dict().keys()
    generated = numbered(range(4))
    assert torch.equal(ImagePool(0, 4).exchange(generated, rng(4)), generated)


class Affine(nn.Module):
    """scale * y + shift."""

    def __init__(self, scale: float, shift: float) -> None:
        super().__init__()
        self.scale, self.shift = scale, shift

    def forward(self, y: Tensor) -> Tensor:
        return self.scale * y + self.shift


def test_losses_of_translators_that_are_known() -> None:
    """Inverses have no cycle loss; all three losses of others agree with NumPy's."""
    model = new()
    a, b = images(3, 0), images(3, 1)
    loss = {network.name: network.loss for network in model.trained_networks()}
    progress = TrainingStep(0, 10)
    model.generator.translators = nn.ModuleList([Affine(2.0, 0.5), Affine(0.5, -0.25)])
    _, scalars = loss["generator"](DataBatch((a, b)), rng(3), progress)
    assert float(scalars["cycle"].detach()) == pytest.approx(0.0, abs=1e-6)
    assert float(scalars["identity"].detach()) > 0.1

    model.generator.translators = nn.ModuleList([Affine(0.8, 0.1), Affine(0.5, -0.2)])
    got, scalars = loss["generator"](DataBatch((a, b)), rng(3), progress)
    y, z = (2 * x.double().numpy() - 1 for x in (a, b))
    made_b, made_a = 0.5 * y - 0.2, 0.8 * z + 0.1
    cycle = np.abs(0.8 * made_b + 0.1 - y).mean() + np.abs(0.5 * made_a - 0.2 - z).mean()
    identity = np.abs(0.5 * z - 0.2 - z).mean() + np.abs(0.8 * y + 0.1 - y).mean()

    def scores(domain: int, y: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            scored: np.ndarray = model.discriminator[domain](torch.from_numpy(y).float()).numpy()
        return scored

    adversarial = ((scores(1, made_b) - 1) ** 2).mean() + ((scores(0, made_a) - 1) ** 2).mean()
    assert float(scalars["cycle"].detach()) == pytest.approx(cycle, rel=1e-5)
    assert float(scalars["identity"].detach()) == pytest.approx(identity, rel=1e-5)
    assert float(got.detach()) == pytest.approx(adversarial + 10 * cycle + 5 * identity, rel=1e-5)

    got, _ = loss["discriminator"](DataBatch((a, b)), rng(3), progress)
    expected = sum(
        ((scores(d, real) - 1) ** 2).mean() / 2 + (scores(d, fake) ** 2).mean() / 2
        for d, real, fake in ((0, y, made_a), (1, z, made_b))
    )
    assert float(got.detach()) == pytest.approx(expected, rel=1e-5)
    np.testing.assert_allclose(model.state_dict()["pools.1.images"][:3], made_b, atol=1e-6)


def test_targets_are_the_domains() -> None:
    model, x = new(), images(2, 3)
    assert model.generator.targets == (1, 0)
    for target, network in enumerate(model.generator.translators):
        with torch.no_grad():
            expected = (network(2 * x - 1) + 1) / 2
        torch.testing.assert_close(model.generator.translate(x, target), expected)


def test_steps_lower_the_cycle_and_the_identity_loss() -> None:
    model = new(width=8, lr=3e-3)
    batch = DataBatch((images(2, 0) * 0.5, images(2, 1) * 0.5 + 0.5))
    network = model.trained_networks()[1]
    optimizer = torch.optim.Adam(network.parameters(), network.lr, network.betas)
    losses = []
    for step in range(25):
        loss, scalars = network.loss(batch, rng(2, step), TrainingStep(step, 25))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append([float(scalars["cycle"].detach()), float(scalars["identity"].detach())])
    for before, after in zip(losses[0], losses[-1], strict=True):
        assert after < 0.6 * before


def test_the_networks_of_the_paper() -> None:
    for side, blocks in ((128, 6), (256, 9)):
        with torch.device("meta"):
            model = build_model("cyclegan", side, "paper")
            assert isinstance(model, CycleGAN)
            network, discriminator = model.generator.translators[1], model.discriminator[1]
            assert isinstance(network, ResNetTranslator) and len(network.blocks) == blocks
            generated = [m.out_channels for m in network.modules() if isinstance(m, nn.Conv2d)]
            assert generated == [64, 128, 256] + [256] * 2 * blocks + [3]
            scored = [m.out_channels for m in discriminator.modules() if isinstance(m, nn.Conv2d)]
            assert scored == [64, 128, 256, 512, 1]
            y = torch.empty(1, 3, side, side)
            assert network(y).shape == y.shape
            assert discriminator(y).shape == (1, (side // 8 - 2) ** 2)
    rates = [
        network.lr_at(TrainingStep(step, 100), model.config.lr_decay_start)
        for network in model.trained_networks()
        for step in (50, 75, 99)
    ]
    assert rates == pytest.approx([2e-4, 1e-4, 4e-6] * 2)
    with pytest.raises(UserError, match="padding is 'none'; choose reflect or zeros"):
        build_model("cyclegan", 32, changes={"padding": "none"})


def test_a_score_sees_seventy_pixels() -> None:
    """So a middle score of 64 pixels depends on all of them but a line."""
    discriminator = PatchDiscriminator(4)
    for module in discriminator.modules():  # norms let every score see everything
        if isinstance(module, nn.InstanceNorm2d):
            module.forward = nn.Identity().forward  # type: ignore[method-assign]
    for side, seen in ((128, 70), (64, 63)):
        y = torch.rand(1, 3, side, side, requires_grad=True)
        scores = discriminator(y)
        row = int(scores.shape[1] ** 0.5)
        scores[0, (row // 2) * row + row // 2].backward()
        assert y.grad is not None
        touched = y.grad[0].abs().sum(dim=0) > 0
        assert int(touched.any(dim=0).sum()) == int(touched.any(dim=1).sum()) == seen
