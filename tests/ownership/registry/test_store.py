"""The registry: what goes in comes out; many writers; a kill at any moment."""

from __future__ import annotations

import hmac
import os
import shutil
import sqlite3
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from artfp.core.errors import UserError
from artfp.ownership.commitment import commit
from artfp.ownership.key import MAX_BITS, MIN_BITS, to_hex
from artfp.ownership.registry import AddedCounts, DamagedRegistry, Registry, RegistryEntry
from tests.ownership.registry.entries import DECODER, entry, word


def test_what_goes_in_comes_out(path: Any) -> None:
    entries = []
    for bits in (MIN_BITS, 9, 15, 64, 65, 100, 255, MAX_BITS):
        made = RegistryEntry.of(
            word(bits), "Ada", f"{bits}", DECODER if bits % 2 else None, notes="a\nb"
        )
        np.testing.assert_array_equal(made.fingerprint, word(bits))
        assert made.hex == to_hex(word(bits))
        entries.append(made)
    commitment, _ = commit(word(), "Ada", "committed", DECODER)
    entries.append(RegistryEntry.of(word(), "Ada", "committed", DECODER, commitment))
    with Registry(path, create=True) as registry:
        assert registry.created and len(registry) == 0 and list(registry) == []
        for each in entries:
            registry.add(each)
    with Registry(path, create=True) as registry:
        assert not registry.created and len(registry) == len(entries)
        assert list(registry) == entries
        assert entries[-1].committed() == commitment
        assert entries[0].committed() is None
        for each in entries:
            assert registry.get(each.id) == registry.get(each.id[:8]) == each
            assert list(registry.find("Ada", each.subject)) == [each]
        assert list(registry.find(subject="9")) == [entries[1]]
        assert list(registry.find(owner="Ada")) == entries
        assert list(registry.find(owner="A")) == []
        assert registry.verify() == registry.state()


def test_file_is_private_and_alone(path: Any) -> None:
    before = os.umask(0)
    try:
        with Registry(path, create=True) as registry:
            registry.add(entry())
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(path.parent) == [path.name]


def test_no_file_beside_a_registry_is_public_while_entries_are_added(path: Any) -> None:
    before = os.umask(0)
    try:
        with Registry(path, create=True) as registry:
            registry.add(entry(0))

            def entries() -> Iterator[RegistryEntry]:
                yield entry(1)
                found = list(path.parent.glob(f"{path.name}*"))
                assert {stat.S_IMODE(each.stat().st_mode) for each in found} == {0o600}
                yield entry(2)

            assert registry.add_all(entries()).new == 2
    finally:
        os.umask(before)


def test_a_registry_that_others_can_read_is_opened_with_a_warning(
    path: Any, caplog: pytest.LogCaptureFixture
) -> None:
    Registry(path, create=True).close()
    assert caplog.records == []
    path.chmod(0o640)
    Registry(path).close()
    assert f"chmod 600 {path}" in caplog.records[0].getMessage()


def test_seal_is_what_the_module_says(path: Any) -> None:
    made = entry(notes="n", decoder=DECODER)
    with Registry(path, create=True) as registry:
        registry.add(made)
        digest = registry.verify().digest
    with sqlite3.connect(path) as database:
        (salt,) = database.execute("SELECT salt FROM head").fetchone()

    def join(*fields: Any) -> Any:
        return b"".join(len(field).to_bytes(8, "big") + field for field in fields)

    first = hmac.digest(salt, join(b"artfp/registry/v1"), "sha256")
    texts = [made.id, "Ada", "model 0", DECODER]
    fields = [b"t" + text.encode() for text in texts]
    fields += [b"i100", b"b" + made.packed, b"n", b"t" + made.time.encode(), b"tn"]
    sealed = hmac.digest(salt, join(b"artfp/registry-entry/v1", first, b"i1", *fields), "sha256")
    assert sealed.hex() == digest


def test_digest_grows_and_never_shrinks(path: Any, tmp_path: Path) -> None:
    with Registry(path, create=True) as registry:
        digests = [registry.verify().digest]
        for number in range(3):
            registry.add(entry(number))
            digests.append(registry.verify().digest)
            if number == 1:
                shutil.copy(path, tmp_path / "old")
        assert len(set(digests)) == 4
        for digest in digests:
            assert registry.verify(digest).entries == 3
        with pytest.raises(DamagedRegistry, match="never was"):
            registry.verify("0" * 64)
    with Registry(tmp_path / "old") as old:
        assert old.verify(digests[2]).entries == 2
        with pytest.raises(DamagedRegistry, match="older copy"):
            old.verify(digests[3])


