"""Training of networks that tell sources apart, tiny."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor

from artfp.core.errors import UserError
from artfp.data.pixels import to_unit
from artfp.passive.fitting.classifier import describe_training
from artfp.passive.networks.classifier import ClassifierDesign
from artfp.passive.settings import IMMUNITIES, ClassifierSettings
from artfp.passive.training.classifier import (
    EMA_DECAY,
    RECIPES,
    ClassifierModule,
    Immunisation,
)
from artfp.passive.training.classifier_fit import (
    InitialNetwork,
    train_source_classifier,
    training_card,
)
from artfp.passive.training.labelled import BalancedBatches, LabelledImages

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*GPU available but not used.*"),
    pytest.mark.filterwarnings("ignore:.*Checkpoint directory .* exists and is not empty.*"),
]

SIDE, SOURCES = 32, ("a", "b", "c")
Make = Callable[..., ClassifierSettings]


def images(each: int, seed: int) -> LabelledImages:
    """Ramps with noise and a pattern of 2 grey levels, one for each source; 8-bit."""
    rng = np.random.default_rng((7, seed))
    parts, labels = [], []
    for k in range(len(SOURCES)):
        pattern = 2.0 * np.random.default_rng(k).standard_normal((3, SIDE, SIDE))
        ramp = np.linspace(60, 180, SIDE)[:, None] * rng.uniform(0.8, 1.2, (each, 1, 1, 1))
        noise = 3.0 * rng.standard_normal((each, 3, SIDE, SIDE))
        parts.append((ramp + pattern + noise).round().clip(0, 255))
        labels += [k] * each
    return LabelledImages(
        torch.from_numpy(np.concatenate(parts)).to(torch.uint8), torch.tensor(labels)
    )


@pytest.fixture
def settings(tmp_path: Path) -> Make:
    """Make the settings of a training of 6 steps; options override."""

    def make(output: str = "out", **options: Any) -> ClassifierSettings:
        defaults: dict[str, Any] = {
            "max_steps": 6,
            "batch_size": 9,
            "validate_every": 3,
            "seed": 4,
            "cuda": -1,
        }
        return ClassifierSettings(output_dir=tmp_path / output, **{**defaults, **options})

    return make


def equal(one: dict[str, Tensor], two: dict[str, Tensor]) -> bool:
    return one.keys() == two.keys() and all(torch.equal(one[key], two[key]) for key in one)


def test_planted_patterns_are_learned(settings: Make, tmp_path: Path) -> None:
    job = settings(max_steps=60, batch_size=24, validate_every=20, mirror=False)
    done = train_source_classifier(job, SOURCES, images(40, 0), images(30, 1))
    assert done is not None and done.steps == 60
    test = images(40, 2)
    network = done.network
    assert not network.training and next(network.parameters()).device.type == "cpu"
    with torch.inference_mode():
        found = network(to_unit(test.pixels)).argmax(1)
    assert float((found == test.labels).float().mean()) > 0.9
    assert (tmp_path / "out" / "config.yaml").read_text() == job.to_yaml()
    board = EventAccumulator(str(tmp_path / "out" / "tensorboard" / "out")).Reload()
    tags = board.Tags()
    assert {"train/loss", "train/accuracy", "held_out/accuracy", "held_out/loss"} <= set(
        tags["scalars"]
    )
    assert tags["images"] == ["held_out/confusion"]
    looks = board.Scalars("held_out/accuracy")
    assert [look.step for look in looks] == [19, 39, 59] and looks[-1].value > 0.9
    with pytest.raises(UserError, match="already holds a training; add --resume"):
        train_source_classifier(job, SOURCES, images(40, 0), images(30, 1))


def test_a_resumed_run_equals_an_uninterrupted_one(settings: Make) -> None:
    class Stop(pl.Callback):
        def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
            trainer.should_stop = trainer.global_step >= 4

    options: dict[str, Any] = {"immunise": ("jpeg", "noise")}
    data = images(12, 0), images(6, 1)
    whole = train_source_classifier(settings("whole", **options), SOURCES, *data)
    part = train_source_classifier(settings("part", **options), SOURCES, *data, callbacks=[Stop()])
    assert whole is not None and part is not None and part.steps == 4
    assert not equal(whole.network.state_dict(), part.network.state_dict())
    rest = train_source_classifier(settings("part", **options, resume=True), SOURCES, *data)
    assert rest is not None and rest.steps == 6
    assert equal(whole.network.state_dict(), rest.network.state_dict())
    other = settings("part", **options, resume=True, batch_size=12)
    with pytest.raises(UserError, match="'batch_size' was 9 and is now 12"):
        train_source_classifier(other, SOURCES, *data)


@pytest.mark.parametrize("stopped_by", [KeyboardInterrupt, MemoryError])
@pytest.mark.parametrize("step", [2, 3])
def test_a_stopped_run_goes_on_to_the_same_average(
    stopped_by: type[BaseException], step: int, settings: Make
) -> None:
    """Ctrl-C in the midst of a step, or a fault after a checkpoint by the clock."""

    class Press(pl.Callback):
        def on_before_optimizer_step(self, trainer: pl.Trainer, *_: Any) -> None:
            if trainer.global_step == step and stopped_by is KeyboardInterrupt:
                os.kill(os.getpid(), signal.SIGINT)
            elif trainer.global_step == step:
                raise stopped_by

    data = images(12, 0), images(6, 1)
    whole = train_source_classifier(settings("whole"), SOURCES, *data)
    minutes = 10.0 if stopped_by is KeyboardInterrupt else 1e-9
    with pytest.raises(stopped_by):
        train_source_classifier(
            settings("part", checkpoint_minutes=minutes), SOURCES, *data, callbacks=[Press()]
        )
    rest = train_source_classifier(settings("part", resume=True), SOURCES, *data)
    assert whole is not None and rest is not None
    assert equal(whole.network.state_dict(), rest.network.state_dict())


def test_a_training_cut_by_time_says_so_in_the_card(settings: Make) -> None:
    data = images(12, 0), images(6, 1)
    job = settings(max_steps=10**6, validate_every=10**6, max_time="00:00:00:01")
    done = train_source_classifier(job, SOURCES, *data)
    assert done is not None and 0 < done.steps < 10**6
    card = describe_training({}, done.steps, *data, done.stopped)
    assert card["stopped"] == f"by max_time at step {done.steps:,} of 1,000,000"


def test_going_on_from_another_network(settings: Make) -> None:
    data = images(12, 0), images(6, 1)
    first = train_source_classifier(settings("first"), SOURCES, *data)
    assert first is not None
    before = {name: tensor.clone() for name, tensor in first.network.state_dict().items()}
    slow = settings("second", lr=1e-12, max_steps=1)
    init = InitialNetwork(first.network, "hash")
    second = train_source_classifier(slow, SOURCES, *data, init=init)
    assert second is not None
    assert training_card(slow, first.network.design, init)["init"] == "hash"
    after = dict(second.network.named_parameters())
    assert all(torch.allclose(before[name], after[name], atol=1e-6) for name in after)
    assert equal(before, first.network.state_dict())
    with pytest.raises(UserError, match="init holds the network"):
        train_source_classifier(settings("third", high_pass=2), SOURCES, *data, init=init)


def test_average_against_a_loop(settings: Make) -> None:
    """The kept weights are the running mean of those after each step, in float64."""
    seen: list[Tensor] = []

    class Watch(pl.Callback):
        def on_train_batch_end(self, trainer: pl.Trainer, module: Any, *_: Any) -> None:
            seen.append(module.network.head.weight.detach().double().clone())

    data = images(12, 0), images(6, 1)
    done = train_source_classifier(settings(), SOURCES, *data, callbacks=[Watch()])
    assert done is not None and len(seen) == 6
    mean = torch.zeros_like(seen[0])
    with torch.random.fork_rng():
        torch.manual_seed(4)
        mean += ClassifierDesign("compact", SIDE).build(3).head.weight.detach().double()
    for step, weight in enumerate(seen, 1):
        decay = min(EMA_DECAY, step / (step + 9))
        mean = decay * mean + (1 - decay) * weight
    assert torch.allclose(done.network.head.weight.double(), mean, atol=1e-6)
    assert not torch.allclose(seen[-1], mean, atol=1e-4)


def test_published_recipe() -> None:
    module = ClassifierModule(ClassifierDesign("published", SIDE).build(2), RECIPES["published"])
    (group,) = module.configure_optimizers().param_groups
    assert (group["lr"], group["betas"], group["weight_decay"]) == (1e-3, (0.0, 0.99), 0.0)
    assert EMA_DECAY == 0.999


def test_batches_are_balanced_and_shared_by_processes() -> None:
    labels = torch.tensor([0] * 3 + [1] * 7 + [2] * 5)
    pixels = torch.arange(15, dtype=torch.uint8).view(15, 1, 1, 1).expand(15, 3, 1, 1)

    def rows(count: int, **place: int) -> list[list[int]]:
        stream = islice(BalancedBatches(pixels, labels, 6, 1, **place), count)
        return [x[:, 0, 0, 0].tolist() for x, y in stream if torch.equal(labels[x[:, 0, 0, 0]
                .long()], y)]  # fmt: skip

    whole = rows(35)
    assert all(Counter(labels[batch].tolist()) == {0: 2, 1: 2, 2: 2} for batch in whole)
    shown = Counter(row for batch in whole for row in batch)  # 70 of each source
    assert {shown[row] for row in range(3, 10)} == {10}
    assert {shown[row] for row in range(10, 15)} == {14}
    assert {shown[row] for row in range(3)} <= {23, 24}
    assert rows(10, step=7) == whole[7:17]
    turns = [rows(5, rank=rank, world=2) for rank in range(2)]
    assert [batch for pair in zip(*turns, strict=True) for batch in pair] == whole[:10]


def test_mirroring_and_immunity_depend_on_seed_and_step() -> None:
    network = ClassifierDesign("compact", SIDE).build(2)
    x = to_unit(images(4, 3).pixels)
    recipe = RECIPES["compact"]
    plain = ClassifierModule(network, recipe, mirror=False)
    assert torch.equal(plain.augment(x), x)
    mirrored = ClassifierModule(network, recipe, seed=1).augment(x)
    flipped = [torch.equal(one, other.flip(-1)) for one, other in zip(mirrored, x, strict=True)]
    kept = [torch.equal(one, other) for one, other in zip(mirrored, x, strict=True)]
    assert any(flipped) and any(kept)
    assert all(a != b for a, b in zip(flipped, kept, strict=True))
    immune = ClassifierModule(network, recipe, immunity=Immunisation(["blur"]), seed=1)
    assert torch.equal(immune.augment(x), immune.augment(x))
    again = ClassifierModule(network, recipe, immunity=Immunisation(["blur"]), seed=2)
    assert not torch.equal(immune.augment(x), again.augment(x))


@pytest.mark.parametrize("name", list(IMMUNITIES))
def test_immunity_changes_half_of_the_images(name: str) -> None:
    x = to_unit(torch.randint(0, 256, (300, 3, 16, 16), dtype=torch.uint8))
    out = Immunisation([name])(x, torch.Generator().manual_seed(0))
    changed = (out != x).flatten(1).any(1).float().mean()
    # The smallest of the five blurs changes nothing.
    assert float(changed) == pytest.approx(0.4 if name == "blur" else 0.5, abs=0.1)
    levels = out * 255.0
    assert torch.allclose(levels, levels.round(), atol=1e-4)


def test_immunity_has_the_published_order_and_ranges() -> None:
    whole = Immunisation(["noise", "jpeg", "blur", "crop", "relight"])
    assert [step.name for step, *_ in whole.STEPS] == list(IMMUNITIES.values())
    ranges = {step.name: (mild, harsh) for step, mild, harsh in whole.STEPS}
    assert ranges["jpeg"] == (75.0, 10.0) and ranges["random_crop"] == (0.05, 0.2)
    x = torch.full((400, 3, 16, 16), 0.5)
    noise = Immunisation(["noise"])(x, torch.Generator().manual_seed(0)) - x
    spread = noise.flatten(1).std(1) * 255.0
    spread = spread[spread > 0.3]  # a third of a level is what rounding 127.5 leaves
    assert float(spread.min()) == pytest.approx(5.0, abs=0.6)
    assert float(spread.max()) == pytest.approx(20.0, abs=1.5)


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        ({"max_steps": 0}, "--max_steps is 0"),
        ({"batch_size": -1}, "--batch_size is -1"),
        ({"lr": float("nan")}, "--lr is nan"),
        ({"validate_every": 0}, "--validate_every is 0"),
        ({"seed": -1}, "--seed is -1"),
        ({"immunise": ("webp",)}, "found 'webp'; choose from relight, crop"),
        ({"precision": "16-mixed"}, "--precision is '16-mixed'"),
    ],
)
def test_bad_settings(wrong: dict[str, Any], match: str, settings: Make) -> None:
    with pytest.raises(UserError, match=match):
        settings(**wrong)


def test_a_loss_that_is_no_number(settings: Make) -> None:
    broken = ClassifierDesign("compact", SIDE).build(3)
    torch.nn.init.constant_(broken.head.bias, float("nan"))
    with pytest.raises(UserError, match="step 0: the loss is nan"):
        init = InitialNetwork(broken, "broken")
        train_source_classifier(settings(), SOURCES, images(12, 0), images(6, 1), init=init)
