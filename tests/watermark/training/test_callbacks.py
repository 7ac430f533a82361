"""What is noted and shown while a training runs."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import torch

from artfp.watermark.training.callbacks import ImageGrids, Milestones
from artfp.watermark.training.module import FingerprintAutoencoder


def milestones_after(values: list[float], milestones: Milestones, step: int = 0) -> Milestones:
    """Let it see accuracies of steps in a row."""
    trainer: Any = SimpleNamespace(callback_metrics={}, global_step=step, is_global_zero=True)
    module: Any = None
    milestones.on_train_start(trainer, module)
    for value in values:
        trainer.global_step += 1
        trainer.callback_metrics = {"train/bit_accuracy_unperturbed": torch.tensor(value)}
        milestones.on_train_batch_end(trainer, module, None, None, 0)
    return milestones


def test_milestones_average_over_a_window() -> None:
    values = [1.0, 0.9, 1.0, 1.0, 0.99, 0.98, 1.0]
    seen = milestones_after(values, Milestones(0.99, window=3))
    assert seen.step == 5 and seen.seconds is not None
    assert milestones_after([1.0, 1.0], Milestones(0.99, window=3)).step is None
    assert milestones_after([0.98] * 9, Milestones(0.99, window=3)).step is None


def test_milestones_survive_a_checkpoint() -> None:
    whole = milestones_after([1.0] * 4, Milestones(0.99, window=3))
    assert whole.step == 3
    later = Milestones(0.99, window=3)
    later.load_state_dict(whole.state_dict())
    milestones_after([1.0] * 4, later, step=4)
    assert (later.step, later.seconds) == (3, whole.seconds)

    half = milestones_after([1.0] * 2, Milestones(0.99, window=3))
    later = Milestones(0.99, window=3)
    later.load_state_dict({**half.state_dict(), "spent": 100.0})
    milestones_after([1.0], later, step=2)
    assert later.step == 3 and later.seconds is not None and later.seconds > 100.0


def test_grids_every_so_often(photo_crops: Callable[..., torch.Tensor]) -> None:
    written: list[tuple[str, int]] = []

    class Board:
        def add_image(self, tag: str, image: torch.Tensor, step: int) -> None:
            assert image.shape[0] == 3 and image.min() >= 0 and image.max() <= 1
            written.append((tag, step))

    trainer: Any = type("T", (), {"is_global_zero": True, "sanity_checking": False})()
    trainer.logger = type("L", (), {"experiment": Board()})()
    module = FingerprintAutoencoder(bits=8, resolution=32).train()
    state = {k: v.clone() for k, v in module.state_dict().items()}
    grids, batch = ImageGrids(every=5), photo_crops(8, 32)
    for step in range(1, 13):
        trainer.global_step = step
        grids.on_train_batch_end(trainer, module, None, batch, step)
    assert written == [("train/images", 1), ("train/images", 6), ("train/images", 11)]
    grids.on_validation_batch_end(trainer, module, None, batch, 0)
    grids.on_validation_batch_end(trainer, module, None, batch, 1)
    assert written[3:] == [("val/images", 12)]
    assert module.encoder.training
    assert all(torch.equal(v, state[k]) for k, v in module.state_dict().items())
