"""Trainings that were stopped go on, to the result of one that was not."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

import pytest
import pytorch_lightning as pl
import torch

from artfp.core.errors import UserError
from artfp.core.processes import Terminated
from artfp.generators.settings import TrainGeneratorSettings
from artfp.generators.training import fit as generator_fit
from artfp.generators.training.fit import train_generator
from artfp.generators.weights import load_generator
from tests.generators.training.trainings import checkpoint, content, equal, stop_at, train

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*GPU available but not used.*"),
    pytest.mark.filterwarnings("ignore:.*Checkpoint directory .* exists and is not empty.*"),
]


@pytest.mark.parametrize("name", ["dcgan", "sngan"])
def test_a_resumed_run_equals_an_uninterrupted_one(
    name: str, settings: Callable[..., TrainGeneratorSettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {
        "changes": {"width": 8, "discriminator_steps": 2} if name == "sngan" else {"width": 8}
    }

    whole = train(settings("whole", name, **options))
    with monkeypatch.context() as patched:
        stop_at(patched, 3)
        train(settings("parts", name, **options))
    half = checkpoint(settings("parts").output_dir)
    assert half["global_step"] == 3
    parts = train(settings("parts", name, resume=True, **options))
    one, two = (checkpoint(settings(n).output_dir) for n in ("whole", "parts"))
    assert one["global_step"] == two["global_step"] == 8
    for part in ("state_dict", "optimizer_states"):
        assert equal(one[part], two[part]) and not equal(one[part], half[part])
    assert whole is not None and parts is not None
    assert content(whole) == content(parts)


@pytest.mark.parametrize(
    ("stop", "number", "minutes"),
    [
        (KeyboardInterrupt, signal.SIGINT, 10.0),
        (Terminated, signal.SIGTERM, 10.0),
        (MemoryError, None, 1e-9),
    ],
)
def test_a_run_that_was_stopped_goes_on_where_it_was(
    stop: type[BaseException],
    number: signal.Signals | None,
    minutes: float,
    settings: Callable[..., TrainGeneratorSettings],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By somebody, or by a fault after a checkpoint that the clock made."""

    class Press(pl.Callback):
        def on_before_optimizer_step(self, trainer: pl.Trainer, *_: Any) -> None:
            if trainer.global_step != 5:
                return
            if number is None:
                raise stop
            os.kill(os.getpid(), number)  # between the updates of two networks

    whole = train(settings("whole"))
    make = generator_fit._make_trainer

    def interrupted(*args: Any) -> pl.Trainer:
        trainer = make(*args)
        trainer.callbacks.append(Press())  # type: ignore[attr-defined]
        return trainer

    with monkeypatch.context() as patched:
        patched.setattr(generator_fit, "_make_trainer", interrupted)
        with pytest.raises(stop):
            train(settings("parts", checkpoint_minutes=minutes))
    reached = checkpoint(settings("parts").output_dir)["global_step"]
    assert reached == (5 if number is None else 6)
    with pytest.raises(UserError, match=r"holds a run of 'gan' .*: 'seed' was 4 and is now 5"):
        train(settings("parts", resume=True, seed=5))
    parts = train(settings("parts", resume=True))
    assert whole is not None and parts is not None
    assert content(whole) == content(parts)


def test_a_second_run_into_the_folder(settings: Callable[..., TrainGeneratorSettings]) -> None:
    train(settings(max_steps=1))
    with pytest.raises(UserError, match="already holds a training; add --resume to go on"):
        train(settings(max_steps=1))
    longer = train(settings(max_steps=3, resume=True))
    assert longer is not None and load_generator(longer)[1]["step"] == 3


def test_the_time_is_that_of_one_run(settings: Callable[..., TrainGeneratorSettings]) -> None:
    """Of runs of a second, each goes on; the last comes to its end."""
    reached = [0]
    for resume in (False, True):
        options: dict[str, Any] = {"max_steps": 10**6, "max_time": "00:00:00:01", "resume": resume}
        trained = train_generator(settings(**options))
        assert trained is not None
        reached.append(trained.card["step"])
        stopped = f"by max_time at step {reached[-1]:,} of 1,000,000"
        assert trained.card["training"]["stopped"] == stopped
    assert reached == sorted(set(reached))
    options |= {"max_steps": reached[-1] + 2, "resume": True}
    trained = train_generator(settings(**options))
    assert trained is not None and "stopped" not in trained.card["training"]
    assert trained.card["step"] == reached[-1] + 2


@pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`")
def test_damaged_checkpoints_are_refused_in_one_line(
    settings: Callable[..., TrainGeneratorSettings],
) -> None:
    train(settings(max_steps=1))
    last = settings().output_dir / "checkpoints" / "last.ckpt"
    whole = last.read_bytes()
    state = torch.load(last, weights_only=True)
    for cut in (b"", b"text", whole[:1000], whole[:-1000]):
        last.write_bytes(cut)
        with pytest.raises(UserError, match=r"last\.ckpt is not a readable checkpoint"):
            train(settings(resume=True))
    damaged: list[dict[str, Any]] = [
        {key: value for key, value in state.items() if key != missing}
        for missing in ("loops", "optimizer_states", "pytorch-lightning_version")
    ]
    for key in ("loops", "callbacks", "optimizer_states", "lr_schedulers", "epoch"):
        damaged += [{**state, key: value} for value in ({"fit_loop": 3}, [1], "x")]
    for each in damaged:
        torch.save(each, last)
        try:
            train(settings(resume=True, max_steps=2))
        except UserError as error:
            assert str(error).startswith(str(last)) and "delete it" in str(error)
