"""The module of a training: its rates, what its loss pays for, what validation does."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from artfp.watermark.training.module import (
    VALIDATION_CONDITIONS,
    WARMUP_STEPS,
    FingerprintAutoencoder,
    colour_fraction,
)


def test_learning_rate_of_feedback() -> None:
    """A line from a tenth to the peak in 20 steps, then half a cosine to a hundredth."""
    module = FingerprintAutoencoder(bits=8, resolution=32, total_steps=200, lr=1e-3)
    options = module.configure_optimizers()
    optimizer, scheduler = options["optimizer"], options["lr_scheduler"]["scheduler"]
    for step in range(201):
        if step <= WARMUP_STEPS:
            expected = 1e-3 * (0.1 + 0.9 * step / 20)
        else:
            half = (1 + np.cos(np.pi * (step - 20) / 180)) / 2
            expected = 1e-5 + (1e-3 - 1e-5) * half
        assert optimizer.param_groups[0]["lr"] == pytest.approx(expected, rel=1e-4), step
        optimizer.step()
        scheduler.step()
    trained = {id(p) for group in optimizer.param_groups for p in group["params"]}
    assert id(module.encoder.log_strength) not in trained  # the schedule sets it
    assert len(trained) == len(list(module.parameters())) - 1


def test_learning_rate_as_published() -> None:
    module = FingerprintAutoencoder("stegastamp", 8, 32, "published", lr=3e-4, perturb=False)
    optimizer = module.configure_optimizers()
    assert type(optimizer) is torch.optim.Adam
    assert optimizer.param_groups[0]["lr"] == 3e-4 and optimizer.defaults["betas"] == (0.9, 0.999)
    assert module.mixture is None


def test_colour_fraction() -> None:
    """Gray is 0, what sums to nothing is 1, and mixtures go by energy: by hand, in float64."""
    gray = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0)).expand(-1, 3, -1, -1)
    red_against_blue = gray * torch.tensor([1.0, 0.0, -1.0]).view(1, 3, 1, 1)
    assert float(colour_fraction(gray)) == pytest.approx(0.0, abs=1e-6)
    assert float(colour_fraction(red_against_blue)) == pytest.approx(1.0, abs=1e-6)
    both = gray + red_against_blue  # energies 3 and 2 of one plane's
    assert float(colour_fraction(both)) == pytest.approx(0.4, abs=1e-5)
    assert float(colour_fraction(both * 0.01)) == pytest.approx(0.4, abs=1e-5)
    rows = np.random.default_rng(0).normal(size=(5, 3, 6, 6))
    parts = rows - rows.mean(axis=1, keepdims=True)
    expected = (parts**2).sum() / (rows**2).sum()
    assert float(colour_fraction(torch.from_numpy(rows))) == pytest.approx(expected)


def test_colour_fraction_of_nothing_has_a_gradient() -> None:
    residual = torch.zeros(2, 3, 4, 4, requires_grad=True)
    share = colour_fraction(residual)
    share.backward()
    assert float(share.detach()) == 0.0
    assert residual.grad is not None and torch.isfinite(residual.grad).all()


def loss_of(module: FingerprintAutoencoder, batch: torch.Tensor) -> float:
    """Loss of one step, without a trainer."""
    module.log = lambda *_, **__: None  # type: ignore[method-assign]
    module.all_gather = torch.clone  # type: ignore[method-assign, assignment]
    module._trainer = SimpleNamespace(  # type: ignore[assignment]
        global_step=1, global_rank=0, barebones=False
    )
    with torch.no_grad():
        return float(module.training_step(batch, 0))


def test_colour_costs_by_feedback_only(photo_crops: Callable[..., torch.Tensor]) -> None:
    """The loss of `feedback` pays for colour; that of the published recipe does not."""

    def with_weight(weight: float) -> float:
        module = FingerprintAutoencoder(bits=8, resolution=32, perturb=False)
        module.colour_weight = weight
        return loss_of(module, photo_crops(4, 32))

    assert FingerprintAutoencoder(bits=8, resolution=32).colour_weight > 0
    free, dear = with_weight(0.0), with_weight(1.0)
    assert 0 < dear - free <= 1.0  # the share itself
    published = FingerprintAutoencoder("stegastamp", 8, 32, "published")
    assert published.colour_weight == 0.0


def test_validation_conditions() -> None:
    """Each once, by a name that tells the perturbation and how strong."""
    names = [name for name, _, _ in VALIDATION_CONDITIONS]
    assert len(set(names)) == len(names) and {"jpeg90", "jpeg50", "mirror"} <= set(names)
    draws = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (1, 3, 32, 32), generator=draws, dtype=torch.uint8)
    for name, perturbation, strength in VALIDATION_CONDITIONS:
        assert name.startswith(perturbation.name)
        changed = perturbation.real(pixels, strength, draws)
        assert changed.dtype == torch.uint8 and not torch.equal(changed, pixels)
        # Nothing that only a realigning decoder could read: what is validated is the network.
        assert perturbation.transform(torch.tensor([strength]), (32, 32), draws) is None
