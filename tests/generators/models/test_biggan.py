"""BigGAN: conditional normalisation, attention, the orthogonal penalty, projections, chunks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrize

from artfp.generators import DataBatch, TrainingStep, build_model
from artfp.generators.models.biggan import (
    Attention,
    BigGAN,
    ConditionalNorm,
    orthogonal_conv,
    orthogonal_linear,
    orthogonal_penalty,
)
from artfp.nn.random_inputs import RandomInputs

TINY = {"width": 8, "discriminator_width": 8, "embedding_dim": 6, "chunk_dim": 5}


def tiny(side: int = 16, **changes: object) -> BigGAN:
    model = build_model("biggan", side, seed=2, classes=3, changes={**TINY, **changes})
    assert isinstance(model, BigGAN)
    return model


def numbers(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().double().numpy()


def raw(layer: nn.Module) -> torch.Tensor:
    """The weight before its division by the spectral norm."""
    return dict(layer.named_parameters())["parametrizations.weight.original"]


def rng(count: int = 6) -> RandomInputs:
    return RandomInputs(torch.Generator().manual_seed(3), count)


def test_conditional_normalisation() -> None:
    torch.manual_seed(0)
    norm = ConditionalNorm(5, 7).train()
    x, condition = torch.randn(6, 5, 4, 4) * 3 + 1, torch.randn(6, 7)
    with torch.no_grad():
        got = numbers(norm(x, condition))
    norm.eval()
    gain = 1 + numbers(condition) @ numbers(norm.gain.weight).T
    bias = numbers(condition) @ numbers(norm.bias.weight).T
    values = numbers(x)
    mean, variance = values.mean((0, 2, 3)), values.var((0, 2, 3))
    plain = (values - mean[:, None, None]) / np.sqrt(variance + 1e-4)[:, None, None]
    expected = gain[:, :, None, None] * plain + bias[:, :, None, None]
    np.testing.assert_allclose(got, expected, atol=1e-4)


def test_attention() -> None:
    torch.manual_seed(1)
    attention = Attention(16).eval()
    x = torch.randn(2, 16, 6, 4)
    torch.testing.assert_close(attention(x), x)  # it begins as the identity
    with torch.no_grad():
        attention.gamma.fill_(0.7)
    values = numbers(x).reshape(2, 16, 24)
    query, key, value, last = (
        numbers(layer.weight)[:, :, 0, 0]
        for layer in (attention.query, attention.key, attention.value, attention.last)
    )
    assert query.shape == key.shape == (2, 16) and value.shape == (8, 16)

    def pooled(maps: np.ndarray) -> np.ndarray:
        return np.asarray(maps.reshape(2, -1, 3, 2, 2, 2).max(axis=(3, 5)).reshape(2, -1, 6))

    scores = np.einsum("nci,ncj->nij", query @ values, pooled(key @ values))
    weights = np.exp(scores) / np.exp(scores).sum(axis=2, keepdims=True)
    mixed = np.einsum("nij,ncj->nci", weights, pooled(value @ values))
    expected = values + 0.7 * (last @ mixed)
    np.testing.assert_allclose(numbers(attention(x)).reshape(2, 16, 24), expected, atol=1e-4)


def test_the_orthogonal_penalty() -> None:
    torch.manual_seed(2)
    layers = nn.Sequential(
        orthogonal_conv(3, 4, 3), nn.ReLU(), orthogonal_linear(5, 3), nn.Linear(5, 3)
    )
    assert float(orthogonal_penalty(layers).detach()) == pytest.approx(
        0.0, abs=1e-8
    )  # initial weights
    expected = 0.0
    for layer in (layers[0], layers[2]):
        weight = raw(layer)
        nn.init.normal_(weight)
        filters = numbers(weight).reshape(len(weight), -1)
        for i, first in enumerate(filters):
            expected += sum((first @ other) ** 2 for j, other in enumerate(filters) if i != j)
    assert float(orthogonal_penalty(layers).detach()) == pytest.approx(expected, rel=1e-5)


def test_scores_are_projections_and_losses_are_hinges() -> None:
    model = tiny(orthogonal_weight=0.25).eval()
    critic, generator = model.discriminator, model.generator
    x, labels = torch.rand(6, 3, 16, 16), torch.tensor([0, 1, 2, 0, 1, 2])
    with torch.no_grad():
        features = numbers(F.relu(critic.blocks(2 * x - 1))).sum(axis=(2, 3))
        weight, bias = numbers(critic.last.weight)[0], numbers(critic.last.bias)
        classes = numbers(critic.embedding.weight)[labels]
        real = features @ weight + bias + (classes * features).sum(axis=1)
        np.testing.assert_allclose(critic(2 * x - 1, labels).numpy(), real, rtol=1e-3, atol=1e-4)
        drawn = rng()
        random = drawn.integers(3)
        assert len(set(random.tolist())) > 1
        fake = critic(generator(drawn.normal(generator.latent_dim), random), random).numpy()
        first, second = model.trained_networks()
        loss, scalars = first.loss(DataBatch((x,), labels), rng(), TrainingStep(0, 1))
        expected = np.maximum(0, 1 - real).mean() + np.maximum(0, 1 + fake).mean()
        assert float(loss) == pytest.approx(expected, rel=1e-4)
        assert float(scalars["real"]) == pytest.approx(real.mean(), rel=1e-3, abs=1e-5)
        nn.init.normal_(raw(model.generator.first))
        fake = critic(generator(drawn_latents(model), random), random).numpy()
        loss, scalars = second.loss(DataBatch((x,), labels), rng(), TrainingStep(0, 1))
        penalty = float(orthogonal_penalty(generator))
        assert penalty > 1.0 and float(scalars["orthogonal_penalty"]) == pytest.approx(penalty)
        assert float(loss) == pytest.approx(-fake.mean() + 0.25 * penalty, rel=1e-4)


def drawn_latents(model: BigGAN) -> torch.Tensor:
    """The latents of `rng`, which come after the classes."""
    drawn = rng()
    drawn.integers(3)
    return drawn.normal(model.generator.latent_dim)


def test_each_block_has_its_chunk_and_the_class() -> None:
    """The first chunk alone decides the 4 x 4 pixels; each other one, and the class, a block."""
    generator = tiny(32).generator.eval()
    assert generator.latent_dim == 5 * 4 and len(generator.blocks) == 3
    seen: list[list[torch.Tensor]] = []

    def look(block: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        seen[-1].append(inputs[1])

    for block in generator.blocks:
        block.register_forward_pre_hook(look)
    z, labels = torch.randn(2, 20), torch.tensor([1, 2])
    with torch.no_grad():
        seen.append([])
        images = generator(z, labels)
        for number, condition in enumerate(seen[0]):
            torch.testing.assert_close(condition[:, :6], generator.embedding(labels))
            torch.testing.assert_close(condition[:, 6:], z[:, 5 * (number + 1) :][:, :5])
        seen.append([])
        assert not torch.allclose(generator(z, torch.tensor([0, 0])), images)


@pytest.mark.parametrize("side", [32, 64])
def test_every_layer_has_spectral_norm_1_but_the_shared_embedding(side: int) -> None:
    model = tiny(side)
    for module in (model.generator, model.discriminator):
        layers = {
            name: layer
            for name, layer in module.named_modules()
            if isinstance(layer, nn.Conv2d | nn.Linear | nn.Embedding)
        }
        plain = {n for n, layer in layers.items() if not parametrize.is_parametrized(layer)}
        assert plain == ({"embedding"} if module is model.generator else set())


def test_the_numbers_of_the_paper() -> None:
    model = build_model(
        "biggan", 128, "paper", classes=2, changes={"width": 6, "discriminator_width": 6}
    )
    assert isinstance(model, BigGAN) and model.generator.latent_dim == 120
    generated = [tuple(block.children())[1][1].out_channels for block in model.generator.blocks]  # type: ignore
    assert generated == [96, 48, 24, 12, 6]
    critic, generator = model.trained_networks()
    assert (critic.lr, critic.updates_per_step, critic.betas) == (2e-4, 2, (0.0, 0.999))
    assert (generator.lr, generator.updates_per_step, generator.betas) == (5e-5, 1, (0.0, 0.999))
    assert model.config.batch_size == 2048 and model.config.orthogonal_weight == 1e-4
    assert type(model).configure("paper", 128).width == 96  # type: ignore[attr-defined]


def test_a_few_steps_tell_classes_apart() -> None:
    """Images of two classes, one dark and one bright: the generator learns which is which."""
    model = build_model("biggan", 16, seed=2, classes=2, changes=TINY)
    adams = [torch.optim.Adam(p.parameters(), 1e-2, (0.0, 0.99)) for p in model.trained_networks()]
    labels = torch.arange(16) % 2
    for step in range(30):
        noise = torch.Generator().manual_seed(step)
        x = (
            0.1
            + 0.7 * labels[:, None, None, None]
            + 0.1 * torch.rand(16, 3, 16, 16, generator=noise)
        )
        for network, adam in zip(model.trained_networks(), adams, strict=True):
            model.requires_grad_(False)
            for parameter in network.parameters():
                parameter.requires_grad_(True)
            loss, _ = network.loss(
                DataBatch((x,), labels), RandomInputs(noise, 16), TrainingStep(step, 30)
            )
            adam.zero_grad()
            loss.backward()
            adam.step()
    generated = model.generator.sample(rng(32), torch.arange(32) % 2).mean(dim=(1, 2, 3))
    dark, bright = float(generated[0::2].mean()), float(generated[1::2].mean())
    assert abs(dark - 0.15) < 0.2 and abs(bright - 0.85) < 0.2
