"""What each alteration does to weights, against NumPy, and what it leaves alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from artfp.core.errors import UserError
from artfp.generators import Generator, build_model
from artfp.generators.perturb_weights import (
    ALTERATIONS,
    Alteration,
    add_weight_noise,
    alterable_weights,
    prune_weights,
    quantise_weights,
)
from artfp.nn.random_inputs import ImageRandomInputs


@pytest.fixture(scope="module")
def generator() -> Generator:
    """A small DCGAN's, with statistics of batch normalisation that are not those of a new one."""
    generated = build_model("dcgan", 16, seed=3, changes={"width": 8, "latent_dim": 16}).generator
    rng = torch.Generator().manual_seed(0)
    for module in generated.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            module.running_mean.normal_(generator=rng)
    return generated.eval()


def arrays(generator: Generator) -> dict[str, NDArray[np.float64]]:
    return {name: p.detach().double().numpy() for name, p in alterable_weights(generator).items()}


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("dcgan", {"width": 8}),
        ("sngan", {"width": 8, "discriminator_width": 8}),
        ("progan", {"channel_base": 128, "channel_max": 16}),
    ],
)
def test_weights_are_those_of_convolutions_and_linear_layers(
    name: str, changes: dict[str, int]
) -> None:
    generator = build_model(name, 16, changes=changes).generator
    layers = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)
    expected = {f"{n}.weight" for n, m in generator.named_modules() if isinstance(m, layers)}
    assert set(alterable_weights(generator)) == expected


@pytest.mark.parametrize("by", ["noise", "quantise", "prune"])
def test_all_else_stays_and_so_does_the_original(by: str, generator: Generator) -> None:
    before = {name: t.clone() for name, t in generator.state_dict().items()}
    altered = Alteration(by, {"noise": 0.5, "quantise": 3, "prune": 0.5}[by]).apply(generator)
    touched = set(alterable_weights(generator))
    for name, value in altered.state_dict().items():
        assert torch.equal(value, before[name]) != (name in touched)
    for name, value in generator.state_dict().items():
        assert torch.equal(value, before[name])
    # The copy is whole: it makes other images, in evaluation mode.
    rng = [ImageRandomInputs(0, range(2)) for _ in range(2)]
    one, two = generator.sample(rng[0]), altered.sample(rng[1])
    assert one.shape == two.shape and not torch.equal(one, two)
    assert not altered.training and altered.model == "dcgan"


def test_noise_has_the_deviation_that_was_asked_for(generator: Generator) -> None:
    before, after = arrays(generator), arrays(add_weight_noise(generator, 0.2, seed=1))
    for name, weight in before.items():
        noise = (after[name] - weight).ravel()
        several = 5 / np.sqrt(noise.size)
        assert abs(noise.std() / (0.2 * weight.std()) - 1) < several
        assert abs(np.mean(noise)) < several * noise.std()
        assert abs(np.corrcoef(noise, weight.ravel())[0, 1]) < several
    one, two = list(before)[:2]
    size = min(before[one].size, before[two].size)
    first, second = ((after[n] - before[n]).ravel()[:size] for n in (one, two))
    assert abs(np.corrcoef(first, second)[0, 1]) < 5 / np.sqrt(size)  # each tensor has its own
    again, other = (
        arrays(add_weight_noise(generator, 0.2, seed=1)),
        arrays(add_weight_noise(generator, 0.2, seed=2)),
    )
    assert np.array_equal(again[one], after[one]) and not np.array_equal(other[one], after[one])


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_quantised_weights_are_the_nearest_of_all_levels(bits: int, generator: Generator) -> None:
    after = arrays(quantise_weights(generator, bits))
    for name, weight in arrays(generator).items():
        top = np.abs(weight).max()
        levels = np.linspace(-top, top, 2**bits - 1)
        distances = np.abs(weight.ravel()[:, None] - levels)
        nearest = levels[distances.argmin(axis=1)]
        clear = np.diff(np.partition(distances, 1, axis=1)[:, :2]).ravel() > 1e-6 * top
        assert clear.mean() > 0.99
        np.testing.assert_allclose(after[name].ravel()[clear], nearest[clear], atol=1e-6 * top)


def test_a_tensor_of_zeros_can_be_quantised(generator: Generator) -> None:
    empty = prune_weights(generator, 0.5)
    name, weight = next(iter(alterable_weights(empty).items()))
    weight.data.zero_()
    assert not arrays(quantise_weights(empty, 4))[name].any()


@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.9])
def test_pruned_weights_are_the_smallest_of_each_tensor(
    fraction: float, generator: Generator
) -> None:
    after = arrays(prune_weights(generator, fraction))
    for name, weight in arrays(generator).items():
        flat, kept = weight.ravel(), after[name].ravel()
        gone = kept == 0.0
        assert gone.sum() == round(fraction * flat.size)
        assert np.abs(flat[gone]).max() <= np.abs(flat[~gone]).min()
        assert np.array_equal(kept[~gone], flat[~gone])


def test_equal_weights_are_pruned_no_further_than_their_share(generator: Generator) -> None:
    equal = prune_weights(generator, 0.1)
    name, weight = next(iter(alterable_weights(equal).items()))
    weight.data.fill_(0.5)
    assert (arrays(prune_weights(equal, 0.25))[name] == 0).sum() == round(0.25 * weight.numel())


@pytest.mark.parametrize(
    ("by", "strength", "message"),
    [
        ("noise", 0.0, "noise is 0; it must be above 0"),
        ("noise", float("nan"), "noise is nan; it must be above 0"),
        ("noise", float("inf"), "noise is inf; it must be above 0"),
        ("quantise", 1, "quantise is 1; choose from 2 to 16 bits"),
        ("quantise", 4.5, "quantise is 4.5; choose from 2 to 16"),
        ("quantise", 17, "quantise is 17; choose from 2 to 16"),
        ("prune", 1.0, "prune is 1; it must be a fraction above 0 and below 1"),
        ("prune", -0.1, "prune is -0.1; it must be a fraction above 0 and below 1"),
        ("cut", 1.0, "no alteration is called 'cut'; choose from noise, quantise, prune"),
    ],
)
def test_strengths_that_cannot_be(
    by: str, strength: float, message: str, generator: Generator
) -> None:
    with pytest.raises(UserError, match=message):
        Alteration(by, strength).apply(generator)


def test_what_a_card_says() -> None:
    assert Alteration("noise", 0.05, 3).entry() == {"by": "noise", "strength": 0.05, "seed": 3}
    assert Alteration("quantise", 8.0, 3).entry() == {"by": "quantise", "strength": 8}
    assert set(ALTERATIONS) == {"noise", "quantise", "prune"}
