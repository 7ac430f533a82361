"""Trainings that are stopped, by a signal, the clock or a user, and go on."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from PIL import Image
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from artfp.core.errors import UserError
from artfp.core.processes import Terminated
from artfp.data.bundle import read_card
from artfp.watermark.training import fit
from artfp.watermark.training.fit import train
from artfp.watermark.training.settings import TrainSettings
from tests.watermark.training.conftest import checkpoint, tiny

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*GPU available but not used.*"),
    pytest.mark.filterwarnings("ignore:.*Checkpoint directory .* exists and is not empty.*"),
]


@pytest.fixture(scope="module")
def whole(photo_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Weights of a training of 12 steps that nobody stopped."""
    made = tiny(photo_folder, tmp_path_factory.mktemp("whole"), validate_every=4)
    train(made)
    return _weights(made)


def _weights(settings: TrainSettings) -> dict[str, bytes]:
    """Return the weights' bytes, without the card, whose command differs."""
    folder = settings.output_dir
    return {
        f"{file}.{name}": value.numpy().tobytes()
        for file in ("encoder", "decoder")
        for name, value in load_file(folder / f"{file}.safetensors").items()
    }


def stop_at(monkeypatch: pytest.MonkeyPatch, steps: int) -> None:
    """Make the next trainings of whatever length end after so many steps, validating never."""

    class Stop(pl.Callback):
        def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
            trainer.should_stop = trainer.global_step >= steps

    make = fit._trainer

    def stopping(*args: Any) -> Any:
        trainer, milestones = make(*args)
        trainer.callbacks.append(Stop())  # type: ignore[attr-defined]
        return trainer, milestones

    monkeypatch.setattr(fit, "_trainer", stopping)


@pytest.mark.parametrize("schedule", ["feedback", "published"])
def test_a_resumed_run_equals_an_uninterrupted_one(
    schedule: str, settings: Callable[..., TrainSettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"schedule": schedule, "lr": 2e-3, "l2_loss_await": 2, "l2_loss_ramp": 5}
    whole = train(settings("whole", **options))
    with monkeypatch.context() as patched:
        stop_at(patched, 6)
        train(settings("parts", **options))
    half = checkpoint(settings("parts").output_dir)
    assert half["global_step"] == 6
    parts = train(settings("parts", resume=True, **options))
    one, two = (checkpoint(settings(name).output_dir) for name in ("whole", "parts"))
    assert one["global_step"] == two["global_step"] == 12
    assert one["state_dict"].keys() == two["state_dict"].keys()
    moved = 0
    for name, value in one["state_dict"].items():
        assert torch.equal(value, two["state_dict"][name]), name
        moved += not torch.equal(value, half["state_dict"][name])
    assert moved > 20
    for key, states in one["optimizer_states"][0]["state"].items():
        for name, value in states.items():
            assert torch.equal(value, two["optimizer_states"][0]["state"][key][name])
    assert one["lr_schedulers"] == two["lr_schedulers"]
    assert whole is not None and parts is not None
    assert whole.measured == parts.measured
    for name in ("encoder", "decoder"):
        first, second = (load_file(getattr(result, name)) for result in (whole, parts))
        assert first.keys() == second.keys()
        assert all(torch.equal(value, second[key]) for key, value in first.items())


def test_a_training_goes_on_with_its_own_images_and_settings_alone(
    settings: Callable[..., TrainSettings], tmp_path: Path, photographs: list[np.ndarray]
) -> None:
    def save(folder: str, first: int) -> str:
        (tmp_path / folder).mkdir(exist_ok=True)
        for number in range(3):
            photo = Image.fromarray(photographs[first + number][:40, :40])
            photo.save(tmp_path / folder / f"{number}.bmp")
        return str(tmp_path / folder)

    own = save("own", 0)

    def tried(**options: Any) -> TrainSettings:
        return replace(settings(max_steps=2, **options), data_dir=own)

    train(tried())
    card = (tried().output_dir / "card.json").read_bytes()
    other = replace(tried(resume=True), data_dir=save("other", 1))
    with pytest.raises(UserError, match="'data_sha256' is that of other files"):
        train(other)
    for option in ({"seed": 5}, {"target_psnr": 30.0}, {"batch_size": 4}):
        with pytest.raises(UserError, match=f"other settings: '{next(iter(option))}' was"):
            train(tried(resume=True, **option))
    save("own", 1)  # others under the same names
    with pytest.raises(UserError, match="is that of other files"):
        train(tried(resume=True))
    assert (tried().output_dir / "card.json").read_bytes() == card
    (tried().output_dir / "checkpoints" / "last.ckpt").unlink()
    train(tried(seed=5))  # nothing to go on from: another training takes the folder


def test_a_resumed_published_run_takes_the_rate_that_is_given(
    settings: Callable[..., TrainSettings],
) -> None:
    """As the checkpoint's card says it; Adam's moments stay."""
    options = {"architecture": "stegastamp", "batch_size": 8}
    train(settings(max_steps=2, lr=1e-4, **options))
    before = checkpoint(settings().output_dir)["optimizer_states"][0]
    assert before["param_groups"][0]["lr"] == 1e-4
    train(settings(max_steps=3, lr=5e-4, resume=True, **options))
    after = checkpoint(settings().output_dir)["optimizer_states"][0]
    assert after["param_groups"][0]["lr"] == 5e-4
    assert [state["step"] for state in after["state"].values()] == [3] * len(before["state"])


@pytest.mark.parametrize(
    ("number", "error", "step"),
    [
        (signal.SIGINT, KeyboardInterrupt, 2),
        (signal.SIGINT, KeyboardInterrupt, 3),  # a validation follows
        (signal.SIGTERM, Terminated, 8),
    ],
)
def test_a_stopped_run_goes_on_to_the_result_of_an_uninterrupted_one(
    number: int,
    error: type[BaseException],
    step: int,
    settings: Callable[..., TrainSettings],
    whole: dict[str, bytes],
) -> None:
    """The signal comes in the midst of a step, after the networks have run forward."""
    handlers = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]

    class Press(pl.Callback):
        def on_before_zero_grad(self, trainer: pl.Trainer, *_: Any) -> None:
            if trainer.global_step == step:
                os.kill(os.getpid(), number)

    with pytest.raises(error):
        train(settings("parts", validate_every=4), [Press()])
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == handlers
    assert checkpoint(settings("parts").output_dir)["global_step"] == step + 1
    train(settings("parts", validate_every=4, resume=True))
    assert _weights(settings("parts")) == whole
    scalars = EventAccumulator(str(settings("parts").output_dir / "tensorboard" / "parts")).Reload()
    assert [event.step for event in scalars.Scalars("val/score")] == [3, 7, 11]


