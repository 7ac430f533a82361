"""The loop over networks, on models small enough to follow by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from artfp.core.errors import UserError
from artfp.generators.base import GenerativeModel, Generator, ModelConfig
from artfp.generators.trained_network import DataBatch, TrainedNetwork, TrainingStep
from artfp.generators.training.module import FineTuning, GenerativeModule
from artfp.nn.random_inputs import RandomInputs

pytestmark = pytest.mark.filterwarnings("ignore:.*GPU available but not used.*")


@dataclass(frozen=True)
class ToyConfig(ModelConfig):
    batch: int = 4
    ema_decay: float = 0.9
    lr_decay_start: float = 0.5


class ToyGenerator(Generator):
    """A colour."""

    stage: Tensor

    def __init__(self, resolution: int, config: ToyConfig, classes: int = 0) -> None:
        super().__init__(resolution, config, classes)
        self.colour = nn.Parameter(torch.zeros(3))
        self.register_buffer("stage", torch.zeros(()))

    def _sample(self, rng: RandomInputs, labels: Tensor | None) -> Tensor:
        return self.colour[:, None, None].expand(len(rng), 3, self.resolution, self.resolution)


class Toy(GenerativeModel):
    """A critic that follows the images' mean in three updates, a generator in one."""

    name, reference, departures = "toy", "arXiv", "none"
    resolutions = (8,)
    small = paper = ToyConfig()
    generator_type = ToyGenerator
    generator: ToyGenerator

    def __init__(self, resolution: int = 8, config: Any = None, classes: int = 0) -> None:
        super().__init__(resolution, config or ToyConfig(), classes)
        self.mean = nn.Parameter(torch.zeros(3))
        self.critic = nn.ParameterList([self.mean])
        self.described: list[tuple[Any, ...]] = []

    def trained_networks(self) -> list[TrainedNetwork]:
        return [
            TrainedNetwork(
                "critic", (self.critic,), self._follow, 0.1, updates_per_step=3, warmup_steps=4
            ),
            TrainedNetwork("generator", (self.generator,), self._chase, 0.05, max_grad_norm=1e-3),
        ]

    def prepare(self, batch: DataBatch, rng: RandomInputs) -> None:
        self.described.append(("prepare", len(batch), float(batch.x.max())))

    def begin_step(self, step: TrainingStep) -> None:
        self.described.append(("step", step))
        self.generator.stage.fill_(step.index)

    def _follow(
        self, batch: DataBatch, rng: RandomInputs, step: TrainingStep
    ) -> tuple[Tensor, dict[str, Any]]:
        assert self.mean.requires_grad and not self.generator.colour.requires_grad
        self.described.append(("critic", batch.x[:, 0, 0, 0].clone(), rng.uniform(2)))
        miss = (self.mean - (2 * batch.x - 1).mean(dim=(0, 2, 3))).square().sum()
        return miss, {"mean": self.mean.mean()}

    def _chase(
        self, batch: DataBatch, rng: RandomInputs, step: TrainingStep
    ) -> tuple[Tensor, dict[str, Any]]:
        assert not self.mean.requires_grad and self.generator.colour.requires_grad
        self.described.append(("generator", batch.x[:, 0, 0, 0].clone(), rng.uniform(2)))
        return 100 * (self.generator.colour - self.mean).square().sum(), {}


class Images(torch.utils.data.IterableDataset[DataBatch]):
    """Twelve images a step; image i of step s has the grey level 12 s + i."""

    def __iter__(self) -> Any:
        step = 0
        while True:
            levels = (torch.arange(12) + 12 * step).to(torch.uint8)
            yield DataBatch((levels[:, None, None, None].expand(12, 3, 8, 8),))
            step += 1


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., GenerativeModule]:
    """Train a model for some steps on `Images`."""

    def train(
        model: GenerativeModel,
        steps: int,
        *callbacks: pl.Callback,
        fine_tuning: FineTuning | None = None,
    ) -> GenerativeModule:
        module = GenerativeModule(model, steps, 4, seed=7, fine_tuning=fine_tuning)
        trainer = pl.Trainer(
            max_steps=steps,
            max_epochs=-1,
            accelerator="cpu",
            devices=1,
            logger=pl.loggers.CSVLogger(tmp_path),
            log_every_n_steps=1,
            enable_progress_bar=False,
            enable_model_summary=False,
            enable_checkpointing=False,
            callbacks=list(callbacks),
        )
        trainer.fit(module, torch.utils.data.DataLoader(Images(), batch_size=None))
        assert trainer.global_step == steps
        return module

    return train


def test_every_turn_has_images_and_draws_of_its_own(run: Callable[..., GenerativeModule]) -> None:
    model = Toy()
    run(model, 5)
    assert model.described[0] == ("prepare", 4, pytest.approx(3 / 255))
    described = model.described[1:]
    assert [what[0] for what in described] == ["step", *["critic"] * 3, "generator"] * 5
    for step in range(5):
        begun, *discriminator_steps = described[5 * step : 5 * step + 5]
        assert begun[1] == TrainingStep(step, 5)
        for update, (_, levels, _) in enumerate(discriminator_steps):
            first = 12 * step + 4 * (
                update % 3
            )  # the generator's only update sees the first images
            expected = (torch.arange(4) + first) / 255.0
            torch.testing.assert_close(levels, expected)
    rng = [what[2].numpy().tobytes() for what in described if what[0] != "step"]
    assert len(set(rng)) == 20
    again = Toy()
    run(again, 5)
    assert [what[2].numpy().tobytes() for what in again.described[1:] if what[0] != "step"] == rng


