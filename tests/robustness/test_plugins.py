"""Perturbations and watermark methods that other packages add, down to the command's table."""

from __future__ import annotations

import csv
import importlib
import logging
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

import artfp.robustness.command
from artfp.core.errors import UserError
from artfp.perturbations import Perturbation, known_perturbations
from artfp.perturbations.base import per_image
from artfp.perturbations.conditions import choose
from artfp.robustness import (
    RobustnessSettings,
    ThirdPartyWatermark,
    known_methods,
    load_method,
    robustness_sweep,
)
from artfp.robustness.methods import third_party_methods
from artfp.robustness.report import write_report


class Darken(Perturbation):
    """Values multiplied by 1 - strength."""

    name, unit, levels = "darken", "fraction", (0.25,)

    def differentiable(self, x: Tensor, strength: Tensor, generator: torch.Generator) -> Tensor:
        """Darkened by (N,)."""
        return x * (1.0 - per_image(strength, x))


class FirstRow(ThirdPartyWatermark):
    """Each bit is whether a pixel of the first row is bright."""

    bits = 24

    def __init__(self) -> None:
        self.settings = {"package": "first-row 1.0"}

    def embed(self, pixels: np.ndarray, message: NDArray[np.uint8]) -> np.ndarray:
        """Write the message."""
        marked = pixels.copy()
        marked[0, : self.bits] = 255 * message[:, None]
        return marked

    def read_image(self, pixels: np.ndarray) -> NDArray[np.uint8]:
        """Read it."""
        bits: NDArray[np.uint8] = (pixels[0, : self.bits, 0] > 127).astype(np.uint8)
        return bits

    def refuses(self, height: int, width: int) -> str | None:
        """Each bit needs a pixel."""
        return None if width >= self.bits else "it needs 24 pixels a row"


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Pretend that a package declares entry points, as (group, name, object of this module)."""

    def declare(*entries: tuple[str, str, str]) -> None:
        points = [
            metadata.EntryPoint(name, f"{__name__}:{value}", group)
            for group, name, value in entries
        ]
        monkeypatch.setattr(
            metadata, "entry_points", lambda group: [p for p in points if p.group == group]
        )
        known_perturbations.cache_clear()
        third_party_methods.cache_clear()

    yield declare
    known_perturbations.cache_clear()
    third_party_methods.cache_clear()


def test_a_sweep_with_a_perturbation_and_a_method_of_another_package(
    installed: Callable[..., None], photo_folder: Path, tmp_path: Path
) -> None:
    installed(
        ("artfp.perturbations", "darken", "Darken"), ("artfp.methods", "first-row", "FirstRow")
    )
    assert list(known_perturbations())[-1] == "darken" and known_methods()[-1] == "first-row"
    settings = RobustnessSettings(
        data_dir=str(photo_folder),
        output_dir=tmp_path,
        methods=("first-row", "row=first-row"),
        perturbations=("darken", "mirror"),
        strengths="darken=0.25,0.75",
        limit=4,
    )
    report = robustness_sweep(settings)
    write_report(report, tmp_path, report.example, settings.seed)
    with open(tmp_path / "robustness.csv", newline="") as file:
        rows = {(r["method"], r["perturbation"], r["strength"]): r for r in csv.DictReader(file)}
    assert len(rows) == 8 and {row["bits"] for row in rows.values()} == {"24"}
    assert rows["first-row", "identity", ""]["bit_accuracy"] == "1"
    assert rows["row", "darken", "0.25"]["bit_accuracy"] == "1"
    assert float(rows["row", "darken", "0.75"]["bit_accuracy"]) < 0.8
    assert (tmp_path / "examples/darken.png").is_file()


def test_the_help_names_them(installed: Callable[..., None]) -> None:
    installed(
        ("artfp.perturbations", "darken", "Darken"), ("artfp.methods", "first-row", "FirstRow")
    )
    try:
        text = importlib.reload(artfp.robustness.command).DESCRIPTION
        assert "Of other packages: first-row." in text and "Of other packages: darken." in text
    finally:
        installed()
        importlib.reload(artfp.robustness.command)
    assert "Of other packages" not in artfp.robustness.command.DESCRIPTION


def test_what_is_none_is_left_out(
    installed: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    installed(("artfp.perturbations", "row", "FirstRow"), ("artfp.methods", "n", "FirstRow.bits"))
    with caplog.at_level(logging.WARNING, "artfp"):
        assert "row" not in known_perturbations() and "n" not in third_party_methods()
    assert len(caplog.messages) == 2
    with pytest.raises(UserError, match="no perturbation 'row'"):
        choose(["row"])
    with pytest.raises(UserError, match="no method 'n'"):
        load_method("n")
