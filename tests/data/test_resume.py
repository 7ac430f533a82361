from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from pathlib import Path

import pytest

from artfp.core.errors import UserError
from artfp.data.resume import Journal, Manifest


def test_manifest_claims_resumes_and_refuses(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    settings: dict[str, object] = {"format": "png", "size": (3, 4), "celeba": None}
    assert Manifest.claim(folder, settings, "embed") is False
    assert sorted(os.listdir(folder)) == [".artfp.lock", "embed.run.json"]
    assert Manifest.claim(folder, dict(settings), "embed") is True
    assert Manifest.claim(folder, {"other": 1}, "detect") is False
    with pytest.raises(UserError) as caught:
        Manifest.claim(folder, {**settings, "format": "webp", "size": 1}, "embed")
    message = str(caught.value)
    assert '\'format\' was "png" and is now "webp"' in message and "'size'" not in message
    assert str(folder) in message and "choose another output folder or delete" in message
    with pytest.raises(UserError, match="'celeba' was null and is now absent"):
        Manifest.claim(folder, {"format": "png", "size": (3, 4)}, "embed")
    with pytest.raises(UserError, match="'extra' was absent and is now 1"):
        Manifest.claim(folder, {**settings, "extra": 1}, "embed")


def test_manifest_neither_shows_nor_stores_secrets(tmp_path: Path) -> None:
    settings: dict[str, object] = {"secret_bits": "10110111", "format": "png"}
    Manifest.claim(tmp_path, settings, "embed")
    assert "10110111" not in (tmp_path / "embed.run.json").read_text()
    assert Manifest.claim(tmp_path, settings, "embed") is True
    with pytest.raises(UserError, match="'secret_bits'") as caught:
        Manifest.claim(tmp_path, {**settings, "secret_bits": "01000001"}, "embed")
    assert "01000001" not in str(caught.value) and "10110111" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[1]", "\ufffd"])
def test_damaged_manifest(tmp_path: Path, text: str) -> None:
    (tmp_path / "embed.run.json").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match="damaged"):
        Manifest.claim(tmp_path, {"a": 1}, "embed")


def test_journal_reads_all_ranks_and_the_last_wins(tmp_path: Path) -> None:
    first, second = Journal(tmp_path / "out", "embed", 0), Journal(tmp_path / "out", "embed", 11)
    assert first.records() == {}
    first.append({"name": "a.png", "bits": [0, 1]})
    second.append({"name": 'odd-\udcff\n".png', "x": 0.1})
    first.append({"name": "a.png", "bits": [1, 1]})
    Journal(tmp_path / "out", "detect").append({"name": "other"})
    expected = {
        "a.png": {"name": "a.png", "bits": [1, 1]},
        'odd-\udcff\n".png': {"name": 'odd-\udcff\n".png', "x": 0.1},
    }
    assert first.records() == second.records() == expected
    assert Journal(tmp_path / "out", "embed", 5).records() == expected
    first.remove()
    second.close()
    assert os.listdir(tmp_path / "out") == [".detect.0.jsonl"]


@pytest.mark.parametrize("torn", [b'{"name":"b.png","x":1', b'{"na', b"\xff\xfe", b'{"name":3}'])
def test_torn_last_line(tmp_path: Path, torn: bytes) -> None:
    journal = Journal(tmp_path, "embed")
    journal.append({"name": "a.png"})
    journal.close()
    with open(tmp_path / ".embed.0.jsonl", "ab") as file:
        file.write(torn)
    assert list(journal.records()) == ["a.png"]
    journal.append({"name": "c.png"})
    journal.append({"name": "d.png"})
    assert list(journal.records()) == ["a.png", "c.png", "d.png"]


def test_every_prefix_of_a_journal_reads(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "embed")
    journal.append({"name": "a.png", "x": {"y": 12}})
    journal.append({"name": "b.png", "x": {"y": 34}})
    journal.close()
    path = tmp_path / ".embed.0.jsonl"
    data = path.read_bytes()
    for size in range(len(data)):
        path.write_bytes(data[:size])
        for name, record in journal.records().items():
            assert record["x"] == {"y": 12 if name == "a.png" else 34}


