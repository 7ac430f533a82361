"""Images of two shapes, settings of tiny trainings on them, and a trained generator."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from artfp.generators.settings import TrainGeneratorSettings
from tests.generators.training.trainings import text, train


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty images of 16 px in two folders: a bright square on blue, and on yellow."""
    rng = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("shapes")
    for number in range(60):
        warm = number % 2 == 1
        pixels = np.full((16, 16, 3), (200, 180, 20) if warm else (20, 40, 160), np.uint8)
        top, left = rng.integers(2, 7, 2)
        pixels[top : top + 7, left : left + 7] = 250 - rng.integers(0, 30)
        (folder / ("warm" if warm else "cold")).mkdir(exist_ok=True)
        Image.fromarray(pixels).save(folder / ("warm" if warm else "cold") / f"{number:02}.png")
    return folder


@pytest.fixture
def settings(shapes: Path, tmp_path: Path) -> Callable[..., TrainGeneratorSettings]:
    """Make the settings of a training of 8 steps at 16 px; options override."""

    def make(
        output: str = "out", name: str = "dcgan", changes: dict[str, Any] | None = None, **more: Any
    ) -> TrainGeneratorSettings:
        if changes is None:
            changes = {} if name.startswith("toy") else {"width": 8}
        defaults: dict[str, Any] = {
            "data_dir": str(shapes),
            "resolution": 16,
            "batch_size": 8,
            "max_steps": 8,
            "seed": 4,
            "accelerator": "cpu",
        }
        texts = tuple(f"{name}={text(value)}" for name, value in changes.items())
        return TrainGeneratorSettings(
            model=name, output_dir=tmp_path / output, changes=texts, **{**defaults, **more}
        )

    return make


@pytest.fixture
def trained(settings: Callable[..., TrainGeneratorSettings]) -> Path:
    """The folder of a training of 8 steps, with an averaged generator."""
    job = settings("origin", changes={"width": 8, "latent_dim": 8, "ema_decay": 0.9})
    assert train(job) is not None
    return job.output_dir
