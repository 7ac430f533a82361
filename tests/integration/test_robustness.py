"""`artfp robustness` as its users call it, in this process."""

from __future__ import annotations

import csv
import json
import re
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torch import Tensor

from artfp.data.bundle import shipped_weights
from artfp.data.train_module import split_names
from artfp.data.writing import encode_image
from artfp.ownership.key import Key
from artfp.perturbations.registry import PERTURBATIONS
from artfp.robustness.third_party import PEERS
from artfp.watermark import Watermark
from artfp.watermark.api import fingerprint_image

Call = Callable[..., tuple[int, list[str], list[str]]]
Words = Callable[..., list[object]]
FEW = ("--perturbations", "jpeg,noise,mirror", "--strengths", "jpeg=90,20;noise=0.02")


@pytest.fixture(scope="session")
def originals(tmp_path_factory: pytest.TempPathFactory, photographs: list[np.ndarray]) -> Path:
    """Six pieces of photographs, of two sizes."""
    folder = tmp_path_factory.mktemp("originals")
    for number in range(6):
        side = (64, 80) if number % 3 else (72, 64)
        pixels = photographs[number % 4][100 : 100 + side[0], 50 : 50 + side[1]]
        Image.fromarray(pixels).save(folder / f"p{number}.png")
    return folder


@pytest.fixture
def words(weights: Path, originals: Path, tmp_path: Path) -> Words:
    """Arguments that work, with the output folder's name and more."""

    def arguments(output: str, *more: object, data: Path = originals) -> list[object]:
        encoder = weights / "encoder.safetensors"
        folders = ["--data_dir", data, "--output_dir", tmp_path / output]
        return [*folders, "--methods", f"mine={encoder},plain={encoder}:plain", *FEW, *more]

    return arguments


