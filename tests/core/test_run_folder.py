from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import threading
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from artfp.core.errors import UserError
from artfp.core.run_folder import LOCK_FILE, exclusive, lock_folder, run_folder

_fork = multiprocessing.get_context("fork")


def use(folder: Path, pipe: Connection) -> None:
    with run_folder(folder):
        lock_folder(folder)
        pipe.send("locked")
        pipe.recv()


def start_other(folder: Path) -> tuple[Connection, multiprocessing.process.BaseProcess]:
    ours, theirs = _fork.Pipe()
    process = _fork.Process(target=use, args=(folder, theirs))
    process.start()
    assert ours.recv() == "locked"
    return ours, process


def test_a_second_run_is_refused_until_the_first_ends(tmp_path: Path) -> None:
    pipe, process = start_other(tmp_path)
    with pytest.raises(UserError, match=rf"another artfp run \(pid {process.pid}\) is using"):
        lock_folder(tmp_path)
    with pytest.raises(UserError, match="is using this folder"), run_folder(tmp_path):
        pass
    pipe.send("end")
    process.join()
    assert os.listdir(tmp_path) == []
    with run_folder(tmp_path):
        assert os.listdir(tmp_path) == [LOCK_FILE]


def test_a_killed_run_leaves_no_lock(tmp_path: Path) -> None:
    _, process = start_other(tmp_path)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    with run_folder(tmp_path):
        assert (tmp_path / LOCK_FILE).read_text() == str(os.getpid())


def test_forked_children_neither_hold_nor_free_the_lock(tmp_path: Path) -> None:
    with run_folder(tmp_path):
        ours, theirs = _fork.Pipe()
        child = _fork.Process(target=ours.recv)
        child.start()
        theirs.send("end")
        child.join()
        pipe, _ = _fork.Pipe()
        other = _fork.Process(target=use, args=(tmp_path, pipe))
        other.start()
        other.join()
        assert other.exitcode == 1  # refused
        child = _fork.Process(target=ours.recv)
        child.start()
    pipe, process = start_other(tmp_path)  # while a child of the run before lives
    pipe.send("end")
    theirs.send("end")
    process.join()
    child.join()


def test_parts_share_the_lock_and_threads_do_not(tmp_path: Path) -> None:
    refused = []

    def work() -> None:
        try:
            lock_folder(tmp_path / "out")
        except UserError as error:
            refused.append(str(error))

    with run_folder(tmp_path / "out"):
        with run_folder(tmp_path / "out"):
            assert not (tmp_path / "out").exists()
            lock_folder(tmp_path / "out")
        assert (tmp_path / "out" / LOCK_FILE).exists()
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert len(refused) == 1
    assert os.listdir(tmp_path / "out") == []


def test_a_folder_that_was_removed_is_an_error(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    with pytest.raises(UserError, match="out: was removed while"), run_folder(folder):
        lock_folder(folder)
        shutil.rmtree(folder)
        folder.mkdir()
    with run_folder(folder), run_folder(None):
        pass


def test_processes_beside_the_first_lock_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe, process = start_other(tmp_path)
    monkeypatch.setenv("LOCAL_RANK", "1")
    with run_folder(tmp_path):
        lock_folder(tmp_path)
    pipe.send("end")
    process.join()


@dataclass
class Settings:
    output_dir: Path | None


def test_exclusive_locks_the_folder_of_the_settings(tmp_path: Path) -> None:
    @exclusive
    def work(settings: Settings, more: int = 0) -> int:
        """Work."""
        return more + (settings.output_dir is not None and len(os.listdir(settings.output_dir)))

    assert work(Settings(tmp_path)) == 1 and work(Settings(None), more=3) == 3
    assert work.__doc__ == "Work."
