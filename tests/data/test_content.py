from __future__ import annotations

import os
import zipfile
from pathlib import Path

import pytest

from artfp.data import content
from artfp.data.content import describe_content, file_stamp, is_unchanged, source_digest
from artfp.data.sources import ImageSource, open_source
from artfp.data.subset import limit_images


def _record(source: ImageSource, index: int) -> dict[str, object]:
    return describe_content(source.read(index), file_stamp(source, index))


def _count_reads(source: ImageSource, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    reads: list[int] = []
    read = source.read

    def counted(index: int) -> bytes:
        reads.append(index)
        return read(index)

    monkeypatch.setattr(source, "read", counted)
    return reads


def _touch(path: Path, nanoseconds: int) -> None:
    os.utime(path, ns=(nanoseconds, nanoseconds))


def test_a_file_is_known_by_its_stamp_or_else_its_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"first")
    source = open_source(tmp_path)
    record = _record(source, 0)
    reads = _count_reads(source, monkeypatch)
    assert is_unchanged(source, 0, record) and reads == []
    _touch(path, 5)
    assert is_unchanged(source, 0, record) and reads == [0]
    kept = path.stat().st_mtime_ns
    path.write_bytes(b"other")  # of one size, and then of one time
    _touch(path, kept)
    assert not is_unchanged(source, 0, record)
    assert not is_unchanged(source, 0, {"name": "a.png"})
    path.unlink()
    assert not is_unchanged(source, 0, record)


def test_members_of_an_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.zip"

    def pack(**members: bytes) -> ImageSource:
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in members.items():
                archive.writestr(f"{name}.png", data)
        return open_source(path)

    source = pack(a=b"first", b=b"second")
    records = [_record(source, index) for index in range(2)]
    reads = _count_reads(source, monkeypatch)
    assert [is_unchanged(source, i, record) for i, record in enumerate(records)] == [True, True]
    assert reads == []
    source = pack(a=b"other", b=b"second")
    assert [is_unchanged(source, i, record) for i, record in enumerate(records)] == [False, True]


def test_digest_of_a_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / f"{name}.png").write_bytes(name.encode() * 9)
    before = source_digest(open_source(tmp_path))
    assert len(before) == 64 and source_digest(open_source(tmp_path)) == before
    assert source_digest(limit_images(open_source(tmp_path), 2)) != before
    (tmp_path / "c.png").write_bytes(b"d" * 9)
    assert source_digest(open_source(tmp_path)) != before
    monkeypatch.setattr(content, "DIGESTED_BYTES", 9)  # the bytes of the first, the sizes of all
    source = open_source(tmp_path)
    reads = _count_reads(source, monkeypatch)
    large = source_digest(source)
    assert reads == [0]
    (tmp_path / "c.png").write_bytes(b"d" * 8)
    assert source_digest(open_source(tmp_path)) != large
    (tmp_path / "c.png").rename(tmp_path / "e.png")
    assert source_digest(open_source(tmp_path)) != large