def table(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def outputs(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.suffix in (".csv", ".json", ".md", ".png")
    }


def test_what_a_run_leaves(call: Call, words: Words, tmp_path: Path) -> None:
    code, out, err = call("robustness", *words("out", "--batch_size", 2))
    assert code == 0, err
    folder = tmp_path / "out"
    assert {path.name for path in folder.iterdir() if path.name[0] != "."} == {
        "robustness.csv", "robustness.json", "robustness.run.json", "working_range.md",
        "fidelity.csv", "artfp.log", "bit_accuracy.png", "tpr.png", "examples",
    }  # fmt: skip
    assert {path.name for path in (folder / "examples").iterdir()} == {
        "jpeg.png", "noise.png", "mirror.png",
    }  # fmt: skip
    rows = table(folder / "robustness.csv")
    assert [(r["method"], r["perturbation"], r["strength"]) for r in rows[:4]] == [
        ("mine", "identity", ""), ("plain", "identity", ""),
        ("mine", "jpeg", "90"), ("plain", "jpeg", "90"),
    ]  # fmt: skip
    assert len(rows) == 2 * 5 and {row["image_set"] for row in rows} == {"mine"}
    clean = rows[0]
    assert float(clean["bit_accuracy"]) > 0.95 and clean["bits"] == "16"
    assert clean["images"] == clean["sources"] == "6" and clean["threshold"] == "exact"
    assert float(clean["tpr"]) == 0.0  # 16 bits cannot reach one in a million
    whole = json.loads((folder / "robustness.json").read_text())
    assert 25 < whole["fidelity"]["mine"]["psnr"] < 45 and len(whole["rows"]) == 10
    assert whole["settings"]["conditions"][1] == "jpeg@90.0"
    said = "\n".join(out)
    assert "noise@0.02" in said and "16 bits" in said and "mine: PSNR" in said
    assert "mine: visibility: S-CIELAB p95" in said
    visible = table(folder / "fidelity.csv")
    assert [row["method"] for row in visible] == ["mine", "plain"]
    assert float(visible[0]["scielab_p95_60"]) > 0 and visible[0]["most_visible"].endswith(".png")
    assert "| mine |" in (folder / "working_range.md").read_text()


def test_a_finished_run_is_not_computed_again(
    call: Call, words: Words, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    call("robustness", *words("out"))
    before = outputs(tmp_path / "out")
    assert len(before) == 10
    (tmp_path / "out/tpr.png").unlink()

    def forbidden(*args: object) -> Tensor:
        raise AssertionError("scored again")

    monkeypatch.setattr("artfp.robustness.methods.read_bits", forbidden)
    code, _, _ = call("robustness", *words("out"))
    assert code == 0 and outputs(tmp_path / "out") == before


def test_an_interrupted_run_goes_on(
    call: Call, words: Words, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    call("robustness", *words("whole"))
    noise = type(PERTURBATIONS["noise"])
    kept = noise.differentiable

    def stop(*args: object) -> Tensor:
        raise KeyboardInterrupt

    monkeypatch.setattr(noise, "differentiable", stop)
    # The strengths are tried before anything is written: let those pass.
    monkeypatch.setattr("artfp.perturbations.conditions._check", lambda *args: None)
    code, _, err = call("robustness", *words("out"))
    assert code == 130 and err[-1] == "artfp robustness: interrupted"
    assert not (tmp_path / "out/robustness.csv").exists()
    monkeypatch.setattr(noise, "differentiable", kept)

    jpeg, seen = type(PERTURBATIONS["jpeg"]), []
    coded = jpeg.real

    def counted(self: object, pixels: Tensor, strength: float, generator: object) -> Tensor:
        seen.append(len(pixels))
        return coded(self, pixels, strength, generator)  # type: ignore[arg-type]

    monkeypatch.setattr(jpeg, "real", counted)
    code, _, err = call("robustness", *words("out"))
    assert code == 0 and "2 of 5 conditions to go" in err[0]
    assert seen == [1, 1]  # the example picture alone
    assert outputs(tmp_path / "out") == {
        name: content for name, content in outputs(tmp_path / "whole").items()
    }


def test_other_settings_are_refused(call: Call, words: Words, tmp_path: Path) -> None:
    call("robustness", *words("out"))
    before = outputs(tmp_path / "out")
    for more, said in [(("--seed", 1), "'seed' was 0 and is now 1"), (("--limit", 2), "images"),
                       (("--strength", 2), "'methods'"),
                       (("--image_resolution", 48), "images")]:  # fmt: skip
        code, out, err = call("robustness", *words("out", *more))
        assert (code, out, len(err)) == (2, [], 1) and said in err[0], err
    assert outputs(tmp_path / "out") == before


def test_unusable_images_are_named(
    call: Call, words: Words, tmp_path: Path, originals: Path
) -> None:
    data = tmp_path / "in"
    data.mkdir()
    for path in sorted(originals.iterdir())[:3]:
        (data / path.name).write_bytes(path.read_bytes())
    (data / "broken.png").write_bytes(b"nothing")
    (data / "tiny.png").write_bytes(encode_image(np.zeros((8, 30, 3), np.uint8)))
    code, _, err = call("robustness", *words("out", data=data))
    assert code == 1
    said = "\n".join(err)
    assert "unusable: broken.png: not a readable" in said and "unusable: tiny.png: 30x8" in said
    whole = json.loads((tmp_path / "out/robustness.json").read_text())
    assert [each["name"] for each in whole["unusable"]] == ["broken.png", "tiny.png"]
    assert whole["rows"][0]["images"] == 3


@pytest.fixture
def marked(pair: Watermark, originals: Path, tmp_path: Path) -> tuple[Path, Path]:
    """A folder of images that carry one word, and the key of the word."""
    key, folder = Key.draw(), tmp_path / "marked"
    key.save(tmp_path / "key.json")
    folder.mkdir()
    for path in originals.iterdir():
        with Image.open(path) as image:
            pixels = np.array(image)
        done = fingerprint_image(pair.encoder, pixels, key.fingerprint(pair.bits))
        Image.fromarray(done).save(folder / path.name)
    return folder, tmp_path / "key.json"


def test_images_that_are_marked(
    call: Call, marked: tuple[Path, Path], weights: Path, originals: Path, tmp_path: Path
) -> None:
    arguments = ["--marked_dir", marked[0], "--key", marked[1], "--fpr", 1e-3,
                 "--decoder_path", weights / "decoder.safetensors", *FEW]  # fmt: skip
    code, out, err = call(
        "robustness", *arguments, "--output_dir", tmp_path / "out", "--data_dir", originals
    )
    assert code == 0, err
    rows = table(tmp_path / "out/robustness.csv")
    assert len(rows) == 5 and (rows[0]["images"], rows[0]["negatives"]) == ("6", "6")
    assert float(rows[0]["bit_accuracy"]) > 0.95 and float(rows[0]["tpr"]) == 1.0
    assert float(rows[0]["false_positives"]) < 0.5 and rows[0]["source_accuracy"] == ""
    assert any("6 images without the fingerprint" in line for line in out)
    secret = json.loads(marked[1].read_text())["secret"]
    word = "".join(map(str, Key.load(marked[1]).fingerprint(16)))
    for path in (tmp_path / "out").rglob("*.json*"):
        assert secret not in path.read_text() and word not in path.read_text()
    code, _, _ = call("robustness", *arguments, "--output_dir", tmp_path / "alone")
    assert code == 0 and table(tmp_path / "alone/robustness.csv")[0]["false_positives"] == ""
    # By other names the key gives another fingerprint.
    names = ["--owner", "Ada", "--subject", "cats"]
    code, _, _ = call("robustness", *arguments, *names, "--output_dir", tmp_path / "named")
    assert code == 0 and float(table(tmp_path / "named/robustness.csv")[0]["bit_accuracy"]) < 0.9


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"perturbations": "jpeg,nois"}, "no perturbation 'nois'; did you mean noise?"),
        ({"perturbations": ","}, "--perturbations"),
        ({"strengths": "jpeg=high"}, "--strengths: found 'jpeg=high'"),
        ({"strengths": "blur=1"}, "blur, which is not among"),
        ({"methods": "photo182"}, "no method 'photo182'; did you mean photo128?"),
        ({"methods": "photo128,photo128"}, "two methods are called 'photo128'"),
        ({"methods": ","}, "--methods"),
        ({"methods": "/no/encoder.safetensors"}, "/no/encoder.safetensors"),
        ({"data_dir": "/nowhere"}, "/nowhere"),
        ({"data_dir": None}, "--data_dir"),
        ({"output_dir": None}, "--output_dir"),
        ({"limit": 0}, "--limit"),
        ({"batch_size": 0}, "--batch_size"),
        ({"fpr": 1}, "--fpr"),
        ({"strength": 0}, "--strength"),
        ({"strength": "nan"}, "--strength"),
        ({"image_resolution": 0}, "--image_resolution is 0"),
        ({"key": "k.json"}, "--key belongs to --marked_dir"),
        ({"owner": "Ada", "subject": "cats"}, "--owner belongs to --marked_dir"),
        ({"marked_dir": "m"}, "--methods"),
        ({"marked_dir": "m", "methods": None}, "needs --key or --fingerprint_file"),
        ({"marked_dir": "docs", "methods": None, "key": "k.json"}, "k.json"),
        ({"marked_dir": "docs", "methods": None, "fingerprint": "01"}, "100"),
        ({"perturbatoins": "jpeg"}, "--perturbations"),
    ],
)
def test_bad_input(
    changes: dict[str, object], said: str, call: Call, originals: Path, tmp_path: Path
) -> None:
    whole: dict[str, object] = {
        "data_dir": originals,
        "output_dir": tmp_path / "out",
        "methods": "photo128",
        "perturbations": "jpeg,noise",
        **changes,
    }
    given = [f"--{name}={value}" for name, value in whole.items() if value is not None]
    code, _, err = call("robustness", *given)
    assert code == 2 and len(err) == 1 and said in err[0], err
    assert not (tmp_path / "out").exists()


