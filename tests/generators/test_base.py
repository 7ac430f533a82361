"""Networks' learning rates, batches, and what a generator promises."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from artfp.generators.base import Generator, ModelConfig, from_signed, to_signed
from artfp.generators.trained_network import DataBatch, TrainedNetwork, TrainingStep
from artfp.nn.random_inputs import ImageRandomInputs, RandomInputs


class Noise(Generator):
    """A generator that returns random inputs, far beyond [-1, 1], through batch statistics."""

    def __init__(self, classes: int = 0) -> None:
        super().__init__(4, ModelConfig(), classes)
        self.norm = nn.BatchNorm2d(3)

    def _sample(self, rng: RandomInputs, labels: Tensor | None) -> Tensor:
        y: Tensor = 5.0 * self.norm(rng.normal(3, 4, 4))
        return y


class Negative(Generator):
    """A translator that turns images into their negatives."""

    targets = (0, 1)

    def _translate(self, y: Tensor, target: int) -> Tensor:
        return -y if target else y


def no_loss(
    batch: DataBatch, rng: RandomInputs, step: TrainingStep
) -> tuple[Tensor, dict[str, Tensor]]:
    return torch.zeros(()), {}


def test_the_learning_rate_rises_and_falls_in_straight_lines() -> None:
    network = TrainedNetwork("p", (), no_loss, 0.8, warmup_steps=4)
    rates = [network.lr_at(TrainingStep(step, 20), 0.5) for step in range(21)]
    assert rates[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 0.8])
    assert rates[5:11] == [0.8] * 6
    assert rates[11:] == pytest.approx([0.08 * (20 - step) for step in range(11, 21)])
    assert TrainedNetwork("p", (), no_loss, 0.8).lr_at(TrainingStep(20, 20)) == 0.8


def test_a_parameter_in_two_modules_is_trained_once() -> None:
    layer = nn.Linear(2, 2)
    network = TrainedNetwork("p", (layer, nn.Sequential(layer, nn.Linear(2, 1))), no_loss, 0.1)
    assert len(network.parameters()) == 4


def test_batches_are_cut_with_their_labels() -> None:
    batch = DataBatch((torch.arange(6.0), torch.arange(6.0) + 10), torch.arange(6))
    part = batch[2:4]
    assert len(batch) == 6 and len(part) == 2
    assert part.x.tolist() == [2, 3] and part.images[1].tolist() == [12, 13]
    assert part.labels is not None and part.labels.tolist() == [2, 3]
    assert DataBatch((torch.zeros(3),))[:2].labels is None


def test_samples_are_images_and_leave_the_generator_as_it_was() -> None:
    generator = Noise().train()
    before = {name: value.clone() for name, value in generator.state_dict().items()}
    x = generator.sample(ImageRandomInputs(0, range(9)))
    assert x.shape == (9, 3, 4, 4) and x.min() == 0.0 and x.max() == 1.0
    assert not x.requires_grad and generator.training and generator.norm.training
    assert all(torch.equal(before[n], v) for n, v in generator.state_dict().items())
    assert torch.equal(x[3:5], generator.sample(ImageRandomInputs(0, [3, 4])))


def test_labels_and_targets_that_do_not_fit() -> None:
    labels = torch.zeros(1, dtype=torch.int64)
    with pytest.raises(ValueError, match="of 0 classes was given labels"):
        Noise().sample(ImageRandomInputs(0, [0]), labels)
    with pytest.raises(ValueError, match="of 3 classes was given labels None"):
        Noise(classes=3).sample(ImageRandomInputs(0, [0]))
    with pytest.raises(NotImplementedError, match="makes images; it translates none"):
        Noise().translate(torch.zeros(1, 3, 4, 4))
    with pytest.raises(ValueError, match="target is 2"):
        Negative(4, ModelConfig()).translate(torch.zeros(1, 3, 4, 4), 2)
    with pytest.raises(NotImplementedError, match="translates images; it makes none"):
        Negative(4, ModelConfig()).sample(ImageRandomInputs(0, [0]))


def test_translations_keep_the_range() -> None:
    x = torch.rand(2, 3, 4, 4)
    translator = Negative(4, ModelConfig())
    torch.testing.assert_close(translator.translate(x, 1), 1.0 - x)
    torch.testing.assert_close(translator.translate(x, 0), x)
    torch.testing.assert_close(from_signed(to_signed(x)), x)
    assert to_signed(torch.tensor([0.0, 1.0])).tolist() == [-1.0, 1.0]
