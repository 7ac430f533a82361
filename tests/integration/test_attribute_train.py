"""`artfp attribute train`, inside this process."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from artfp.passive.attributors.bundle import load_attributor

Call = Callable[..., tuple[int, list[str], list[str]]]
SIDE, NAMES = 40, ("left", "middle", "right")

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*GPU available but not used.*"),
    pytest.mark.filterwarnings("ignore:.*Checkpoint directory .* exists and is not empty.*"),
]


def write(folder: Path, source: int, count: int, seed: int, side: int = SIDE) -> None:
    """Ramps with noise, and a pattern in each source; a source of another number has none."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng((100 + seed, source))
    whole = 3.0 * rng.standard_normal((count, side, side, 3))
    if source < len(NAMES):
        whole += 2.0 * np.random.default_rng(source).standard_normal((SIDE, SIDE, 3))
    else:
        whole += 4.0 * rng.standard_normal((count, side, side, 3))
    whole += np.linspace(60, 180, side)[:, None]
    for number, image in enumerate(whole.round().clip(0, 255).astype(np.uint8)):
        Image.fromarray(image).save(folder / f"{number:03}.png")


@pytest.fixture(scope="module")
def dumps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dumps")
    for number, name in enumerate(NAMES):
        write(folder / name, number, 80, 1)
    return folder


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("labelled")
    for number, name in enumerate((*NAMES, "stranger")):
        write(folder / name, number, 30, 2)
    return folder


