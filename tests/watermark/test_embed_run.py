"""An embedding that goes on: after a stop, over a changed source, on a disk that loses files."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from artfp.core.errors import UserError
from artfp.data import open_source
from artfp.ownership.assignment import Fingerprints
from artfp.ownership.key import Key
from artfp.watermark.embed_job import ARCHIVE_FILE, EMBEDDED_LISTING, EMBEDDED_TABLE
from artfp.watermark.embed_run import run_embedding
from artfp.watermark.prediction_loop import Prediction
from artfp.watermark.settings import FINGERPRINTED_FOLDER
from tests.watermark.embedded import (
    EACH,
    ONE,
    Jobs,
    folder_state,
    read_pixels,
    save_image,
    table_rows,
)


def test_an_image_that_was_mended_is_done_the_next_time(
    job: Jobs, tmp_path: Path, photographs: list[np.ndarray]
) -> None:
    save_image(tmp_path / "in/good.png", photographs[0][:50, :50])
    (tmp_path / "in/later.png").touch()
    run_embedding(job(tmp_path / "in"), ONE)
    save_image(tmp_path / "in/later.png", photographs[1][:50, :50])
    done = run_embedding(this := job(tmp_path / "in"), ONE)
    assert done is not None and (done.written, done.before, done.failed) == (2, 1, [])
    assert not any(row["error"] for row in table_rows(this.output))


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
    before = folder_state(stopped.output / FINGERPRINTED_FOLDER)
    assert 30 < len(before) < 60
    done = run_embedding(job(output=tmp_path / "stopped"), EACH)
    # Threads that write may finish an image after the interrupt, and after the look at the folder.
    assert done is not None and len(before) <= done.before < 60 and done.written == 120
    after = folder_state(stopped.output / FINGERPRINTED_FOLDER)
    assert all(after[name] == value for name, value in before.items())
    for name, (content, _) in folder_state(whole.output).items():
        if not name.endswith("run.json"):
            assert (stopped.output / name).read_bytes() == content, name


def test_a_finished_run_changes_nothing(job: Jobs, tmp_path: Path, photo_folder: Path) -> None:
    shutil.copytree(photo_folder, folder := tmp_path / "in")
    (folder / "dataset.json").write_text(json.dumps({"labels": [["003.png", 1]]}))
    run_embedding(this := job(folder, archive=True), ONE)
    before = folder_state(this.output)
    assert {
        ARCHIVE_FILE,
        EMBEDDED_TABLE,
        EMBEDDED_LISTING,
        "embed.run.json",
        f"{FINGERPRINTED_FOLDER}/dataset.json",
    } < before.keys()
    done = run_embedding(job(folder, archive=True), ONE)
    assert done is not None and done.before == done.written == 120
    assert folder_state(this.output) == before


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
    before = folder_state(this.output)
    (gone := this.output / FINGERPRINTED_FOLDER / "017.png").unlink()
    done = run_embedding(job(), ONE)
    assert done is not None and (done.before, done.written) == (119, 120)
    after = folder_state(this.output)
    name = str(gone.relative_to(this.output))
    assert after.pop(name)[0] == before.pop(name)[0]
    assert after == before


@pytest.mark.parametrize(
    "change", [{"strength": 2.0}, {"format": "webp"}, {"encoder_hash": "other"}, {"batch_size": 4}]
)
def test_another_run_in_the_same_folder_is_refused(job: Jobs, change: dict[str, object]) -> None:
    run_embedding(this := job(), ONE)
    before = folder_state(this.output)
    with pytest.raises(UserError, match=next(iter(change)).split("_")[0]):
        run_embedding(job(**change), ONE)
    with pytest.raises(UserError, match="fingerprint"):
        run_embedding(job(), Fingerprints(16, key=Key.from_seed(6)))
    assert folder_state(this.output) == before


def test_a_second_run_follows_the_source(
    job: Jobs,
    tmp_path: Path,
    photographs: list[np.ndarray],
    caplog: pytest.LogCaptureFixture,
) -> None:
    data = tmp_path / "in"
    for name, photo in zip("abc", photographs, strict=False):
        save_image(data / name / "x.png", photo[:40, :40])
    this = job(data, archive=True)
    images = this.output / FINGERPRINTED_FOLDER
    assert run_embedding(this, ONE) is not None
    before = folder_state(images)
    save_image(data / "a/x.png", photographs[3][:40, :40])
    (data / "b/x.png").write_bytes(b"no image")
    shutil.rmtree(data / "c")
    result = run_embedding(job(data), ONE)
    assert result is not None and (result.written, result.before) == (1, 0)
    assert [name for name, _ in result.failed] == ["b/x.png"]
    assert list(folder_state(images)) == ["a/x.png"] and not (images / "c").exists()
    assert (
        np.abs(read_pixels(images / "a/x.png") - photographs[3][:40, :40].astype(int)).mean() < 20
    )
    assert not (this.output / ARCHIVE_FILE).exists()
    assert [row["output"] for row in table_rows(this.output)] == ["a/x.png", ""]
    assert [r.message for r in caplog.records if "gone" in r.message] == [
        "removed the fingerprinted copies of images that are gone: c/x.png"
    ]
    for name, photo in zip("abc", photographs, strict=False):  # the first set again
        save_image(data / name / "x.png", photo[:40, :40])
    assert run_embedding(job(data), ONE) is not None
    assert {k: v[0] for k, v in folder_state(images).items()} == {
        k: v[0] for k, v in before.items()
    }


def test_an_image_is_on_the_disk_before_it_counts(
    job: Jobs, tmp_path: Path, photographs: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    save_image(tmp_path / "in/a.png", photographs[0][:40, :40])
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
