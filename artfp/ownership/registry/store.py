"""The registry's file: an SQLite database that is only ever added to.

It is itself a secret, as it holds fingerprints: mode 0600. Changes are transactions, kept by
SQLite's rollback journal, so that a process that is killed leaves the file as it was before its
unfinished change, and processes that add at once wait for each other.

Damage is noticed. Entries are numbered 1, 2, ..., and each is sealed: HMAC-SHA256, under a random
salt of the file, over the seal before it and all of its fields. The file's head names the last
number and seal. An entry is returned only if its seal holds. The last seal is the *digest* of the
whole registry; it hides what it is computed from, so it can be published to fix what the registry
held on a day. (Who may write the file can forge all of it, but no digest that others noted.)

Indexes have no seals. SQLite compares those of small files with the entries on opening, which takes
too long for large ones: there what an index says is compared with a look at all entries.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, NoReturn

import numpy as np
from numpy.typing import ArrayLike, NDArray

from artfp.core.errors import UserError
from artfp.data.paths import AnyPath, warn_if_shared
from artfp.ownership.key import check_bits, check_name
from artfp.ownership.registry.database import (
    DamagedRegistry,
    RegistryFault,
    check_kind,
    connect,
    create_file,
    errors_of,
    first_seal,
    guard,
    read_row,
    refuse_file,
    seal,
)
from artfp.ownership.registry.entry import (
    AddedCounts,
    RegistryEntry,
    RegistryState,
    SearchResult,
    check_entry,
)
from artfp.ownership.registry.nearest import NearestSearch, pack_lanes

CHECKED_ON_OPENING = 32 << 20
"""Files of up to so many bytes are checked by SQLite whenever they are opened."""

_ROWS = 64  # of up to a megabyte of notes each
_CHUNK = 8192

_FIELDS = "id, owner, subject, decoder, bits, packed, commitment, time, notes"
_SELECT = (
    f"SELECT number, seal, guard, {_FIELDS}, "
    "(SELECT seal FROM entries AS before WHERE before.number = entries.number - 1) FROM entries "
)


class Registry:
    """A registry's file, open. Close it, or use it as a context manager.

    With `create`, a file that is not there is made, with mode 0600. One object serves one thread.

    Raises:
        UserError: the file is missing, unreadable, or none of this version.
        Damaged: it is not as artfp left it.

    Example:
        >>> import tempfile
        >>> from artfp.ownership.registry import RegistryEntry
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with Registry(f"{folder}/my.registry", create=True) as registry:
        ...         _ = registry.add(RegistryEntry.of([0, 1] * 32, "Ada", "cats v1"))
        ...         found = registry.search([[0, 1] * 32])
        >>> found.entries[0][0].owner, int(found.matches[0, 0])
        ('Ada', 64)
    """

    def __init__(self, path: AnyPath, create: bool = False) -> None:
        self.path = path
        self.created = False
        if create and not os.path.lexists(path):
            self.created = create_file(path)
        size = refuse_file(path)
        with errors_of(path):
            self._database = connect(path)
            try:
                self._salt = self._check(size)
            except BaseException:
                self.close()
                raise

    def __enter__(self) -> Registry:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; again is no error."""
        self._database.close()

    def __len__(self) -> int:
        return self.state().entries

    def __iter__(self) -> Iterator[RegistryEntry]:
        """Iterate over all entries that are there now, the oldest first."""
        return self.find()

    def state(self) -> RegistryState:
        """Return number of entries and digest as the file's head has them; `verify` proves them."""
        with errors_of(self.path):
            _, entries, last = self._head()
        return RegistryState(entries, last.hex())

    def add(self, entry: RegistryEntry) -> None:
        """Add an entry; it is on the disk when this returns.

        Raises:
            UserError: the id is taken, the owner's subject has this fingerprint for this decoder
                already, the file cannot be written, or another process holds it for too long.
        """
        self.add_all([entry], known="refuse")

    def add_all(
        self, entries: Iterable[RegistryEntry], known: Literal["refuse", "same", "keep"] = "same"
    ) -> AddedCounts:
        """Add entries, all of them or, where something fails, none.

        What is there already, by its id or by owner, subject, decoder and fingerprint, is never
        changed. `known` says what is no error then: "same", to be given all of it again, word for
        word; "keep", also to be given something else in its place, which is left out; "refuse",
        neither.

        Raises:
            UserError: as for `add`.
        """
        new = same = left_out = 0
        with errors_of(self.path), self._transaction("IMMEDIATE"):
            _, number, last = self._head()
            for place, entry in enumerate(entries):
                check_entry(entry)
                if place == 1 and not self._indexed:
                    self._check_structure()  # takes as long as to look at all entries a few times
                there = self._same_as(entry)
                if there is None:
                    number += 1
                    last = self._insert(entry, number, last)
                    new += 1
                elif known != "refuse" and there.content() == entry.content():
                    same += 1
                elif known == "keep":
                    left_out += 1
                else:
                    self._refuse(entry, there)
            if new:
                self._database.execute("UPDATE head SET entries = ?, seal = ?", (number, last))
        return AddedCounts(new, same, left_out)

    def get(self, id: str) -> RegistryEntry:
        """Return the entry of this id, of which the first four or more digits are enough.

        Raises:
            UserError: there is none, or more than one.
            Damaged: its seal does not hold.
        """
        if not 4 <= len(id) <= 32 or set(id) - set("0123456789abcdef"):
            raise UserError(f"id {id!r}: expected 4 to 32 lower-case hexadecimal digits")
        with errors_of(self.path):
            numbers = self._numbers("id >= ? AND id < ?", id, id + "g")
            found = [self._by_number(number) for number in numbers[:2]]
        if len(found) != 1:
            what = "more than one entry" if found else "no entry"
            raise UserError(f"registry {self.path}: {what} with an id that begins with {id}")
        return found[0]

    def find(self, owner: str | None = None, subject: str | None = None) -> Iterator[RegistryEntry]:
        """Yield entries of this owner and subject, or of any for None, the oldest first.

        Raises:
            Damaged: the seal of one does not hold, or one is missing.
        """
        with errors_of(self.path):
            _, entries, _ = self._head()
            if owner is None and subject is None:
                yield from self._all(entries)
                return
            names = {"owner": owner, "subject": subject}
            given = {n: check_name(value, n) for n, value in names.items() if value is not None}
            where = " AND ".join(f"{name} = ?" for name in given)
            for number in self._numbers(where, *given.values()):
                yield self._by_number(number)

    def verify(self, digest: str | None = None) -> RegistryState:
        """Check the whole file: its structure, each entry's seal, the digest; what it holds.

        With a `digest` from an earlier day, also that the registry is that one with nothing but
        entries added at its end.

        Raises:
            Damaged: something does not hold.
            UserError: the file cannot be read.
        """
        with errors_of(self.path), self._transaction("DEFERRED"):
            self._check_structure()
            salt, entries, last = self._head()
            seals = {first_seal(salt).hex()} if digest is not None else set()
            for start in range(0, entries, _ROWS):
                for row in self._span(start, min(start + _ROWS, entries)):
                    self._entry(row)
                    if digest is not None:
                        seals.add(row[1].hex())
        if digest is not None and digest not in seals:
            raise DamagedRegistry(
                f"registry {self.path}: its digest never was {digest}; "
                "it is another registry, or an older copy, or was rewritten"
            )
        return RegistryState(entries, last.hex())

    def search(self, decoded: ArrayLike, top: int = 1) -> SearchResult:
        """Compare decoded bits (N, bits) of {0, 1} with all entries of as many bits.

        Exact. Entries are streamed, so that memory does not grow with their number.

        Raises:
            ValueError: `decoded` has another shape or other values, or `top` is below 1.
            UserError: the number of bits is unsupported.
            Damaged: a fingerprint is not what was registered.
        """
        rows = np.asarray(decoded)
        if rows.ndim != 2 or not np.isin(rows, (0, 1)).all():
            raise ValueError(f"decoded: found shape {rows.shape}, expected (N, bits) of 0 and 1")
        if top < 1:
            raise ValueError(f"top: found {top}, expected at least 1")
        bits = check_bits(rows.shape[1])
        nearest = NearestSearch(rows.astype(np.uint8), top)
        compared = 0
        with errors_of(self.path):
            _, entries, _ = self._head()
            for start in range(0, entries, _CHUNK):
                numbers, packed = self._packed(start, min(start + _CHUNK, entries), bits)
                nearest.see(numbers, pack_lanes(packed, bits))
                compared += len(numbers)
            found = {
                number: self._by_number(number) for number in np.unique(nearest.numbers).tolist()
            }
        return SearchResult(
            bits,
            compared,
            bits - nearest.distances,
            [[found[number] for number in row] for row in nearest.numbers.tolist()],
        )

    def _check(self, size: int) -> bytes:
        """Refuse a database that is not as artfp left it, as far as a look tells; its salt."""
        check_kind(self._database, self.path)
        warn_if_shared(self.path, "registry")
        self._indexed = False
        if size <= CHECKED_ON_OPENING:
            self._check_structure()
        return self._head()[0]

    def _check_structure(self) -> None:
        """Let SQLite check the file, and that the indexes say what the entries say."""
        (problem,) = self._database.execute("PRAGMA integrity_check(1)").fetchone()
        if problem != "ok":
            raise RegistryFault(str(problem))
        self._indexed = True

    @contextmanager
    def _transaction(self, kind: Literal["IMMEDIATE", "DEFERRED"]) -> Iterator[None]:
        """All of a change or nothing of it; or many looks at one state."""
        self._database.execute(f"BEGIN {kind}")
        try:
            yield
            self._database.execute("COMMIT")
        except BaseException:
            if self._database.in_transaction:
                self._database.execute("ROLLBACK")
            raise

    def _head(self) -> tuple[bytes, int, bytes]:
        """The salt, the last number and the last seal."""
        rows = self._database.execute(
            "SELECT salt, entries, seal, (SELECT max(number) FROM entries), "
            "(SELECT seal FROM entries ORDER BY number DESC LIMIT 1) FROM head"
        ).fetchall()
        if len(rows) != 1:
            raise RegistryFault("its head is missing")
        salt, entries, last, number, newest = rows[0]
        if not isinstance(salt, bytes) or len(salt) != 32 or type(entries) is not int:
            raise RegistryFault("its head is malformed")
        expected = (0, first_seal(salt)) if number is None else (number, newest)
        if (entries, last) != expected:
            raise RegistryFault("its head and its last entry do not agree")
        return salt, entries, last

    def _rows(self, rest: str, *values: object) -> list[tuple[Any, ...]]:
        return self._database.execute(_SELECT + rest, values).fetchall()

    def _numbers(self, where: str, *values: object) -> list[int]:
        """Numbers of the entries of which this holds, the oldest first."""
        looks = ("",) if self._indexed else ("", "NOT INDEXED ")
        found = [
            [
                number
                for (number,) in self._database.execute(
                    f"SELECT number FROM entries {how}WHERE {where} ORDER BY number", values
                )
            ]
            for how in looks
        ]
        if odd := set(found[0]).symmetric_difference(found[-1]):
            raise RegistryFault(f"its index and its entry number {min(odd)} do not agree")
        return found[0]

    def _entry(self, row: tuple[Any, ...]) -> RegistryEntry:
        return read_row(row, self._salt)

    def _by_number(self, number: int) -> RegistryEntry:
        (row,) = self._span(number - 1, number)
        return self._entry(row)

    def _span(self, start: int, stop: int) -> list[tuple[Any, ...]]:
        """Rows start + 1 to stop, all of them."""
        rows = self._rows("WHERE number > ? AND number <= ? ORDER BY number", start, stop)
        if [row[0] for row in rows] != list(range(start + 1, stop + 1)):
            raise RegistryFault(f"of its entries {start + 1} to {stop} some are missing")
        return rows

    def _all(self, entries: int) -> Iterator[RegistryEntry]:
        for start in range(0, entries, _ROWS):
            for row in self._span(start, min(start + _ROWS, entries)):
                yield self._entry(row)

    def _packed(self, start: int, stop: int, bits: int) -> tuple[NDArray[np.int64], bytes]:
        """Numbers and joined fingerprints of entries start + 1 to stop that have `bits` bits."""
        rows = self._database.execute(
            "SELECT number, bits, guard, packed FROM entries "
            "WHERE number > ? AND number <= ? ORDER BY number",
            (start, stop),
        ).fetchall()
        if [row[0] for row in rows] != list(range(start + 1, stop + 1)):
            raise RegistryFault(f"of its entries {start + 1} to {stop} some are missing")
        try:
            broken = [n for n, size, found, word in rows if guard(n, size, word) != found]
        except TypeError:
            broken = [start + 1]
        if broken:
            raise RegistryFault(
                f"the fingerprint of entry number {broken[0]} is not what was registered"
            )
        chosen = [(number, word) for number, size, _, word in rows if size == bits]
        numbers = np.array([number for number, _ in chosen], dtype=np.int64)
        joined = b"".join(word for _, word in chosen)
        if len(joined) != len(chosen) * -(-bits // 8):
            raise RegistryFault(
                f"of its entries {start + 1} to {stop} some have fingerprints of odd length"
            )
        return numbers, joined

    def _same_as(self, entry: RegistryEntry) -> RegistryEntry | None:
        """The entry that is there already under this id, or says this of this subject."""
        numbers = self._numbers("id = ?", entry.id) or self._numbers(
            "owner = ? AND subject = ? AND decoder IS ? AND bits = ? AND packed = ?",
            *entry.identity(),
        )
        return self._by_number(numbers[0]) if numbers else None

    def _insert(self, entry: RegistryEntry, number: int, last: bytes) -> bytes:
        """Write an entry; returns its seal."""
        fields = tuple(getattr(entry, name) for name in _FIELDS.split(", "))
        made = seal(self._salt, last, number, fields)
        values = (number, made, guard(number, entry.bits, entry.packed), *fields)
        self._database.execute(
            f"INSERT INTO entries (number, seal, guard, {_FIELDS}) VALUES "
            f"({', '.join('?' * len(values))})",
            values,
        )
        return made

    def _refuse(self, entry: RegistryEntry, there: RegistryEntry) -> NoReturn:
        if there.id != entry.id:
            reason = f"has this fingerprint already, as entry {there.id}"
        elif there.content() == entry.content():
            reason = f"is there already, as entry {there.id}"
        else:
            reason = f"is to become entry {there.id}, which says something else"
        raise UserError(
            f"registry {self.path}: {entry.subject!r} of {entry.owner!r} {reason}; nothing is added"
        )
