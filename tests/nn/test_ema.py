"""The running mean of the generator's weights, against a computation by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from artfp.generators.base import Generator, ModelConfig
from artfp.generators.models.layers import spectral_norm
from artfp.nn.ema import ema_copy, update_ema
from artfp.nn.random_inputs import RandomInputs


class Mixed(Generator):
    """Weights, batch statistics, singular vectors, and a stage in a buffer."""

    stage: Tensor

    def __init__(self, resolution: int = 4, config: Any = None, classes: int = 0) -> None:
        super().__init__(resolution, config or ModelConfig(), classes)
        self.conv = spectral_norm(nn.Conv2d(3, 3, 1))
        self.norm = nn.BatchNorm2d(3)
        self.register_buffer("stage", torch.zeros(()))

    def _sample(self, rng: RandomInputs, labels: Tensor | None) -> Tensor:
        y: Tensor = self.norm(self.conv(rng.normal(3, 4, 4)))
        return y


def test_weights_and_statistics_are_averaged_and_the_rest_is_taken_over() -> None:
    torch.manual_seed(0)
    generator = Mixed()
    average = ema_copy(generator)
    assert not any(p.requires_grad for p in average.parameters()) and not average.training
    names = [n for n, _ in generator.named_parameters()] + ["norm.running_mean", "norm.running_var"]
    mean = {n: generator.state_dict()[n].double().numpy().copy() for n in names}
    for step, decay in enumerate((0.5, 0.9, 0.0, 0.99)):
        for parameter in generator.parameters():
            parameter.data.normal_()
        generator.stage.fill_(step)
        generator.train()
        generator.norm(torch.randn(8, 3, 4, 4) * (step + 1))
        generator.conv(torch.randn(1, 3, 4, 4))
        update_ema(average, generator, decay)
        for name in names:
            new = generator.state_dict()[name].double().numpy()
            mean[name] = decay * mean[name] + (1 - decay) * new
            got = average.state_dict()[name].numpy()
            np.testing.assert_allclose(got, mean[name], rtol=1e-5, atol=1e-6)
    rest = set(generator.state_dict()) - set(names)
    assert {"stage", "norm.num_batches_tracked"} < rest and len(rest) == 4
    for name in rest:
        assert torch.equal(average.state_dict()[name], generator.state_dict()[name])


def test_no_averaging_is_a_copy() -> None:
    generator = Mixed()
    average = ema_copy(generator)
    for parameter in generator.parameters():
        parameter.data.normal_()
    update_ema(average, generator, 0.0)
    for name, value in generator.state_dict().items():
        assert torch.equal(average.state_dict()[name], value), name