@pytest.fixture(scope="module")
def trained(dumps: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an attributor that was trained for 80 steps."""
    from artfp.cli.main import main

    folder = tmp_path_factory.mktemp("trained") / "a"
    words = ["attribute", "train", str(dumps), "--output_dir", str(folder), "--max_steps", "80"]
    assert main([*words, "--cuda", "-1", "--mirror", "false"]) == 0
    return folder


def test_the_folder_is_an_attributor(trained: Path, dumps: Path) -> None:
    assert sorted(path.name for path in trained.iterdir()) == [
        "artfp.log", "attributor.json", "attributor.run.json", "attributor.safetensors",
        "checkpoints", "config.yaml", "tensorboard"]  # fmt: skip
    card = json.loads((trained / "attributor.json").read_text())
    assert card["sources"] == list(NAMES) and card["leakage"] == []
    assert card["policy"] == {"kind": "aligned", "size": [32, 32], "window": [32, 32]}
    assert card["data"]["left"] == {"images": 80, "sizes": {"40x40": 80}, "codecs": {"PNG": 80}}
    assert card["method"] == "network compact" and card["validation"]["accuracy"] > 0.9
    training = card["training"]
    assert training["steps"] == 80 and training["images"] + training["held_out"] == 240
    assert str(dumps.parent) not in (trained / "attributor.json").read_text()


def test_predict_report_and_robustness_take_it(
    trained: Path, labelled: Path, call: Call, tmp_path: Path
) -> None:
    words = ["--attributor", trained, "--cuda", "-1"]
    table = tmp_path / "one.csv"
    code, _, err = call("attribute", "predict", labelled / "left", *words, "--csv", table)
    assert (code, err) == (0, [])
    with table.open() as file:
        found = [row["source"] for row in csv.DictReader(file)]
    assert found.count("left") > 25
    code, _, err = call(
        "attribute", "report", labelled, *words, "--output_dir", tmp_path / "report"
    )
    assert (code, err) == (0, [])
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    assert report["accuracy"]["mean"] > 0.9
    folders = {folder["name"]: folder for folder in report["folders"]}
    assert not folders["stranger"]["known"] and folders["left"]["right"] > 0.5
    code, _, err = call(
        "robustness", "--labelled_dir", labelled, *words[:2], "--output_dir",
        tmp_path / "sweep", "--perturbations", "jpeg", "--limit", 5,
    )  # fmt: skip
    assert code == 0, err


@pytest.mark.parametrize("action", ["train", "visnet"])
def test_a_validation_set_of_its_own(
    dumps: Path, labelled: Path, call: Call, tmp_path: Path, action: str
) -> None:
    for name in NAMES:
        write(tmp_path / "validation" / name, NAMES.index(name), 45, 3)
    output = tmp_path / "out"
    words = ["attribute", action, dumps, "--output_dir", output, "--cuda", "-1", "--max_steps", 2]
    words += ["--validation_dir", tmp_path / "validation"]
    code, _, err = call(*words, "--batch_size", 6)
    assert code == 0, err
    card = json.loads((output / "attributor.json").read_text())
    assert card["training"]["images"] == 240 and card["training"]["held_out"] == 135
    assert card["settings"]["validation_dir"] == "validation" and not card["settings"]["held_out"]
    assert np.sum(card["validation"]["confusion"], axis=1).tolist() == [45] * 3
    if action == "train":
        report = tmp_path / "report"
        code, _, err = call("attribute", "report", labelled, "--attributor", output, "--cuda", "-1",
                            "--output_dir", report, "--limit", 4)  # fmt: skip
        page = (report / "report.md").read_text()
        assert "3 sources, validated and calibrated by the images of validation." in page
    (tmp_path / "validation" / "left" / "same.png").symlink_to(dumps / "left" / "003.png")
    words[4] = tmp_path / "other"
    code, _, err = call(*words)
    assert code == 2 and "same.png is the same file as one to train on (1 such files)" in err[-1]
    (tmp_path / "validation" / "right").rename(tmp_path / "validation" / "photos")
    code, _, err = call(*words)
    assert code == 2 and "no subfolder is called 'right'; found left, middle, photos" in err[-1]


def test_tuning_a_trained_one(
    trained: Path, dumps: Path, labelled: Path, call: Call, tmp_path: Path
) -> None:
    words = ["attribute", "train", dumps, "--cuda", "-1", "--init", trained]
    code, _, err = call(
        *words, "--output_dir", tmp_path / "t", "--immunise", "noise,jpeg",
        "--max_steps", 2,
    )  # fmt: skip
    assert code == 0 and "perturbed by jpeg, noise" in err[0]
    card = json.loads((tmp_path / "t" / "attributor.json").read_text())
    assert card["training"]["immunise"] == ["jpeg", "noise"]
    assert len(card["training"]["init"]) == 64
    assert load_attributor(tmp_path / "t").sources == NAMES
    code, _, err = call(*words, "--output_dir", tmp_path / "t")
    assert code == 2 and "already holds a training; add --resume" in err[-1]
    code, _, err = call(
        "attribute", "train", labelled, "--init", trained, "--output_dir", tmp_path / "u"
    )
    assert code == 2 and "knows the sources left, middle, right; given are" in err[-1]


def test_the_published_network_and_what_it_sees(dumps: Path, call: Call, tmp_path: Path) -> None:
    code, _, err = call(
        "attribute", "train", dumps, "--cuda", "-1", "--network", "published",
        "--convolve_from", 16, "--high_pass", 2, "--max_steps", 1, "--output_dir", tmp_path / "p",
        "--limit", 40,
    )  # fmt: skip
    assert code == 0, err
    card = json.loads((tmp_path / "p" / "attributor.json").read_text())
    assert card["parts"][0]["design"] == {
        "network": "published", "resolution": 32, "low_pass": 1, "residual": 2,
        "convolve_from": 16,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--network", "vgg"], "--network: expected one of"),
        (["--window", 48], "--window"),
        (["--window", 64], "window is 64, but a source has images of 40x40"),
        (["--immunise", "webp"], "found 'webp'"),
        (["--low_pass", 2, "--high_pass", 2], "exclude each other"),
        (["--convolve_from", 8], "published network alone"),
        (["--held_out", 0.9], "--held_out is 0.9; it must be 0.1 or more and at most 0.5"),
        (["--limit", 0], "--limit is 0; it must be 1 or more"),
        (["--max_steps", 0], "--max_steps is 0; it must be 1 or more"),
        (["--precision", "16-mixed"], "--precision: expected one of"),
        (["--init", "nowhere"], "no attributor at nowhere"),
    ],
)
def test_bad_input(words: list[Any], said: str, dumps: Path, call: Call, tmp_path: Path) -> None:
    code, _, err = call("attribute", "train", dumps, "--output_dir", tmp_path / "x", *words)
    assert code == 2 and said in err[-1]


def test_small_images(call: Call, tmp_path: Path) -> None:
    for number, name in enumerate(("one", "two")):
        write(tmp_path / "small" / name, 5 + number, 40, 0, side=20)
    code, _, err = call("attribute", "train", tmp_path / "small", "--output_dir", tmp_path / "x")
    assert code == 2 and "images of 20x20 are too small: networks take 32" in err[-1]
