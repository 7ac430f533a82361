"""Ways of passive attribution after JPEG, on small noise."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """Three sources of 60 images of noise with a pattern each; one is said to be real."""
    for number, name in enumerate(("a", "b", "real")):
        rng = np.random.default_rng(50 + number)
        noise = 8.0 * rng.standard_normal((60, 16, 16, 3))
        whole = 120 + noise + 4.0 * rng.standard_normal((16, 16, 3))
        (tmp_path / "sources" / name).mkdir(parents=True)
        for index, image in enumerate(whole.round().clip(0, 255).astype(np.uint8)):
            Image.fromarray(image).save(tmp_path / "sources" / name / f"{index:02}.png")
    return tmp_path / "sources"


def test_with_and_without_copies(
    sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import passive_jpeg

    words = ["--data_dir", str(sources), "--fit", "45", "--extractor", "gaussian:sigma=1"]
    output = tmp_path / "p.json"
    words += ["--left_out", "b"]
    assert passive_jpeg.main([*words, "--jpeg", "80", "--output", str(output)]) == 0
    found = json.loads(output.read_text())
    assert found["real"] == ["real"] and found["sources"] == ["a", "b", "real"]
    rows = {(row["sources"], row["way"], row["copies"]): row for row in found["rows"]}
    assert len(rows) == len(found["rows"]) == 2 * (4 + 3)
    assert ("generators", "plain", True) not in rows
    for row in rows.values():
        assert {"as they are", "JPEG 80"} <= row.keys() and row["seconds"] > 0
        assert all(0 <= row[what][key] <= 1 for what in ("as they are", "JPEG 80")
                   for key in ("right", "rejected"))  # fmt: skip
    before, after = (rows["all", "matched", copies] for copies in (False, True))
    assert before["as they are"]["right"] > 0.9 and after["as they are"]["right"] > 0.9
    assert after["JPEG 80"]["rejected"] < before["JPEG 80"]["rejected"]
    strangers = found["unknown_rejected"]
    assert [(row["left_out"], row["copies"]) for row in strangers] == [("b", False), ("b", True)]
    assert all(0 <= row[what] <= 1 for row in strangers for what in ("as they are", "JPEG 80"))
    assert str(tmp_path) not in output.read_text()
