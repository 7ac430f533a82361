"""Attributors that other packages add."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from artfp.cli.main import main
from artfp.core.errors import UserError
from artfp.passive.attributors import bundle
from artfp.passive.attributors.bundle import (
    FittedAttributor,
    fit_part,
    fittable_parts,
    known_parts,
    load_attributor,
    save_attributor,
)
from artfp.passive.attributors.score_model import ScoreModel
from artfp.passive.attributors.window import ALIGNED, WindowPolicy

SOURCES = ("dark", "bright")


class Brightness:
    """Minus the distance of an image's mean from those of the sources."""

    name = "brightness"

    def __init__(self, sources: Sequence[str], means: Tensor) -> None:
        self.sources, self.means = tuple(sources), means

    def scores(self, x: Tensor) -> Tensor:
        return -(x.mean((1, 2, 3))[:, None] - self.means).abs()

    def card(self) -> dict[str, Any]:
        return {"kind": self.name}

    def tensors(self) -> dict[str, Tensor]:
        return {"means": self.means}

    @classmethod
    def load(
        cls, sources: Sequence[str], card: Mapping[str, Any], tensors: Mapping[str, Tensor]
    ) -> Brightness:
        return cls(sources, tensors["means"])

    @classmethod
    def fit(cls, sources: Sequence[str], pixels: Tensor, labels: Tensor) -> Brightness:
        means = pixels.float().mean((1, 2, 3)) / 255
        return cls(sources, torch.stack([means[labels == k].mean() for k in range(len(sources))]))


@pytest.fixture
def plugins(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    points = [
        metadata.EntryPoint("brightness", f"{__name__}:Brightness", "artfp.attributors"),
        metadata.EntryPoint("number", "math:pi", "artfp.attributors"),
    ]
    others = metadata.entry_points

    def entry_points(**wanted: str) -> Any:
        return points if wanted.get("group") == "artfp.attributors" else others(**wanted)

    monkeypatch.setattr(metadata, "entry_points", entry_points)
    known_parts.cache_clear()
    yield
    known_parts.cache_clear()


def attributor() -> FittedAttributor:
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 20)
    levels = 100 + 60 * labels + rng.normal(0, 5, 40)
    pixels = torch.from_numpy(levels.astype(np.uint8))[:, None, None, None].expand(40, 3, 16, 16)
    folds = np.tile(np.arange(4), 10)
    part, scores = fit_part(fittable_parts()["brightness"], SOURCES, pixels, labels, folds)
    assert (scores.argmax(1) == labels).all()
    # Held out: the part of the other folds, not the one of all images.
    inside = torch.from_numpy(folds == 0)
    without = Brightness.fit(SOURCES, pixels[~inside], torch.from_numpy(labels)[~inside])
    expected = without.scores(pixels[inside] / 255)
    np.testing.assert_allclose(scores[folds == 0], expected, atol=1e-6)
    policy = WindowPolicy(ALIGNED, (16, 16), (16, 16))
    return FittedAttributor("own", [part], ScoreModel.fit(scores, labels), policy)


@pytest.mark.usefixtures("plugins")
def test_the_command_fits_and_predicts_with_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    for name, level in (("dark", 90), ("bright", 160)):
        (tmp_path / "dumps" / name).mkdir(parents=True)
        for number in range(50):
            pixels = level + rng.normal(0, 20, (16, 16, 3))
            image = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
            image.save(tmp_path / "dumps" / name / f"{number}.png")
    dumps, output = str(tmp_path / "dumps"), str(tmp_path / "own")
    words = ["attribute", "baseline", dumps, "--output_dir", output, "--kind"]
    assert main([*words, "colour"]) == 2
    assert "choose from nearest, eigenface, brightness" in capsys.readouterr().err
    assert main([*words, "brightness"]) == 0
    assert isinstance(load_attributor(output).parts[0], Brightness)
    assert main(["attribute", "predict", f"{dumps}/dark", "--attributor", output]) == 0
    assert "dark" in capsys.readouterr().out


@pytest.mark.usefixtures("plugins")
def test_a_part_of_another_package_is_fitted_written_and_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = attributor()
    assert list(known_parts())[-1] == "brightness"
    assert "plugin number = math:pi is not a passive attributor" in caplog.text
    save_attributor(before, tmp_path)
    after = load_attributor(tmp_path)
    assert isinstance(after.parts[0], Brightness)
    x = torch.rand(3, 3, 16, 16)
    assert torch.equal(after.scores(x), before.scores(x))


def test_without_the_package_the_file_names_what_is_missing(
    tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    request.getfixturevalue("plugins")
    save_attributor(attributor(), tmp_path)
    monkeypatch.setattr(bundle, "known_parts", lambda: {})
    with pytest.raises(UserError, match="has a part 'brightness', which this version"):
        load_attributor(tmp_path)
