"""A verdict says in which forms of an image the fingerprint was searched for."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from artfp.audit import DetectSettings, detect_folder
from artfp.ownership.key import Key, to_text


@pytest.mark.parametrize("realign", [True, False])
def test_no_match_only_where_it_was_searched_for(
    realign: bool, tmp_path: Path, photographs: list[np.ndarray]
) -> None:
    Image.fromarray(photographs[1]).resize((240, 160)).save(tmp_path / "clean.png")
    settings = DetectSettings(
        data_dir=str(tmp_path / "clean.png"),
        fingerprint=to_text(Key.from_seed(3).fingerprint(100)),
        json=str(tmp_path / "verdict.json"),
        realign=realign,
        num_workers=0,
        cuda=-1,
    )
    found = detect_folder(settings)
    assert found is not None and found.verdict is not None
    report = json.loads((tmp_path / "verdict.json").read_text())
    if realign:
        assert found.verdict.outcome == "no match"
        assert "turned by 90, 180 or 270 degrees" in found.verdict.limits
        assert "part of a larger one" in str(found.verdict)
        assert "without their uniform borders" in report["decoder"]["searched"]
    else:
        assert found.verdict.outcome == "inconclusive"
        assert "were not searched" in found.verdict.explanation
        assert report["decoder"]["searched"] == "images as they are"
