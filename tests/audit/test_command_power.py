"""`artfp power`: a cell against a simulation, what it writes and what it refuses."""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy import stats

from artfp.cli.main import main


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Any:
    """Runs `artfp power` in an empty folder: exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: Any) -> Any:
        capfd.readouterr()
        code = main(["power", *map(str, arguments)])
        said = capfd.readouterr()
        return code, said.out, said.err

    return run


def found_by_majority(rng: Any, bits: Any, accuracy: Any, images: Any, level: Any) -> Any:
    """Whether a fingerprint in images of this accuracy is found, with nothing of artfp in it."""
    key = rng.integers(0, 2, bits)
    words = np.where(rng.random((images, bits)) < accuracy, key, 1 - key)
    ones = words.sum(axis=0)
    majority = np.where(2 * ones == images, 0, 2 * ones > images)
    return stats.binom.sf((majority == key).sum() - 1, bits, 0.5) <= level


def found_by_logits(rng: Any, bits: Any, accuracy: Any, images: Any, level: Any) -> Any:
    """The same for mean logits: a test of random signs, by 2,000 random keys."""
    key = rng.integers(0, 2, bits)
    logits = stats.norm.ppf(accuracy) * (2 * key - 1) + rng.normal(0, 1, (images, bits))
    mean = logits.mean(axis=0)
    others = rng.integers(0, 2, (2000, bits)) * 2 - 1
    reached = (others @ mean >= mean @ (2 * key - 1)).sum()
    return (1 + reached) / 2001 <= level


@pytest.mark.parametrize(
    ("method", "found"), [("majority", found_by_majority), ("soft", found_by_logits)]
)
def test_a_cell_agrees_with_a_simulation(call: Any, method: str, found: Any) -> None:
    """Among 5 keys at .05: that many images reach the power, a quarter less does not."""
    words = ("--bits", 64, "--accuracies", "0.56", "--levels", "0.05", "--registered", 5)
    code, out, _ = call(*words, "--method", method, "--power", "0.8", "--json", "-")
    (row,) = [row for row in json.loads(out)["rows"] if row["keys"] == 5]
    rng, runs = np.random.default_rng(3), 700

    def power(images: Any) -> Any:
        return sum(found(rng, 64, 0.56, images, 0.05 / 5) for _ in range(runs)) / runs

    margin = 3.5 * math.sqrt(0.16 / runs)
    assert code == 0 and row["images"] >= 4
    assert power(row["images"]) >= 0.8 - margin
    assert power(row["images"] * 3 // 4) < 0.8 - margin


def test_the_table_is_the_default(call: Any, tmp_path: Path) -> None:
    code, out, err = call()
    assert code == 0 and err.startswith("next: ") and "100 bits, soft" in out
    cells = [line.split("\t") for line in out.splitlines() if "\t" in line][1:]
    assert [row[0] for row in cells][:3] == ["0.51", "0.52", "0.55"]
    assert cells[-1] == ["0.99", "1", "1", "1"] and "best case" in out
    assert list(tmp_path.iterdir()) == []


def test_files(call: Any, tmp_path: Path) -> None:
    words = ("--json", "new/p.json", "--csv", "p.csv", "--plot", "p.png", "--registered", 1000)
    code, out, _ = call(*words)
    assert code == 0 and "wrote new/p.json" in out and "1000 compared" in out
    rows = json.loads((tmp_path / "new/p.json").read_text())["rows"]
    with open(tmp_path / "p.csv", newline="") as file:
        same = list(csv.DictReader(file))
    assert [str(row["images"]) for row in rows] == [row["images"] for row in same]
    assert len(rows) == 60
    with Image.open(tmp_path / "p.png") as picture:
        assert picture.format == "PNG"
    code, out, err = call("--csv", "-", "--bits", 16)
    assert [row["images"] for row in csv.DictReader(io.StringIO(out))].count("") == 20
    assert code == 0 and "-: no number of images suffices with 16 bits." in err


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["--bits", "0"], "--bits is 0; it must be 1 or more"),
        (["--accuracies", "0.6,0.5"], "--accuracies is 0.5; it must be above 0.5"),
        (["--accuracies", "nan"], "--accuracies is nan"),
        (["--accuracies", ""], "--accuracies: found none"),
        (["--levels", "0"], "--levels is 0.0"),
        (["--levels", "1e-3,x"], "--levels"),
        (["--power", "1"], "--power is 1.0"),
        (["--registered", "0"], "--registered is 0"),
        (["--method", "vote"], "--method"),
        (["--json", "-", "--csv", "-"], "only one of them"),
        (["--plot", "-"], "--plot: give a file"),
        (["--json", "/"], "cannot be written"),
    ],
)
def test_bad_input_is_one_line(call: Any, words: Any, found: str) -> None:
    code, out, err = call(*words)
    assert code == 2 and found in err.splitlines()[-1]
    if "--json" not in words or "-" in words:
        assert out == "" and err.count("\n") == 1
