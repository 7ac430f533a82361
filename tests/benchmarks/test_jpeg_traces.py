"""The benchmark of the guard's look at pixels: noise as it is, and after JPEG."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from artfp.core.errors import UserError

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


def test_shares_of_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import jpeg_traces

    rng = np.random.default_rng(0)
    for name in ("clean", "coded"):
        (tmp_path / name).mkdir()
        for index in range(4):
            pixels = rng.normal(128, 30, (64, 64, 3)).clip(0, 255).astype(np.uint8)
            image = Image.fromarray(pixels)
            if name == "coded":
                image.save(tmp_path / "coded.jpg", quality=80)
                image = Image.open(tmp_path / "coded.jpg")
            image.save(tmp_path / name / f"{index}.png")
    output = tmp_path / "traces.json"
    words = ["--data_dir", tmp_path, "--images", 3, "--jpeg", 60, "--output", output]
    assert jpeg_traces.main(list(map(str, words))) == 0
    clean, coded = json.loads(output.read_text())["sources"]
    assert clean["images"] == coded["images"] == 3
    assert clean["shares"]["as they are"]["share"] == 0
    assert coded["shares"]["as they are"]["share"] == 1
    for row in (clean, coded):
        after = row["shares"]["JPEG 60"]
        assert after["share"] == 1 and after["low"] < 0.5 and after["high"] == 1
    assert str(tmp_path) not in output.read_text()


def test_one_folder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import jpeg_traces

    (tmp_path / "alone").mkdir()
    with pytest.raises(UserError, match="found 1 subfolders"):
        jpeg_traces.main(["--data_dir", str(tmp_path)])
