"""DDPM: the way to noise and back against closed forms, the loss, and who needs diffusers."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from artfp.core.errors import UserError
from artfp.generators import DataBatch, TrainingStep, build_model
from artfp.generators.models.ddpm import DDPM, DDPMGenerator, alpha_bars
from artfp.nn.random_inputs import ImageRandomInputs, RandomInputs

TINY = {"width": 8, "width_multipliers": (1, 2), "attention_side": 4}


def tiny(**changes: object) -> DDPM:
    model = build_model("ddpm", 16, seed=1, changes={**TINY, **changes})
    assert isinstance(model, DDPM)
    return model


def rng(count: int, seed: int = 3) -> RandomInputs:
    return RandomInputs(torch.Generator().manual_seed(seed), count)


def test_the_schedules() -> None:
    """As products of 1 - beta, in plain Python."""
    kept, product = alpha_bars("linear", 1000).numpy(), 1.0
    for t in range(1, 1001):
        product *= 1.0 - (1e-4 + (t - 1) / 999 * (0.02 - 1e-4))
        assert kept[t] == pytest.approx(product, rel=1e-9)
    assert kept[0] == 1.0 and kept[1000] == pytest.approx(4.04e-5, rel=0.01)  # section 4: nearly 0
    kept = alpha_bars("cosine", 100).numpy()
    curve = [np.cos((t / 100 + 0.008) / 1.008 * np.pi / 2) ** 2 for t in range(100)]
    np.testing.assert_allclose(kept[:100], np.array(curve) / curve[0], rtol=1e-6)
    assert kept[100] == pytest.approx(kept[99] * 0.001, rel=1e-9)
    for schedule, levels in (("linear", 10), ("square", 100), ("cosine", 0)):
        with pytest.raises(ValueError, match=f"no schedule '{schedule}' of {levels} timesteps"):
            alpha_bars(schedule, levels)


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_noisy_images_are_as_after_all_single_steps(schedule: str) -> None:
    """q(x_t | x_0): its mean and variance from x_t = sqrt(1 - beta_t) x_{t-1} + sqrt(beta_t) e."""
    generator = tiny(noise_schedule=schedule, timesteps=50, sampling_steps=5).generator
    kept = generator.alpha_bar.numpy()
    count = 40_000
    y = torch.tensor([-0.9, 0.1, 0.7]).reshape(1, 3, 1, 1).expand(count, 3, 1, 1)
    for level in (1, 20, 49):
        mean, variance = np.array([-0.9, 0.1, 0.7]), 0.0
        for t in range(1, level + 1):
            beta = 1.0 - kept[t] / kept[t - 1]
            mean, variance = mean * (1.0 - beta) ** 0.5, variance * (1.0 - beta) + beta
        noise = rng(count).normal(3, 1, 1)
        values = (
            generator.diffuse(y, torch.full((count,), level), noise).double().numpy()[..., 0, 0]
        )
        sure = (variance / count) ** 0.5
        np.testing.assert_allclose(values.mean(axis=0), mean, atol=5 * sure)
        np.testing.assert_allclose(values.var(axis=0), variance, rtol=5 * (2 / count) ** 0.5)


def test_a_step_is_the_posterior() -> None:
    """q(x_{t-1} | x_t, x_0), Ho et al., equations 6 and 7, for the image that the noise implies."""
    generator = tiny(noise_schedule="linear", timesteps=100, sampling_steps=100, eta=1.0).generator
    kept = generator.alpha_bar.numpy()
    y, found, fresh = (rng(4, seed).normal(3, 16, 16) for seed in (1, 2, 3))
    for level in (100, 30, 2, 1):
        alpha, before = kept[level] / kept[level - 1], kept[level - 1]
        x, noise = y.double().numpy(), found.double().numpy()
        clean = np.clip((x - (1 - kept[level]) ** 0.5 * noise) / kept[level] ** 0.5, -1, 1)
        mean = before**0.5 * (1 - alpha) * clean + alpha**0.5 * (1 - before) * x
        mean /= 1 - kept[level]
        variance = (1 - before) / (1 - kept[level]) * (1 - alpha)
        expected = mean + variance**0.5 * fresh.double().numpy()
        at, to = torch.full((4,), level), torch.full((4,), level - 1)
        got = generator.denoise(y, found, at, to, fresh)
        np.testing.assert_allclose(got.numpy(), expected, atol=2e-5)


class Knows(nn.Module):
    """In place of the U-Net: the true noise, if all images are Gaussian, N(mean, deviation^2)."""

    def __init__(self, generator: DDPMGenerator, mean: float, deviation: float) -> None:
        super().__init__()
        self.alpha_bar, self.mean, self.deviation = generator.alpha_bar, mean, deviation

    def forward(self, y: Tensor, level: Tensor) -> Tensor:
        kept = self.alpha_bar[level][:, None, None, None]
        rest = 1.0 - kept
        return (rest.sqrt() * (y - kept.sqrt() * self.mean) / (kept * self.deviation**2 + rest)).to(
            y
        )


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_sampling_with_the_true_noise_gives_the_true_images(
    eta: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = tiny(
        timesteps=1000, sampling_steps=1000, eta=eta, noise_schedule="linear"
    ).generator
    knows = Knows(generator, 0.3, 0.1)
    monkeypatch.setattr(DDPMGenerator, "forward", lambda self, y, level: knows(y, level))
    x = generator.sample(rng(10)).double().numpy() * 2 - 1
    assert x.mean() == pytest.approx(0.3, abs=0.01)
    assert x.std() == pytest.approx(0.1, rel=0.05)


def test_without_fresh_noise_sampling_follows_the_closed_form(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All images are one constant: then the first noise decides nothing, but scales with it.

    For N(m, s^2), DDIM's path from level a to b keeps (x - sqrt(kept) m) / sqrt(kept s^2 + 1 -
    kept) up to the length of its steps.
    """
    generator = tiny(
        timesteps=1000, sampling_steps=1000, eta=0.0, noise_schedule="linear"
    ).generator
    monkeypatch.setattr(
        DDPMGenerator, "forward", lambda self, y, level: Knows(self, 0.2, 0.15)(y, level)
    )
    noise = rng(2).normal(3, 16, 16).double().numpy()
    last = float(generator.alpha_bar[1000])
    begin = (noise - last**0.5 * 0.2) / (last * 0.15**2 + 1 - last) ** 0.5
    x = generator.sample(rng(2)).double().numpy() * 2 - 1
    np.testing.assert_allclose(x, np.clip(0.2 + 0.15 * begin, -1, 1), atol=0.01)


