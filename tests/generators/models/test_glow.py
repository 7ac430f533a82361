"""Glow: inverses, log-determinants against autograd's Jacobian, first scales, likelihoods."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.stats import norm
from torch import Tensor, nn

from artfp.core.errors import UserError
from artfp.generators import DataBatch, TrainingStep, build_model
from artfp.generators.models.glow import Glow, GlowConfig
from artfp.generators.models.glow_layers import ActNorm, Coupling, Flow, InvertibleConv, Prior
from artfp.nn.random_inputs import RandomInputs

TINY = {"depth": 2, "levels": 2, "width": 8}


def stirred(module: nn.Module, seed: int = 0) -> nn.Module:
    """In float64, with all parameters moved off their first values, of which many are 0."""
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.double().parameters():
            noise = torch.randn(parameter.shape, generator=rng, dtype=torch.float64)
            parameter.add_(0.2 * noise)
    return module


def image(channels: int, side: int, count: int = 2) -> Tensor:
    rng = torch.Generator().manual_seed(1)
    shape = (count, channels, side, side)
    return torch.randn(shape, generator=rng, dtype=torch.float64)


def tiny(**changes: object) -> Glow:
    model = build_model("glow", 16, seed=1, changes={**TINY, **changes})
    assert isinstance(model, Glow)
    return model


def log_determinants(function: Callable[[Tensor], Tensor], x: Tensor) -> list[float]:
    """Of the Jacobian of a function (1, ...) -> (1, ...), for each image, by autograd and LU."""
    found = []
    for one in x.split(1):
        jacobian = torch.autograd.functional.jacobian(function, one)
        assert isinstance(jacobian, Tensor)
        sign, value = np.linalg.slogdet(jacobian.reshape(one.numel(), one.numel()).numpy())
        assert sign != 0.0
        found.append(value)
    return found


@pytest.mark.parametrize("kind", [ActNorm, InvertibleConv, lambda c: Coupling(c, 6)])
def test_steps_and_their_determinants(kind: Callable[[int], nn.Module]) -> None:
    torch.manual_seed(0)
    step, x = stirred(kind(4)), image(4, 4)
    y, log_det = step(x)
    assert y.shape == x.shape and (y - x).abs().max() > 0.1
    torch.testing.assert_close(step.inverse(y), x, rtol=0, atol=1e-10)  # type: ignore[operator]
    expected = log_determinants(lambda one: step(one)[0], x)
    np.testing.assert_allclose(log_det.detach().numpy(), expected, atol=1e-9)
    assert max(map(abs, expected)) > 0.1


@pytest.mark.parametrize("given", [0, 3])
def test_a_prior_is_a_gaussian_of_its_own_for_each_pixel(given: int) -> None:
    prior = stirred(Prior(3, 4, given))
    assert isinstance(prior, Prior)
    z, known = image(3, 4), 3.0 * image(max(1, given), 4)[:, : given or 1]
    noise, log_det = prior(z, known)
    torch.testing.assert_close(prior.inverse(noise, known), z)
    mean, log_deviation = (part.detach().numpy() for part in prior._moments(known))
    assert np.ptp(mean[0, 0]) > 0.1
    expected = norm.logpdf(z.numpy(), mean, np.exp(log_deviation)).sum(axis=(1, 2, 3))
    found = norm.logpdf(noise.detach().numpy()).sum(axis=(1, 2, 3)) + log_det.detach().numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-10)


@pytest.mark.parametrize("learned", [False, True])
def test_the_whole_flow(learned: bool) -> None:
    torch.manual_seed(0)
    flow = stirred(Flow(3, 8, levels=2, depth=2, width=6, learned=learned))
    assert isinstance(flow, Flow)
    y = image(3, 8)
    parts, log_det = flow(y)
    assert [part.shape[1:] for part in parts] == flow.shapes == [(6, 4, 4), (24, 2, 2)]
    torch.testing.assert_close(flow.inverse(parts), y, rtol=0, atol=1e-6)

    def noise(one: Tensor) -> Tensor:
        return torch.cat([part.flatten(1) for part in flow(one)[0]], dim=1)

    expected = log_determinants(noise, y)
    np.testing.assert_allclose(log_det.detach().numpy(), expected, atol=1e-8)


def test_a_rotation_begins_as_one() -> None:
    torch.manual_seed(0)
    rotation = InvertibleConv(12)
    weight = rotation.weight().detach().double()
    torch.testing.assert_close(weight @ weight.T, torch.eye(12).double(), atol=1e-5, rtol=0)
    off = weight - torch.diag(weight.diagonal())
    assert off.abs().max() > 0.2


def test_the_first_batch_sets_the_scales() -> None:
    """After `prepare`, each channel comes out of each ActNorm with mean 0 and deviation 1."""
    model = tiny()
    rng = torch.Generator().manual_seed(0)
    x = torch.rand(8, 3, 16, 16, generator=rng) * torch.tensor([0.2, 0.6, 1.0])[:, None, None]
    model.prepare(DataBatch((x,)), RandomInputs(torch.Generator().manual_seed(5), 8))
    seen = []
    for layer in model.modules():
        assert not layer._forward_pre_hooks
        if isinstance(layer, ActNorm):
            layer.register_forward_hook(lambda layer, inputs, outputs: seen.append(outputs[0]))
    with torch.no_grad():
        model.generator.bits_per_dim(
            x, RandomInputs(torch.Generator().manual_seed(5), 8).uniform(3, 16, 16)
        )
    assert len(seen) == 4
    for y in seen:
        values = y.double().numpy()
        np.testing.assert_allclose(values.mean(axis=(0, 2, 3)), 0.0, atol=1e-4)
        np.testing.assert_allclose(values.std(axis=(0, 2, 3)), 1.0, atol=1e-3)


def test_bits_per_dimension() -> None:
    """As of the flow's noise, where a value of 256 levels is one of [k, k + 1) / 128 - 1."""
    model = tiny()
    stirred(model.generator).float()
    generator = model.generator
    levels = torch.arange(2 * 3 * 16 * 16).reshape(2, 3, 16, 16) % 256
    place = RandomInputs(torch.Generator().manual_seed(3), 2).uniform(3, 16, 16)
    y = (levels.double() + place.double()) / 128.0 - 1.0
    with torch.no_grad():
        got = generator.bits_per_dim(levels / 255.0, place).double().numpy()
        parts, log_det = generator.double().flow(y)
    log_density = log_det.numpy() + sum(norm.logpdf(z.numpy()).sum((1, 2, 3)) for z in parts)
    # A level is 1 / 128 wide: its probability is the density times that, for each of 768 numbers.
    expected = -(log_density + 768 * math.log(1 / 128)) / (768 * math.log(2))
    np.testing.assert_allclose(got, expected, rtol=1e-4)