def test_a_second_interrupt_stops_at_once(settings: Callable[..., TrainSettings]) -> None:
    class Press(pl.Callback):
        def on_before_zero_grad(self, trainer: pl.Trainer, *_: Any) -> None:
            if trainer.global_step == 3:
                os.kill(os.getpid(), signal.SIGINT)
                os.kill(os.getpid(), signal.SIGINT)

    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        train(settings(), [Press()])
    assert signal.getsignal(signal.SIGINT) == handler
    assert not (settings().output_dir / "checkpoints" / "last.ckpt").exists()


def test_a_second_run_into_the_folder_is_refused(settings: Callable[..., TrainSettings]) -> None:
    train(settings(max_steps=1))
    before = {p: p.read_bytes() for p in settings().output_dir.rglob("*") if p.is_file()}
    with pytest.raises(UserError, match="already holds a training; add --resume to go on"):
        train(settings(max_steps=2))
    assert before == {p: p.read_bytes() for p in settings().output_dir.rglob("*") if p.is_file()}


def test_resume_without_a_checkpoint_begins(
    settings: Callable[..., TrainSettings], caplog: pytest.LogCaptureFixture
) -> None:
    assert train(settings(max_steps=2, resume=True)) is not None
    assert any("no checkpoint at" in r.getMessage() for r in caplog.records)
    assert checkpoint(settings().output_dir)["global_step"] == 2


def test_a_training_cut_by_time_says_so(
    settings: Callable[..., TrainSettings], caplog: pytest.LogCaptureFixture
) -> None:
    result = train(settings(max_steps=4000, max_time="00:00:00:01"))
    assert result is not None
    reached = checkpoint(settings().output_dir)["global_step"]
    assert 0 < reached < 4000
    stopped = f"by max_time at step {reached:,} of 4,000"
    assert read_card(result.decoder)["training"]["stopped"] == stopped
    assert f"stopped {stopped}; --resume goes on from there" in caplog.messages


class LearningRates(pl.Callback):
    """Records the learning rate of each step."""

    def __init__(self) -> None:
        self.rates: list[float] = []

    def on_train_batch_end(self, trainer: pl.Trainer, *_: object) -> None:
        """Record that of the step."""
        self.rates.append(float(trainer.callback_metrics["train/lr"]))


def test_the_learning_rate_ends_with_the_time(settings: Callable[..., TrainSettings]) -> None:
    options = {"max_steps": 10**6, "max_time": "00:00:00:02", "lr": 1e-3, "validate_every": 10**6}
    first, second = LearningRates(), LearningRates()
    train(settings(**options), [first])
    assert max(first.rates) > 2e-4 > 2 * first.rates[-1]
    train(settings(**options, resume=True), [second])
    # Half of the time of the whole is gone by then: half the rate, but for 1 % that always stays.
    assert 3e-4 < second.rates[0] < 5.2e-4
    assert second.rates == sorted(second.rates, reverse=True)
    assert second.rates[-1] < 1e-4


def test_checkpoints_that_cannot_be_gone_on_from(settings: Callable[..., TrainSettings]) -> None:
    train(settings(max_steps=2, validate_every=1))
    checkpoints = settings().output_dir / "checkpoints"
    config = settings().output_dir / "config.yaml"
    before = config.read_bytes()
    manifest = settings().output_dir / "train.run.json"
    manifest.unlink()  # a checkpoint from elsewhere
    with pytest.raises(UserError, match=r"last\.ckpt is of a training with other settings \(enc"):
        train(settings(bits=24, resume=True))
    manifest.unlink()
    for name in ("best", "last"):
        whole = (checkpoints / f"{name}.ckpt").read_bytes()
        (checkpoints / f"{name}.ckpt").write_bytes(whole[:1000])
        with pytest.raises(
            UserError, match=rf"{name}\.ckpt is not a readable checkpoint \(.*\); del"
        ):
            train(settings(max_steps=3, resume=True))
        (checkpoints / f"{name}.ckpt").write_bytes(whole)
    assert config.read_bytes() == before
