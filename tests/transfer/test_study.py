"""The whole study on a handful of images: stages, groups, going on, and what is refused."""

from __future__ import annotations

import csv
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from artfp.core.errors import UserError
from artfp.generators.settings import GeneratorTrainingSettings
from artfp.ownership.assignment import Fingerprints
from artfp.ownership.key import Key, to_text
from artfp.transfer.report import decode_generated, report
from artfp.transfer.settings import STAGES, DecodeGeneratedSettings
from artfp.transfer.study import TransferStudy, run_stages

pytestmark = pytest.mark.filterwarnings("ignore:.*GPU available but not used.*")

WORD = Key.from_seed(9).fingerprint(16)


@pytest.fixture(scope="module")
def new(
    weights: Path, photo_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., TransferStudy]:
    """A study of a tiny DCGAN on 24 images, in a new folder."""

    def make(output: Path | None = None, steps: int = 4, **more: Any) -> TransferStudy:
        training = GeneratorTrainingSettings(
            model="dcgan",
            data_dir=str(photo_folder),
            output_dir=output or tmp_path_factory.mktemp("study"),
            resolution=32,
            changes=("width=8", "ema_decay=0.5"),
            max_steps=steps,
            batch_size=8,
            num_workers=0,
            seed=3,
            limit=24,
            keep_every=2,
            accelerator="cpu",
        )
        encoder = str(weights / "encoder.safetensors")
        settings = {
            "fingerprints": Fingerprints(16, fingerprint=WORD),
            "images": 20,
            "progress_images": 12,
        }
        return TransferStudy(training, encoder, **{**settings, **more})

    return make


@pytest.fixture(scope="module")
def done(new: Callable[..., TransferStudy]) -> TransferStudy:
    """A study with all controls, run to its end."""
    study = new(controls=("random", "other"), clean_seeds=2)
    run_stages(study, STAGES)
    return study


