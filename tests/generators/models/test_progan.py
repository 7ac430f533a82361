"""ProGAN: growing, fading, equalised layers, the critic's loss."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from artfp.generators import DataBatch, TrainingStep, build_model
from artfp.generators.models.progan import (
    ProGAN,
    ProGANConfig,
    ProGANGenerator,
    at_growth,
    growth_at,
    progan_widths,
)
from artfp.generators.registry import configure_model
from artfp.generators.weights import load_generator, save_generator
from artfp.nn.equalised import EqualisedConv2d, EqualisedLinear
from artfp.nn.random_inputs import ImageRandomInputs, RandomInputs


def tiny(side: int = 32, seed: int = 1) -> ProGAN:
    model = build_model("progan", side, seed=seed, changes={"channel_max": 8, "latent_dim": 6})
    assert isinstance(model, ProGAN)
    return model


def grown(generator: ProGANGenerator, z: Tensor, growth: float) -> Tensor:
    generator.growth.fill_(growth)
    with torch.no_grad():
        y: Tensor = generator(z)
    return y


def doubled(y: Tensor) -> Tensor:
    return y.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)


def test_stages_are_trained_and_faded_in_by_turns() -> None:
    """Four stages: 4 px alone, then three times a fading and as long a training, the last whole."""
    times = [0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.375, 0.4, 0.45, 0.5, 0.55, 0.6, 0.8, 1.0]
    found = [growth_at(t, 0.6, 3) for t in times]
    expected = [0, 0, 0, 0.5, 1, 1, 1, 1.75, 2, 2, 2, 2.5, 3, 3, 3]
    np.testing.assert_allclose(found, expected, atol=1e-9)
    model = tiny(16)
    model.begin_step(TrainingStep(0, 100))
    assert float(model.generator.growth) == 0.0
    model.begin_step(TrainingStep(99, 100))
    assert float(model.generator.growth) == 2.0


def test_a_phase_of_the_paper_is_800_000_images() -> None:
    for side, phases in ((16, 4), (32, 6), (128, 10)):
        config = configure_model("progan", side, "paper")
        assert isinstance(config, ProGANConfig)
        images = config.growth_fraction * config.steps * config.batch_size
        assert (
            images / phases == pytest.approx(800_000) and config.steps * config.batch_size == 12e6
        )
    config = configure_model("progan", 128, "paper")
    assert isinstance(config, ProGANConfig) and progan_widths(1024, config)[-1] == 16
    assert progan_widths(128, config) == [512, 512, 512, 512, 256, 128]


def test_a_new_stage_begins_as_the_old_one_enlarged() -> None:
    model = tiny()
    generator, critic = model.generator, model.discriminator
    torch.manual_seed(0)
    z = torch.randn(4, 6)
    x = torch.rand(4, 3, 32, 32) * 2 - 1
    for stage in (0, 1, 2):
        before, after = grown(generator, z, stage), grown(generator, z, stage + 1e-6)
        assert before.shape[2] == 4 * 2**stage and after.shape[2] == 8 * 2**stage
        torch.testing.assert_close(after, doubled(before), atol=1e-4, rtol=0)
        real, faded = at_growth(x, stage), at_growth(x, stage + 1e-6)
        torch.testing.assert_close(faded, doubled(real), atol=1e-4, rtol=0)
        with torch.no_grad():
            scores = critic(real, float(stage)), critic(faded, stage + 1e-6)
        torch.testing.assert_close(scores[1], scores[0], atol=1e-4, rtol=1e-3)
        # And ends as the new one: nothing jumps there.
        for near, at in (
            (grown(generator, z, stage + 1 - 1e-6), grown(generator, z, stage + 1)),
            (at_growth(x, stage + 1 - 1e-6), at_growth(x, stage + 1)),
        ):
            torch.testing.assert_close(near, at, atol=1e-4, rtol=0)
        with torch.no_grad():
            y = at_growth(x, stage + 1)
            near, at = critic(y, stage + 1 - 1e-6), critic(y, stage + 1.0)
        torch.testing.assert_close(near, at, atol=1e-4, rtol=1e-3)


def test_networks_that_have_grown_are_plain_chains() -> None:
    model = tiny().double()
    generator, critic = model.generator, model.discriminator
    torch.manual_seed(0)
    z = torch.randn(4, 6, dtype=torch.float64)
    with torch.no_grad():
        unit = z / z.square().mean(1, keepdim=True).sqrt()
        h = F.leaky_relu(generator.first(unit), 0.2).reshape(4, 8, 4, 4)
        h = generator.second(h / h.square().mean(1, keepdim=True).sqrt())
        images = [generator.images[0](h)]
        for block, image in zip(generator.blocks, generator.images[1:], strict=True):
            h = block(doubled(h))
            images.append(image(h))
    for stage, y in enumerate(images):
        torch.testing.assert_close(grown(generator, z, stage), y, atol=1e-5, rtol=1e-5)
    for fraction in (0.25, 0.7):
        expected = (1 - fraction) * doubled(images[1]) + fraction * images[2]
        found = grown(generator, z, 1 + fraction)
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    with torch.no_grad():
        x = torch.rand(4, 3, 32, 32, dtype=torch.float64)
        h = F.leaky_relu(critic.images[3](x), 0.2)
        for block in reversed(critic.blocks):
            h = block(h)
        plane = h.std(dim=0, unbiased=False).mean().expand(4, 1, 4, 4)
        expected = critic.last(torch.cat([h, plane], dim=1)).flatten()
        torch.testing.assert_close(critic(x, 3.0), expected, atol=1e-5, rtol=1e-5)


def test_real_images_are_shrunk_by_averages() -> None:
    x = torch.rand(2, 3, 32, 32, dtype=torch.float64)
    small = x.numpy().reshape(2, 3, 8, 4, 8, 4).mean(axis=(3, 5))
    np.testing.assert_allclose(at_growth(x, 1.0).numpy(), small, rtol=1e-12)
    large = x.numpy().reshape(2, 3, 16, 2, 16, 2).mean(axis=(3, 5))
    expected = 0.6 * small.repeat(2, axis=2).repeat(2, axis=3) + 0.4 * large
    np.testing.assert_allclose(at_growth(x, 1.4).numpy(), expected, rtol=1e-9)
    assert torch.equal(at_growth(x, 3.0), x)


def test_a_saved_generator_knows_its_stage(tmp_path: Path) -> None:
    model = tiny()
    pictures = []
    for growth in (1.0, 1.5, 3.0):
        model.generator.growth.fill_(growth)
        expected = model.generator.sample(ImageRandomInputs(0, range(3)))
        save_generator(model.generator, tmp_path / "generator.safetensors")
        generator, _ = load_generator(tmp_path / "generator.safetensors")
        assert torch.equal(generator.sample(ImageRandomInputs(0, range(3))), expected)
        assert expected.shape == (3, 3, 32, 32)
        pictures.append(expected)
    assert torch.equal(pictures[0], doubled(doubled(pictures[0][:, :, ::4, ::4])))
    assert not torch.equal(pictures[0], pictures[1]) and not torch.equal(pictures[1], pictures[2])


def test_all_layers_are_equalised_and_the_generators_normalised() -> None:
    torch.manual_seed(0)
    model = build_model("progan", 16, seed=2)
    layers = [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert len(layers) == 9 + 10
    for layer in layers:
        assert isinstance(layer, EqualisedConv2d | EqualisedLinear)
        close = 5.0 / layer.weight.numel() ** 0.5
        assert layer.weight.std().item() == pytest.approx(1.0, abs=close)
        assert layer.bias is not None and not layer.bias.any()
    assert isinstance(model, ProGAN)
    seen = []
    for name, module in model.generator.named_modules():
        if name == "second" or (name.startswith("blocks.") and name.count(".") == 2):
            module.register_forward_hook(lambda _m, _i, y: seen.append(y))
    model.generator.growth.fill_(2.0)
    model.generator(torch.randn(3, 128))
    assert len(seen) == 5
    for y in seen:
        squares = y.detach().square().mean(dim=1)
        torch.testing.assert_close(squares, torch.ones_like(squares), atol=1e-3, rtol=0)


class Linear(nn.Module):
    """A critic of known gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.randn(3 * 64) * 0.2)

    def forward(self, y: Tensor, growth: float) -> Tensor:
        assert growth == 0.5 and y.shape[2] == 8
        return y.flatten(1) @ self.a


