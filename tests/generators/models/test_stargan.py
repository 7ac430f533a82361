"""StarGAN: its labels, its penalty on a known gradient, its losses."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from artfp.generators import DataBatch, TrainingStep, build_model
from artfp.generators.models.stargan import StarGAN
from artfp.nn.random_inputs import RandomInputs

NARROW = {"width": 4, "discriminator_width": 4, "residual_blocks": 1}


def new(side: int = 32, classes: int = 3, **changes: object) -> StarGAN:
    model = build_model("stargan", side, seed=1, classes=classes, changes={**NARROW, **changes})
    assert isinstance(model, StarGAN)
    return model


def rng(count: int, seed: int = 0) -> RandomInputs:
    return RandomInputs(torch.Generator().manual_seed(seed), count)


def images(count: int, seed: int) -> Tensor:
    return torch.rand(count, 3, 32, 32, generator=torch.Generator().manual_seed(seed))


class Linear(nn.Module):
    """Scores w . y, of a gradient of the given norm everywhere, and logits 0."""

    def __init__(self, norm: float) -> None:
        super().__init__()
        weights = torch.randn(3, 32, 32, generator=torch.Generator().manual_seed(0))
        self.weights = nn.Parameter(norm * weights / weights.norm())

    def forward(self, y: Tensor) -> tuple[Tensor, Tensor]:
        scores = (self.weights * y).sum(dim=(1, 2, 3))
        return scores, torch.zeros(len(y), 3)


@pytest.mark.parametrize("norm", [0.25, 1.0, 3.0])
def test_the_penalty_of_a_known_gradient(norm: float) -> None:
    model = new()
    discriminator = model.discriminator = Linear(norm)  # type: ignore[assignment]
    real, fake = 2 * images(4, 0) - 1, 2 * images(4, 1) - 1
    value = model.penalty(real, fake, rng(4))
    assert float(value.detach()) == pytest.approx((norm - 1.0) ** 2, abs=1e-5)
    if norm != 1.0:  # d/dw (|w| - 1)^2 = 2 (|w| - 1) w / |w|
        value.backward()
        expected = 2 * (norm - 1.0) * discriminator.weights.detach() / norm
        torch.testing.assert_close(discriminator.weights.grad, expected, rtol=1e-3, atol=1e-6)


class Square(Linear):
    """Scores |y|^2 / 2, whose gradient is y; it remembers at which images."""

    def forward(self, y: Tensor) -> tuple[Tensor, Tensor]:
        self.at = y.detach()
        return 0.5 * y.square().sum(dim=(1, 2, 3)), torch.zeros(len(y), 3)


def test_the_penalty_is_taken_between_real_and_fake() -> None:
    model = new()
    discriminator = model.discriminator = Square(1.0)  # type: ignore[assignment]
    real, fake = 2 * images(4, 0) - 1, 2 * images(4, 1) - 1
    value = model.penalty(real, fake, rng(4))
    at = discriminator.at.double().numpy().reshape(4, -1)
    a, b = (x.double().numpy().reshape(4, -1) for x in (real, fake))
    fractions = ((at - a) * (b - a)).sum(axis=1) / ((b - a) ** 2).sum(axis=1)
    np.testing.assert_allclose(at, a + fractions[:, None] * (b - a), atol=1e-6)
    assert (fractions > 0).all() and (fractions < 1).all() and len(set(fractions.round(4))) == 4
    expected = ((np.linalg.norm(at, axis=1) - 1) ** 2).mean()
    assert float(value.detach()) == pytest.approx(expected, rel=1e-4)


class Painter(nn.Module):
    """Half of an image plus a tenth of its class's number."""

    def forward(self, planes: Tensor) -> Tensor:
        number = (planes[:, 3:] * torch.arange(3.0)[:, None, None]).sum(dim=1, keepdim=True)
        return 0.5 * planes[:, :3] + 0.1 * number


def cross_entropy(logits: np.ndarray, labels: np.ndarray) -> float:
    own = logits[np.arange(len(labels)), labels]
    return float((np.log(np.exp(logits).sum(axis=1)) - own).mean())


