"""`artfp attribute learned`, inside this process."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from artfp.passive.attributors.bundle import load_attributor

Call = Callable[..., tuple[int, list[str], list[str]]]
SIDE, NAMES = 34, ("left", "middle", "right")

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*GPU available but not used.*"),
    pytest.mark.filterwarnings("ignore:.*Checkpoint directory .* exists and is not empty.*"),
]

SMALL: list[Any] = ["--fit", 45, "--test", 10, "--max_steps", 15, "--cuda", -1]


@pytest.fixture(scope="module")
def dumps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three sources of 55 images, grey with more noise in each."""
    folder = tmp_path_factory.mktemp("dumps")
    for source, name in enumerate(NAMES):
        (folder / name).mkdir()
        rng = np.random.default_rng((9, source))
        x = 128 + 3.0 * 4.0**source * rng.standard_normal((55, SIDE, SIDE, 3))
        for number, image in enumerate(x.round().clip(0, 255).astype(np.uint8)):
            Image.fromarray(image).save(folder / name / f"{number:03}.png")
    return folder


def test_the_whole_study(dumps: Path, call: Call, tmp_path: Path) -> None:
    words = ["attribute", "learned", dumps, "--output_dir", tmp_path, *SMALL]
    words += ["--immunise", "noise,jpeg", "--immunise_steps", 2, "--left_out", "right"]
    code, _, err = call(*words)
    assert code == 0 and "training: without_right" in err
    found = json.loads((tmp_path / "learned.json").read_text())
    assert found["sources"] == list(NAMES) and found["side"] == 32
    assert found["fitted"] == [45] * 3 and found["tested"] == [10] * 3
    rows = {(row["attributor"], row["perturbation"]): row for row in found["rows"]}
    assert len(found["rows"]) == 2 * 7 and rows["learned", "identity"]["accuracy"] > 0.9
    assert np.sum(rows["immunised", "combination"]["confusion"]) == 30
    assert found["training"]["immunised"]["immunise"] == ["jpeg", "noise"]
    assert found["training"]["immunised"]["init"] == "learned"
    assert found["features"][0]["features"] == "learned" and found["features"][0]["ratio"] > 1
    (opened,) = found["open_sets"]
    assert opened["left out"] == "right" and 0 <= opened["AUC"] <= 1
    with (tmp_path / "confusion.csv").open() as file:
        assert sum(int(row["images"]) for row in csv.DictReader(file)) == 14 * 30
    with (tmp_path / "learned.csv").open() as file:
        assert [row["perturbation"] for row in csv.DictReader(file)][:2] == ["none", "relight"]
    uses = list(csv.DictReader((tmp_path / "images.csv").open()))
    assert len({(row["source"], row["image"]) for row in uses}) == len(uses) == 3 * 55
    for number, source in enumerate(NAMES):
        counts = Counter(row["used_for"] for row in uses if row["source"] == source)
        held = found["held_out"][number]
        assert counts == {"training": 45 - held, "validation": held, "test": 10} and held > 8
    page = (tmp_path / "learned.md").read_text()
    assert "images.csv says what each was used for" in page
    for name in tmp_path.glob("*.png"):
        assert f"]({name.name})" in page and Image.open(name).size[0] > 300
    assert len(list(tmp_path.glob("*.png"))) == 3 + 1 + len(found["features"])
    assert str(dumps) not in page + (tmp_path / "learned.json").read_text()
    place = tmp_path / "attributors" / "without_right"
    assert load_attributor(place).sources == ("left", "middle")

    before = (tmp_path / "learned.json").read_bytes()
    code, _, err = call(*words)
    assert code == 0 and err == [] and (tmp_path / "learned.json").read_bytes() == before
    code, _, err = call(*words, "--seed", 1)
    assert code == 2 and "with other settings" in err[-1]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--network", "vgg"], "--network: expected one of 'compact', 'published'; found vgg"),
        (["--immunise", "webp"], "found 'webp'"),
        (["--left_out", "up"], "no source 'up'; choose from left, middle, right"),
        (["--fit", 55], "55 images; 55 shall fit and 10 others test"),
        (["--fit", 30], "30 of 30 images can be used, a source takes 40"),
        (["--fit", 50], "5 of 5 images can be used, a source takes 8"),
        (["--alpha", 1], "alpha is 1"),
        (["--immunise_steps", 0], "--immunise_steps is 0"),
        (["--precision", "8"], "--precision: expected one of '32-true', 'bf16-mixed'; found 8"),
    ],
)
def test_bad_input(words: list[Any], said: str, dumps: Path, call: Call, tmp_path: Path) -> None:
    code, _, err = call(
        "attribute", "learned", dumps, "--output_dir", tmp_path / "x", *SMALL, *words
    )
    assert code == 2 and said in err[-1] and len(err) == 1


def test_two_sources_leave_none_out(dumps: Path, call: Call, tmp_path: Path) -> None:
    for name in NAMES[:2]:
        (tmp_path / "two").mkdir(exist_ok=True)
        (tmp_path / "two" / name).symlink_to(dumps / name)
    words = ["--output_dir", tmp_path / "x", *SMALL, "--left_out", "all"]
    code, _, err = call("attribute", "learned", tmp_path / "two", *words)
    assert code == 2 and "it takes three or more" in err[-1]
