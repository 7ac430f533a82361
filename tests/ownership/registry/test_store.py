"""The registry: what goes in comes out; many writers; a kill at any moment."""

from __future__ import annotations

import hmac
import os
import pickle
import shutil
import sqlite3
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from artfp.core.errors import UserError
from artfp.ownership.commitment import commit
from artfp.ownership.key import MAX_BITS, MIN_BITS, owner_context, to_hex, to_text
from artfp.ownership.registry import AddedCounts, DamagedRegistry, Registry, RegistryEntry

DECODER = "ab" * 32
HOSTILE = [
    "' OR 1=1; DROP TABLE entries; --",
    '"quoted"',
    "<script>alert(1)</script>",
    "%s %d {} \\",
    "\u202eright to left",
    "\U0001f600 \u06a9\u200c\u0646",
    "NULL",
    "x" * 500,
]


def word(bits: int = 100, seed: int = 0) -> Any:
    return np.random.default_rng([seed, bits]).integers(0, 2, bits).astype(np.uint8)


def entry(number: int = 0, bits: int = 100, **more: Any) -> Any:
    return RegistryEntry.of(word(bits, number), "Ada", f"model {number}", **more)


@pytest.fixture
def path(tmp_path: Path) -> Any:
    return tmp_path / "owner.registry"


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


def test_texts_of_an_entry_hide_the_fingerprint() -> None:
    made = entry()
    for text in (repr(made), str(made), str(made.public())):
        assert made.hex not in text
        assert to_text(made.fingerprint) not in text
        assert repr(made.packed)[2:-1] not in text
    assert pickle.loads(pickle.dumps(made)) == made


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


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_texts_come_out_as_they_went_in(path: Any, text: Any) -> None:
    notes = text + "\n\t\x1b[31m" + "n" * 100_000
    made = RegistryEntry.of(word(), text, text[::-1].strip(), notes=notes)
    with Registry(path, create=True) as registry:
        registry.add(made)
        assert list(registry) == [made] == list(registry.find(owner=text))
        registry.verify()


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"owner": "a\nb"}, "owner: found"),
        ({"owner": "\udcff"}, "owner: found"),
        ({"subject": "a\0"}, "subject: found"),
        ({"subject": ""}, "subject: found 0"),
        ({"notes": "a\0b"}, "notes: found NUL"),
        ({"notes": "\udcff"}, "no UTF-8"),
        ({"notes": "x" * 1_000_001}, "at most 1000000"),
        ({"decoder": "ab"}, "decoder is not"),
    ],
)
def test_malformed_entries_are_not_made(change: Any, found: str) -> None:
    with pytest.raises(UserError, match=found) as caught:
        RegistryEntry.of(word(), **{"owner": "Ada", "subject": "cats", **change})
    assert len(str(caught.value)) < 300 and str(caught.value).isprintable()


@pytest.mark.parametrize("bits", [0, 513])
def test_wrong_bit_counts_are_refused(bits: int) -> None:
    with pytest.raises((UserError, ValueError), match="found"):
        RegistryEntry.of(np.zeros(bits, np.uint8), "Ada", "cats")


@pytest.mark.parametrize("bad", [np.full(100, 2), np.zeros((2, 50)), np.full(100, 0.5)])
def test_what_is_no_fingerprint_makes_no_entry(bad: Any) -> None:
    with pytest.raises(ValueError, match="fingerprint: found"):
        RegistryEntry.of(bad, "Ada", "cats")


@pytest.mark.parametrize(
    "change",
    [
        {"id": "x" * 32},
        {"id": "ab"},
        {"bits": 99, "packed": b"\xff" * 13},
        {"bits": 96},
        {"bits": 110},
        {"bits": True},
        {"packed": bytes(12) + b"\x01"},
        {"packed": "text"},
        {"owner": "e\u0301"},
        {"time": "today"},
        {"commitment": "{}"},
        {"commitment": "["},
        {"notes": None},
    ],
)
def test_entries_made_by_hand_are_checked(path: Any, change: Any) -> None:
    with Registry(path, create=True) as registry:
        with pytest.raises(UserError):
            registry.add(replace(entry(), **change))
        assert len(registry) == 0


def test_a_commitment_to_something_else_is_refused() -> None:
    for changed in (
        commit(word(), "Bob", "cats"),
        commit(word(), "Ada", "dogs"),
        commit(word(99), "Ada", "cats"),
        commit(word(), "Ada", "cats", "cd" * 32),
    ):
        with pytest.raises(UserError, match="commitment is to"):
            RegistryEntry.of(word(), "Ada", "cats", DECODER, changed[0])
    assert RegistryEntry.of(word(), "Ada", "cats", DECODER, commit(word(), "Ada", "cats")[0])


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


WRITER = """
import sys
from artfp.ownership.registry import RegistryEntry, Registry
name, path, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
if len(sys.argv) > 4:  # wait for the others
    print("ready", flush=True)
    sys.stdin.readline()
for i in range(count):
    with Registry(path, create=True) as registry:
        entry = RegistryEntry.of([0, 1] * 20, name, str(i))
        registry.add(entry)
    print(entry.id, flush=True)
"""


def start(*arguments: Any) -> Any:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    words = [sys.executable, "-c", WRITER, *map(str, arguments)]
    return subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    )


