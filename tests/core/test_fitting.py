"""Trainings stop between two steps, and go on from there."""

from __future__ import annotations

import errno
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from artfp.core.checkpoints import check_checkpoint
from artfp.core.errors import UserError
from artfp.core.fitting import TimeLimit, fit
from artfp.core.lightning import new_trainer
from artfp.core.processes import Terminated

pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers")


class Module(pl.LightningModule):
    """A layer in training that gets signals in the midst of its second step."""

    def __init__(self, *signals: signal.Signals) -> None:
        super().__init__()
        self.layer, self.signals = nn.Linear(1, 1), signals
        self.reached: Any = None

    def training_step(self, batch: Tensor, index: int) -> Tensor:
        for number in self.signals if self.global_step == 1 else ():
            os.kill(os.getpid(), number)
        loss: Tensor = self.layer(batch).square().mean()
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


def run(module: Module, **options: Any) -> pl.Trainer:
    trainer = new_trainer(
        accelerator="cpu", devices=1, logger=False, enable_model_summary=False, max_steps=4,
        enable_progress_bar=False, **{"enable_checkpointing": False, **options}
    )  # fmt: skip
    try:
        fit(trainer, module, DataLoader(torch.ones(8, 1), batch_size=1))  # type: ignore[arg-type]
    finally:
        module.reached = trainer.global_step
    return trainer


@pytest.mark.parametrize(
    ("signals", "error", "reached"),
    [
        ((), None, 4),
        ((signal.SIGINT,), KeyboardInterrupt, 2),
        ((signal.SIGTERM,), Terminated, 2),
        ((signal.SIGINT, signal.SIGINT), KeyboardInterrupt, 1),  # at once
        ((signal.SIGTERM, signal.SIGINT), KeyboardInterrupt, 1),
    ],
)
def test_stops_at_the_end_of_the_step(
    signals: tuple[signal.Signals, ...], error: type[BaseException] | None, reached: int
) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    module = Module(*signals)
    if error is None:
        run(module)
    else:
        with pytest.raises(error):
            run(module)
    assert module.reached == reached
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_a_full_disk_leaves_the_checkpoint_of_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "checkpoints" / "last.ckpt"
    trainer = run(Module(), enable_checkpointing=True, default_root_dir=tmp_path / "other")
    trainer.save_checkpoint(path)
    before = path.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match=r"last\.ckpt: cannot be written: No space left on device"):
        trainer.save_checkpoint(path)
    assert path.read_bytes() == before and os.listdir(path.parent) == ["last.ckpt"]


@pytest.mark.parametrize("content", [b"", b"no checkpoint"])
def test_a_checkpoint_that_is_none(content: bytes, tmp_path: Path) -> None:
    (path := tmp_path / "last.ckpt").write_bytes(content)
    with pytest.raises(UserError, match=r"last\.ckpt is not a readable checkpoint \(.+\); delete"):
        check_checkpoint(path, Module())


def test_the_time_of_all_runs_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    trainer, module = pl.Trainer(logger=False, accelerator="cpu"), Module()
    without, limited = TimeLimit(), TimeLimit("00:00:00:30")
    without.on_train_start(trainer, module)
    clock[0] = 110.0
    assert without.fraction() is None
    limited.load_state_dict(without.state_dict())
    limited.on_train_start(trainer, module)
    fractions = []
    for clock[0] in (110.0, 120.0, 140.0, 150.0):
        fractions.append(limited.fraction())
    assert fractions == [0.25, 0.5, 1.0, 1.0]  # of 10 s before and 30 s to come
    assert limited.state_dict() == {"spent": 50.0}
