"""Images through an autoencoder: plain, with noise, at any size, and few at a time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from artfp.data.pixels import to_8bit, to_unit
from artfp.nn import load_latent_autoencoder
from artfp.perturbations import Latent, latent, training_mixture
from artfp.perturbations.conditions import choose
from artfp.perturbations.registry import PERTURBATIONS

Seeded = Callable[..., torch.Generator]


@pytest.fixture(scope="module")
def perturbation(autoencoder_folder: Path) -> Latent:
    return Latent(load_latent_autoencoder(autoencoder_folder))


def test_without_noise_it_is_the_autoencoder(
    perturbation: Latent, pixels: Tensor, x: Tensor, seeded: Seeded
) -> None:
    network = perturbation.autoencoder
    expected = network.decode(network.encode(x))
    assert torch.equal(perturbation.differentiable(x, torch.zeros(4), seeded(1)), expected)
    assert torch.equal(perturbation.real(pixels, 0.0, seeded(2)), to_8bit(expected))


def test_noise_is_on_the_latents_and_each_images_own(
    perturbation: Latent, x: Tensor, seeded: Seeded
) -> None:
    network, draws = perturbation.autoencoder, seeded(3)
    latents = network.encode(x)
    strength = torch.tensor([0.0, 0.2, 0.2, 1.0])
    noise = torch.stack([torch.randn(one.shape, generator=draws) for one in latents])
    expected = network.decode(latents + noise * strength.view(-1, 1, 1, 1))
    assert torch.equal(perturbation.differentiable(x, strength, seeded(3)), expected)
    assert not torch.equal(perturbation.differentiable(x, strength, seeded(4)), expected)


@pytest.mark.parametrize("size", [(64, 64), (50, 33), (7, 64)])
def test_any_size_in_both_forms(
    size: tuple[int, int], perturbation: Latent, pixels: Tensor, seeded: Seeded
) -> None:
    pixels = pixels[..., : size[0], : size[1]].contiguous()
    kept = pixels.clone()
    real = perturbation.real(pixels, 0.25, seeded(5))
    assert real.shape == pixels.shape and real.dtype == torch.uint8
    assert torch.equal(real, perturbation.real(pixels, 0.25, seeded(5)))
    soft = perturbation.differentiable(to_unit(pixels), torch.full((4,), 0.25), seeded(5))
    assert (to_unit(real) - soft).abs().max() <= 0.5001 / 255
    assert torch.equal(pixels, kept)


def test_few_images_at_a_time_give_the_same(
    perturbation: Latent, pixels: Tensor, seeded: Seeded, monkeypatch: pytest.MonkeyPatch
) -> None:
    together = perturbation.real(pixels, 0.5, seeded(6))
    monkeypatch.setattr(latent, "_REAL_PIXELS", 2 * 64 * 64 + 5)
    parts = perturbation.real(pixels, 0.5, seeded(6))
    assert (parts.int() - together.int()).abs().max() <= 2  # bfloat16 sums by the batch's size


def test_gradients_pass_and_the_networks_stay(
    perturbation: Latent, x: Tensor, seeded: Seeded
) -> None:
    x.requires_grad_()
    perturbation.differentiable(x, torch.full((4,), 0.1), seeded()).sum().backward()
    assert x.grad is not None and torch.isfinite(x.grad).all()
    assert (x.grad.abs().sum(dim=(1, 2, 3)) > 0).all()
    assert all(each.grad is None for each in perturbation.autoencoder.parameters())


@pytest.mark.parametrize(("side", "most"), [(64, 4), (128, 4), (256, 2), (512, 1), (2048, 1)])
def test_a_training_step_has_few(side: int, most: int, perturbation: Latent) -> None:
    assert perturbation.most_images((side, side)) == most


def test_among_the_training_perturbations(perturbation: Latent, seeded: Seeded) -> None:
    """It learns its reach like all members; its weights are in no checkpoint."""
    mixture = training_mixture(32, identity=0.0, more=[perturbation])
    number = mixture.members.index(perturbation)
    assert set(mixture.state_dict()) == {"reach", "error"} and not list(mixture.parameters())
    mixture.error.fill_(0.0)
    mixture.error[number] = 1.0
    for side in (32, 64):
        x = torch.full((24, 3, side, side), 0.5, requires_grad=True)
        out, choice = mixture(x, seeded(1))
        assert (choice == number).sum() == 4 and out.shape == x.shape
        out.sum().backward()
    mixture.learn(choice, torch.zeros(24))
    assert float(mixture.reach[number]) < 0.3 and float(mixture.error[number]) > 0.99


def test_it_is_a_condition_where_it_is_known(perturbation: Latent) -> None:
    assert "latent" not in PERTURBATIONS
    found = choose(["latent"], None, {"latent": perturbation})
    assert [each.name for each in found] == [
        "identity", "latent@0", "latent@0.1", "latent@0.25", "latent@0.5",
    ]  # fmt: skip
