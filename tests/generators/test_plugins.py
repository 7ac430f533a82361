"""A generative model that another package adds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from artfp.cli.main import main
from artfp.generators import TrainGeneratorSettings, build_model, load_generator, train_generator
from artfp.generators.registry import generative_models

PACKAGE = """
from torch import nn

from artfp.generators import GenerativeModel, Generator, ModelConfig, TrainedNetwork


class FlatGenerator(Generator):
    \"\"\"Images of one colour.\"\"\"

    def __init__(self, resolution, config, classes=0):
        super().__init__(resolution, config, classes)
        self.colour = nn.Linear(2, 3)

    def _sample(self, rng, labels):
        y = self.colour(rng.normal(2))[:, :, None, None]
        return y.expand(-1, -1, self.resolution, self.resolution)


class Flat(GenerativeModel):
    name = "flat"
    reference = "A. Stranger, 2031, arXiv 3101.00001"
    departures = "none that anybody knows of"
    resolutions = (8, 32)
    small = paper = ModelConfig(batch_size=4, steps=2)
    generator_type = FlatGenerator

    def trained_networks(self):
        return [TrainedNetwork("generator", (self.generator,), self.loss, 0.1)]

    def loss(self, batch, rng, step):
        mean = (2.0 * batch.x - 1.0).mean(dim=(2, 3))
        return (self.generator.colour(rng.normal(2)) - mean).square().mean(), {}
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Install a package with a model, and with something that is none."""
    site = tmp_path / "site"
    metadata = site / "flat_generator-1.0.dist-info"
    metadata.mkdir(parents=True)
    (site / "flat_generator.py").write_text(PACKAGE)
    (metadata / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: flat-generator\nVersion: 1.0\n"
    )
    (metadata / "entry_points.txt").write_text(
        "[artfp.generators]\nflat = flat_generator:Flat\nbad = flat_generator:FlatGenerator\n"
    )
    monkeypatch.syspath_prepend(site)
    generative_models.cache_clear()
    yield
    generative_models.cache_clear()


@pytest.mark.usefixtures("installed")
def test_it_is_listed_and_can_be_trained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    assert list(generative_models())[-1] == "flat"
    assert "bad" not in generative_models() and "bad = flat_generator" in caplog.text
    assert build_model("flat", 8).generator.resolution == 8
    assert main(["gan", "list"]) == 0
    assert "A. Stranger" in capsys.readouterr().out

    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(4):
        Image.fromarray(np.full((8, 8, 3), 40 * number, np.uint8)).save(photos / f"{number}.png")
    settings = TrainGeneratorSettings(
        model="flat",
        data_dir=str(photos),
        output_dir=tmp_path / "run",
        resolution=8,
        accelerator="cpu",
    )
    trained = train_generator(settings)
    assert trained is not None and trained.card["step"] == 2
    assert load_generator(trained.path)[0].model == "flat"
