"""Settings of tiny trainings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from artfp.watermark.training.fit import Training


@pytest.fixture
def settings(photo_folder: Path, tmp_path: Path) -> Callable[..., Training]:
    """Make the settings of a training of 12 steps at 32 px; options override."""

    def make(output: str = "out", **options: Any) -> Training:
        defaults: dict[str, Any] = {
            "bits": 16,
            "resolution": 32,
            "batch_size": 8,
            "num_workers": 0,
            "max_steps": 12,
            "seed": 4,
            "trainer": {"accelerator": "cpu", "devices": 1},
        }
        return Training(str(photo_folder), tmp_path / output, **{**defaults, **options})

    return make