def test_the_same_is_registered_once(path: Any) -> None:
    first = entry(decoder=DECODER, notes="one")
    with Registry(path, create=True) as registry:
        registry.add(first)
        with pytest.raises(UserError, match=f"already, as entry {first.id}; nothing is added"):
            registry.add(first)
        again = entry(decoder=DECODER, notes="one")
        with pytest.raises(UserError, match=f"has this fingerprint already, as entry {first.id}"):
            registry.add(again)
        with pytest.raises(UserError, match="says something else"):
            registry.add(replace(entry(1), id=first.id))
        assert registry.add_all([first, first]) == AddedCounts(0, 2, 0)
        changed = replace(first, notes="two")
        with pytest.raises(UserError, match="says something else"):
            registry.add_all([entry(7), changed, entry(8)])
        assert list(registry) == [first]  # all or nothing
        new = entry(7)
        assert registry.add_all([new, changed, new], known="keep") == AddedCounts(1, 1, 1)
        # Another decoder, owner or length is another entry.
        registry.add(entry())
        registry.add(RegistryEntry.of(word(), "Bob", "model 0", DECODER))
        registry.add(entry(bits=64, decoder=DECODER))
        assert registry.verify().entries == 5


def test_ids_are_found_by_their_beginning(path: Any) -> None:
    entries = [replace(entry(i), id=f"abcd{i % 10}" + f"{i:027x}") for i in range(11)]
    with Registry(path, create=True) as registry:
        registry.add_all(entries)
        assert registry.get("abcd3") == entries[3]
        assert registry.get("abcd3" + "0" * 26 + "3") == entries[3]
        with pytest.raises(UserError, match="more than one"):
            registry.get("abcd0")
        for id in ("abce", "0000", "abcd30000000000000000000000000ff"):
            with pytest.raises(UserError, match="no entry"):
                registry.get(id)
        for id in ("", "abc", "ABCD", "abcd%", "a" * 33, "\0\0\0\0", "'; --"):
            with pytest.raises(UserError, match="expected 4 to 32"):
                registry.get(id)


def test_files_that_are_not_there(tmp_path: Path) -> None:
    for name, found in (
        ("none", "No such file"),
        ("", "not a file|Is a dir"),
        ("a\0b", "file|null"),
    ):
        with pytest.raises(UserError, match=found):
            Registry(f"{tmp_path}/{name}")
    with pytest.raises(UserError, match="No such file"):
        Registry(tmp_path / "none" / "x", create=True)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match="not a file"):
        Registry(tmp_path / "pipe")
    assert os.listdir(tmp_path) == ["pipe"]


@pytest.mark.parametrize("name", ["a b", "a%20b", "a?mode=memory", "a#b", "é", "a\nb", ":memory:"])
def test_odd_names_of_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    with Registry(name, create=True) as registry:
        registry.add(entry())
    assert os.listdir(tmp_path) == [name]
    with Registry(name) as registry:
        assert len(registry) == 1


@pytest.fixture
def nobody() -> Iterator[Any]:
    """Run as a user who may not write everything."""
    if os.name != "posix" or os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    yield
    os.seteuid(0)


@pytest.fixture
def open_folder() -> Iterator[Any]:
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def test_a_read_only_file_is_read(open_folder: Any, request: pytest.FixtureRequest) -> None:
    path = open_folder / "r"
    made = entry()
    with Registry(path, create=True) as registry:
        registry.add(made)
    path.chmod(0o444)
    open_folder.chmod(0o555)
    request.getfixturevalue("nobody")
    with Registry(path) as registry:
        assert list(registry) == [made]
        registry.verify()
        assert registry.search(made.fingerprint[None]).entries == [[made]]
        with pytest.raises(UserError, match=r"read-only$"):
            registry.add(entry(1))
        assert len(registry) == 1


def test_a_file_that_may_not_be_read(open_folder: Any, request: pytest.FixtureRequest) -> None:
    path = open_folder / "r"
    Registry(path, create=True).close()
    request.getfixturevalue("nobody")
    with pytest.raises(UserError, match="Permission denied"):
        Registry(path)
    with pytest.raises(UserError, match="Permission denied"):
        Registry(open_folder / "new", create=True)