def test_processes_that_add_at_once_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "r"
    writers = [start(name, path, 200, "wait") for name in ("a", "b")]
    assert [writer.stdout.readline() for writer in writers] == ["ready\n"] * 2
    for writer in writers:
        writer.stdin.write("\n")
        writer.stdin.flush()
    told = [writer.communicate(timeout=120)[0].split() for writer in writers]
    assert [len(ids) for ids in told] == [200, 200]
    with Registry(path) as registry:
        registry.verify()
        entries = list(registry)
        assert {each.id for each in entries} == {*told[0], *told[1]}
        for name in ("a", "b"):
            assert [each.subject for each in registry.find(name)] == [str(i) for i in range(200)]
    owners = [each.owner for each in entries]
    assert owners not in (sorted(owners), sorted(owners, reverse=True))  # they did meet
    assert os.listdir(tmp_path) == ["r"]


def test_threads_that_add_at_once_lose_nothing(path: Any) -> None:
    """Not even where others of this process open and close the file all the time."""
    done = threading.Event()
    failed = []

    def add(name: Any) -> None:
        try:
            with Registry(path) as registry:
                for i in range(100):
                    registry.add(RegistryEntry.of(word(), name, f"{i}"))
        except BaseException as error:
            failed.append(error)

    def look() -> None:
        while not done.is_set():
            with Registry(path) as registry:
                len(registry)

    Registry(path, create=True).close()
    adding = [threading.Thread(target=add, args=(name,)) for name in "ab"]
    looking = threading.Thread(target=look)
    for thread in (looking, *adding):
        thread.start()
    for thread in adding:
        thread.join()
    done.set()
    looking.join()
    assert failed == []
    with Registry(path) as registry:
        assert registry.verify().entries == 200


def test_looking_at_a_file_keeps_the_locks_of_this_process(path: Any) -> None:
    with Registry(path, create=True) as registry, registry._transaction("IMMEDIATE"):
        Registry(path).close()
        check = "import sqlite3, sys; sqlite3.connect(sys.argv[1], 0).execute('BEGIN IMMEDIATE')"
        words = [sys.executable, "-c", check, str(path)]
        said = subprocess.run(words, capture_output=True, text=True).stderr
    assert "database is locked" in said


KILLED = """
import os, random, select, signal, sys, time
from artfp.ownership.registry import RegistryEntry, Registry
path, rounds = sys.argv[1], int(sys.argv[2])
random.seed(1)
for round in range(rounds):
    read, write = os.pipe()
    child = os.fork()
    if not child:
        with Registry(path, create=True) as registry:
            for i in range(100_000):
                notes = "n" * random.choice([0, 9999])
                entry = RegistryEntry.of([0, 1] * 20, f"{round}", f"{i}", notes=notes)
                registry.add(entry)
                os.write(write, entry.id.encode() + b"\\n")
    os.close(write)
    select.select([read], [], [], 5)  # it has begun
    time.sleep(random.random() * 0.05)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with os.fdopen(read) as told:
        sys.stdout.write("".join(line for line in told if len(line) == 33))
    if round % 2:
        with Registry(path) as registry:
            registry.verify()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_killed_writer_loses_nothing_that_it_was_told(tmp_path: Path) -> None:
    path = tmp_path / "r"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    words = [sys.executable, "-c", KILLED, str(path), "40"]
    done = subprocess.run(words, capture_output=True, text=True, env=environment, timeout=120)
    assert done.returncode == 0, done.stderr
    told = done.stdout.split()
    with Registry(path) as registry:
        registry.verify()
        kept = [each.id for each in registry]
    # At most one a round is there that was not told of.
    assert set(told) <= set(kept) and len(kept) - len(told) <= 40
    assert len(told) > 40


@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX")
def test_a_writer_that_holds_the_file_is_waited_for(
    path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Registry(path, create=True) as registry:
        registry.add(entry())
    monkeypatch.setattr("artfp.ownership.registry.database.WAIT_SECONDS", 0.05)
    blocking = sqlite3.connect(path, isolation_level=None)
    blocking.execute("BEGIN IMMEDIATE")
    with Registry(path) as registry:
        assert len(list(registry)) == 1  # reading goes on
        began = time.monotonic()
        with pytest.raises(UserError, match="another process holds it"):
            registry.add(entry(1))
        assert time.monotonic() - began < 5
        blocking.execute("ROLLBACK")
        blocking.close()
        registry.add(entry(1))


def test_an_interrupt_in_the_middle_leaves_nothing(path: Any) -> None:
    def entries() -> Iterator[Any]:
        yield entry(0)
        yield entry(1)
        raise KeyboardInterrupt

    with Registry(path, create=True) as registry:
        with pytest.raises(KeyboardInterrupt):
            registry.add_all(entries())
        assert list(registry) == []
        registry.add(entry(2))
        assert registry.verify().entries == 1


def test_a_registry_that_another_process_makes_first_is_used(
    path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from artfp.ownership.registry import database

    real = database._empty_registry

    def slow() -> bytes:
        path.write_bytes(real())
        path.chmod(0o600)
        return real()

    monkeypatch.setattr(database, "_empty_registry", slow)
    with Registry(path, create=True) as registry:
        assert not registry.created
        registry.add(entry())


def test_context_and_registry_agree_on_names(path: Any) -> None:
    made = RegistryEntry.of(word(), "Zoe\u0308", "cats")
    assert made.owner == "Zo\u00eb"
    assert owner_context(made.owner, "cats") == owner_context("Zoe\u0308", "cats")
    with Registry(path, create=True) as registry:
        registry.add(made)
        assert list(registry.find("Zoe\u0308")) == [made]
