"""A verdict says in which forms of an image the fingerprint was searched for."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from artfp.audit import DetectSettings, detect_folder
from artfp.ownership.key import Key, to_text

VerdictFacts = tuple[str, str]
"""Outcome and explanation."""


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
        assert "without their borders" in report["decoder"]["searched"]
    else:
        assert found.verdict.outcome == "inconclusive"
        assert "were not searched" in found.verdict.explanation
        assert report["decoder"]["searched"] == "images as they are"


def _detect(folder: Path) -> VerdictFacts:
    settings = DetectSettings(
        data_dir=str(folder),
        fingerprint=to_text(Key.from_seed(3).fingerprint(100)),
        alpha=0.001,
        num_workers=0,
        cuda=-1,
    )
    found = detect_folder(settings)
    assert found is not None and found.verdict is not None
    return found.verdict.outcome, found.verdict.explanation


@pytest.mark.parametrize("other", ["cut.png", "anim.gif", "old.zip", ".hidden.png", "notes.txt"])
def test_files_that_were_not_examined_keep_the_question_open(
    other: str, tmp_path: Path, photographs: list[np.ndarray]
) -> None:
    image = Image.fromarray(photographs[1]).resize((240, 160))
    image.save(tmp_path / "clean.png")
    (tmp_path / other).write_bytes((tmp_path / "clean.png").read_bytes()[:900])
    if other == "anim.gif":
        image.save(tmp_path / other)
    elif other in ("old.zip", "notes.txt"):
        (tmp_path / other).write_bytes(b"PK or text")
    outcome, explanation = _detect(tmp_path)
    if other == "notes.txt":
        assert outcome == "no match"
    else:
        assert outcome == "inconclusive" and "1 file was not examined" in explanation


def test_transparent_images_are_not_ruled_out(
    tmp_path: Path, photographs: list[np.ndarray]
) -> None:
    """Their colours below the transparency may carry what is looked for."""
    image = Image.fromarray(photographs[1]).resize((240, 160))
    image.putalpha(0)
    image.save(tmp_path / "clear.png")
    outcome, explanation = _detect(tmp_path)
    assert outcome == "inconclusive" and "composited over white" in explanation
    image.convert("RGB").save(tmp_path / "other.png")
    outcome, explanation = _detect(tmp_path)
    assert outcome == "inconclusive" and "1 file was not examined" in explanation
