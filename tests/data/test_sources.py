from __future__ import annotations

import io
import json
import multiprocessing
import os
import pickle
import struct
import zipfile
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
from PIL import Image

from artfp.core.errors import UserError
from artfp.data import image_files, sources
from artfp.data.image_files import ImageError
from artfp.data.sources import (
    FileSource,
    ImageSource,
    describe_left_out,
    left_out_of,
    open_source,
)
from artfp.data.subset import limit_images


def make_zip(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name), data)
    return path


def failure(source: ImageSource, name: str) -> str:
    with pytest.raises(ImageError) as caught:
        source.read(source.names.index(name))
    return str(caught.value)


def test_folder_at_any_depth(tmp_path: Path) -> None:
    kept = ["B.JPG", "a/b/c/d.webp", "a/x.png", "a/x.tiff", "z\nz'\"<b>.png"]
    ignored = [".h.png", ".git/x.png", "__MACOSX/x.png", "a/notes.txt", "png", "a/.x/y.png"]
    for name in kept + ignored:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    source = open_source(tmp_path)
    assert source.names == kept
    assert len(source) == 5 and source.location == str(tmp_path)
    assert source.dataset_json is None
    assert [source.read(i).decode() for i in range(5)] == kept
    assert isinstance(source, ImageSource)


def test_links_are_followed_and_circles_end(tmp_path: Path) -> None:
    inside, outside = tmp_path / "in", tmp_path / "out"
    (inside / "real").mkdir(parents=True)
    outside.mkdir()
    (inside / "real" / "x.png").write_bytes(b"x")
    (outside / "y.png").write_bytes(b"y")
    (inside / "a-link-to-real").symlink_to("real")
    (inside / "real" / "up").symlink_to("..")
    (inside / "there").symlink_to(outside)
    (outside / "back").symlink_to(inside)
    (inside / "file.png").symlink_to(outside / "y.png")
    (inside / "broken.png").symlink_to("nowhere")
    source = open_source(inside)
    assert source.names == ["broken.png", "file.png", "real/x.png", "there/y.png"]
    assert failure(source, "broken.png") == "no such file"
    assert source.read(1) == b"y"


def test_names_that_are_not_utf8(bytes_path: Path) -> None:
    bytes_path.write_bytes(b"data")
    source = open_source(bytes_path.parent)
    assert source.names == ["odd-\udcff\udcfe.png"]
    assert source.read(0) == b"data"
    listing = bytes_path.parent / "list.txt"
    listing.write_bytes(b"odd-\xff\xfe.png\n")
    assert open_source(listing).read(0) == b"data"
    assert pickle.loads(pickle.dumps(source)).names == source.names


def test_folder_with_stylegan_labels(picture_folder: Path) -> None:
    (picture_folder / "dataset.json").write_text('{"labels": [["0.png", 1]]}')
    assert open_source(picture_folder).dataset_json == {"labels": [["0.png", 1]]}
    (picture_folder / "dataset.json").write_text("[1]")
    assert open_source(picture_folder).dataset_json is None
    for text in ("{", "[" * 100_000):
        (picture_folder / "dataset.json").write_text(text)
        with pytest.raises(UserError, match=r"dataset\.json is not valid JSON"):
            open_source(picture_folder)


def test_single_file(picture_folder: Path) -> None:
    source = open_source(picture_folder / "3.png")
    assert source.names == ["3.png"]
    assert source.read(0) == (picture_folder / "3.png").read_bytes()


def test_files_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "big.png").write_bytes(bytes(11))
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "gone.png").write_bytes(b"")
    source = open_source(tmp_path)
    (tmp_path / "gone.png").unlink()
    monkeypatch.setattr(image_files, "MAX_BYTES", 10)
    assert failure(source, "big.png") == "the file has 11 bytes, more than the limit of 10"
    assert failure(source, "pipe.png") == "not a regular file"
    assert failure(source, "gone.png") == "no such file"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads anything")
def test_files_without_permission(picture_folder: Path) -> None:
    (picture_folder / "0.png").chmod(0)
    assert "Permission denied" in failure(open_source(picture_folder), "0.png")
    (picture_folder / "sub").mkdir(mode=0)
    with pytest.raises(UserError, match="Permission denied"):
        open_source(picture_folder)
    (picture_folder / "sub").chmod(0o700)


