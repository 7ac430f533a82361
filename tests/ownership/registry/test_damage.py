"""Damage is noticed: no byte of the file can change an entry in silence."""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from artfp.core.errors import UserError
from artfp.ownership.registry import DamagedRegistry, Registry, RegistryEntry

WORDS = np.random.default_rng(0).integers(0, 2, (6, 100)).astype(np.uint8)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A registry's file and its entries."""
    path = tmp_path_factory.mktemp("damage") / "r"
    with Registry(path, create=True) as registry:
        for i, word in enumerate(WORDS):
            decoder = None if i % 2 else "ab" * 32
            registry.add(
                RegistryEntry.of(
                    word[: 100 - i % 2], f"owner {i % 3}", f"m{i}", decoder, notes="n" * i
                )
            )
        return path, list(registry)


@pytest.fixture
def copy(made: Any, tmp_path: Path) -> Any:
    shutil.copy(made[0], tmp_path / "r")
    return tmp_path / "r"


def unchanged(path: Any, entries: Any) -> Any:
    """Whether a file is read, and has all it had; False if it is refused with one line."""
    try:
        with Registry(path) as registry:
            assert list(registry) == entries
            for each in entries:
                assert list(registry.find(each.owner, each.subject)) == [each]
                assert registry.get(each.id) == each
            found = registry.search(WORDS)
            assert found.compared == 3
            assert [row[0] for row in found.entries][::2] == entries[::2]
            registry.verify()
        return True
    except UserError as error:
        assert str(path) in str(error) and str(error).isprintable()
        return False


def flip(path: Any, entries: Any, offsets: Any, masks: Any) -> Any:
    data = path.read_bytes()
    noticed = 0
    with open(path, "r+b", buffering=0) as file:
        for offset, mask in zip(offsets, masks, strict=True):
            os.pwrite(file.fileno(), bytes([data[offset] ^ mask]), offset)
            noticed += not unchanged(path, entries)
            os.pwrite(file.fileno(), data[offset : offset + 1], offset)
    assert path.read_bytes() == data
    assert unchanged(path, entries)
    return noticed


def test_a_flipped_byte_is_noticed_or_harmless(made: Any, copy: Any) -> None:
    rng = np.random.default_rng(1)
    data = np.frombuffer(copy.read_bytes(), np.uint8)
    used = np.flatnonzero(data)
    offsets = [*range(100), *rng.choice(used, 400, replace=False), *rng.integers(0, len(data), 100)]
    masks = [1 << bit for bit in rng.integers(0, 8, len(offsets))]
    assert flip(copy, made[1], map(int, offsets), masks) > 300


@pytest.mark.slow
def test_every_flipped_byte_is_noticed_or_harmless(made: Any, copy: Any) -> None:
    size = copy.stat().st_size
    rng = np.random.default_rng(2)
    masks = [1 << bit for bit in rng.integers(0, 8, size)]
    assert flip(copy, made[1], range(size), masks) > 2000


