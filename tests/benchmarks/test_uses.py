"""The benchmarks of splices, clusters and removal: they make what they say, and run."""

from __future__ import annotations

import argparse
import importlib
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from artfp.core.errors import UserError

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


def benchmark(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module(name)


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four sources of 24 images of 16 pixels, the last without a pattern."""
    root = tmp_path_factory.mktemp("sources")
    rng = np.random.default_rng(0)
    for name, strength in (("one", 12.0), ("two", 12.0), ("three", 12.0), ("plain", 0.0)):
        (root / name).mkdir()
        pattern = strength * rng.standard_normal((16, 16, 3))
        for number in range(24):
            pixels = (128 + pattern + 9 * rng.standard_normal((16, 16, 3))).clip(0, 255)
            Image.fromarray(pixels.astype(np.uint8)).save(root / name / f"{number:02}.png")
    return root


def test_a_splice_is_the_donor_inside_and_the_host_outside(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    splices = benchmark("splices", monkeypatch)
    rng = np.random.default_rng(1)
    host, donor = torch.zeros(1, 3, 40, 60), torch.rand(1, 3, 40, 60) + 1.0
    shares = []
    for _ in range(100):
        found, truth = splices._spliced(host, donor, rng)
        assert ((found[0] > 0).all(0).numpy() == truth).all() and not host.any()
        assert ((found[0] > 0).any(0).numpy() == truth).all()
        shares.append(truth.mean())
    assert 0.03 < min(shares) < 0.08 and 0.2 < max(shares) < 0.28


def test_halves_share_no_image(sources: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hosts and donors of a half; those that only give are no hosts."""
    splices = benchmark("splices", monkeypatch)
    found = splices._by_source(splices.open_source(str(sources)))
    options = argparse.Namespace(seed=0, images=6, splices=2, donors=["plain"])
    made = splices._splices(found, options)
    assert len(made) == 3 * 6 * 2 and {each.host for each in made} == {"one", "two", "three"}
    pixels: list[set[bytes]] = [set(), set()]
    for each in made:
        assert each.donor != each.host
        pixels[each.half].update(row.tobytes() for row in each.x[0].permute(1, 2, 0).numpy())
    assert min(map(len, pixels)) > 100 and not pixels[0] & pixels[1]


def test_each_half_is_judged_at_the_threshold_of_the_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    splices = benchmark("splices", monkeypatch)
    truths = [np.array([True, False, False, False])] * 2
    scores = [np.array([0.9, 0.1, 0.2, 0.3]), np.array([0.5, 0.1, 0.2, 0.3])]
    found = splices._figures(scores, truths, [0, 1])
    # At the first's threshold, .9, the second's splice is missed; at .5 the first's is found.
    assert found["recall"] == 0.5 and found["precision"] == 1.0 and found["auc"] == 1.0
    assert found["thresholds"] == [-0.9, -0.5]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("splices", ["--estimate", 12, "--images", 4, "--splices", 1, "--windows", 5, 8,
                     "--step", 1, "--donors", "plain"]),
        ("clustering", ["--images", 20, "--draws", 1, "--most", 4, "--singles", "--subsets", 1,
                        "--real", "plain", "--auc", 0.8]),
        ("removal", ["--leave_out", "plain", "--estimate", 8, "--images", 6, "--strengths", 0, 3]),
    ],
)  # fmt: skip
def test_they_run(
    sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, words: list[Any]
) -> None:
    module = benchmark(name, monkeypatch)
    output = tmp_path / "figures.json"
    common = ["--data_dir", sources, "--extractor", "gaussian:sigma=1", "--output", output]
    picture = tmp_path / "plot.png"
    plot = [] if name == "clustering" else ["--plot", picture]
    assert module.main([str(word) for word in (*common, *plot, *words)]) == 0
    rows = json.loads(output.read_text())["rows"]
    if name == "splices":
        auc = {row["fingerprint"]: row["auc"] for row in rows}
        assert auc[module.OWN] > 0.8 > auc[module.OTHER]
    elif name == "clustering":
        whole = {row["way"]: row for row in rows if "of" not in row}
        assert whole["divide"]["rand"] > 0.9 and whole["divide"]["clusters"] == 4
        assert [row["clusters"] for row in rows if row.get("of") in ("one", "two")] == [1, 1]
    else:
        accuracy = {(row["attack"], row["strength"]): row["accuracy"] for row in rows}
        assert accuracy["mean", 0.0] == 1.0 == accuracy["scrambled", 3.0] > accuracy["mean", 3.0]
    if plot:
        with Image.open(picture) as drawn:
            assert drawn.width > 700


def test_too_few(sources: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, words, said in (
        ("splices", [str(sources), "--donors", "one", "two", "--estimate", "9"], "takes three"),
        ("clustering", [str(sources), "--images", "25"], "a source of 24 images, not 25"),
        ("removal", [str(sources)], "24 images; it takes 700"),
    ):
        with pytest.raises(UserError, match=said):
            benchmark(name, monkeypatch).main(["--data_dir", *words])
