"""Files appear whole or not at all, and only where they may."""

from __future__ import annotations

import multiprocessing
import os
import signal
import tempfile
from pathlib import Path

import pytest

from artfp.core.errors import UserError
from artfp.data.files import new_file, write_atomic
from artfp.data.hidden_files import remove_leftovers, scratch_folder
from artfp.data.paths import FIGURE_SUFFIXES, check_output


def test_write_atomic_makes_folders_and_replaces(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "c.txt"
    write_atomic(path, "first \udcff")
    assert path.read_bytes() == b"first \xff"
    write_atomic(path, b"second")
    assert path.read_bytes() == b"second"
    assert os.listdir(path.parent) == ["c.txt"]
    umask = os.umask(0)
    os.umask(umask)
    assert path.stat().st_mode & 0o777 == 0o666 & ~umask


@pytest.mark.parametrize("text", ["new", "old"])
def test_a_secret_is_its_owners_alone_also_in_place_of_another(tmp_path: Path, text: str) -> None:
    path = tmp_path / "bits.csv"
    path.write_text("old")
    path.chmod(0o644)
    write_atomic(path, text, keep_equal=True, secret=True)
    assert path.read_text() == text and path.stat().st_mode & 0o777 == 0o600


def test_a_failed_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "c.png"
    path.write_bytes(b"old")

    def full(*args: object) -> None:
        assert len(os.listdir(tmp_path)) == 2
        hidden = next(name for name in os.listdir(tmp_path) if name != "c.png")
        assert hidden.startswith(".")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(UserError, match=r"c\.png: cannot be written: No space left"):
        write_atomic(path, b"new")
    assert os.listdir(tmp_path) == ["c.png"]
    assert path.read_bytes() == b"old"


def test_a_file_where_a_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"")
    with pytest.raises(UserError, match="cannot be written"):
        write_atomic(tmp_path / "a" / "b.png", b"")
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match="cannot be written"):
        write_atomic(tmp_path / "folder", b"")
    assert sorted(os.listdir(tmp_path)) == ["a", "folder"]


def test_an_equal_file_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_atomic(path, "same")
    os.utime(path, (1, 1))
    write_atomic(path, "same", keep_equal=True)
    assert path.stat().st_mtime == 1
    write_atomic(path, "other", keep_equal=True)
    assert path.read_text() == "other" and path.stat().st_mtime != 1
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_new_file_takes_the_place_of_none(tmp_path: Path) -> None:
    path = tmp_path / "key.json"
    with new_file(path, "key") as file:
        file.write(b"one")
        assert not path.exists()
    assert path.read_bytes() == b"one" and path.stat().st_mode & 0o777 == 0o600
    with (
        pytest.raises(UserError, match="exists already; move the key"),
        new_file(path, "key", hint="move the key"),
    ):
        pass
    with new_file(path, "key", overwrite=True) as file:
        file.write(b"two")
    assert path.read_bytes() == b"two" and os.listdir(tmp_path) == ["key.json"]


def test_a_new_file_that_appears_meanwhile(tmp_path: Path) -> None:
    path = tmp_path / "key.json"
    with pytest.raises(UserError, match="exists already"), new_file(path, "key") as file:
        file.write(b"ours")
        path.write_bytes(b"theirs")
    assert path.read_bytes() == b"theirs" and os.listdir(tmp_path) == ["key.json"]


@pytest.mark.parametrize("name", ["a\0b", "\ud800"])
def test_names_that_no_file_can_have(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="cannot be the name"), new_file(tmp_path / name, "key"):
        pass


def test_leftovers_of_killed_runs(tmp_path: Path) -> None:
    left, deep = tmp_path / ".0123456789abcdef.tmp", tmp_path / "a" / ".0123456789abcdef.tmp"
    other = tmp_path / ".0123.tmp"
    deep.parent.mkdir()
    for path in (left, deep, other):
        path.touch()
    remove_leftovers(tmp_path)
    assert not left.exists() and deep.exists()
    remove_leftovers(tmp_path, deep=True)
    assert not deep.exists() and other.exists()


def write_and_die(path: Path, at: str, overwrite: bool, nameless: bool) -> None:
    if not nameless and hasattr(os, "O_TMPFILE"):
        del os.O_TMPFILE
    setattr(os, at, lambda *args, **more: os.kill(os.getpid(), signal.SIGKILL))
    with new_file(path, "key", overwrite=overwrite) as file:
        file.write(b"secret")


@pytest.mark.parametrize("nameless", [True, False])
@pytest.mark.parametrize("at", ["fsync", "replace"])
def test_a_kill_leaves_no_secret(tmp_path: Path, at: str, nameless: bool) -> None:
    (path := tmp_path / "key.json").write_bytes(b"old")
    arguments = (path, at, True, nameless)
    process = multiprocessing.get_context("fork").Process(target=write_and_die, args=arguments)
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL and path.read_bytes() == b"old"
    left = [file for file in tmp_path.iterdir() if file != path]
    assert all(file.stat().st_mode & 0o777 == 0o600 for file in left)
    if nameless and at == "fsync":
        assert left == []
    with new_file(tmp_path / "other.json", "key"):
        pass
    assert sorted(os.listdir(tmp_path)) == ["key.json", "other.json"]


@pytest.mark.parametrize("nameless", [True, False])
def test_what_another_writes_is_no_leftover(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nameless: bool
) -> None:
    if not nameless:
        monkeypatch.delattr(os, "O_TMPFILE", raising=False)
    with new_file(tmp_path / "a", "key") as file:
        file.write(b"whole")
        remove_leftovers(tmp_path)
    assert (tmp_path / "a").read_bytes() == b"whole" and os.listdir(tmp_path) == ["a"]


def hold_and_die(place: Path) -> None:
    tempfile.tempdir = str(place)
    with scratch_folder("detect") as folder:
        (folder / "bits").touch()
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_scratch_folder_outlives_its_process_until_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = multiprocessing.get_context("fork").Process(target=hold_and_die, args=(tmp_path,))
    process.start()
    process.join()
    (left,) = tmp_path.iterdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with scratch_folder("detect") as folder, scratch_folder("detect") as other:
        assert not left.exists() and folder.is_dir() and other.is_dir()
        assert folder.stat().st_mode & 0o777 == 0o700
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(FileNotFoundError), scratch_folder("detect"):
        raise FileNotFoundError


def test_an_output_is_checked_before_a_long_run(tmp_path: Path) -> None:
    assert check_output(tmp_path / "new" / "a.SVG", "--plot", FIGURE_SUFFIXES).parent.is_dir()
    with pytest.raises(UserError, match=r"--plot .*a\.jpg: its name must end in \.png, "):
        check_output(tmp_path / "a.jpg", "--plot", FIGURE_SUFFIXES)
    with pytest.raises(UserError, match="is a folder"):
        check_output(tmp_path / "new", "--json")
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be written"):
        check_output(tmp_path / "file" / "a.json", "--json")
