"""What a robustness sweep leaves behind for people."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from artfp.perturbations.conditions import Condition, choose
from artfp.perturbations.registry import PERTURBATIONS
from artfp.reporting.figure import encode_figure
from artfp.reporting.image_grid import TALLEST, image_strip
from artfp.robustness import plots
from artfp.robustness.fidelity_table import fidelity_csv, fidelity_markdown
from artfp.robustness.plots import PlottedMethod, plot_figure
from artfp.robustness.report import (
    SWEEP_COLUMNS,
    Report,
    cell,
    ranges_markdown,
    table_csv,
    write_report,
)
from artfp.robustness.sweep import Fidelity, Sweep, SweepRow
from tests.golden import Golden


def row(method: str, condition: Condition, accuracy: float | None, tpr: float | None) -> SweepRow:
    return SweepRow(
        method=method, image_set=method, perturbation=condition.group,
        strength=condition.strength, unit=condition.unit, images=7, sources=7,
        bits=None if accuracy is None else 32, bit_accuracy=accuracy, bit_accuracy_q05=accuracy,
        source_accuracy=0.5, tpr=tpr, tpr_low=tpr, tpr_high=tpr, threshold="exact", fpr=1e-6,
        fpr_high=1e-6, negatives=0, false_positives=None,
    )  # fmt: skip


@pytest.fixture
def report() -> Report:
    conditions = choose(["jpeg", "brightness"], {"jpeg": [90, 30], "brightness": [0.5, 2]})
    rows = [
        row(name, condition, accuracy - 0.2 * number, tpr)
        for number, condition in enumerate(conditions)
        for name, accuracy, tpr in [("one", 1.0, 1.0), ("two, with | more", 0.95, 0.5)]
    ]
    seen = {
        "scielab_p95_60": 1.25, "scielab_p95_60_worst": 2.5, "scielab_over2_60": 0.01,
        "scielab_p95_20": 2.25, "scielab_p95_20_worst": 3.5, "scielab_over2_20": 0.125,
    }  # fmt: skip
    sweep = Sweep(rows, {"one": Fidelity(40.25, 0.99, 7, seen, "a|b.png")})
    return Report(sweep, conditions, {"seed": 0}, [("bad.png", "damaged")])


def test_all_files(report: Report, tmp_path: Path) -> None:
    example = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)
    names = write_report(report, tmp_path, example, 0)
    assert sorted(names) == sorted(
        str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()
    )
    assert {"examples/jpeg.png", "examples/brightness.png", "tpr.png"} <= set(names)
    for name in names:
        if name.endswith(".png"):
            with Image.open(tmp_path / name) as image:
                assert image.format == "PNG" and min(image.size) > 60
                assert len(image.convert("L").getcolors() or range(256)) > 10
    before = {name: (tmp_path / name).read_bytes() for name in names}
    write_report(report, tmp_path, example, 0)
    assert {name: (tmp_path / name).read_bytes() for name in names} == before


def test_json(report: Report, tmp_path: Path) -> None:
    write_report(report, tmp_path, None, 0)
    whole = json.loads((tmp_path / "robustness.json").read_text())
    assert whole["settings"] == {"seed": 0}
    fidelity = whole["fidelity"]["one"]
    assert (fidelity["psnr"], fidelity["ssim"], fidelity["images"]) == (40.25, 0.99, 7)
    assert fidelity["visibility"]["scielab_p95_60"] == 1.25
    assert fidelity["most_visible"] == "a|b.png"
    assert len(whole["rows"]) == 10 and list(whole["rows"][0]) == list(SWEEP_COLUMNS)
    assert whole["unusable"] == [{"name": "bad.png", "reason": "damaged"}]
    places = {(r["method"], r["perturbation"], r["figure"]) for r in whole["working_ranges"]}
    assert len(places) == len(whole["working_ranges"]) == 8


def test_csv(report: Report) -> None:
    found = list(csv.DictReader(io.StringIO(table_csv(report.sweep.rows))))
    assert tuple(found[0]) == SWEEP_COLUMNS and len(found) == 10
    assert (found[0]["perturbation"], found[0]["strength"]) == ("identity", "")
    assert found[3]["method"] == "two, with | more" and float(found[3]["strength"]) == 90
    assert float(found[3]["bit_accuracy"]) == pytest.approx(0.75) and found[3]["fpr"] == "1e-06"


def test_tables(report: Report, golden: Golden) -> None:
    golden("robustness.csv", table_csv(report.sweep.rows))
    golden("working_range.md", ranges_markdown(report))
    golden("fidelity.csv", fidelity_csv(report.sweep))
    golden("fidelity.md", fidelity_markdown(report.sweep))
    assert fidelity_markdown(Sweep(report.sweep.rows)) == ""


def test_markdown(report: Report) -> None:
    lines = ranges_markdown(report).splitlines()
    tables = [line for line in lines if line.startswith("|")]
    assert len(tables) == 8 and "one (32 bits, 40.2 dB)" in tables[0]
    assert all(line.replace("\\|", "").count("|") == 5 for line in tables)
    jpeg = next(line for line in tables if line.startswith("| jpeg"))
    assert jpeg == "| jpeg | quality | none | none |"
    assert "at a false positive rate of 1e-06" in "\n".join(lines)


def test_attributors_without_bits(report: Report, tmp_path: Path) -> None:
    rows = [row("passive", c, None, None) for c in report.conditions]
    other = Report(Sweep(rows), report.conditions, {}, [])
    names = write_report(other, tmp_path, None, 0)
    assert [name for name in names if name.endswith(".png")] == ["source_accuracy.png"]
    assert other.methods()[0].title() == "passive (7 sources)"
    ranges = {(found.figure, str(found)) for found in other.ranges()}
    assert {figure for figure, _ in ranges} == {"source_accuracy"}
    assert cell(rows[0]) == "0.500 / -"
    assert cell(row("a", Condition(), 0.98765, 0.5)) == "0.988 / 0.50"


def test_titles() -> None:
    assert PlottedMethod("a").title() == "a"
    assert PlottedMethod("a", 32, 40.04).title() == "a (32 bits, 40.0 dB)"


def test_strengths_from_left_to_right() -> None:
    conditions = choose(["jpeg", "brightness"], {"jpeg": [10, 90], "brightness": [2, 0.5, 0.7]})
    assert plots._places(conditions, "jpeg") == [None, 90, 10]
    assert plots._places(conditions, "brightness") == [0.5, 0.7, None, 2]


@pytest.mark.parametrize("count", [1, 9])
def test_many_contestants_and_low_values(count: int) -> None:
    conditions = [Condition(), Condition(PERTURBATIONS["mirror"], 1.0)]
    names = [f"method with a long name {number}" for number in range(count)]
    rows = [row(name, c, 0.05, 0.0) for c in conditions for name in names]
    methods = [PlottedMethod(name, 32, 40.0) for name in names]
    png = encode_figure(plot_figure(rows, conditions, methods, "bit_accuracy", "title", (0.4, 1.0)))
    with Image.open(io.BytesIO(png)) as image:
        assert image.width > 400
    alone = encode_figure(
        plot_figure(rows[:count], conditions[:1], methods, "tpr", "title", (0.0, 1.0))
    )
    assert alone.startswith(b"\x89PNG")


def test_strip_shows_the_pixels() -> None:
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (100, 80, 3), np.uint8) for _ in range(3)]
    with Image.open(io.BytesIO(image_strip(images, ["a", "b", "c"], "title"))) as picture:
        pixels = np.asarray(picture)
    for image in images:
        corner = np.argwhere((pixels[:, :, :] == image[0, 0]).all(axis=2))
        assert any(
            np.array_equal(pixels[top : top + 100, left : left + 80], image) for top, left in corner
        )


@pytest.mark.parametrize(("height", "shown"), [(2000, TALLEST), (5, 65), (100, 100)])
def test_strip_of_other_sizes(height: int, shown: int) -> None:
    image = np.zeros((height, height, 3), np.uint8)
    with Image.open(io.BytesIO(image_strip([image], ["x"]))) as picture:
        dark = (np.asarray(picture.convert("L")) == 0).sum(axis=0)
    assert dark.max() in range(shown, shown + 12)  # the caption's letter may add to it


def test_strip_refuses() -> None:
    with pytest.raises(ValueError, match="captions"):
        image_strip([np.zeros((4, 4, 3), np.uint8)], [])