def files_of(folder: Path) -> dict[str, int]:
    """All files with the times of their last change, but for what each run writes anew."""
    return {
        str(path.relative_to(folder)): path.stat().st_mtime_ns
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_groups_differ_in_their_images_alone(done: TransferStudy) -> None:
    assert done.groups == ["fingerprinted", "clean", "clean-1", "other", "random"]
    data = {path.name for path in (done.output / "data").iterdir()}
    assert data == {"fingerprinted", "other", "random"}
    words: dict[str, set[str]] = {}
    for group in data:
        with open(done.output / "data" / group / "embedded_fingerprints.csv", newline="") as file:
            rows = list(csv.DictReader(file))
        assert len(rows) == 24 and {(r["width"], r["height"]) for r in rows} == {("32", "32")}
        words[group] = {row["bits"] for row in rows}
    assert words["fingerprinted"] == {"".join(map(str, WORD))}
    assert len(words["other"]) == 1 and words["other"] != words["fingerprinted"]
    assert len(words["random"]) >= 20  # 24 draws of 16 bits: two alike happen once in 240 runs
    cards = {
        group: json.loads((done.output / "training" / group / "card.json").read_text())["training"]
        for group in done.groups
    }
    assert {card["images"] for card in cards.values()} == {24}
    assert {name: card["seed"] for name, card in cards.items()} == {
        "fingerprinted": 3, "clean": 3, "clean-1": 4, "other": 3, "random": 3
    }  # fmt: skip
    assert len({card["data_sha256"] for card in cards.values()}) == 4  # both clean ones are one
    for group in done.groups:
        assert sorted(done.snapshots(group)) == [2, 4]
        assert len(list(done.made(group, 2).glob("*.png"))) == 12
        assert len(list(done.made(group, 4).glob("*.png"))) == 20


def test_the_report_and_its_figures(done: TransferStudy) -> None:
    report(done, distances=False, realign=False)
    assert json.loads((done.output / "transfer.json").read_text())["realign"] is False
    shown = report(done, distances=False)
    assert json.loads((done.output / "transfer.json").read_text())["realign"] is True
    assert "In the data" in shown.lines[0] and str(done.output) in shown.lines[-1]
    with open(done.output / "transfer.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(r["group"], r["steps"], r["images"]) for r in rows] == [
        (group, str(step), str(images))
        for group in done.groups
        for step, images in ((2, 12), (4, 20))
    ]
    facts = json.loads((done.output / "transfer.json").read_text())
    assert (
        facts["mirror"] is True
        and ", half of them mirrored" in (done.output / "transfer.md").read_text()
    )
    assert facts["in_data"]["read"]["bit_accuracy"] > 0.95 and facts["in_data"]["psnr"] > 15
    # The figures are those of the images on disk.
    again, failed = decode_generated(
        DecodeGeneratedSettings(
            data_dir=str(done.made("fingerprinted", 4)),
            decoder_path=str(Path(done.encoder).with_name("decoder.safetensors")),
            fingerprint=to_text(WORD),
            output=done.output / "again.json",
        )
    )
    assert not failed and again.table.row_count == 1
    assert json.loads((done.output / "again.json").read_text())["bit_accuracy"] == pytest.approx(
        facts["rows"][1]["read"]["bit_accuracy"]
    )
    text = (done.output / "transfer.md").read_text()
    assert text.count("\n| ") == 6 and "| fingerprinted | 4 |" in text
    for name, least in (("progress.png", 400), ("samples.png", 500)):
        with Image.open(done.output / name) as picture:
            assert picture.width > least
    secret = "".join(map(str, WORD))
    for path in done.output.glob("*.*"):
        assert secret not in path.read_text(errors="replace")


def test_a_second_run_does_nothing_again(done: TransferStudy) -> None:
    report(done, distances=False)
    before = files_of(done.output)
    run_stages(done, STAGES)
    report(done, distances=False)
    after = files_of(done.output)
    changed = {name for name in before if before[name] != after.get(name)}
    assert after.keys() == before.keys()
    assert all(name.startswith("transfer.") or "/" not in name for name in changed), changed


def test_other_images_under_the_same_names_are_decoded_anew(
    done: TransferStudy, tmp_path: Path
) -> None:
    copy = tmp_path / "study"
    shutil.copytree(done.output, copy)
    moved = replace(done, training=replace(done.training, output_dir=copy))
    report(moved, distances=False)
    before = json.loads((copy / "transfer.json").read_text())["rows"]
    made = moved.made("clean", 4)
    marked, *_ = (copy / "data/fingerprinted/fingerprinted_images").glob("*.png")
    for path in made.iterdir():
        shutil.copy(marked, path)
    report(moved, distances=False)
    after = json.loads((copy / "transfer.json").read_text())["rows"]
    changed = [rows for rows in zip(before, after, strict=True) if rows[0] != rows[1]]
    ((old, new),) = changed
    assert (new["group"], new["steps"]) == ("clean", 4)
    assert new["read"]["bit_accuracy"] > 0.9 > old["read"]["bit_accuracy"]


def test_a_study_goes_on_and_further(new: Callable[..., TransferStudy]) -> None:
    short = new()
    run_stages(short, ["embed"])
    run_stages(short, ["train"])
    run_stages(short, ["generate"])
    first = np.asarray(Image.open(short.made("clean", 4) / "000000.png"))
    longer = new(short.output, steps=6)
    run_stages(longer, STAGES)
    report(longer, distances=False)
    assert sorted(longer.snapshots("clean")) == [2, 4, 6]
    with open(longer.output / "transfer.csv", newline="") as file:
        assert [row["steps"] for row in csv.DictReader(file)] == ["2", "4", "6"] * 2
    whole = new(steps=6)
    run_stages(whole, STAGES)
    for step in (2, 6):
        names = sorted(os.listdir(whole.made("fingerprinted", step)))
        one, other = (
            np.asarray(Image.open(s.made("fingerprinted", step) / names[0]))
            for s in (longer, whole)
        )
        assert np.array_equal(one, other)
    assert not np.array_equal(first, np.asarray(Image.open(whole.made("clean", 6) / "000000.png")))


def test_a_training_that_has_not_ended_is_read_by_its_snapshots(
    new: Callable[..., TransferStudy],
) -> None:
    study = new(clean_seeds=0)
    run_stages(study, ["embed", "train"])
    for name in ("generator.safetensors", "card.json", "snapshots/000004.safetensors"):
        (study.folder("training", "fingerprinted") / name).unlink()
    run_stages(study, ["generate"])
    report(study, distances=False)
    facts = json.loads((study.output / "transfer.json").read_text())
    assert facts["steps"] == 2 and [row["steps"] for row in facts["rows"]] == [2]


def test_a_key_is_drawn_where_none_is_given(new: Callable[..., TransferStudy]) -> None:
    study = new(fingerprints=None, clean_seeds=0)
    run_stages(study, ["embed"])
    key = Key.load(study.output / "fingerprint.key.json")
    with open(study.output / "data/fingerprinted/embedded_fingerprints.csv", newline="") as file:
        assert {r["bits"] for r in csv.DictReader(file)} == {"".join(map(str, key.fingerprint(16)))}


def test_what_is_refused(new: Callable[..., TransferStudy]) -> None:
    study = new()
    with pytest.raises(UserError, match="run the stage embed first"):
        run_stages(study, ["train"])
    with pytest.raises(UserError, match="run the stage embed first"):
        report(study)
    run_stages(study, ["embed"])
    with pytest.raises(UserError, match="run the stage train first"):
        run_stages(study, ["generate"])
    with pytest.raises(UserError, match="16 bits, the fingerprint 32"):
        run_stages(
            new(fingerprints=Fingerprints(32, fingerprint=Key.from_seed(1).fingerprint(32))),
            ["embed"],
        )
    other = replace(study, fingerprints=Fingerprints(16, fingerprint=1 - WORD))
    with pytest.raises(UserError, match="fingerprint"):
        run_stages(other, ["embed"])
    images = study.output.parent / "photos"
    shutil.copytree(study.training.data_dir, images)
    moved = replace(study, training=replace(study.training, data_dir=str(images)))
    moved = replace(moved, training=replace(moved.training, output_dir=study.output / "other"))
    run_stages(moved, ["embed"])
    first, *rest = sorted(images.iterdir())
    for path in rest:
        shutil.copy(first, path)
    with pytest.raises(UserError, match="'data_sha256' is that of other files"):
        run_stages(moved, ["embed"])
    with pytest.raises(UserError, match="no control is called 'foo'"):
        new(controls=("foo",))
    with pytest.raises(UserError, match="images is 1"):
        new(images=1)
