"""`artfp attribute study`, inside this process."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

Call = Callable[..., tuple[int, list[str], list[str]]]


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two generators with a pattern each, and real images, 12 of each and 16 pixels a side."""
    root = tmp_path_factory.mktemp("sources")
    rng = np.random.default_rng(0)
    for name, strength in (("gan.0", 15.0), ("gan.1", 15.0), ("real_photos", 0.0)):
        (root / name).mkdir()
        pattern = strength * rng.standard_normal((16, 16, 3))
        for number in range(12):
            pixels = (128 + pattern + 10 * rng.standard_normal((16, 16, 3))).clip(0, 255)
            Image.fromarray(pixels.astype(np.uint8)).save(root / name / f"{number}.png")
    return root


def study(call: Call, *words: object) -> tuple[int, list[str], list[str]]:
    return call("attribute", "study", *words, "--cuda", -1)


def test_chosen_analyses_with_options(call: Call, sources: Path, tmp_path: Path) -> None:
    groups = tmp_path / "groups.json"
    groups.write_text('{"gan.0": {"seed": "0"}, "gan.1": {"seed": "1"}}')
    options = ("--images", 6, "--test_images", 5, "--jpeg", "95,50", "--groups", groups)
    chosen = ("--analyses", "matrix,jpeg,dependence", "--extractor", "gaussian:sigma=1")
    code, out, err = study(call, sources, "--output_dir", tmp_path / "out", *options, *chosen)
    assert (code, err) == (0, [])
    facts = json.loads((tmp_path / "out" / "study.json").read_text())
    assert facts["settings"] == {
        "sources": ["gan.0", "gan.1", "real_photos"],
        "extractor": "gaussian:sigma=1",
        "images": 6,
        "test_images": 5,
        "validation_images": 0,
        "validation_set": "none",
        "seed": 0,
    }
    assert list(facts["analyses"]) == ["matrix", "jpeg", "dependence"]
    shown = {row["test_images"] for row in facts["analyses"]["jpeg"]["rows"]}
    assert shown == {"unperturbed", "JPEG 95", "JPEG 50"}
    kinds = [row["relation"] for row in facts["analyses"]["dependence"]["rows"]]
    assert kinds == ["same source", "other seed"]
    text = " ".join(out)
    assert "matrix: Mean correlation" in text and "left out" not in text
    pictures = {path.name for path in (tmp_path / "out").glob("*.png")}
    assert pictures == {"matrix.png", "jpeg.png", "dependence.png"}


def test_an_unusable_image_is_named(call: Call, sources: Path, tmp_path: Path) -> None:
    for name in ("gan.0", "real_photos"):
        (tmp_path / "in" / name).mkdir(parents=True)
        for path in (sources / name).iterdir():
            (tmp_path / "in" / name / path.name).write_bytes(path.read_bytes())
    (tmp_path / "in" / "gan.0" / "3.png").write_bytes(b"")
    words = ("--output_dir", tmp_path / "out", "--analyses", "matrix")
    code, _, err = study(call, tmp_path / "in", *words)
    assert code == 1
    assert err == ["unusable: gan.0/3.png: the file is empty", "1 image could not be used"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--jpeg", "95,101"), "--jpeg is 101; it must be 1 or more and at most 100"),
        (("--jpeg", ","), "--jpeg: give a quality"),
        (("--analyses", "rok"), "--analyses: 'rok' is unknown; choose from fingerprints, energy"),
        (("--real", "camera"), "--real: no source is called 'camera'"),
        (("--images", "11"), "11 images for each fingerprint; the smallest source has 12"),
        (("--extractor", "gausian"), "did you mean gaussian?"),
        (("--strengths", "blurr=1"), "no perturbation 'blurr'; did you mean blur?"),
        (("--validation_images", "10"), "a source has 2 images beside 10 of validation"),
        (("--groups", "nothing.json"), "--groups nothing.json: cannot be read"),
    ],
)
def test_bad_input_is_one_line(
    call: Call, sources: Path, tmp_path: Path, words: tuple[str, ...], told: str
) -> None:
    code, out, err = study(call, sources, "--output_dir", tmp_path / "out", *words)
    assert (code, out, len(err)) == (2, [], 1)
    assert told in err[0] and not (tmp_path / "out").exists()