def test_folders_without_images(call: Call, words: Words, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    code, _, err = call("robustness", *words("out", data=tmp_path / "in"))
    assert code == 2 and "no image found" in err[0]
    (tmp_path / "in/bad.png").write_bytes(b"?")
    code, _, err = call("robustness", *words("out", data=tmp_path / "in"))
    assert code == 2 and "none of 1 images can be used" in err[0] and len(err) == 1
    assert not (tmp_path / "out").exists()


def test_missing_extra(
    call: Call, words: Words, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "imwatermark", None)
    code, _, err = call("robustness", *words("out", "--methods", "dwtDct"))
    assert code == 2 and "pip install -e '.[peers]'" in err[0] and len(err) == 1


def test_peers_and_their_sizes(call: Call, words: Words, originals: Path, tmp_path: Path) -> None:
    # Not importorskip: blind_watermark cannot be imported once processes have a start method.
    if not (find_spec("imwatermark") and find_spec("blind_watermark")):
        pytest.skip("the extra `peers` is not installed")
    methods = ("--methods", "photo128,dwtDctSvd,blind-watermark")
    code, _, err = call("robustness", *words("out", *methods))
    assert code == 2 and "too small for dwtDctSvd: it needs 256x256" in err[0]
    code, _, err = call(
        "robustness", *words("out", *methods, "--image_resolution", 256, "--limit", 1)
    )
    assert code == 0, err
    rows = table(tmp_path / "out/robustness.csv")
    clean = {row["method"]: row for row in rows if row["perturbation"] == "identity"}
    assert [clean[name]["bits"] for name in clean] == ["100", "32", "64"]
    assert all(float(row["bit_accuracy"]) > 0.95 for row in clean.values())


def test_validation_only(call: Call, words: Words, originals: Path, tmp_path: Path) -> None:
    code, _, _ = call("robustness", *words("out", "--validation_only"))
    expected = len(split_names(sorted(path.name for path in originals.iterdir()))[1])
    assert code == 0 and 0 < expected < 6
    assert table(tmp_path / "out/robustness.csv")[0]["images"] == str(expected)


def test_help_names_everything(call: Call) -> None:
    code, out, _ = call("robustness", "--help")
    said = "\n".join(out).partition("options:")[0]
    assert code == 0
    for name in [*PERTURBATIONS, *PEERS, *shipped_weights()]:
        assert re.search(rf"\b{name}\b", said), name


def test_a_latent_autoencoder_adds_its_condition(
    call: Call, words: Words, autoencoder_folder: Path, tmp_path: Path
) -> None:
    """Beside all that are named; its files decide the results, so that others are refused."""
    given = ["--latent_autoencoder", autoencoder_folder, "--strengths", "latent=0,0.3"]
    few = ["--perturbations", "mirror", "--limit", 2]
    code, _, err = call("robustness", *words("out", *few, *given))
    assert code == 0, err
    rows = table(tmp_path / "out/robustness.csv")
    assert [(r["perturbation"], r["strength"]) for r in rows[::2]] == [
        ("identity", ""), ("mirror", "1"), ("latent", "0"), ("latent", "0.3"),
    ]  # fmt: skip
    assert (tmp_path / "out/examples/latent.png").is_file()
    hashes = json.loads((tmp_path / "out/robustness.json").read_text())["settings"]
    assert list(hashes["latent_autoencoder"]) == ["encoder.pth", "decoder.pth"]
    code, _, err = call("robustness", *words("out", "--perturbations", "latent"))
    assert code == 2 and err[-1].endswith("--perturbations latent needs --latent_autoencoder")
    code, _, err = call("robustness", *words("out", "--latent_autoencoder", tmp_path))
    assert code == 2 and "has no encoder.pth and decoder.pth; give the folder" in err[-1]
