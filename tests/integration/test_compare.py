"""`artfp compare` on photographs that carry fingerprints, as if generators had made them."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torch import Tensor

from artfp.cli.main import main
from artfp.ownership.key import to_text
from artfp.watermark import Watermark
from artfp.watermark.api import fingerprint_image

Folder = tuple[Path, Path]


@pytest.fixture(scope="module")
def made(
    tmp_path_factory: pytest.TempPathFactory, pair: Watermark, photo_crops: Callable[..., Tensor]
) -> Folder:
    """Three sources of 70 images, two with a fingerprint; and the file of the fingerprints."""
    folder = tmp_path_factory.mktemp("made")
    rng = np.random.default_rng(0)
    fingerprints: dict[str, str | None] = {"real": None}
    one = rng.integers(0, 2, 16, dtype=np.uint8)
    for number, (name, bits) in enumerate({"dcgan": one, "glow": 1 - one, "real": None}.items()):
        (folder / "images" / name).mkdir(parents=True)
        for index, piece in enumerate(photo_crops(70, 32, seed=number)):
            pixels = piece.permute(1, 2, 0).numpy()
            if bits is not None:
                pixels = fingerprint_image(pair.encoder, pixels, bits, 1.0)
                fingerprints[name] = to_text(bits)
            Image.fromarray(pixels).save(folder / "images" / name / f"{index:03}.png")
    path = folder / "fingerprints.json"
    path.write_text(json.dumps(fingerprints))
    return folder / "images", path


def _run(made: Folder, weights: Path, output: Path, *more: str) -> int:
    images, fingerprints = made
    given = [
        "compare",
        str(images),
        "--fingerprints",
        str(fingerprints),
        "--output_dir",
        str(output),
    ]
    given += ["--decoder_path", str(weights / "decoder.safetensors")]
    return main([*given, "--fit", "45", "--test", "25", *more])


_FEW = ("--methods", "plain,nearest", "--perturbations", "jpeg,noise",
        "--strengths", "jpeg=90;noise=0.3")  # fmt: skip


def test_tables_and_going_on(
    made: Folder, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(made, weights, tmp_path, *_FEW) == 0
    printed = capsys.readouterr()
    assert "proactive" in printed.out and "fitting: plain" in printed.err
    found = json.loads((tmp_path / "compare.json").read_text())
    assert found["sources"] == ["dcgan", "glow", "real"] and found["unmarked"] == "real"
    assert (found["fitted"], found["tested"]) == (45, 25)
    rows = {(r["method"], r["perturbation"]): r for r in found["rows"]}
    assert len(rows) == 3 * 3
    clean = rows["proactive", "identity"]
    assert clean["accuracy"] > 0.8 and clean["images"] is not None
    assert rows["proactive", "noise"]["accuracy"] < clean["accuracy"]
    assert rows["proactive", "noise"]["per_source"][2] > 0.9  # few real images are claimed
    with (tmp_path / "compare.csv").open() as file:
        table = list(csv.DictReader(file))
    assert {row["method"] for row in table} == {"proactive", "plain", "nearest"}
    text = (tmp_path / "compare.md").read_text()
    assert "| proactive |" in text and "real without a fingerprint" in text
    for name in ("accuracy.png", "tpr.png"):
        assert Image.open(tmp_path / name).size[0] > 300
    assert (tmp_path / "attributors" / "plain" / "attributor.json").is_file()

    before = (tmp_path / "compare.csv").read_text()
    assert _run(made, weights, tmp_path, *_FEW) == 0
    assert (tmp_path / "compare.csv").read_text() == before
    assert "testing" not in capsys.readouterr().err
    assert _run(made, weights, tmp_path, *_FEW, "--seed", "1") == 2
    assert "with other settings" in capsys.readouterr().err
    (tmp_path / "compare.run.json").unlink()  # whose fits are these?
    assert _run(made, weights, tmp_path, *_FEW) == 2
    assert "attributor.safetensors is of an unknown run" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"glow": None}, "without a fingerprint: glow, real; one source at most"),
        ({"other": "01" * 8}, "a fingerprint for other, but the sources are dcgan, glow, real"),
        ({"glow": "01"}, "glow: "),
        ({"glow": 3}, "glow: expected bits, hexadecimal, a key's file or null"),
    ],
)
def test_wrong_fingerprints(
    made: Folder,
    weights: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    change: dict[str, object],
    message: str,
) -> None:
    images, fingerprints = made
    path = tmp_path / "fingerprints.json"
    path.write_text(json.dumps({**json.loads(fingerprints.read_text()), **change}))
    assert _run((images, path), weights, tmp_path / "out", *_FEW) == 2
    printed = capsys.readouterr().err.splitlines()
    assert message in printed[-1]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--methods", "plan"), "--methods: 'plan' is unknown; choose from plain"),
        (("--methods", "immunised"), "immunised trains the network of learned further"),
        (("--fit", "70"), "70 images; 70 shall fit"),
        (("--perturbations", "jpg"), "no perturbation 'jpg'"),
    ],
)
def test_bad_options(
    made: Folder,
    weights: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    more: tuple[str, ...],
    message: str,
) -> None:
    assert _run(made, weights, tmp_path, *more) == 2
    assert message in capsys.readouterr().err


def test_no_fingerprints(
    made: Folder, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run((made[0], tmp_path / "none.json"), weights, tmp_path / "out") == 2
    assert "none.json: cannot be read" in capsys.readouterr().err
    (tmp_path / "none.json").write_text("[1]")
    assert _run((made[0], tmp_path / "none.json"), weights, tmp_path / "out") == 2
    assert 'expected {"SOURCE"' in capsys.readouterr().err