def test_list_of_paths(tmp_path: Path) -> None:
    home, away = tmp_path / "home", tmp_path / "away" / "deep"
    (home / "sub").mkdir(parents=True)
    (away / "er").mkdir(parents=True)
    for path in (home / "a.png", home / "sub" / "b.png", away / "c.png", away / "er" / "d.png"):
        path.write_bytes(path.name.encode())
    (home / "list.txt").write_bytes(
        b"\xef\xbb\xbf# a comment\r\n\r\na.png\r\n  sub/b.png  \n./a.png\nsub/../a.png\n"
        b"../away/deep/c.png\n" + bytes(away / "er" / "d.png") + b"\nmissing.png\nsub\nnul\0.png"
    )
    source = open_source(home / "list.txt")
    expected = ["a.png", "c.png", "er/d.png", "missing.png", "nul\0.png", "sub", "sub/b.png"]
    assert source.names == expected
    assert failure(source, "missing.png") == "no such file"
    assert failure(source, "sub") == "a folder, not a file"
    assert "not a usable path" in failure(source, "nul\0.png")
    for name, data in (("a.png", b"a.png"), ("c.png", b"c.png"), ("er/d.png", b"d.png")):
        assert source.read(source.names.index(name)) == data


def test_listed_names_inside_and_outside_do_not_meet(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "x.png").write_bytes(b"inside")
    (tmp_path / "x.png").write_bytes(b"outside")
    (home / "list.lst").write_text("../x.png\nx.png\n")
    source = open_source(home / "list.lst")
    assert source.names == ["x.png", "x~2.png"]
    assert [source.read(0), source.read(1)] == [b"inside", b"outside"]


def test_zip_members(tmp_path: Path) -> None:
    members = {
        "b/x.png": b"1", "a.JPG": b"2", ".h.png": b"3", "__MACOSX/a.png": b"4",
        "notes.txt": b"5", "b/dataset.json": b"{}", "dir.png/": b"",
    }  # fmt: skip
    source = open_source(make_zip(tmp_path / "set.zip", members))
    assert source.names == ["a.JPG", "b/x.png"]
    assert [source.read(0), source.read(1)] == [b"2", b"1"]
    assert source.dataset_json is None


def test_stylegan_zip(tmp_path: Path) -> None:
    labels = {"labels": [["00000/img00000000.png", 5]]}
    members = {"00000/img00000000.png": b"1", "dataset.json": json.dumps(labels).encode()}
    assert open_source(make_zip(tmp_path / "set.zip", members)).dataset_json == labels
    with pytest.raises(UserError, match=r"set\.zip: dataset\.json is not valid JSON"):
        open_source(make_zip(tmp_path / "set.zip", {**members, "dataset.json": b"{"}))


def test_unsafe_zip_names_are_made_safe(tmp_path: Path) -> None:
    members = {
        "../../etc/a.png": b"1", "/abs/b.png": b"2", "C:\\win\\c.png": b"3", "D:d.png": b"4",
        "x/../../e.png": b"5", "e.png": b"6", "..\\e.png": b"7", "C:D:../f.png": b"8",
        "./g.png": b"9",
    }  # fmt: skip
    source = open_source(make_zip(tmp_path / "slip.zip", members))
    assert {name: source.read(i) for i, name in enumerate(source.names)} == {
        "etc/a.png": b"1", "abs/b.png": b"2", "win/c.png": b"3", "d.png": b"4",
        "e.png": b"6", "e~2.png": b"7", "x/e.png": b"5", "f.png": b"8", "g.png": b"9",
    }  # fmt: skip