def test_threads_and_processes_append_together(tmp_path: Path) -> None:
    journals = [Journal(tmp_path, "embed"), Journal(tmp_path, "embed")]  # one file, opened twice

    def work(worker: int) -> None:
        for i in range(100):
            journals[worker % 2].append({"name": f"{worker}-{i}", "pad": "x" * 300})

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len((tmp_path / ".embed.0.jsonl").read_bytes().splitlines()) == 800
    assert len(journals[0].records()) == 800


def test_prune_drops_records_of_all_processes(tmp_path: Path) -> None:
    for rank in range(2):
        journal = Journal(tmp_path, "embed", rank)
        for name in "ab":
            journal.append({"name": name, "rank": rank})
        journal.close()
    unchanged = (tmp_path / ".embed.1.jsonl").stat()
    journal.prune(lambda record: record["name"] == "b" or record["rank"] == 1)
    assert [(r["name"], r["rank"]) for r in journal.stream()] == [("b", 0), ("a", 1), ("b", 1)]
    assert (tmp_path / ".embed.1.jsonl").stat().st_ino == unchanged.st_ino
    journal.append({"name": "c", "rank": 1})
    assert sorted(journal.records()) == ["a", "b", "c"]


def test_records_of_unknown_settings_are_dropped(tmp_path: Path) -> None:
    Manifest.claim(tmp_path, {"a": 1}, "embed")
    Journal(tmp_path, "embed").append({"name": "x"})
    (tmp_path / "embed.run.json").unlink()
    assert Manifest.claim(tmp_path, {"a": 2}, "embed") is False
    assert Journal(tmp_path, "embed").records() == {}


def test_results_of_an_unknown_run_are_refused(tmp_path: Path) -> None:
    (tmp_path / "images" / "a").mkdir(parents=True)
    (tmp_path / "images" / ".hidden").touch()
    assert Manifest.claim(tmp_path, {"a": 1}, "embed", results="images/**/*") is False
    (tmp_path / "images" / "a" / "b.png").touch()
    assert Manifest.claim(tmp_path, {"a": 1}, "embed", results="images/**/*") is True
    with pytest.raises(UserError, match=r"images/a/b\.png is of an unknown run"):
        Manifest.claim(tmp_path, {"a": 1}, "other", results="images/**/*")
    assert not (tmp_path / "other.run.json").exists()


def test_a_run_may_take_the_place_of_another(tmp_path: Path) -> None:
    Manifest.claim(tmp_path, {"a": 1, "data_sha256": "x"}, "train")
    with pytest.raises(UserError, match="'data_sha256' is that of other files"):
        Manifest.claim(tmp_path, {"a": 1, "data_sha256": "y"}, "train")
    with pytest.raises(UserError, match="'a' was 1 and is now 2"):  # which may explain the other
        Manifest.claim(tmp_path, {"data_sha256": "y", "a": 2}, "train")
    assert Manifest.claim(tmp_path, {"a": 2}, "train", anew=True) is False
    assert Manifest.claim(tmp_path, {"a": 2}, "train") is True


def append_and_die(folder: Path) -> None:
    journal = Journal(folder, "embed")
    for i in range(50):
        journal.append({"name": str(i)})
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_process_loses_nothing(tmp_path: Path) -> None:
    process = multiprocessing.get_context("fork").Process(target=append_and_die, args=(tmp_path,))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert len(Journal(tmp_path, "embed").records()) == 50


@pytest.mark.parametrize("before", [None, 0o644])
def test_a_journal_is_its_owners_alone(tmp_path: Path, before: int | None) -> None:
    path = tmp_path / ".embed.0.jsonl"
    if before is not None:
        path.touch()
        path.chmod(before)
    Journal(tmp_path, "embed").append({"name": "a", "bits": "0110"})
    assert path.stat().st_mode & 0o777 == 0o600


def test_journal_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UserError, match="cannot be written"):
        Journal(tmp_path / "file", "embed").append({"name": "a"})
