"""Settings of tiny trainings, and what these leave."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from artfp.core.checkpoints import last_checkpoint, read_checkpoint
from artfp.watermark.training.settings import TrainSettings


def tiny(data: Path, output: Path, **options: Any) -> TrainSettings:
    """Return the settings of a training of 12 steps at 32 px."""
    defaults: dict[str, Any] = {
        "bits": 16,
        "resolution": 32,
        "batch_size": 8,
        "num_workers": 0,
        "max_steps": 12,
        "seed": 4,
        "cuda": -1,
    }
    return TrainSettings(data_dir=str(data), output_dir=output, **{**defaults, **options})


@pytest.fixture
def settings(photo_folder: Path, tmp_path: Path) -> Callable[..., TrainSettings]:
    """Make the settings of a tiny training; options override."""
    return lambda output="out", **options: tiny(photo_folder, tmp_path / output, **options)


def checkpoint(folder: Path) -> dict[str, Any]:
    """Return the last checkpoint of a training in a folder."""
    return read_checkpoint(last_checkpoint(folder))