def test_of_all_256_levels_the_flat_density_takes_8_bits() -> None:
    """What no other density does better on uniform noise, and what integrates to 1."""
    generator = tiny(learned_prior=False).generator
    for layer in generator.modules():
        if isinstance(layer, ActNorm):  # Gaussian noise of deviation 1 / sqrt(3)
            layer.log_scale.data.fill_(math.log(3.0) / 8.0)
    rng = torch.Generator().manual_seed(0)
    x = torch.randint(256, (64, 3, 16, 16), generator=rng) / 255.0
    with torch.no_grad():
        bits = generator.bits_per_dim(x, torch.rand(x.shape, generator=rng)).mean()
    assert 8.0 < float(bits) < 8.5


def test_sampling_undoes_what_training_sees() -> None:
    """The noise of an image, at its temperature, comes back as that image; 0 is the mode."""

    class Fixed(RandomInputs):
        def __init__(self, parts: list[Tensor]) -> None:
            super().__init__(torch.Generator(), len(parts[0]))
            self.parts = list(parts)

        def normal(self, *shape: int) -> Tensor:
            part = self.parts.pop(0)
            assert part.shape[1:] == shape
            return part

    model = tiny(temperature=0.5)
    x = torch.randint(256, (2, 3, 16, 16), generator=torch.Generator().manual_seed(0)) / 255.0
    model.prepare(DataBatch((x,)), RandomInputs(torch.Generator().manual_seed(5), 2))
    with torch.no_grad():
        parts, _ = model.generator.flow((x * 255.0 + 0.5) / 128.0 - 1.0)
    again = model.generator.sample(Fixed([part / 0.5 for part in parts]))
    torch.testing.assert_close(again, x, rtol=0, atol=1e-4)


def test_training_lowers_the_bits_and_the_distance(
    distances: Callable[..., tuple[float, float]],
) -> None:
    before, after = distances("glow", 25, depth=2, levels=2, width=16, lr=1e-2)
    assert after < 0.5 * before
    model = tiny()
    (network,) = model.trained_networks()
    x = torch.rand(8, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 0.2
    rng = RandomInputs(torch.Generator().manual_seed(4), 8)
    with torch.no_grad():
        first, _ = network.loss(DataBatch((x,)), rng, TrainingStep(0, 1))
        model.prepare(DataBatch((x,)), rng)
        second, _ = network.loss(DataBatch((x,)), rng, TrainingStep(0, 1))
    assert float(second) < float(first) - 0.5


def test_the_numbers_of_the_paper() -> None:
    for side, depth, levels, batch in ((32, 32, 3, 512), (64, 48, 4, 128), (128, 64, 5, 160)):
        config = Glow.configure("paper", side)
        assert isinstance(config, GlowConfig)
        assert (config.depth, config.levels, config.batch_size) == (depth, levels, batch)
        assert (config.width, config.lr, config.temperature) == (512, 1e-3, 0.7)


def test_sides_that_cannot_be_halved() -> None:
    with pytest.raises(UserError, match="16 pixels cannot be halved 5 times; take fewer levels"):
        build_model("glow", 16, changes={"levels": 5})
