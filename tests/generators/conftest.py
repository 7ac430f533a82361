"""Short trainings without a trainer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from artfp.generators import DataBatch, Generator, TrainingStep, build_model
from artfp.nn.random_inputs import ImageRandomInputs, RandomInputs


def squares(count: int, side: int = 16) -> Tensor:
    """Images (count, 3, side, side) in [0, 1] of a bright square somewhere on blue."""
    rng = np.random.default_rng(0)
    x = torch.tensor([0.1, 0.2, 0.7]).reshape(1, 3, 1, 1).repeat(count, 1, side, side)
    for image in x:
        top, left = rng.integers(side // 8, side // 2, 2)
        image[:, top : top + side // 2, left : left + side // 2] = rng.uniform(0.8, 1.0)
    return x


def distance(generator: Generator, data: Tensor) -> float:
    """Mean squared miss of the means and deviations of images averaged to 4 x 4 pixels."""
    generated = generator.sample(ImageRandomInputs(0, range(100)))
    a, b = (F.adaptive_avg_pool2d(x, 4) for x in (generated, data))
    return float((a.mean(0) - b.mean(0)).square().mean() + (a.std(0) - b.std(0)).square().mean())


@pytest.fixture
def distances() -> Callable[..., tuple[float, float]]:
    """(name, steps, changes) -> distance to a tiny set of 16 px, before and after a training."""

    def train(name: str, steps: int, **changes: Any) -> tuple[float, float]:
        model = build_model(name, 16, seed=1, changes=changes)
        data = squares(64)
        before = distance(model.generator, data)
        trained_networks = model.trained_networks()
        optimizers = [torch.optim.Adam(p.parameters(), p.lr, p.betas) for p in trained_networks]
        for step in range(steps):
            rows = torch.randint(64, (16,), generator=torch.Generator().manual_seed(step))
            progress = TrainingStep(step, steps)
            model.begin_step(progress)
            for number, (network, optimizer) in enumerate(
                zip(trained_networks, optimizers, strict=True)
            ):
                for parameter in model.parameters():
                    parameter.requires_grad_(False)
                for parameter in network.parameters():
                    parameter.requires_grad_(True)
                rng = RandomInputs(torch.Generator().manual_seed(1000 * number + step), 16)
                loss, _ = network.loss(DataBatch((data[rows],)), rng, progress)
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
        return before, distance(model.generator, data)

    return train
