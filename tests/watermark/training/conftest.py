"""Settings of tiny trainings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from artfp.watermark.settings import TrainSettings


@pytest.fixture
def settings(photo_folder: Path, tmp_path: Path) -> Callable[..., TrainSettings]:
    """Make the settings of a training of 12 steps at 32 px; options override."""

    def make(output: str = "out", **options: Any) -> TrainSettings:
        defaults: dict[str, Any] = {
            "bits": 16,
            "resolution": 32,
            "batch_size": 8,
            "num_workers": 0,
            "max_steps": 12,
            "seed": 4,
            "cuda": -1,
        }
        fields: dict[str, Any] = {"data_dir": str(photo_folder), "output_dir": tmp_path / output}
        return TrainSettings(**fields, **{**defaults, **options})

    return make
