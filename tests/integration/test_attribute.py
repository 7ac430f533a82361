"""`artfp attribute`, inside this process."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from artfp.passive.attributors.bundle import load_attributor
from artfp.passive.fitting import select as attribute_fit
from artfp.passive.fitting.cross_validation import cross_validate_correlation

Call = Callable[..., tuple[int, list[str], list[str]]]
SIDE, NAMES = 24, ("left", "middle", "right")


def images(source: int, count: int, seed: int) -> np.ndarray:
    """(count, SIDE, SIDE, 3), uint8: noise of a colour on a ramp with a pattern; see the names."""
    rng = np.random.default_rng((100 + seed, source))
    noise = 8.0 * rng.standard_normal((count, SIDE, SIDE, 3))
    noise += 0.1 * source * np.roll(noise, 1, 2)
    if source < len(NAMES):
        noise += 2.0 * np.random.default_rng(source).standard_normal((SIDE, SIDE, 3))
    whole = noise + np.linspace(60, 180, SIDE)[:, None]
    return whole.round().clip(0, 255).astype(np.uint8)


def write(folder: Path, pixels: np.ndarray, form: str = "png") -> None:
    folder.mkdir(parents=True)
    for number, image in enumerate(pixels):
        Image.fromarray(image).save(folder / f"{number:03}.{form}")


@pytest.fixture(scope="module")
def dumps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty images of each source."""
    folder = tmp_path_factory.mktemp("dumps")
    for number, name in enumerate(NAMES):
        write(folder / name, images(number, 60, 1))
    return folder


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty others of each, and of one that is not known."""
    folder = tmp_path_factory.mktemp("labelled")
    for number, name in enumerate((*NAMES, "stranger")):
        write(folder / name, images(number, 30, 2))
    return folder


@pytest.fixture
def there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A working folder of its own, and few extractors to try."""
    monkeypatch.setattr(attribute_fit, "EXTRACTORS", ("gaussian:sigma=1", "wavelet:sigma=5"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_no_flag(call: Call, there: Path, dumps: Path, labelled: Path) -> None:
    code, out, err = call("attribute", "fit", dumps)
    assert (code, err) == (0, [])
    assert out[0].startswith("180 images of 3 sources; aligned, window 24x24: ")
    assert out[-1] == "wrote attributor.safetensors, attributor.json into attributor"
    shown = "\n".join(out)
    assert "fusion" in shown and "the best of 2" in shown and "…" not in shown
    assert sorted(path.name for path in (there / "attributor").iterdir()) == [
        "artfp.log", "attributor.json", "attributor.safetensors"]  # fmt: skip
    card = json.loads((there / "attributor" / "attributor.json").read_text())
    assert card["sources"] == list(NAMES) and card["leakage"] == []
    assert card["data"]["left"] == {"images": 60, "sizes": {"24x24": 60}, "codecs": {"PNG": 60}}
    assert card["settings"]["recompress"] is True
    assert (
        card["fitted_to"] == "images as they are and copies after JPEG of qualities from 75 to 100"
    )
    assert 0.5 < card["validation"]["recompressed"]["accuracy"] <= 1
    assert f"{card['method']}: the likeliest is right for" in shown and "of the copies" in shown
    assert (
        card["validation"]["accuracy"] > 0.9
        and card["method"] == card["tried"]["methods"][0]["what"]
    )
    assert torch.__version__.startswith(card["software"]["torch"])

    code, out, err = call("attribute", "predict", labelled / "middle", "--same_source")
    assert (code, err) == (0, [])
    shown = "\n".join(out)
    assert "029.png" not in shown and "019.png" in shown and "... and 10 more" in shown
    assert out[-1].startswith("middle, natural log-likelihood ratio")
    assert "independent given the source" in out[-1]

    code, out, err = call("attribute", "report", labelled)
    assert (code, err) == (0, [])
    assert out[-1] == (
        "wrote report.md, report.json, confusion.png, roc.png into attribution_report"
    )
    found = json.loads((there / "attribution_report" / "report.json").read_text())
    assert found["accuracy"]["mean"] > 0.9
    assert found["accuracy"]["low"] < found["accuracy"]["overall"] <= found["accuracy"]["high"]
    folders = {folder["name"]: folder for folder in found["folders"]}
    assert not folders["stranger"]["known"] and folders["stranger"]["rejected"] > 0.3
    for folder in folders.values():
        parts = [folder[key] for key in ("right", "wrong", "undecided", "rejected")]
        assert sum(parts) == pytest.approx(1.0, abs=1e-3)
        assert sum(folder["likeliest"]) == folder["images"] == 30
    assert len(found["pairs"]) == 3 and all(pair["value"] > 0.9 for pair in found["pairs"])
    assert [group["images"] for group in found["groups"]] == [1, 3, 10, 30]
    assert [group["groups"] for group in found["groups"]] == [90, 30, 9, 3]
    page = (there / "attribution_report" / "report.md").read_text()
    assert "stranger" in page and "(confusion.png)" in page and "(roc.png)" in page
    for name in ("confusion.png", "roc.png"):
        with Image.open(there / "attribution_report" / name) as picture:
            assert picture.width > 400


@pytest.mark.parametrize(
    "words", [["--method", "plain"], ["--method", "matched", "--recompress", "false"]]
)
def test_images_as_they_are_alone(call: Call, there: Path, dumps: Path, words: list[str]) -> None:
    code, out, _ = call("attribute", "fit", dumps, "--extractor", "gaussian:sigma=1", *words)
    assert code == 0 and out[0].startswith("180 images") and "copies" not in "\n".join(out)
    card = json.loads((there / "attributor" / "attributor.json").read_text())
    assert card["fitted_to"] == "images as they are" and card["validation"]["recompressed"] is None
    attributor = load_attributor(there / "attributor")
    assert len(attributor.model.means) == 1 and attributor.model.images == 60


def test_files_of_predictions(call: Call, there: Path, dumps: Path, labelled: Path) -> None:
    assert call("attribute", "fit", dumps, "--method", "matched", "--output_dir", "a")[0] == 0
    Image.new("RGB", (9, 30)).save(labelled.parent / "small.png")
    listing = there / "some.txt"
    names = [labelled / "left" / "000.png", labelled / "stranger" / "001.png"]
    listing.write_text("\n".join(map(str, [*names, labelled.parent / "small.png"])))
    words = ["attribute", "predict", listing, "--attributor", "a"]
    code, out, err = call(*words, "--json", "-", "--csv", "some.csv")
    assert code == 1
    assert any("small.png: 9x30 is smaller than the attributor's window, 24x24" in e for e in err)
    told = json.loads("\n".join(out))
    assert told["together"] is None and len(told["images"]) == 3
    first = next(row for row in told["images"] if row["name"].endswith("left/000.png"))
    assert first["source"] == "left" and (first["width"], first["height"]) == (24, 24)
    with (there / "some.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == [row["name"] for row in told["images"]]
    assert float(rows[0]["p_value"]) == told["images"][0]["p_value"]
    assert [bool(row["error"]) for row in rows] == [row["error"] is not None
                                                     for row in told["images"]]  # fmt: skip


def test_a_stopped_fit_goes_on(
    call: Call, there: Path, dumps: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = cross_validate_correlation
    tried: list[str] = []

    def stop(image_set: object, options: object, what: str, *rest: object) -> object:
        tried.append(what)
        if what.startswith("wavelet") and len(tried) == 2:
            raise KeyboardInterrupt
        return made(image_set, options, what, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(attribute_fit, "cross_validate_correlation", stop)
    words = ["attribute", "fit", dumps, "--method", "matched"]
    assert call(*words)[0] == 130
    assert (there / "attributor" / "attribute.run.json").exists()
    code, _, err = call(*words, "--seed", 1)
    assert code == 2 and "other settings: 'seed' was 0 and is now 1" in err[-1]
    assert call(*words)[0] == 0
    # The first extractor was not tried again; the last time is with all images.
    assert len(tried) == 2 + 1 + 1 and tried[2].startswith("wavelet")
    assert not (there / "attributor" / "attribute.run.json").exists()
    again = load_attributor(there / "attributor").card()
    whole = there / "whole"
    assert call(*words, "--output_dir", whole)[0] == 0
    assert load_attributor(whole).card() == again


def test_hostile_names(call: Call, there: Path, tmp_path: Path) -> None:
    """Markup, mathematics, line ends and bytes that are no UTF-8 in the names of sources."""
    names = ["[red]x_{$", "_a\nb|c", os.fsdecode(b"\xff[/]")]
    for number, name in enumerate(names):
        write(tmp_path / "s" / name, images(number, 40, 1))
    words = ["--extractor", "gaussian:sigma=1", "--method", "matched"]
    code, out, _ = call("attribute", "fit", tmp_path / "s", *words)
    assert code == 0 and "[red]x_{$" in "\n".join(out) and r"_a\nb|c" in "\n".join(out)
    write(tmp_path / "others", images(1, 20, 2))
    code, out, _ = call("attribute", "predict", tmp_path / "others", "--same_source")
    assert code == 0 and out[-1].startswith(r"_a\nb|c, natural log")
    words = ["--csv", "c.csv", "--json", "j.json"]
    assert call("attribute", "predict", tmp_path / "s", *words)[0] == 0
    code, out, _ = call("attribute", "report", tmp_path / "s")
    assert code == 0 and "[red]x_{$" in "\n".join(out)
    assert r"_a\nb\|c" in (there / "attribution_report" / "report.md").read_text()


def test_sources_whose_files_differ(call: Call, there: Path, tmp_path: Path) -> None:
    write(tmp_path / "s" / "a", images(0, 50, 1))
    write(tmp_path / "s" / "b", images(1, 50, 1), "jpg")
    words = ["--policy", "shift", "--window", "20", "--extractor", "gaussian:sigma=1"]
    code, out, err = call("attribute", "fit", tmp_path / "s", *words)
    assert code == 0 and "shift, window 20x20 in fingerprints of 24x24" in out[0]
    assert err[0].startswith("warning: format alone identifies the source of 100% of the images")
    card = json.loads((there / "attributor" / "attributor.json").read_text())
    assert card["leakage"][0]["property"] == "format" and card["leakage"][0]["text"] in err[0]
    # A crop from anywhere is taken.
    Image.fromarray(images(1, 1, 7)[0, 3:23, 2:22]).save(tmp_path / "crop.png")
    assert call("attribute", "predict", tmp_path / "crop.png")[0] == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["fit", "none"], "none: no such file or folder"),
        (["fit", ".", "--output_dir", "/none/out"], "found 0 subfolders"),
        (["fit", "DUMPS", "--limit", "0"], "--limit is 0; it must be 1 or more"),
        (["fit", "DUMPS", "--limit", "39"], "39 of 39 images can be used, a source takes 40"),
        (["fit", "DUMPS", "--method", "best"], "--method: expected one of"),
        (["fit", "DUMPS", "--policy", "best"], "--policy: expected one of"),
        (["fit", "DUMPS", "--policy", "spectrum", "--method", "matched"], "which excludes matched"),
        (["fit", "DUMPS", "--window", "25"], "window is 25, but a source has images of 24x24"),
        (["fit", "DUMPS", "--alpha", "1"], "--alpha is 1.0; it must be above 0 and below 1"),
        (["fit", "DUMPS", "--extractor", "magic"], "known are gaussian"),
        (["predict", "DUMPS"], "no attributor at attributor; make one with: artfp attribute fit"),
        (["predict", "DUMPS", "--json", "-", "--csv", "-"], "only one of them"),
        (["report", "DUMPS", "--limit", "0"], "--limit is 0; it must be 1 or more"),
        (["explain"], "unknown action 'explain'; choose from fit, train, predict, report, study"),
        ([], "no action"),
    ],
)
def test_refused(call: Call, there: Path, dumps: Path, words: list[str], said: str) -> None:
    code, out, err = call("attribute", *(dumps if word == "DUMPS" else word for word in words))
    assert code == 2 and len(err) == 1 and said in err[0]
    assert out == [] or out[0].startswith("180 images")


def test_a_folder_of_strangers_alone(call: Call, there: Path, dumps: Path, tmp_path: Path) -> None:
    words = ["--extractor", "gaussian:sigma=1", "--method", "matched"]
    assert call("attribute", "fit", dumps, *words)[0] == 0
    for name in ("x", "y"):
        write(tmp_path / "others" / name, images(5, 3, 1))
    code, _, err = call("attribute", "report", tmp_path / "others")
    assert code == 2 and "no subfolder has the name of a source" in err[0]
    assert "left, middle, right" in err[0]


def test_sweeps_of_attributors(
    call: Call, there: Path, dumps: Path, labelled: Path, weights: Path, photo_folder: Path
) -> None:
    """Two ways beside a watermark in one table; a folder of strangers makes thresholds."""
    words = ["--extractor", "gaussian:sigma=1"]
    for way in ("plain", "matched"):
        assert call("attribute", "fit", dumps, *words, "--method", way, "--output_dir", way)[0] == 0
    sweep = ["--labelled_dir", labelled, "--perturbations", "noise,mirror", "--fpr", "0.1"]
    both = ["--attributor", "plain, other=matched"]
    mark = ["--data_dir", photo_folder, "--methods", f"mark={weights / 'encoder.safetensors'}"]
    code, out, err = call("robustness", *both, *sweep, *mark, "--limit", 20, "--output_dir", "o")
    assert code == 0, err
    with (there / "o" / "robustness.csv").open() as file:
        rows = {(r["method"], r["perturbation"], r["strength"]): r
                for r in csv.DictReader(file)}  # fmt: skip
    for name in ("plain", "other"):
        whole, turned = rows[name, "identity", ""], rows[name, "mirror", "1"]
        assert (whole["images"], whole["sources"], whole["negatives"]) == ("60", "3", "20")
        assert float(whole["source_accuracy"]) > 0.9 > float(turned["source_accuracy"])
        assert float(whole["tpr"]) > 0.9 and whole["threshold"] == "negatives"
        assert whole["bits"] == ""
    assert rows["mark", "identity", ""]["bits"] == "16"
    assert {path.name for path in (there / "o").iterdir() if path.suffix == ".png"} == {
        "bit_accuracy.png", "tpr.png", "source_accuracy.png"}  # fmt: skip
    shown = "\n".join(out)
    assert "bit accuracy or accuracy of the source / TPR" in shown and "3 sources" in shown
    ranges = (there / "o" / "working_range.md").read_text()
    assert "accuracy at choosing the source of at least 0.9" in ranges
    for name in ("x", "y"):
        write(there / "strangers" / name, images(5, 2, 1))
    for more, said in (
        (["--attributor", "plain,plain=matched", *sweep], "two attributors are called 'plain'"),
        (["--attributor", "mark=plain", *sweep, *mark], "two methods are called 'mark'"),
        (["--attributor", "plain"], "--attributor needs --labelled_dir"),
        (sweep, "--labelled_dir needs --attributor"),
        (["--attributor", " ", *sweep], "--attributor: found no name"),
        (
            ["--attributor", "plain", "--labelled_dir", "strangers"],
            "no folder of images has such a name",
        ),
        (["--attributor", "none", *sweep], "no attributor at none"),
    ):
        code, _, err = call("robustness", *more, "--output_dir", "p")
        assert code == 2 and said in err[-1], (said, err)
