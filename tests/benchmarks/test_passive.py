"""All ways of passive attribution on small noise."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from artfp.core.errors import UserError

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three sources of 70 images of 20 pixels: coloured noise with a pattern each."""
    folder = tmp_path_factory.mktemp("sources")
    for number, name in enumerate("abc"):
        rng = np.random.default_rng(50 + number)
        noise = 8.0 * rng.standard_normal((70, 20, 20, 3))
        noise = noise + 0.5 * np.roll(noise, 1, 2) + noise[..., :1]
        whole = 120 + noise + 1.5 * rng.standard_normal((20, 20, 3))
        (folder / name).mkdir()
        for index, image in enumerate(whole.round().clip(0, 255).astype(np.uint8)):
            Image.fromarray(image).save(folder / name / f"{index:02}.png")
    return folder


def test_all_ways(sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import passive

    words = ["--data_dir", str(sources), "--fit", "50", "--extractors", "gaussian:sigma=1"]
    assert passive.main([*words, "--output", str(tmp_path / "p.json")]) == 0
    found = json.loads((tmp_path / "p.json").read_text())
    assert found["fit"] == dict.fromkeys("abc", 50) and found["test"] == dict.fromkeys("abc", 20)
    assert found["guard"] == [] and found["size"] == [20, 20]
    ways = {way["way"]: way for way in found["ways"]}
    assert list(ways) == [*passive.CORRELATIONS, *passive.SPECTRA, passive.FUSION_NAME]
    plain, matched = ways[passive.PLAIN_NAME], ways[passive.MATCHED_NAME]
    assert matched["largest"] > plain["largest"] and plain["errors_of_plain"] == 1.0
    assert matched["errors_of_plain"] == pytest.approx(
        (1 - matched["largest"]) / (1 - plain["largest"]), abs=1e-3
    )
    for way in ways.values():
        assert 0 <= way["low"] <= way["largest"] <= way["high"] <= 1
        assert np.mean(list(way["by_source"].values())) == pytest.approx(way["largest"], abs=1e-3)
        assert way["worst_pair_auc"] <= way["pair_auc"] <= 1
    unknown = matched["unknown_rejected"]
    assert set(unknown) == {"mean", *"abc"}
    assert unknown["mean"] == pytest.approx(np.mean([unknown[k] for k in "abc"]), abs=1e-3)
    assert str(tmp_path) not in (tmp_path / "p.json").read_text()
    with pytest.raises(UserError, match="70 images; 70 shall fit"):
        passive.main([*words, "--fit", "70"])
