"""What is read in generators' images: the figures by hand, and that the script runs."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from artfp.generators import build_model
from artfp.generators.weights import save_generator
from artfp.ownership.key import Key

ROOT = Path(__file__).resolve().parents[2]


def test_figures_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import generated

    key = np.random.default_rng(0).integers(0, 2, 32).astype(np.uint8)
    # Equal magnitudes: the exact test of random signs is then the binomial's.
    logits = np.tile(np.where(key == 1, 2.0, -2.0).astype(np.float32), (20, 1))
    logits[:, :4] *= -1
    logits[0, 4:10] *= -1
    found = generated.figures(logits, key)
    assert found["bit accuracy"] == pytest.approx((19 * 28 + 22) / (20 * 32))
    assert found["5%"] == pytest.approx(np.quantile([22 / 32, *[28 / 32] * 19], 0.05))
    assert list(found) == ["bit accuracy", "5%", "log10 p, 1", "log10 p, 10", "log10 p, 20"]
    one = stats.binom.logsf(21, 32, 0.5) / math.log(10)
    assert found["log10 p, 1"] == pytest.approx(one, abs=1e-6)


def test_what_was_done_to_a_generator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import generated

    bits, noise = {"by": "bits", "strength": 8}, {"by": "noise", "strength": 0.05, "seed": 0}
    init = {"steps": 1500, "altered": [bits]}
    for card, steps, altered in (
        ({}, "file", "no"),
        ({"step": 9, "altered": [bits, noise]}, 9, "bits 8, noise 0.05"),
        (
            {"step": 300, "altered": [noise], "training": {"init": init, "data": ["clean"]}},
            "1500 + 300",
            "bits 8, tuned on clean, noise 0.05",
        ),
    ):
        told = generated.origin(Path("file.safetensors"), {"model": "dcgan", **card})
        assert told == {"model": "dcgan", "steps": steps, "altered": altered}


def test_it_runs_on_files_and_folders(weights: Path, tmp_path: Path) -> None:
    Key.draw().save(tmp_path / "a.key.json")
    model = build_model("dcgan", 32, seed=1, changes={"width": 8, "latent_dim": 8})
    (tmp_path / "snapshots").mkdir()
    for step in (5, 10):
        card = {"step": step}
        save_generator(model.generator, tmp_path / f"snapshots/{step:06d}.safetensors", card)
    arguments = ["--generators", "snapshots", "--weights", str(weights / "decoder.safetensors"),
                 "--key", "a.key.json", "--images", "12", "--output", "out.json"]  # fmt: skip
    script = str(ROOT / "benchmarks/generated.py")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, script, *arguments], cwd=tmp_path, env=environment, check=True,
        capture_output=True, text=True,
    )  # fmt: skip
    assert "dcgan" in done.stdout
    rows = json.loads((tmp_path / "out.json").read_text())["rows"]
    assert [(row["model"], row["steps"]) for row in rows] == [("dcgan", 5), ("dcgan", 10)]
    assert rows[0]["bit accuracy"] == rows[1]["bit accuracy"]
    assert 0.2 < rows[0]["bit accuracy"] < 0.8
    arguments[1] = "nothing"
    refused = subprocess.run(
        [sys.executable, script, *arguments], cwd=tmp_path, env=environment,
        capture_output=True, text=True,
    )  # fmt: skip
    assert refused.returncode == 2 and "nothing" in refused.stderr
    assert len(refused.stderr.strip().splitlines()) == 1