def test_the_loss_is_the_miss_of_the_noise() -> None:
    model = tiny()
    (network,) = model.trained_networks()
    x = torch.rand(6, 3, 16, 16)
    with torch.no_grad():
        for parameter in model.generator.parameters():  # it begins by finding no noise
            parameter.add_(0.05 * torch.randn(parameter.shape))
        loss, _ = network.loss(DataBatch((x,)), rng(6), TrainingStep(0, 1))
        drawn = rng(6)
        noise, level = drawn.normal(3, 16, 16), drawn.integers(model.config.timesteps) + 1
        assert level.min() >= 1 and level.max() <= 1000
        kept = model.generator.alpha_bar.numpy()[level][:, None, None, None]
        noisy = kept**0.5 * (2 * x.numpy() - 1) + (1 - kept) ** 0.5 * noise.numpy()
        found = model.generator(torch.from_numpy(noisy).float(), level).numpy()
    assert found.std() > 0.05
    expected = ((found.astype(np.float64) - noise.numpy()) ** 2).mean()
    assert float(loss) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_images_do_not_depend_on_their_batch(eta: float) -> None:
    """Also where fresh noise is drawn at each step."""
    generator = tiny(eta=eta, sampling_steps=5).generator
    with torch.no_grad():
        for parameter in generator.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape))
    whole = generator.sample(ImageRandomInputs(1, range(5)))
    parts = [generator.sample(ImageRandomInputs(1, part)) for part in (range(2), range(2, 5))]
    torch.testing.assert_close(torch.cat(parts), whole, rtol=0, atol=2e-3)
    assert whole.std() > 0.05


def test_it_begins_by_finding_no_noise() -> None:
    assert not tiny().generator(rng(2).normal(3, 16, 16), torch.tensor([1, 900])).any()


def test_training_lowers_the_loss() -> None:
    """From 1, the variance of the noise, on smooth images."""
    model = tiny(width=16, lr=4e-3)
    (network,) = model.trained_networks()
    adam = torch.optim.Adam(network.parameters(), network.lr, network.betas)
    losses = []
    for step in range(40):
        drawn = rng(16, step)
        x = drawn.uniform(3, 1, 1).expand(16, 3, 16, 16)
        loss, _ = network.loss(DataBatch((x,)), drawn, TrainingStep(step, 40))
        adam.zero_grad()
        loss.backward()
        adam.step()
        losses.append(float(loss.detach()))
    assert losses[0] == pytest.approx(1.0, abs=0.05) and np.mean(losses[-10:]) < 0.7


def test_the_u_net_of_the_paper() -> None:
    with torch.device("meta"):
        model = build_model("ddpm", 32, "paper")
    count = sum(p.numel() for p in model.parameters())
    assert count == pytest.approx(35.7e6, rel=0.005)  # section 4: 35.7 million
    assert (
        isinstance(model, DDPM) and model.config.sampling_steps == 1000 and model.config.eta == 1.0
    )


def test_more_steps_than_levels() -> None:
    with pytest.raises(UserError, match="sampling_steps is 30; it must be 1 to 20"):
        build_model("ddpm", 32, changes={"timesteps": 20, "sampling_steps": 30})


def test_without_diffusers() -> None:
    """The other models work, this one says how to get it, and nobody waits for its import."""
    program = """
import sys
sys.modules["diffusers"] = None
from artfp.core.errors import UserError
from artfp.generators import build_model, find_model
build_model("dcgan", 16)
assert find_model("ddpm").reference
try:
    build_model("ddpm", 16)
except UserError as error:
    print(error)
del sys.modules["diffusers"]
assert not [name for name in sys.modules if name.startswith("diffusers")]
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    expected = "ddpm needs the package diffusers; run: pip install 'artfp[diffusion]'"
    assert done.stdout.strip() == expected
