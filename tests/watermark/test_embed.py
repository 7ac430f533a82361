"""EmbeddingJob a source: names, pixels, tables, and going on after a stop."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from artfp.core.errors import UserError
from artfp.data import open_source
from artfp.data.files import file_hash
from artfp.ownership.assignment import Fingerprints
from artfp.ownership.key import Key, to_text
from artfp.watermark import Watermark
from artfp.watermark.embed_check import check_embedding
from artfp.watermark.embed_job import ARCHIVE_FILE, EMBEDDED_LISTING, EMBEDDED_TABLE, EmbeddingJob
from artfp.watermark.embed_run import run_embedding
from artfp.watermark.prediction_loop import Prediction
from artfp.watermark.settings import FINGERPRINTED_FOLDER

Jobs = Callable[..., EmbeddingJob]
KEY = Key.from_seed(5)
ONE = Fingerprints(16, key=KEY)
EACH = Fingerprints(16, key=KEY, per_image=True)


def _save(path: Path, pixels: np.ndarray, mode: str = "RGB") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).convert(mode).save(path)


def _pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def _rows(folder: Path) -> list[dict[str, str]]:
    with open(
        folder / EMBEDDED_TABLE, encoding="utf-8", errors="surrogateescape", newline=""
    ) as file:
        return list(csv.DictReader(file))


def _state(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Content and time of change of all that a user sees."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name[0] != ".")
    return {
        str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in files
    }


def test_tree_names_and_listing(
    job: Jobs, tmp_path: Path, photographs: list[np.ndarray], pair: Watermark
) -> None:
    for name, photo in zip(("a/x.png", "a/x.jpg", "b/c/y.d.webp"), photographs, strict=False):
        _save(tmp_path / "in" / name, photo[:60, :80])
    this = job(tmp_path / "in")
    assert run_embedding(this, ONE) is not None
    images = this.output / FINGERPRINTED_FOLDER
    found = sorted(str(p.relative_to(images)) for p in images.rglob("*") if p.is_file())
    assert found == ["a/x.jpg.png", "a/x.png.png", "b/c/y.d.png"]
    word = to_text(KEY.fingerprint(16))
    assert (this.output / EMBEDDED_LISTING).read_text().splitlines() == [
        f"{name} {word}" for name in found
    ]
    assert [row["output"] for row in _rows(this.output)] == found


def test_psnr_of_the_table_is_that_of_the_file(job: Jobs, photo_folder: Path) -> None:
    run_embedding(this := job(), ONE)
    for row in _rows(this.output)[::7]:
        written, original = (
            _pixels(this.output / FINGERPRINTED_FOLDER / row["output"]),
            _pixels(photo_folder / row["name"]),
        )
        error = np.mean((written.astype(float) - original) ** 2)
        assert float(row["psnr"]) == pytest.approx(10 * np.log10(255**2 / error), abs=0.002)
        assert (int(row["width"]), int(row["height"])) == (48, 48)


def test_no_image_falls_under_min_psnr(job: Jobs, tmp_path: Path) -> None:
    run_embedding(free := job(output=tmp_path / "free"), ONE)
    psnrs = np.array([float(row["psnr"]) for row in _rows(free.output)])
    limit = round(float(np.median(psnrs)), 1)
    run_embedding(this := job(output=tmp_path / "limited", min_psnr=limit), ONE)
    limited = np.array([float(row["psnr"]) for row in _rows(this.output)])
    assert limited.min() > limit - 0.1 and psnrs.min() < limit - 0.2
    assert (limited >= psnrs).all() and (limited == psnrs).mean() > 0.2
    with pytest.raises(UserError, match="min_psnr is nan; give decibels"):
        job(min_psnr=float("nan"))


def test_images_that_hold_no_fingerprint_are_named_and_not_written(
    job: Jobs, tmp_path: Path, photographs: list[np.ndarray]
) -> None:
    for name, (height, width) in {"dot": (1, 1), "thin": (5, 90), "good": (40, 50)}.items():
        _save(tmp_path / f"in/{name}.png", photographs[0][:height, :width])
    _save(tmp_path / "faint/same.png", photographs[0][:40, :50])
    found = run_embedding(this := job(tmp_path / "in"), ONE)
    assert found is not None and found.written == 1
    assert dict(found.failed) == {
        "dot.png": "1x1 px cannot carry 16 bits: each side needs 6 px or more",
        "thin.png": "90x5 px cannot carry 16 bits: each side needs 6 px or more",
    }
    assert [path.name for path in (this.output / FINGERPRINTED_FOLDER).iterdir()] == ["good.png"]
    faint = job(tmp_path / "faint", output=tmp_path / "kept", min_psnr=99.0)
    found = run_embedding(faint, ONE)
    assert found is not None and found.written == 0
    reason = "the fingerprint changes no pixel: strength 1, min_psnr 99"
    assert found.failed == [("same.png", reason)]


@pytest.mark.parametrize("mode", ["CMYK", "1", "LA"])
def test_any_mode_becomes_rgb(
    job: Jobs, tmp_path: Path, photographs: list[np.ndarray], mode: str
) -> None:
    suffix = ".jpg" if mode == "CMYK" else ".png"
    _save(tmp_path / f"in/x{suffix}", photographs[2][:64, :64], mode)
    this = job(tmp_path / "in")
    run_embedding(this, ONE)
    assert Image.open(this.output / FINGERPRINTED_FOLDER / "x.png").mode == "RGB"


@pytest.mark.parametrize("name", ["webp", "bmp", "tiff"])
def test_lossless_formats_hold_the_same_pixels(job: Jobs, tmp_path: Path, name: str) -> None:
    run_embedding(png := job(output=tmp_path / "png"), ONE)
    run_embedding(other := job(output=tmp_path / name, format=name), ONE)
    for path in (png.output / FINGERPRINTED_FOLDER).iterdir():
        twin = (other.output / FINGERPRINTED_FOLDER / path.name).with_suffix(f".{name}")
        assert np.array_equal(_pixels(path), _pixels(twin))


def test_unusable_images_are_named_and_the_rest_is_done(
    job: Jobs, tmp_path: Path, photographs: list[np.ndarray]
) -> None:
    _save(tmp_path / "in/good.png", photographs[0][:50, :50])
    (tmp_path / "in/empty.jpg").touch()
    (tmp_path / "in/text.png").write_text("no image")
    (tmp_path / "in/readme.txt").write_text("ignored")
    done = run_embedding(this := job(tmp_path / "in"), ONE)
    assert done is not None and done.written == 1
    assert dict(done.failed).keys() == {"empty.jpg", "text.png"}
    assert {row["name"]: bool(row["error"]) for row in _rows(this.output)} == {
        "empty.jpg": True,
        "good.png": False,
        "text.png": True,
    }


def test_an_image_that_was_mended_is_done_the_next_time(
    job: Jobs, tmp_path: Path, photographs: list[np.ndarray]
) -> None:
    _save(tmp_path / "in/good.png", photographs[0][:50, :50])
    (tmp_path / "in/later.png").touch()
    run_embedding(job(tmp_path / "in"), ONE)
    _save(tmp_path / "in/later.png", photographs[1][:50, :50])
    done = run_embedding(this := job(tmp_path / "in"), ONE)
    assert done is not None and (done.written, done.before, done.failed) == (2, 1, [])
    assert not any(row["error"] for row in _rows(this.output))


def test_stylegan_zip_keeps_labels_and_packs_again(
    job: Jobs, tmp_path: Path, photographs: list[np.ndarray]
) -> None:
    labels: list[tuple[str, int]] = [("00000/img0.jpg", 3), ("00000/img1.png", 1)]
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        archive.writestr("dataset.json", json.dumps({"labels": labels}))
        for (name, _), photo in zip(labels, photographs, strict=False):
            file = io.BytesIO()
            Image.fromarray(photo[:40, :40]).save(file, "JPEG" if name.endswith("jpg") else "PNG")
            archive.writestr(str(name), file.getvalue())
    this = job(tmp_path / "set.zip", archive=True)
    run_embedding(this, ONE)
    names = ["00000/img0.png", "00000/img1.png"]
    wanted = {"labels": [[name, label] for name, label in zip(names, (3, 1), strict=True)]}
    assert json.loads((this.output / FINGERPRINTED_FOLDER / "dataset.json").read_text()) == wanted
    with zipfile.ZipFile(this.output / ARCHIVE_FILE) as archive:
        assert json.loads(archive.read("dataset.json")) == wanted
        for name in names:
            assert archive.read(name) == (this.output / FINGERPRINTED_FOLDER / name).read_bytes()
    again = open_source(this.output / ARCHIVE_FILE)
    assert again.names == names


def test_per_image_words_differ_and_are_read(job: Jobs, pair: Watermark) -> None:
    run_embedding(this := job(), EACH)
    words = {row["output"]: row["bits"] for row in _rows(this.output)}
    assert len(set(words.values())) > 100
    figures = check_embedding(this, pair.decoder)
    assert figures["bit_accuracy"] > 0.8


def test_check_agrees_with_the_files(job: Jobs, pair: Watermark, photo_folder: Path) -> None:
    run_embedding(this := job(), ONE)
    errors, right = [], []
    for row in _rows(this.output):
        image = Image.open(this.output / FINGERPRINTED_FOLDER / row["output"])
        written, original = np.asarray(image), _pixels(photo_folder / row["name"])
        errors.append(10 * np.log10(255**2 / np.mean((written - original.astype(float)) ** 2)))
        right.append(pair.detect(image, KEY.fingerprint(16)).matches / 16)
    figures = check_embedding(this, pair.decoder)
    assert figures["psnr"] == pytest.approx(np.mean(errors), abs=1e-3)
    assert figures["bit_accuracy"] == pytest.approx(np.mean(right))


def test_a_stopped_run_goes_on_and_repeats_nothing(
    job: Jobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = job(output=tmp_path / "whole")
    run_embedding(whole, EACH)

    import artfp.watermark.embed_module as module
    from artfp.data.files import write_atomic

    real, count = write_atomic, 0

    def failing(path: Path, data: bytes | str) -> None:
        nonlocal count
        count += 1
        if count > 41:
            raise KeyboardInterrupt
        real(path, data)

    monkeypatch.setattr(module, "write_atomic", failing)
    stopped = job(output=tmp_path / "stopped")
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        run_embedding(stopped, EACH)
    monkeypatch.undo()
    before = _state(stopped.output / FINGERPRINTED_FOLDER)
    assert 30 < len(before) < 60
    done = run_embedding(job(output=tmp_path / "stopped"), EACH)
    assert done is not None and done.before == len(before) and done.written == 120
    after = _state(stopped.output / FINGERPRINTED_FOLDER)
    assert all(after[name] == value for name, value in before.items())
    for name, (content, _) in _state(whole.output).items():
        if not name.endswith("run.json"):
            assert (stopped.output / name).read_bytes() == content, name


def test_a_finished_run_changes_nothing(job: Jobs, tmp_path: Path, photo_folder: Path) -> None:
    shutil.copytree(photo_folder, folder := tmp_path / "in")
    (folder / "dataset.json").write_text(json.dumps({"labels": [["003.png", 1]]}))
    run_embedding(this := job(folder, archive=True), ONE)
    before = _state(this.output)
    assert {
        ARCHIVE_FILE,
        EMBEDDED_TABLE,
        EMBEDDED_LISTING,
        "embed.run.json",
        f"{FINGERPRINTED_FOLDER}/dataset.json",
    } < before.keys()
    done = run_embedding(job(folder, archive=True), ONE)
    assert done is not None and done.before == done.written == 120
    assert _state(this.output) == before


def test_the_same_folder_by_another_path_goes_on(
    job: Jobs, photo_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_embedding(job(), ONE)
    monkeypatch.chdir(photo_folder.parent)
    for path in (f"{photo_folder}/", photo_folder.name, f"./{photo_folder.name}/."):
        source = open_source(path)
        done = run_embedding(job(source=source), ONE)
        assert done is not None and done.before == 120


def test_leftovers_of_a_kill_go_away_and_nothing_else(job: Jobs) -> None:
    run_embedding(this := job(), ONE)
    left = [
        this.output / ".0123456789abcdef.tmp",
        this.output / FINGERPRINTED_FOLDER / ".fedcba9876543210.tmp",
    ]
    kept = [this.output / ".mine.tmp", this.output / FINGERPRINTED_FOLDER / "notes.tmp"]
    for path in left + kept:
        path.touch()
    run_embedding(job(), ONE)
    assert not any(path.exists() for path in left) and all(path.exists() for path in kept)


def test_a_deleted_image_is_made_again(job: Jobs) -> None:
    run_embedding(this := job(), ONE)
    before = _state(this.output)
    (gone := this.output / FINGERPRINTED_FOLDER / "017.png").unlink()
    done = run_embedding(job(), ONE)
    assert done is not None and (done.before, done.written) == (119, 120)
    after = _state(this.output)
    name = str(gone.relative_to(this.output))
    assert after.pop(name)[0] == before.pop(name)[0]
    assert after == before


@pytest.mark.parametrize(
    "change", [{"strength": 2.0}, {"format": "webp"}, {"encoder_hash": "other"}, {"batch_size": 4}]
)
def test_another_run_in_the_same_folder_is_refused(job: Jobs, change: dict[str, object]) -> None:
    run_embedding(this := job(), ONE)
    before = _state(this.output)
    with pytest.raises(UserError, match=next(iter(change)).split("_")[0]):
        run_embedding(job(**change), ONE)
    with pytest.raises(UserError, match="fingerprint"):
        run_embedding(job(), Fingerprints(16, key=Key.from_seed(6)))
    assert _state(this.output) == before


@pytest.mark.parametrize(
    "fields",
    [
        {"strength": 0.0},
        {"strength": float("nan")},
        {"format": "gif"},
    ],
)
def test_impossible_settings(job: Jobs, fields: dict[str, object]) -> None:
    with pytest.raises(UserError):
        job(**fields)


def test_labels_of_another_form_are_refused_at_once(
    job: Jobs, tmp_path: Path, photographs: list[np.ndarray]
) -> None:
    _save(tmp_path / "in/x.png", photographs[0][:40, :40])
    (tmp_path / "in/dataset.json").write_text('{"labels": "none"}')
    with pytest.raises(UserError, match="labels"):
        job(tmp_path / "in")


def test_an_output_among_the_images_is_refused(
    job: Jobs, tmp_path: Path, photographs: list[np.ndarray]
) -> None:
    _save(tmp_path / "in/x.png", photographs[0][:40, :40])
    (tmp_path / "link").symlink_to(tmp_path / "in", target_is_directory=True)
    for output in (tmp_path / "in", tmp_path / "in/deep/out", tmp_path / "link/out"):
        with pytest.raises(UserError, match="outside"):
            job(tmp_path / "in", output=output)
    job(tmp_path / "in", output=tmp_path / "in2")
    job(tmp_path / "in/x.png", output=tmp_path / "in")


def test_hostile_names_pass_through_the_tables(
    job: Jobs, tmp_path: Path, photographs: list[np.ndarray]
) -> None:
    names = ["<script>.png", 'quo"te,comma.png', "new\nline.png", "ünï.png", "x" * 200 + ".png"]
    names.append(b"not-utf8-\xff.png".decode("utf-8", "surrogateescape"))
    for name in names:
        _save(tmp_path / "in" / name, photographs[0][:40, :40])
    done = run_embedding(this := job(tmp_path / "in"), EACH)
    assert done is not None and done.written == len(names)
    assert {row["name"] for row in _rows(this.output)} == set(names)
    lines = (this.output / EMBEDDED_LISTING).read_bytes().splitlines()
    assert len(lines) == len(names)
    assert {path.name for path in (this.output / FINGERPRINTED_FOLDER).iterdir()} == set(names)


def test_secrets_stay_in_the_key_file(job: Jobs, tmp_path: Path) -> None:
    run_embedding(this := job(), ONE)
    KEY.save(tmp_path / "key.json")
    secret = json.loads((tmp_path / "key.json").read_text())["secret"]
    manifest = (this.output / "embed.run.json").read_text()
    assert secret not in manifest and KEY.tag() not in manifest
    assert to_text(KEY.fingerprint(16)) not in manifest
    assert file_hash(tmp_path / "key.json") not in manifest


def test_weights_that_spoil_images_stop_the_run(job: Jobs, pair: Watermark, tmp_path: Path) -> None:
    class Loud(torch.nn.Module):
        bits, resolution, level = pair.bits, pair.encoder.resolution, 0.2  # 14 dB

        def residual(self, x: torch.Tensor, message: torch.Tensor) -> torch.Tensor:
            return torch.full_like(x, self.level)

    this = job(encoder=Loud(), strength=0.1)
    with pytest.raises(UserError, match=r"PSNR of 14\.0 dB at --strength 1, below 20"):
        run_embedding(this, ONE)
    assert not list(this.output.rglob("*.png"))
    broken = Loud()
    broken.level = math.nan
    with pytest.raises(UserError, match="PSNR of nan dB"):
        run_embedding(job(output=tmp_path / "broken", encoder=broken, batch_size=1), ONE)
    wanted = job(output=tmp_path / "loud", strength=10.0)  # loud, as it was asked for
    assert run_embedding(wanted, ONE) is not None


def test_a_second_run_follows_the_source(
    job: Jobs,
    tmp_path: Path,
    photographs: list[np.ndarray],
    caplog: pytest.LogCaptureFixture,
) -> None:
    data = tmp_path / "in"
    for name, photo in zip("abc", photographs, strict=False):
        _save(data / name / "x.png", photo[:40, :40])
    this = job(data, archive=True)
    images = this.output / FINGERPRINTED_FOLDER
    assert run_embedding(this, ONE) is not None
    before = _state(images)
    _save(data / "a/x.png", photographs[3][:40, :40])
    (data / "b/x.png").write_bytes(b"no image")
    shutil.rmtree(data / "c")
    result = run_embedding(job(data), ONE)
    assert result is not None and (result.written, result.before) == (1, 0)
    assert [name for name, _ in result.failed] == ["b/x.png"]
    assert list(_state(images)) == ["a/x.png"] and not (images / "c").exists()
    assert np.abs(_pixels(images / "a/x.png") - photographs[3][:40, :40].astype(int)).mean() < 20
    assert not (this.output / ARCHIVE_FILE).exists()
    assert [row["output"] for row in _rows(this.output)] == ["a/x.png", ""]
    assert [r.message for r in caplog.records if "gone" in r.message] == [
        "removed the fingerprinted copies of images that are gone: c/x.png"
    ]
    for name, photo in zip("abc", photographs, strict=False):  # the first set again
        _save(data / name / "x.png", photo[:40, :40])
    assert run_embedding(job(data), ONE) is not None
    assert {k: v[0] for k, v in _state(images).items()} == {k: v[0] for k, v in before.items()}


def test_an_image_is_on_the_disk_before_it_counts(
    job: Jobs, tmp_path: Path, photographs: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    _save(tmp_path / "in/a.png", photographs[0][:40, :40])
    events: list[str] = []
    images = tmp_path / "out" / FINGERPRINTED_FOLDER

    def sync(descriptor: int) -> None:
        there = (images / "a.png").exists()
        events.append("after" if there else f"{os.fstat(descriptor).st_size > 1000}")

    monkeypatch.setattr(os, "fsync", sync)
    assert run_embedding(job(tmp_path / "in"), ONE) is not None
    assert "True" in events and "after" in events  # the image itself; then its folder


@pytest.mark.parametrize("what", [".", FINGERPRINTED_FOLDER])
def test_a_folder_that_goes_away_is_no_success(
    job: Jobs, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    this, finish = job(), Prediction.on_predict_end

    def remove(self: Prediction) -> None:
        finish(self)
        shutil.rmtree(this.output / what)

    monkeypatch.setattr(Prediction, "on_predict_end", remove)
    with pytest.raises(UserError, match="while the run went on; give the command again"):
        run_embedding(this, ONE)


def test_a_process_without_a_batch_waits_for_the_others(
    job: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    this, waited = job(), []
    monkeypatch.setattr(this.trainer, "predict", lambda *_, **__: None)
    monkeypatch.setattr(this.trainer.strategy, "barrier", lambda *_: waited.append(1))
    with pytest.raises(UserError, match="went away"):
        run_embedding(this, ONE)
    assert waited


def test_transparency_is_told(
    job: Jobs, tmp_path: Path, photographs: list[np.ndarray], caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "in").mkdir()
    for number in range(2):
        image = Image.fromarray(photographs[number][:40, :50]).convert("RGBA")
        image.putalpha(128)
        image.save(tmp_path / f"in/{number}.png")
    run_embedding(job(tmp_path / "in"), ONE)
    assert "2 transparent images composited over white" in caplog.messages


def test_one_long_name_does_not_stop_an_archive(
    job: Jobs, tmp_path: Path, photographs: list[np.ndarray]
) -> None:
    buffer = io.BytesIO()
    Image.fromarray(photographs[1][:40, :50]).save(buffer, "PNG")
    with zipfile.ZipFile(tmp_path / "in.zip", "w") as archive:
        for name in ("a.png", "x" * 300 + ".png", "y" * 300 + "/b.png", "z/" * 2000 + "c.png"):
            archive.writestr(name, buffer.getvalue())
    found = run_embedding(job(tmp_path / "in.zip", archive=True), ONE)
    assert found is not None and found.written == 4 and not found.failed
