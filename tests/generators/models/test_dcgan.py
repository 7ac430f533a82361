"""DCGAN: the paper's initial weights, widths and losses."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from artfp.generators import DataBatch, TrainingStep, build_model
from artfp.generators.models.dcgan import DCGAN
from artfp.nn.random_inputs import RandomInputs


def test_initial_weights() -> None:
    model = build_model("dcgan", 32, seed=1)
    seen: set[type[nn.Module]] = set()
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            close = 5 * 0.02 / (2 * layer.weight.numel()) ** 0.5
            assert layer.weight.std().item() == pytest.approx(0.02, abs=close)
            assert abs(layer.weight.mean().item()) < 5 * 0.02 / layer.weight.numel() ** 0.5
            seen.add(type(layer))
        if isinstance(layer, nn.BatchNorm2d):
            assert abs(layer.weight.mean().item() - 1.0) < 5 * 0.02 / len(layer.weight) ** 0.5
            assert 0.005 < layer.weight.std().item() < 0.04
            assert not layer.bias.any()
            seen.add(type(layer))
    assert len(seen) == 3


def test_the_widths_of_the_paper() -> None:
    model = build_model("dcgan", 64, "paper")
    generated = [m.out_channels for m in model.modules() if isinstance(m, nn.ConvTranspose2d)]
    scored = [m.out_channels for m in model.modules() if isinstance(m, nn.Conv2d)]
    assert generated == [1024, 512, 256, 128, 3] and scored == [128, 256, 512, 1024, 1]


def test_latents_are_uniform() -> None:
    model = build_model("dcgan", 16)
    assert isinstance(model, DCGAN)
    z = model.generator.latents(RandomInputs(torch.Generator().manual_seed(0), 300))
    assert z.shape == (300, 100, 1, 1) and z.min() >= -1.0 and z.max() < 1.0
    assert z.var().item() == pytest.approx(1 / 3, rel=0.02)


def test_losses_are_cross_entropies_of_separate_batches() -> None:
    """Real and generated images are normalised apart, and -log D(G(z)) is the generator's loss."""
    model = build_model("dcgan", 16, seed=2, changes={"width": 8})
    assert isinstance(model, DCGAN)
    x = torch.rand(6, 3, 16, 16)
    trained_networks = {network.name: network for network in model.trained_networks()}
    assert list(trained_networks) == ["discriminator", "generator"]

    def rng() -> RandomInputs:
        return RandomInputs(torch.Generator().manual_seed(3), 6)

    with torch.no_grad():
        generated = model.generator(model.generator.latents(rng()))
        real, fake = model.discriminator(2 * x - 1), model.discriminator(generated)
        ones, zeros = torch.ones(6), torch.zeros(6)
        cross = F.binary_cross_entropy_with_logits
        critic = cross(real, ones) + cross(fake, zeros)
        adversarial = cross(fake, ones)
        got, scalars = trained_networks["discriminator"].loss(
            DataBatch((x,)), rng(), TrainingStep(0, 1)
        )
        torch.testing.assert_close(got, critic)
        torch.testing.assert_close(scalars["real"], real.mean())
        torch.testing.assert_close(scalars["fake"], fake.mean())
        got, _ = trained_networks["generator"].loss(DataBatch((x,)), rng(), TrainingStep(0, 1))
        torch.testing.assert_close(got, adversarial)