def test_every_bit_of_a_fingerprint_counts(made: Any, copy: Any) -> None:
    entries = made[1]
    at = copy.read_bytes().index(entries[4].packed)
    offsets = [at + i // 8 for i in range(8 * 13)]
    assert flip(copy, entries, offsets, [1 << i % 8 for i in range(8 * 13)]) == 8 * 13


def test_a_search_notices_by_itself(made: Any, copy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """In big files, which are not checked on opening."""
    monkeypatch.setattr("artfp.ownership.registry.store.CHECKED_ON_OPENING", 0)
    data = bytearray(copy.read_bytes())
    at = data.index(made[1][4].packed)  # also in the index, elsewhere
    while at >= 0:
        data[at] ^= 1
        at = data.find(made[1][4].packed)
    copy.write_bytes(data)
    with Registry(copy) as registry:
        with pytest.raises(DamagedRegistry, match="fingerprint of entry number 5 is not"):
            registry.search(WORDS)
        with pytest.raises(DamagedRegistry, match="entry number 5 is not"):
            list(registry)
        with pytest.raises(DamagedRegistry):
            registry.verify()


def test_no_bit_of_an_index_hides_an_entry(
    made: Any, copy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In big files, which are not checked on opening: found, or refused with one line."""
    monkeypatch.setattr("artfp.ownership.registry.store.CHECKED_ON_OPENING", 0)
    with closing(sqlite3.connect(copy)) as database:
        query = "SELECT rootpage FROM sqlite_master WHERE type = 'index' ORDER BY name"
        pages = [4096 * (number - 1) for (number,) in database.execute(query)]
    data = copy.read_bytes()
    (entry,) = (each for each in made[1] if each.subject == "m4")
    again = RegistryEntry.of(WORDS[4], entry.owner, entry.subject, entry.decoder)

    def add(registry: Registry) -> None:
        with pytest.raises(UserError, match=f"already, as entry {entry.id}|damaged"):
            registry.add(again)
        with pytest.raises(UserError, match=f"already, as entry {entry.id}|damaged"):
            registry.add_all([again, entry], known="refuse")

    rng, noticed = np.random.default_rng(3), 0
    for page in pages:
        used = np.flatnonzero(np.frombuffer(data, np.uint8)[page : page + 4096]) + page
        for offset in rng.choice(used, 60, replace=False).tolist():
            with open(copy, "r+b", buffering=0) as file:
                os.pwrite(file.fileno(), bytes([data[offset] ^ 1 << rng.integers(8)]), offset)
            try:
                with Registry(copy) as registry:
                    add(registry)
                    assert list(registry.find(entry.owner, entry.subject)) == [entry]
                    assert registry.get(entry.id) == entry
            except DamagedRegistry as damage:
                assert str(copy) in str(damage) and str(damage).isprintable()
                noticed += 1
            copy.write_bytes(data)
    assert noticed > 20


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE entries SET owner = 'Eve' WHERE number = 3",
        "UPDATE entries SET owner = CAST(owner AS BLOB) WHERE number = 3",
        "UPDATE entries SET decoder = '' WHERE number = 2",
        "UPDATE entries SET decoder = NULL WHERE number = 1",
        "UPDATE entries SET bits = 101, guard = 0 WHERE number = 1",
        "UPDATE entries SET bits = 99.5 WHERE number = 1",
        "UPDATE entries SET bits = 'x' WHERE number = 1",
        "UPDATE entries SET guard = guard + 1 WHERE number = 1",
        "UPDATE entries SET guard = NULL WHERE number = 6 OR 1 = 0",
        "UPDATE entries SET packed = 'text' WHERE number = 1",
        "UPDATE entries SET seal = zeroblob(32) WHERE number = 2",
        "UPDATE entries SET notes = notes || 'x' WHERE number = 6",
        "UPDATE entries SET notes = CAST(x'ff' AS TEXT) WHERE number = 6",
        "UPDATE entries SET id = upper(id) WHERE number = 6",
        "UPDATE entries SET time = '' WHERE number = 6",
        "UPDATE entries SET commitment = '{}' WHERE number = 6",
        "UPDATE entries SET number = 9 WHERE number = 6",
        "UPDATE entries SET number = 0 WHERE number = 1",
        "DELETE FROM entries WHERE number = 3",
        "DELETE FROM entries WHERE number = 6",
        "DELETE FROM entries",
        "INSERT INTO entries SELECT 7, bits, guard, packed, seal, 'x', owner, subject, decoder, "
        "time, commitment, notes FROM entries WHERE number = 6",
        "UPDATE head SET entries = 5",
        "UPDATE head SET entries = 'x'",
        "UPDATE head SET salt = zeroblob(32)",
        "UPDATE head SET salt = ''",
        "UPDATE head SET seal = zeroblob(32)",
        "DELETE FROM head",
        "INSERT INTO head SELECT * FROM head",
        "DROP INDEX owned",
        "DROP TABLE head",
        "CREATE TABLE more (x)",
        "CREATE TRIGGER t AFTER INSERT ON entries BEGIN DELETE FROM entries; END",
        "CREATE VIEW v AS SELECT 1",
        "ALTER TABLE entries ADD COLUMN more",
    ],
)
def test_other_hands_are_noticed(made: Any, copy: Any, statement: str) -> None:
    with closing(sqlite3.connect(copy)) as database:
        try:
            with database:
                database.execute(statement)
        except sqlite3.IntegrityError:
            return  # not even SQLite lets it pass
    with pytest.raises(DamagedRegistry, match="damaged: ") as caught, Registry(copy) as registry:
        registry.verify()
    assert "restore it" in str(caught.value)
    assert not unchanged(copy, made[1])


def test_swapped_fingerprints_are_noticed(copy: Any) -> None:
    with closing(sqlite3.connect(copy)) as database, database:
        rows = database.execute("SELECT packed, guard, number FROM entries WHERE bits = 100")
        (a, crc_a, first), (b, crc_b, second), _ = rows.fetchall()
        change = "UPDATE entries SET packed = ?, guard = ? WHERE number = ?"
        database.execute(change, (b, crc_b, first))
        database.execute(change, (a, crc_a, second))
    with Registry(copy) as registry, pytest.raises(DamagedRegistry):
        registry.search(WORDS)


@pytest.mark.parametrize("share", [0.03, 0.3, 0.5, 0.9, 0.999])
def test_a_file_that_was_cut_off(copy: Any, share: float) -> None:
    data = copy.read_bytes()
    copy.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(DamagedRegistry, match="damaged: "), Registry(copy) as registry:
        registry.verify()
    with pytest.raises(DamagedRegistry), Registry(copy, create=True) as registry:
        registry.add(RegistryEntry.of(WORDS[0], "Ada", "new"))


def test_an_empty_file_is_not_filled(tmp_path: Path) -> None:
    path = tmp_path / "r"
    path.touch()
    with pytest.raises(DamagedRegistry, match="empty"):
        Registry(path, create=True)
    assert path.read_bytes() == b""


@pytest.mark.parametrize(
    "content", [b"hello", b"\x89PNG" * 5000, b"{}\n", b"SQLite format 3", b"\0"]
)
def test_files_that_are_no_databases(tmp_path: Path, content: Any) -> None:
    path = tmp_path / "r"
    path.write_bytes(content)
    with pytest.raises(UserError, match="not an SQLite database") as caught:
        Registry(path, create=True)
    assert not isinstance(caught.value, DamagedRegistry)
    assert path.read_bytes() == content


def test_a_database_of_another_application(tmp_path: Path) -> None:
    path = tmp_path / "r"
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE entries (number)")
    before = path.read_bytes()
    with pytest.raises(UserError, match="of another application"):
        Registry(path, create=True)
    assert path.read_bytes() == before


@pytest.mark.parametrize("version", [0, 2, 99])
def test_another_version(copy: Any, version: int) -> None:
    with closing(sqlite3.connect(copy)) as database, database:
        database.execute(f"PRAGMA user_version = {version}")
    with pytest.raises(UserError, match=f"version {version}, and this artfp reads only 1"):
        Registry(copy)
