"""Lightning's fit and predict show their progress as everything else does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from artfp.core import lightning_progress
from artfp.core.lightning_progress import LightningProgress
from artfp.core.progress import Progress

Seen = list[tuple[str, int, int | None, str]]


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Seen:
    """What stood after each change: caption, done, total, unit."""
    found: Seen = []

    class Recorded(Progress):
        def move_to(self, done: int, caption: str | None = None) -> None:
            super().move_to(done, caption)
            found.append((self.caption, self.done, self.total, self.unit))

    monkeypatch.setattr(lightning_progress, "Progress", Recorded)
    return found


class Module(pl.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(1, 1)

    def training_step(self, batch: Tensor, index: int) -> Tensor:
        loss: Tensor = self.layer(batch).square().mean()
        self.log("loss", loss.detach(), prog_bar=True)
        return loss

    def predict_step(self, batch: Tensor, index: int) -> Any:
        return self.layer(batch)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


def trainer(progress: LightningProgress, **options: Any) -> pl.Trainer:
    return pl.Trainer(
        accelerator="cpu",
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        callbacks=[progress],
        **options,
    )


def batches() -> DataLoader[Tensor]:
    images: Any = [torch.ones(4, 1), torch.ones(4, 1), torch.ones(2, 1)]
    return DataLoader(images, batch_size=None)


def test_steps_of_a_training(seen: Seen) -> None:
    trainer(LightningProgress(), max_steps=5).fit(Module(), batches())
    assert [(done, total, unit) for _, done, total, unit in seen] == [
        (step, 5, "steps") for step in range(1, 6)
    ]
    assert seen[0][0].startswith("Training, loss ")


def test_steps_of_one_epoch(seen: Seen) -> None:
    trainer(LightningProgress(), max_epochs=1).fit(Module(), batches())
    assert [each[1:3] for each in seen] == [(1, 3), (2, 3), (3, 3)]


def test_images_of_a_prediction(seen: Seen) -> None:
    progress = LightningProgress("Decoding", 10, "images", len)
    trainer(progress).predict(Module(), batches())
    assert seen == [("Decoding", done, 10, "images") for done in (4, 8, 10)]


def test_disabled(seen: Seen) -> None:
    progress = LightningProgress()
    progress.disable()
    trainer(progress, max_steps=2).fit(Module(), batches())
    assert seen == []


@pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint that ended before")
def test_a_resumed_training_counts_from_where_it_was(seen: Seen, tmp_path: Path) -> None:
    images: Any = [torch.ones(4, 1)] * 100
    endless: DataLoader[Tensor] = DataLoader(images, batch_size=None)
    first = trainer(LightningProgress(), max_steps=2)
    first.fit(Module(), endless)
    first.save_checkpoint(tmp_path / "last.ckpt")
    seen.clear()
    trainer(LightningProgress(), max_steps=5).fit(
        Module(), endless, ckpt_path=tmp_path / "last.ckpt", weights_only=True
    )
    assert [each[1:3] for each in seen] == [(3, 5), (4, 5), (5, 5)]
