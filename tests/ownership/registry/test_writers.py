"""Several writers of one registry, and writers that are killed."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from artfp.core.errors import UserError
from artfp.ownership.registry import Registry, RegistryEntry
from tests.ownership.registry.entries import entry, word

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
