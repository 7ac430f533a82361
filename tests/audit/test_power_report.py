"""Tables and plots of power."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from artfp.audit.power_report import images_needed, plot_power, power_csv, power_json, power_rows
from artfp.audit.settings import PowerSettings
from artfp.reporting.figure import encode_figure
from artfp.stats import required_images

SETTINGS = PowerSettings(
    bits=64, accuracies=(0.55, 0.7), levels=(1e-3, 1e-6), registered=20, power=0.8
)


def text(settings: PowerSettings) -> list[list[str]]:
    console = Console(file=io.StringIO(), width=120)
    console.print(power_rows(settings, images_needed(settings)))
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    rows = [line.strip("│").split("│") for line in lines if line.startswith("│")]
    return [[cell.strip() for cell in row] for row in rows]


def test_levels_are_shared_among_the_keys() -> None:
    found = images_needed(SETTINGS)
    assert [(n.accuracy, n.level, n.fingerprints) for n in found[:4]] == [
        (0.55, 1e-3, 1), (0.55, 1e-6, 1), (0.55, 1e-3, 20), (0.55, 1e-6, 20)
    ]  # fmt: skip
    for need in found:
        assert need.alpha == need.level / need.fingerprints
        assert need.images == required_images(64, need.accuracy, need.alpha, 0.8)
    assert len(images_needed(PowerSettings(bits=64, accuracies=(0.55,), levels=(1e-3,)))) == 1


def test_table_csv_and_json_say_the_same() -> None:
    found = images_needed(SETTINGS)
    counts = [str(need.images) for need in found]
    assert text(SETTINGS) == [["0.55", *counts[:4]], ["0.7", *counts[4:]]]
    rows = list(csv.DictReader(io.StringIO(power_csv(found))))
    assert [row["images"] for row in rows] == counts
    content = json.loads(json.dumps(power_json(SETTINGS, found)))
    assert [str(row["images"]) for row in content["rows"]] == counts
    assert content["question"]["registered"] == 20 and "best case" in content["model"]


def test_what_cannot_be_is_a_dash() -> None:
    settings = PowerSettings(bits=8, accuracies=(0.9,), levels=(0.1, 1e-3))
    assert text(settings)[0][2] == "-"
    assert power_csv(images_needed(settings)).splitlines()[2].endswith(",")
    assert power_json(settings, images_needed(settings))["rows"][1]["images"] is None


@pytest.mark.parametrize(
    "settings",
    [
        SETTINGS,
        PowerSettings(
            bits=100,
            accuracies=(0.51, 0.55, 0.551, 0.9, 1.0),
            levels=(0.05, 1e-6),
            method="majority",
        ),
        PowerSettings(bits=8, accuracies=(0.9,), levels=(1e-3,)),
    ],
)
def test_the_plot_is_a_picture_with_something_on_it(settings: PowerSettings) -> None:
    data = encode_figure(plot_power(settings))
    with Image.open(io.BytesIO(data)) as picture:
        pixels = np.asarray(picture.convert("RGB"))
    assert pixels.shape[1] > 2 * pixels.shape[0] > 800
    colours = np.unique(pixels.reshape(-1, 3), axis=0).astype(int)
    coloured = (np.ptp(colours, axis=1) > 60).any()
    assert coloured == (settings.bits > 8)  # no word of 8 bits is that improbable: empty panels
