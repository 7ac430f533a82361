"""The benchmark of the extractors, with a stand-in for prnu-python."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from artfp.core.errors import UserError

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"

STAND_IN = """
import numpy as np
import pywt
from scipy.ndimage import uniform_filter

def noise(d, v):
    least = np.min([uniform_filter(d**2, n, mode="constant") for n in (3, 5, 7, 9)], axis=0)
    return d * v / (np.maximum(least - v, 0) + v)

def noise_extract(im, levels=4, sigma=5):
    planes = []
    for plane in np.moveaxis(im.astype(np.float32), 2, 0):
        first, *details = pywt.wavedec2(plane, "db4", level=levels)
        kept = [tuple(noise(d, sigma**2) for d in bands) for bands in details]
        planes.append(pywt.waverec2([0 * first, *kept], "db4"))
    return np.stack(planes, axis=2)
"""


def test_both_take_turns_and_agree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import residuals

    monkeypatch.setattr(residuals, "BATCHES", ((64, 2), (32, 3)))
    monkeypatch.setattr(residuals, "known_extractors", lambda: ["wavelet", "median"])
    with pytest.raises(UserError, match="--prnu_python"):
        residuals.main(["--prnu_python", str(tmp_path / "nowhere")])
    package = tmp_path / "checkout" / "prnu"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "functions.py").write_text(STAND_IN)
    output = tmp_path / "residuals.json"
    words = ["--prnu_python", package.parent, "--output", output, "--rounds", 2]
    assert residuals.main(list(map(str, words))) == 0
    found = json.loads(output.read_text())
    assert [row["side"] for row in found["wavelet"]] == [64, 32]
    for row in found["wavelet"]:
        assert row["greatest difference"] < 5e-4
        assert row["artfp to formula"] < 1e-4
        ratio = row["prnu_python processor ms"] / row["artfp processor ms"]
        assert row["processor ratio"] == pytest.approx(ratio)
    assert [row["extractor"] for row in found["extractors"]] == ["wavelet", "median"]
