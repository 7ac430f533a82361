"""Training networks of fingerprints: the losses, what they learn, going on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from artfp.core.errors import UserError
from artfp.data.pixels import to_unit
from artfp.nn.random_inputs import RandomInputs
from artfp.passive.networks.visnet import VisNet, VisNetCritic
from artfp.passive.settings import VisNetSettings
from artfp.passive.training.labelled import LabelledImages
from artfp.passive.training.visnet import (
    critic_loss,
    stretch_contrast,
    train_visnet,
    visnet_losses,
)

SIDE, SOURCES = 16, ("a", "b", "c")


def planted(count: int, seed: int) -> LabelledImages:
    """Ramps of any direction with noise, and the pattern of each source."""
    random = np.random.default_rng(seed)
    patterns = 6.0 * np.random.default_rng(7).standard_normal((3, 3, SIDE, SIDE))
    labels = np.arange(count) % 3
    line = np.linspace(-1, 1, SIDE)
    down, across = random.uniform(-50, 50, (2, count, 3, 1, 1))
    ramps = down * line[:, None] + across * line
    noise = 4.0 * random.standard_normal((count, 3, SIDE, SIDE))
    pixels = (128 + ramps + noise + patterns[labels]).round().clip(0, 255).astype(np.uint8)
    return LabelledImages(torch.from_numpy(pixels), torch.from_numpy(labels))


def settings(folder: Path, steps: int, **more: object) -> VisNetSettings:
    given = {"width": 4, "batch_size": 12, "validate_every": 100, "lr": 2e-3, **more}
    return VisNetSettings(output_dir=folder, max_steps=steps, cuda=-1, **given)  # type: ignore[arg-type]


class Linear(nn.Module):
    """A critic whose gradient is known: the inner product with a fixed image."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(3)
        self.weight = nn.Parameter(torch.randn(3, SIDE, SIDE, generator=generator))

    def forward(self, images: Tensor) -> Tensor:
        return (images * self.weight).sum((1, 2, 3))


def test_losses_of_the_network_by_hand() -> None:
    torch.manual_seed(0)
    network, critic, x = VisNet(3, SIDE, 2), Linear(), torch.rand(6, 3, SIDE, SIDE)
    nn.init.normal_(network.fingerprints, std=0.05)  # they are 0 at first
    labels = torch.tensor([0, 1, 2, 2, 1, 1])
    found = visnet_losses(network, critic, x, labels)  # type: ignore[arg-type]
    images = 2.0 * x.double().numpy() - 1.0
    given = found.reconstructed.detach().double().numpy()
    models = network.fingerprints.detach().double().numpy()
    logits = np.einsum("nchw,kchw->nk", images - given, models)
    entropy = np.log(np.exp(logits).sum(1)) - logits[np.arange(6), labels.numpy()]
    assert float(found.cross_entropy.detach()) == pytest.approx(entropy.mean(), abs=1e-5)
    missed = np.abs(images - given).mean()
    assert float(found.reconstruction.detach()) == pytest.approx(missed, abs=1e-6)
    value = (given * critic.weight.detach().double().numpy()).sum((1, 2, 3)).mean()
    assert float(found.adversarial.detach()) == pytest.approx(-value, rel=1e-4)
    total = entropy.mean() + 20.0 * missed - 0.1 * value
    assert float(found.total(VisNetSettings(output_dir=Path("out"))).detach()) == pytest.approx(
        total, rel=1e-4
    )