def test_damaged_members(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_zip(tmp_path / "set.zip", {"a.png": b"AAAA", "b.png": b"BBBB", "c.png": bytes(30)})
    data = bytearray(path.read_bytes())
    data[data.index(b"AAAA")] ^= 1
    directory = data.index(b"PK\1\2")
    second = data.index(b"PK\1\2", directory + 4)
    flags = struct.unpack_from("<H", data, second + 8)[0]
    struct.pack_into("<H", data, second + 8, flags | 1)
    path.write_bytes(data)
    source = open_source(path)
    monkeypatch.setattr(image_files, "MAX_BYTES", 20)
    assert failure(source, "a.png") == "damaged in the archive: its checksum does not match"
    assert failure(source, "b.png").startswith("encrypted")
    assert failure(source, "c.png") == "the file has 30 bytes, more than the limit of 20"


def test_a_member_longer_than_it_declares_is_not_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "set.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.png", bytes(10_000_000))
    data = bytearray(path.read_bytes())
    struct.pack_into("<I", data, data.index(b"PK\1\2") + 24, 100)
    path.write_bytes(data)
    assert "damaged in the archive" in failure(open_source(path), "a.png")


def test_a_zip_that_changes_or_goes(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "set.zip", {"a.png": b"1", "b.png": b"2"})
    source = open_source(path)
    make_zip(path, {"a.png": b"1"})
    assert "has changed" in failure(source, "b.png")
    source = open_source(path)
    path.unlink()
    assert "No such file" in failure(source, "a.png")


def test_nothing_to_open(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "x.zip").write_bytes(b"no zip")
    (tmp_path / "cut.zip").write_bytes(b"PK\3\4" + bytes(40))
    (tmp_path / "x.txt").write_text("# nothing\n")
    (tmp_path / "x.gif").write_bytes(b"")
    make_zip(tmp_path / "none.zip", {"a.txt": b""})
    for name, reason in (
        ("empty", "no image found"),
        ("x.zip", "not a readable zip"),
        ("cut.zip", "not a readable zip"),
        ("x.txt", "no image found"),
        ("x.gif", "not a folder, an image"),
        ("none.zip", "no image found"),
        ("missing", "no such file or folder"),
        ("mis\nsing", "no such file or folder"),
        ("nul\0", "no such file or folder"),
    ):
        with pytest.raises(UserError, match=reason) as caught:
            open_source(tmp_path / name)
        assert "\n" not in str(caught.value) and name.split("\n")[0].split("\0")[0] in str(
            caught.value
        )


def read_all(source: ImageSource) -> list[bytes]:
    return [source.read(i) for i in range(len(source))]


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_zip_reads_in_other_processes(tmp_path: Path, method: str) -> None:
    members = {f"{i}.png": bytes([i]) * 5000 for i in range(20)}
    source = open_source(make_zip(tmp_path / "set.zip", members))
    expected = read_all(source)  # the handle is open when the others start
    if method == "spawn":
        assert read_all(pickle.loads(pickle.dumps(source))) == expected
        return
    with multiprocessing.get_context(method).Pool(3) as pool:
        assert pool.map(read_all, [source] * 6) == [expected] * 6


def inherited_worker(connection: Connection, source: ImageSource) -> None:
    for _ in range(30):
        connection.send(read_all(source))
    connection.close()


def test_zip_handle_is_not_shared_after_a_fork(tmp_path: Path) -> None:
    members = {f"{i}.png": bytes([i]) * 5000 for i in range(20)}
    source = open_source(make_zip(tmp_path / "set.zip", members))
    expected = read_all(source)
    context = multiprocessing.get_context("fork")
    ends = [context.Pipe(duplex=False) for _ in range(2)]
    workers = [context.Process(target=inherited_worker, args=(end, source)) for _, end in ends]
    for worker in workers:
        worker.start()
    for _ in range(30):
        assert read_all(source) == expected
        assert all(end.recv() == expected for end, _ in ends)
    for worker in workers:
        worker.join()


def test_labels_of_archives_made_elsewhere(tmp_path: Path) -> None:
    labels = json.dumps({"labels": [["0\\a.png", 1]]}).encode()
    for number, members in enumerate(
        (
            {"./0/a.png": b"1", "./dataset.json": labels},
            {"0\\a.png": b"1", "dataset.json": labels},
            {"0/a.webp": b"1", "dataset.json": labels},
        )
    ):
        source = open_source(make_zip(tmp_path / f"{number}.zip", members))
        assert source.dataset_json == {"labels": [[source.names[0], 1]]}


def test_labels_of_an_archive_are_bounded_before_they_are_read(tmp_path: Path) -> None:
    path = tmp_path / "set.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.png", b"1")
        archive.writestr("dataset.json", b"[" + bytes(70 << 20))
    with pytest.raises(UserError, match=r"set\.zip: dataset\.json has more than 64 MiB"):
        open_source(path)