def test_weights_and_average_against_a_computation_by_hand(
    run: Callable[..., GenerativeModule],
) -> None:
    """Adam, the rates, the clipping and the running mean, in float64."""

    class Record(pl.Callback):
        seen: ClassVar[list[Any]] = []

        def on_train_batch_end(self, trainer: pl.Trainer, module: Any, *_: Any) -> None:
            now = (
                module.model.generator.colour,
                module.ema_generator.colour,
                module.ema_generator.stage,
            )
            self.seen.append([value.detach().double().numpy().copy() for value in now])

    record = Record()
    model = Toy()
    run(model, 10, record)
    mean, colour, average = (np.zeros(3) for _ in range(3))
    states = {"critic": [0.0, 0.0, 0], "generator": [0.0, 0.0, 0]}

    def adam(state: list[Any], gradient: np.ndarray, lr: float) -> np.ndarray:
        state[0] = 0.9 * state[0] + 0.1 * gradient
        state[1] = 0.999 * state[1] + 0.001 * gradient**2
        state[2] += 1
        first, second = state[0] / (1 - 0.9 ** state[2]), state[1] / (1 - 0.999 ** state[2])
        return np.asarray(lr * first / (np.sqrt(second) + 1e-8))

    for step in range(10):
        falling = min(1.0, (1 - step / 10) / 0.5)
        for update in range(3):
            levels = (12 * step + 4 * update + np.arange(4)) / 255.0
            gradient = 2 * (mean - (2 * levels - 1).mean())
            lr = 0.1 * min(1.0, (step + 1) / 4) * falling
            mean = mean - adam(states["critic"], gradient, lr)
        gradient = 200 * (colour - mean)
        gradient *= min(1.0, 1e-3 / (float(np.linalg.norm(gradient)) + 1e-6))
        colour = colour - adam(states["generator"], gradient, 0.05 * falling)
        decay = min(0.9, (1 + step) / (10 + step))
        average = decay * average + (1 - decay) * colour
        got = record.seen[step]
        np.testing.assert_allclose(got[0], colour, rtol=1e-3, atol=1e-5)
        np.testing.assert_allclose(got[1], average, rtol=1e-3, atol=1e-5)
        assert got[2] == step  # a buffer is taken over
    assert abs(colour).min() > 0.05


def test_figures_are_logged_by_network(
    run: Callable[..., GenerativeModule], tmp_path: Path
) -> None:
    run(Toy(), 3)
    (path,) = tmp_path.rglob("metrics.csv")
    header, *rows = path.read_text().split()
    assert len(rows) == 3
    names = {"critic/loss", "critic/lr", "critic/mean", "generator/loss", "generator/lr"}
    assert names <= set(header.split(","))


def test_a_loss_that_is_no_number_ends_the_training(run: Callable[..., GenerativeModule]) -> None:
    class Broken(Toy):
        def _chase(self, batch: DataBatch, rng: RandomInputs, step: TrainingStep) -> Any:
            loss, scalars = super()._chase(batch, rng, step)
            return (loss * float("nan") if step.index == 2 else loss), scalars

    with pytest.raises(UserError, match="step 2: the loss of the generator is nan; take"):
        run(Broken(), 5)


def test_fine_tuning_freezes_the_generator_and_shows_the_end(
    run: Callable[..., GenerativeModule],
) -> None:
    class Prepared(Toy):
        def prepare(self, batch: DataBatch, rng: RandomInputs) -> None:
            self.generator.colour.fill_(5.0)
            self.mean.fill_(0.5)

    held = Prepared()
    module = run(held, 2, fine_tuning=FineTuning(30, held.generator, freeze_steps=2))
    assert [what[0] for what in held.described] == ["step", *["critic"] * 3] * 2
    steps = [what[1] for what in held.described if what[0] == "step"]
    assert steps == [TrainingStep(30, 30), TrainingStep(31, 30)]
    assert all(step.fraction == 1.0 for step in steps)
    # What the first batch decides is undone for what is kept, and for nothing else.
    assert (
        held.generator.colour.tolist() == [0.0] * 3
        and float(module.ema_generator.state_dict()["colour"].max()) == 0.0
    )
    assert 0 < (held.mean - 0.5).abs().max() < 0.5
    free = Prepared()
    run(free, 3, fine_tuning=FineTuning(30, free.generator, freeze_steps=2))
    assert [what[0] for what in free.described][-2:] == ["critic", "generator"]
    assert len([what for what in free.described if what[0] == "generator"]) == 1
    assert free.generator.colour.abs().min() > 0.0
    # The learning rate has fallen to 1 / 3 of a half as in any training of three steps.
    lr = 0.05 * (1 - 2 / 3) / 0.5
    torch.testing.assert_close(free.generator.colour.abs(), torch.full((3,), lr))
