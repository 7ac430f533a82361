"""What the guard does to a training that does not leave 0.5, and when."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from artfp.watermark import build_pair
from artfp.watermark.training.callbacks import StallRecovery
from artfp.watermark.training.module import FingerprintAutoencoder


class Board:
    def __init__(self) -> None:
        self.texts: list[tuple[str, str, int]] = []

    def add_text(self, tag: str, text: str, step: int) -> None:
        self.texts.append((tag, text, step))


class Stage:
    """A module that never learns, watched by a guard; `run` plays steps."""

    def __init__(self, guard: StallRecovery, schedule: str = "feedback") -> None:
        self.module = FingerprintAutoencoder(
            "residual", 8, 32, schedule, 40.0, total_steps=1000, seed=5
        )
        optimizer = torch.optim.Adam(p for p in self.module.parameters() if p.requires_grad)
        sum(p.sum() for p in self.module.parameters() if p.requires_grad).backward()  # type: ignore[union-attr]
        optimizer.step()
        self.optimizer = optimizer
        self.module.optimizers = lambda use_pl_optimizer=True: optimizer  # type: ignore
        self.board, self.guard, self.step = Board(), guard, 0
        self.trainer: Any = SimpleNamespace(
            global_step=0, is_global_zero=True, logger=SimpleNamespace(experiment=self.board)
        )
        self.held: dict[int, bool] = {}

    def run(self, steps: int) -> list[tuple[int, str]]:
        """What was done at which step."""
        before = len(self.board.texts)
        for _ in range(steps):
            self.step += 1
            self.trainer.global_step = self.step
            batch = torch.full((2, 3, 32, 32), self.step % 256, dtype=torch.uint8)
            self.guard.on_train_batch_end(self.trainer, self.module, None, batch, 0)
            self.held[self.step] = self.module.held_batch is not None
        return [(step, text.split("action: ")[1]) for _, text, step in self.board.texts[before:]]


def test_measures_in_their_order(caplog: pytest.LogCaptureFixture) -> None:
    stage = Stage(StallRecovery(patience=10))
    goal = float(stage.module.schedule.goal)  # type: ignore[arg-type]
    with caplog.at_level(logging.WARNING, "artfp"):
        assert stage.run(9) == []
        assert stage.run(1) == [(10, "made the residual 6 dB stronger")]
        assert float(stage.module.schedule.goal) == goal - 6.0  # type: ignore[arg-type]
        assert stage.run(10) == [(20, "holding one batch for 5 steps")]
        held = stage.module.held_batch
        assert held is not None and (held == 20).all()
        kept = stage.module.decoder.state_dict()["carriers.left"].clone()
        assert stage.optimizer.state
        assert stage.run(10) == [(30, "restarted from seed 1005")]
    assert [step for step, is_held in stage.held.items() if is_held] == list(range(20, 25))
    expected = build_pair("residual", 8, 32, 1005)
    for network, fresh in zip((stage.module.encoder, stage.module.decoder), expected, strict=True):
        for name, value in network.state_dict().items():
            assert torch.equal(value, fresh.state_dict()[name]), name
    assert not torch.equal(kept, stage.module.decoder.state_dict()["carriers.left"])
    assert not stage.optimizer.state
    assert float(stage.module.schedule.goal) == goal  # type: ignore[arg-type]
    told = [record.getMessage() for record in caplog.records]
    assert told == [text for _, text, _ in stage.board.texts]
    assert (
        told[0] == "step 10: bit accuracy is still 0.500; action: made the residual 6 dB stronger"
    )
    assert {tag for tag, _, _ in stage.board.texts} == {"stall"}


def test_three_rounds_then_advice() -> None:
    stage = Stage(StallRecovery(patience=2))
    done = [text for _, text in stage.run(20)]
    assert [text.split()[0] for text in done] == ["made", "holding", "restarted"] * 3 + ["none;"]
    assert done[2].endswith("seed 1005") and done[8].endswith("seed 3005")
    assert done[9].startswith("none; try more images")


def test_published_schedule_has_no_strength_to_raise() -> None:
    stage = Stage(StallRecovery(patience=2), schedule="published")
    assert [t.split()[0] for _, t in stage.run(8)] == ["holding", "restarted"] * 2


@pytest.mark.parametrize("level", [0.6, 0.8])
def test_never_acts_once_it_reads(level: float) -> None:
    stage = Stage(StallRecovery(patience=5))
    before = {name: value.clone() for name, value in stage.module.state_dict().items()}
    stage.module.schedule.accuracy.fill_(level + 1e-3)
    assert stage.run(20) == [] and stage.guard.left_plateau
    stage.module.schedule.accuracy.fill_(0.5)  # a later dip is no stall
    assert stage.run(20) == []
    for name, value in stage.module.state_dict().items():
        assert torch.equal(value, before[name])


def test_acts_just_below() -> None:
    stage = Stage(StallRecovery(patience=5))
    stage.module.schedule.accuracy.fill_(0.599)
    assert len(stage.run(5)) == 1


def test_only_watching() -> None:
    stage = Stage(StallRecovery(patience=5, act=False))
    before = {name: value.clone() for name, value in stage.module.state_dict().items()}
    assert stage.run(10) == [(5, "none (only reporting)"), (10, "none (only reporting)")]
    for name, value in stage.module.state_dict().items():
        assert torch.equal(value, before[name])


def test_other_processes_act_in_silence(caplog: pytest.LogCaptureFixture) -> None:
    stage = Stage(StallRecovery(patience=5))
    stage.trainer.is_global_zero = False
    goal = float(stage.module.schedule.goal)  # type: ignore[arg-type]
    assert stage.run(5) == [] and not caplog.records
    assert float(stage.module.schedule.goal) == goal - 6.0  # type: ignore[arg-type]


def test_goes_on_from_a_checkpoint() -> None:
    stage = Stage(StallRecovery(patience=4))
    stage.run(6)
    guard = StallRecovery(patience=4)
    guard.load_state_dict(stage.guard.state_dict())
    stage.guard = guard
    assert stage.run(2) == [(8, "holding one batch for 2 steps")]
    held = stage.guard.held
    assert held is not None
    guard = StallRecovery(patience=4)
    guard.load_state_dict(stage.guard.state_dict())
    stage = Stage(guard)
    stage.step = 8
    guard.on_train_start(stage.trainer, stage.module)
    now: Any = stage.module.held_batch
    assert now is not None and now.equal(held)
    stage.run(2)
    assert stage.held == {9: True, 10: False}