def picture(format: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), "gray").save(buffer, format)
    return buffer.getvalue()


OTHERS = {
    "q.jfif": picture("JPEG"), "q.mpo": picture("JPEG"), "q": picture("JPEG"),
    "w": picture("WEBP"), "t": picture("TIFF"), "old.jpg_large": picture("JPEG"),
}  # fmt: skip
LEFT_OUT = {
    "a.gif": picture("GIF"), "b.GIF": picture("GIF"), "c.heic": b"\0\0\0\x18ftypheic",
    "raw.nef": picture("TIFF"), "notes.txt": b"BMW", "nothing": b"", "d/x.json": b"{}",
    "a.abcdefghijklmnop": b"",
}  # fmt: skip
KINDS = {
    ".gif": 2, ".heic": 1, ".nef": 1, ".txt": 1, "without ending": 1, ".json": 1, "other": 1,
}  # fmt: skip


@pytest.mark.parametrize("archive", [False, True])
def test_images_are_known_by_content_and_others_counted_by_kind(
    tmp_path: Path, archive: bool, caplog: pytest.LogCaptureFixture
) -> None:
    files = {**OTHERS, **LEFT_OUT, ".hidden": b"", "dataset.json": b"{}"}
    if archive:
        place = make_zip(tmp_path / "set.zip", files)
    else:
        place = tmp_path / "set"
        for name, data in files.items():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).write_bytes(data)
        os.mkfifo(place / "pipe")
    source = open_source(place)
    assert source.names == sorted(OTHERS)
    assert left_out_of(source) == (KINDS if archive else {**KINDS, "without ending": 2})
    assert left_out_of(limit_images(source, 2)) == left_out_of(source)
    told = describe_left_out(source)
    assert told.startswith(f"{8 if archive else 9} files left out: 2 ") and "2 .gif" in told
    open_source(place)
    assert caplog.messages == [f"{place}: {told}"]  # once
    assert left_out_of(pickle.loads(pickle.dumps(source))) == left_out_of(source)


def test_only_what_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "a.gif").write_bytes(picture("GIF"))
    with pytest.raises(UserError, match=r"no image found; .*; 1 file left out: 1 \.gif"):
        open_source(tmp_path)
    with pytest.raises(UserError, match=r"a\.gif: not a folder, an image"):
        open_source(tmp_path / "a.gif")
    (tmp_path / "q").write_bytes(picture("JPEG"))
    assert open_source(tmp_path / "q").names == ["q"]


def test_many_kinds_are_not_all_told() -> None:
    kinds = {f".{number}": 1 for number in range(20)}
    told = describe_left_out(FileSource("in", {}, left_out=kinds))
    assert told.startswith("20 files left out: ") and told.endswith(", 12 others")


def test_links_out_of_the_folder_are_left_out_unless_asked(tmp_path: Path) -> None:
    inside, private = tmp_path / "in", tmp_path / "private"
    (inside / "real").mkdir(parents=True)
    private.mkdir()
    (inside / "real" / "x.png").write_bytes(b"x")
    (private / "y.png").write_bytes(b"y")
    (inside / "again.png").symlink_to("real/x.png")
    (inside / "y.png").symlink_to(private / "y.png")
    (inside / "there").symlink_to(private)
    (inside / "z.png").symlink_to("../in-not")
    source = open_source(inside, follow_links=False)
    assert source.names == ["again.png", "real/x.png"]
    assert describe_left_out(source).startswith("3 files left out: 3 links out of the folder")
    assert len(open_source(inside)) == 5
    (tmp_path / "link").symlink_to(inside)  # what the user names is followed
    assert open_source(tmp_path / "link", follow_links=False).names == source.names


def test_size_of_a_list_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "list.txt").write_text("a.png\n" * 10)
    monkeypatch.setattr(sources, "MAX_LIST_BYTES", 1 << 20)
    assert open_source(tmp_path / "list.txt").names == ["a.png"]
    monkeypatch.setattr(sources, "MAX_LIST_BYTES", 50)
    with pytest.raises(UserError, match=r"list\.txt: a list of more than"):
        open_source(tmp_path / "list.txt")
