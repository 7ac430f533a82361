"""Forecasts beside what studies found."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from artfp.core.errors import UserError
from artfp.data.paths import file_hash

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


def study(folder: Path, encoder: Path, strength: float, accuracy: float) -> str:
    """What a study of one generator writes, as far as it is read."""
    read = {"images": 9, "bit_accuracy": accuracy, "low": 0.5, "verdicts": []}
    facts = {
        "model": "dcgan",
        "resolution": 32,
        "encoder": file_hash(encoder),
        "strength": strength,
        "in_data": {"psnr": 30.0, "read": {"bit_accuracy": 1.0}},
        "rows": [{"group": "fingerprinted", "steps": 5, "read": read}],
    }
    folder.mkdir()
    (folder / "transfer.json").write_text(json.dumps(facts))
    return str(folder)


def test_pairs_and_their_correlation(
    weights: Path, photo_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import forecast

    encoder = weights / "encoder.safetensors"
    made = [
        study(tmp_path / f"s{i}", encoder, strength, accuracy)
        for i, (strength, accuracy) in enumerate([(0.02, 0.6), (0.1, 0.55), (1.0, 0.9)])
    ]
    words = ["--data_dir", str(photo_folder), "--images", "32", "--words", "2"]
    for each in made:
        words += ["--pair", each, str(encoder)]
    output = tmp_path / "out.json"
    assert forecast.main([*words, "--output", str(output)]) == 0
    found = json.loads(output.read_text())
    told = [row["forecast"] for row in found["rows"]]
    assert told[0] < told[1] < told[2] and [r["read"] for r in found["rows"]] == [0.6, 0.55, 0.9]
    assert found["pearson of forecast"] == pytest.approx(np.corrcoef(told, [0.6, 0.55, 0.9])[0, 1])
    assert found["spearman of forecast"] == pytest.approx(
        stats.spearmanr(told, [0.6, 0.55, 0.9])[0]
    )
    with pytest.raises(UserError, match="a correlation takes three"):
        forecast.main(words[:-3])
    with pytest.raises(UserError, match="its encoder's hash is another"):
        forecast.main([*words, "--pair", made[0], "photo128"])