def test_the_loss_is_wasserstein_with_penalty_and_drift() -> None:
    changes = {"channel_max": 8, "latent_dim": 6, "drift_weight": 2.0}
    model = build_model("progan", 16, seed=1, changes=changes)
    assert (
        isinstance(model, ProGAN) and build_model("progan", 16, "paper").config.drift_weight == 1e-3
    )
    torch.manual_seed(0)
    linear = Linear()
    model.discriminator = linear  # type: ignore[assignment]
    model.generator.growth.fill_(0.5)
    a = linear.a.detach().double().numpy()
    x = torch.rand(6, 3, 16, 16)

    def rng() -> RandomInputs:
        return RandomInputs(torch.Generator().manual_seed(3), 6)

    generated = grown(model.generator, rng().normal(6), 0.5).flatten(1).double().numpy()
    y = 2.0 * x.double().numpy() - 1.0
    fine = y.reshape(6, 3, 8, 2, 8, 2).mean(axis=(3, 5))
    coarse = y.reshape(6, 3, 4, 4, 4, 4).mean(axis=(3, 5)).repeat(2, axis=2).repeat(2, axis=3)
    real, fake = ((fine + coarse) / 2).reshape(6, -1) @ a, generated @ a
    penalty = (np.linalg.norm(a) - 1.0) ** 2
    first, second = model.trained_networks()
    loss, scalars = first.loss(DataBatch((x,)), rng(), TrainingStep(0, 1))
    assert float(scalars["penalty"].detach()) == pytest.approx(penalty, rel=1e-4)
    expected = fake.mean() - real.mean() + 10.0 * penalty + 2.0 * (real**2).mean()
    assert float(loss.detach()) == pytest.approx(expected, rel=1e-4)
    loss, _ = second.loss(DataBatch((x,)), rng(), TrainingStep(0, 1))
    assert float(loss.detach()) == pytest.approx(-fake.mean(), rel=1e-4)


def test_a_short_training_nears_the_data(distances: Callable[..., tuple[float, float]]) -> None:
    before, after = distances("progan", 80, channel_max=16, latent_dim=16, lr=5e-3)
    assert after < 0.4 * before