def test_losses_are_those_of_the_paper() -> None:
    model = new(classification_weight=2.0)
    model.generator.translator = Painter()  # type: ignore[assignment]
    x, labels = images(4, 0), torch.tensor([2, 0, 1, 2])
    batch, y = DataBatch((x,), labels), 2 * x.double().numpy() - 1
    wanted = rng(4).integers(3).numpy()
    generated = 0.5 * y + 0.1 * wanted[:, None, None, None]

    def scored(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        with torch.no_grad():
            scores, logits = model.discriminator(torch.from_numpy(images).float())
        return scores.double().numpy(), logits.double().numpy()

    tell_apart, deceive = (network.loss for network in model.trained_networks())
    (real, logits), (fake, fake_logits) = scored(y), scored(generated)
    loss, scalars = tell_apart(batch, rng(4), TrainingStep(0, 1))
    expected = fake.mean() - real.mean() + 2 * cross_entropy(logits, labels.numpy())
    expected += 10 * float(scalars["penalty"].detach())
    assert float(loss.detach()) == pytest.approx(expected, rel=1e-5)

    loss, scalars = deceive(batch, rng(4), TrainingStep(0, 1))
    back = 0.5 * generated + 0.1 * labels.numpy()[:, None, None, None]
    cycle = np.abs(back - y).mean()
    assert float(scalars["cycle"].detach()) == pytest.approx(cycle, rel=1e-5)
    expected = -fake.mean() + 2 * cross_entropy(fake_logits, wanted) + 10 * cycle
    assert float(loss.detach()) == pytest.approx(expected, rel=1e-5)


def test_targets_are_the_classes() -> None:
    model = new(classes=4)
    assert model.generator.targets == (0, 1, 2, 3)
    x = images(2, 0)
    generated = [model.generator.translate(x, target) for target in range(4)]
    assert all(not torch.equal(generated[0], other) for other in generated[1:])
    with torch.no_grad():
        mixed = model.generator(2 * x - 1, torch.tensor([3, 1]))
    torch.testing.assert_close(mixed[0] / 2 + 0.5, generated[3][0])
    torch.testing.assert_close(mixed[1] / 2 + 0.5, generated[1][1])


def test_the_networks_of_the_paper() -> None:
    with torch.device("meta"):
        model = build_model("stargan", 128, "paper", classes=5)
        assert isinstance(model, StarGAN)
        y = torch.empty(2, 3, 128, 128)
        assert model.generator(y, torch.zeros(2, dtype=torch.int64)).shape == y.shape
        assert model.discriminator.layers(y).shape == (2, 2048, 2, 2)
        scores, logits = model.discriminator(y)
    assert scores.shape == (2,) and logits.shape == (2, 5)
    generated = [m.out_channels for m in model.generator.modules() if isinstance(m, nn.Conv2d)]
    assert generated == [64, 128, 256] + [256] * 12 + [3]
    discriminator, generator = model.trained_networks()
    assert (
        discriminator.updates_per_step,
        generator.updates_per_step,
        discriminator.lr,
        discriminator.betas,
    ) == (
        5,
        1,
        1e-4,
        (0.5, 0.999),
    )


@pytest.mark.parametrize(("network", "figure"), [(0, "classes"), (1, "cycle")])
def test_steps_lower_the_class_and_the_cycle_loss(network: int, figure: str) -> None:
    """Each network by itself: together they begin with a fight."""
    model = new(classes=2, width=8, discriminator_width=8, lr=2e-3, penalty_weight=0.1)
    labels = torch.arange(4) % 2
    smooth = F.interpolate(images(4, 0)[..., :4, :4], 32, mode="bilinear")
    batch = DataBatch((smooth * 0.5 + 0.5 * labels[:, None, None, None],), labels)
    chosen = model.trained_networks()[network]
    optimizer = torch.optim.Adam(chosen.parameters(), chosen.lr, chosen.betas)
    losses = []
    for step in range(25):
        loss, scalars = chosen.loss(batch, rng(4, step), TrainingStep(step, 25))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(scalars[figure].detach()))
    assert losses[-1] < 0.6 * losses[0]
