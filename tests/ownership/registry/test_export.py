"""Export and import: whole or not at all, twice as good as once, nothing secret in public."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from artfp.core.errors import UserError
from artfp.ownership.commitment import commit
from artfp.ownership.key import to_hex, to_text
from artfp.ownership.registry import (
    AddedCounts,
    Registry,
    RegistryEntry,
    export_registry,
    import_registry,
    read_export,
)

RNG = np.random.default_rng(6)


@pytest.fixture(scope="module")
def entries() -> Any:
    made = []
    for bits in (8, 37, 64, 100, 255, 256):
        word = RNG.integers(0, 2, bits).astype(np.uint8)
        committed = commit(word, "Ada é", f"m{bits}")[0] if bits % 2 == 0 else None
        made.append(
            RegistryEntry.of(
                word, "Ada é", f"m{bits}", "cd" * 32, committed, "note\n\u2028\x00"[:6]
            )
        )
    return made


@pytest.fixture
def registry(tmp_path: Path, entries: Any) -> Iterator[Any]:
    with Registry(tmp_path / "r", create=True) as opened:
        opened.add_all(entries)
        yield opened


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Any]:
    with Registry(tmp_path / "other", create=True) as opened:
        yield opened


@pytest.fixture
def file(registry: Any, tmp_path: Path) -> Any:
    assert export_registry(registry, tmp_path / "all.jsonl") == 6
    return tmp_path / "all.jsonl"


def test_all_of_it_comes_back(file: Any, other: Any, entries: Any) -> None:
    assert list(read_export(file)) == entries
    assert import_registry(other, file) == AddedCounts(6, 0, 0)
    assert list(other) == entries
    assert other.verify().entries == 6
    assert import_registry(other, file) == AddedCounts(0, 6, 0)
    assert list(other) == entries


def test_file_is_text_with_a_checksum(file: Any, entries: Any) -> None:
    raw = file.read_bytes()
    *lines, last = raw.splitlines(keepends=True)
    assert all(line.decode("ascii").rstrip("\n").isprintable() for line in lines)
    expected = {"entries": 6, "sha256": hashlib.sha256(b"".join(lines)).hexdigest()}
    assert json.loads(last) == expected
    assert json.loads(lines[0]) == {"artfp": "registry-export", "version": 1, "public": False}
    for line, entry in zip(lines[1:], entries, strict=True):
        content = json.loads(line)
        assert content["fingerprint"] == to_hex(entry.fingerprint)
        assert content["notes"] == entry.notes and content["id"] == entry.id


def test_exports_are_private_unless_public(
    registry: Any, tmp_path: Path, file: Any, caplog: pytest.LogCaptureFixture, other: Any
) -> None:
    before = os.umask(0o022)
    try:
        assert export_registry(registry, tmp_path / "public", public=True) == 4
    finally:
        os.umask(before)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "public").stat().st_mode) == 0o644
    assert caplog.records == []
    file.chmod(0o644)
    import_registry(other, file)
    assert f"chmod 600 {file}" in caplog.records[0].getMessage()


def test_a_public_export_has_no_secret(
    registry: Any, tmp_path: Path, entries: Any, other: Any
) -> None:
    path = tmp_path / "public"
    export_registry(registry, path, public=True)
    raw = path.read_bytes()
    for entry in entries:
        if entry.bits > 32:
            word = entry.fingerprint
            spare = -entry.bits % 8
            forms = [to_hex(word), to_text(word), to_hex(word[::-1]), to_hex(1 - word)]
            forms += [entry.packed.hex(), str(int(to_text(word), 2))]
            forms += [hashlib.sha256(entry.packed).hexdigest()]
            forms += [to_hex(np.append(np.zeros(spare, np.uint8), word))]
            for form in forms:
                assert form[:16].encode() not in raw
                assert form[-16:].encode() not in raw
            assert entry.packed not in raw
        assert ("id" in raw.decode()) and (entry.id in raw.decode()) == (
            entry.commitment is not None
        )
    lines = [json.loads(line) for line in raw.splitlines()]
    fields = {"id", "owner", "subject", "decoder", "bits", "commitment", "time"}
    assert [set(line) for line in lines[1:-1]] == [fields] * 4
    assert b"note" not in raw
    with pytest.raises(UserError, match="a public export"):
        import_registry(other, path)


def test_a_file_is_replaced_only_when_told(registry: Any, file: Any) -> None:
    before = file.read_bytes()
    with pytest.raises(UserError, match="exists already"):
        export_registry(registry, file)
    assert file.read_bytes() == before
    file.write_text("old")
    assert export_registry(registry, file, overwrite=True) == 6
    assert file.read_bytes() == before


def test_an_export_never_replaces_its_registry(registry: Any, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("r")
    for name in ("r", "../" + tmp_path.name + "/r", "link"):
        with pytest.raises(UserError, match="the registry itself"):
            export_registry(registry, tmp_path / name, overwrite=True)
    assert registry.verify().entries == 6


def test_a_failed_export_leaves_nothing(
    registry: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, entries: Any
) -> None:
    def broken(_: Any) -> Iterator[Any]:
        yield from entries[:3]
        raise UserError("broken")

    monkeypatch.setattr(Registry, "__iter__", broken)
    with pytest.raises(UserError, match="broken"):
        export_registry(registry, tmp_path / "new")
    assert os.listdir(tmp_path) == ["r"]


def test_conflicts_are_refused_or_left_out(file: Any, other: Any, entries: Any) -> None:
    mine = replace(entries[2], notes="mine")
    other.add(mine)
    with pytest.raises(UserError, match="says something else; nothing is added"):
        import_registry(other, file)
    assert list(other) == [mine]
    assert import_registry(other, file, keep=True) == AddedCounts(5, 0, 1)
    assert next(iter(other)) == mine and len(other) == 6
    assert import_registry(other, file, keep=True) == AddedCounts(0, 5, 1)


def test_the_same_under_another_id_is_one(file: Any, other: Any, entries: Any) -> None:
    other.add(replace(entries[2], id="0" * 32))
    other.add(replace(entries[3], id="1" * 32, notes="mine"))
    with pytest.raises(UserError, match=f"already, as entry {'1' * 32}"):
        import_registry(other, file)
    assert import_registry(other, file, keep=True) == AddedCounts(4, 1, 1)


def sealed(lines: Any) -> Any:
    """The bytes of these lines with a checksum that holds."""
    body = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    last = {"entries": len(lines) - 1, "sha256": hashlib.sha256(body).hexdigest()}
    return body + json.dumps(last).encode() + b"\n"


def refused(path: Any, other: Any, found: Any) -> Any:
    with pytest.raises(UserError, match=found) as caught:
        import_registry(other, path)
    assert len(other) == 0
    assert str(path) in str(caught.value) and str(caught.value).isprintable()
    return str(caught.value)


def test_every_cut_is_noticed(file: Any, other: Any) -> None:
    raw = file.read_bytes()
    ends = [i + 1 for i, byte in enumerate(raw) if byte == 10][:-1]
    for size in [*ends, *(end - 1 for end in ends), *range(0, len(raw), 211), len(raw) - 1]:
        file.write_bytes(raw[:size])
        refused(file, other, r"cut off|not a whole line")


def test_every_change_is_noticed(file: Any, other: Any) -> None:
    raw = file.read_bytes()
    for offset in range(0, len(raw), 29):
        changed = bytearray(raw)
        changed[offset] ^= 1
        file.write_bytes(changed)
        refused(file, other, "export")
    lines = raw.splitlines(keepends=True)
    file.write_bytes(b"".join([lines[0], lines[2], lines[1], *lines[3:]]))
    refused(file, other, "checksum does not hold")
    file.write_bytes(raw + b"\n")
    refused(file, other, "line 8")
    file.write_bytes(raw + raw)
    refused(file, other, "line 8")


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"id": 5}, "id is not"),
        ({"owner": ""}, "owner: found 0"),
        ({"owner": "\ud800"}, "owner: found"),
        ({"subject": ["x"]}, "subject is not text"),
        ({"bits": 101}, "fingerprint is not 26"),
        ({"bits": 100.0}, "bits is not"),
        ({"bits": 10**9}, "bits, expected 1 to 512"),
        ({"fingerprint": "0" * 24}, "fingerprint is not 25"),
        ({"fingerprint": "F" * 25}, "fingerprint is not 25"),
        ({"fingerprint": None}, "fingerprint is not 25"),
        ({"bits": 98, "fingerprint": "f" * 25}, "fingerprint is not of 98 bits"),
        ({"decoder": 1}, "decoder is not"),
        ({"time": 1}, "time is not"),
        ({"notes": 1}, "notes are not"),
        ({"notes": "\x00"}, "NUL"),
        ({"commitment": {}}, "commitment: not a commitment"),
        ({"commitment": "x"}, "commitment: not a commitment"),
        ({"more": 1}, "unknown fields"),
    ],
)
def test_lines_that_are_no_entries(file: Any, other: Any, change: Any, found: str) -> None:
    lines = [json.loads(line) for line in file.read_bytes().splitlines()[:-1]]
    lines[4] |= {"commitment": None} | change
    file.write_bytes(sealed(lines))
    said = refused(file, other, f"line 5: .*{found}")
    assert str(lines[4]["fingerprint"])[:24] not in said


def test_lines_that_lack_something(file: Any, other: Any) -> None:
    lines = [json.loads(line) for line in file.read_bytes().splitlines()[:-1]]
    del lines[2]["fingerprint"]
    file.write_bytes(sealed(lines))
    refused(file, other, "line 3: lacks fingerprint")


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "not a whole line"),
        (b"\n", "not a whole line"),
        (b"\xff\xfe\n\n", "not a whole line"),
        (b"{}\n", "not an export"),
        (b"[" * 100_000 + b"\n{}\n", "not a whole line"),
        (b'{"artfp": "key", "version": 1, "secret": "x"}\n', "not an export"),
        (b'{"artfp": "registry-export", "version": 2}\n{}\n', "not version 1"),
        (b'{"artfp": "registry-export", "version": 1}\n{}\n', "public export"),
        (b'{"artfp": "registry-export", "version": 1, "public": false}\n', "checksum is missing"),
    ],
)
def test_files_that_are_no_exports(tmp_path: Path, other: Any, content: Any, found: str) -> None:
    path = tmp_path / "x"
    path.write_bytes(content)
    refused(path, other, found)


def test_files_that_are_not_there(tmp_path: Path, other: Any) -> None:
    refused(tmp_path / "none", other, "No such file")
    refused(tmp_path, other, "Is a directory")