def test_loss_of_the_critic_by_hand() -> None:
    critic = Linear()
    real, made = torch.randn(2, 4, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    draws = RandomInputs(torch.Generator().manual_seed(2), 4)
    found = critic_loss(critic, real, made, draws, 10.0)  # type: ignore[arg-type]
    weight = critic.weight.detach().double().numpy()
    apart = ((made - real).double().numpy() * weight).sum((1, 2, 3)).mean()
    norm = np.sqrt((weight**2).sum())  # the gradient at every point
    assert float(found.detach()) == pytest.approx(apart + 10.0 * (norm - 1.0) ** 2, rel=1e-5)
    found.backward()
    assert critic.weight.grad is not None


def test_planted_patterns_are_learned(tmp_path: Path) -> None:
    training, held_out = planted(240, 1), planted(90, 2)
    network, steps, _ = train_visnet(settings(tmp_path, 80), SOURCES, training, held_out)
    assert steps == 80
    with torch.no_grad():
        logits = network(to_unit(held_out.pixels))
        given = network.reconstruct(network.rescale(to_unit(held_out.pixels)))
    assert float((logits.argmax(1) == held_out.labels).float().mean()) > 0.9
    # The autoencoder gives ramps back: much less than the images is left.
    left = network.rescale(to_unit(held_out.pixels)) - given
    assert float(left.std()) < 0.6 * float(network.rescale(to_unit(held_out.pixels)).std())
    assert list(tmp_path.glob("tensorboard/*/events*")) and (tmp_path / "checkpoints").is_dir()


def test_the_published_size_makes_a_step() -> None:
    network, critic = VisNet(3, SIDE, size="published"), VisNetCritic(SIDE, size="published")
    nn.init.normal_(network.fingerprints, std=0.05)
    x, labels = torch.rand(2, 3, SIDE, SIDE), torch.tensor([0, 2])
    found = visnet_losses(network, critic, x, labels)
    found.total(VisNetSettings(output_dir=Path("out"), size="published")).backward()
    for name, each in network.named_parameters():
        assert each.grad is not None and bool(each.grad.isfinite().all()), name
    assert (
        found.reconstructed.shape == x.shape
        and float(found.reconstructed.detach().abs().max()) < 1.0
    )


@pytest.mark.parametrize("mirror", [False, True])
def test_going_on_comes_to_the_same(tmp_path: Path, mirror: bool) -> None:
    training, held_out = planted(48, 1), planted(24, 2)
    whole, *_ = train_visnet(
        settings(tmp_path / "whole", 8, mirror=mirror), SOURCES, training, held_out
    )
    train_visnet(settings(tmp_path / "parts", 3, mirror=mirror), SOURCES, training, held_out)
    again = settings(tmp_path / "parts", 8, mirror=mirror, resume=True)
    parts, steps, _ = train_visnet(again, SOURCES, training, held_out)
    assert steps == 8
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, parts.state_dict()[name]), name


def test_half_precision_trains(tmp_path: Path) -> None:
    training = settings(tmp_path, 2, precision="bf16-mixed")
    network, *_ = train_visnet(training, SOURCES, planted(24, 1), planted(12, 2))
    assert all(bool(p.isfinite().all()) and p.dtype == torch.float32 for p in network.parameters())


def test_bad_input(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--max_steps is 0"):
        settings(tmp_path, 0)
    with pytest.raises(UserError, match="--lr is -1"):
        settings(tmp_path, 1, lr=-1.0)
    with pytest.raises(UserError, match="--precision is '16-mixed'"):
        settings(tmp_path, 1, precision="16-mixed")
    training = planted(24, 1)
    train_visnet(settings(tmp_path, 1), SOURCES, training, training)
    with pytest.raises(UserError, match="add --resume"):
        train_visnet(settings(tmp_path, 2), SOURCES, training, training)
    with pytest.raises(UserError):  # other images
        train_visnet(settings(tmp_path, 2, resume=True), SOURCES, planted(24, 5), training)


def test_fingerprints_are_stretched_to_three_deviations() -> None:
    x = 1e-3 * torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) + 5.0
    shown = stretch_contrast(x)
    assert shown.mean((1, 2, 3)).sub(0.5).abs().max() < 1e-3
    torch.testing.assert_close(shown.std((1, 2, 3)), torch.full((2,), 1 / 6), atol=3e-3, rtol=0)
    assert torch.equal(stretch_contrast(torch.zeros(1, 3, 4, 4)), torch.full((1, 3, 4, 4), 0.5))
