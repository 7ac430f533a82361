"""Access of the registry to SQLite: connection, schema, errors, seals."""

from __future__ import annotations

import hmac
import os
import secrets
import sqlite3
import stat
import zlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import quote

from artfp.core.errors import UserError
from artfp.data.files import new_file
from artfp.data.paths import AnyPath
from artfp.ownership.key import encode_fields
from artfp.ownership.registry.entry import RegistryEntry

APPLICATION_ID = 0x61667072
"""Stands in the header of the file: "afpr"."""

SCHEMA_VERSION = 1
"""Version of the schema; in the header as well."""

WAIT_SECONDS = 60.0
"""Seconds that a process waits for the changes of others."""

SCHEMA = (
    "CREATE TABLE head (salt BLOB NOT NULL, entries INTEGER NOT NULL, seal BLOB NOT NULL)",
    "CREATE TABLE entries (number INTEGER PRIMARY KEY, bits INTEGER NOT NULL, "
    "guard INTEGER NOT NULL, packed BLOB NOT NULL, seal BLOB NOT NULL, id TEXT NOT NULL UNIQUE, "
    "owner TEXT NOT NULL, subject TEXT NOT NULL, decoder TEXT, time TEXT NOT NULL, "
    "commitment TEXT, notes TEXT NOT NULL)",
    "CREATE INDEX owned ON entries (owner, subject, packed)",
)

_SMALLEST = 512
_NO_DATABASE = "not an SQLite database, so it is no registry"
_ENTRY_LABEL = b"artfp/registry-entry/v1"
_HEAD_LABEL = b"artfp/registry/v1"
_SETTINGS = (
    "cache_size = -32768",  # KiB
    "cell_size_check = ON",
    "synchronous = EXTRA",  # the folder too: what was acknowledged outlives a power cut
    "temp_store = MEMORY",  # no secrets in files elsewhere
    "trusted_schema = OFF",
)


class DamagedRegistry(UserError):
    """The file of a registry is not as artfp left it.

    Example:
        >>> issubclass(DamagedRegistry, UserError)
        True
    """


def refuse_file(path: AnyPath) -> int:
    """Return the size of a registry's file, in bytes.

    Raises:
        UserError: it is missing, unreadable, no file, or too small.
        Damaged: it is empty.
    """
    what = f"registry {os.fspath(path)}"
    # Never opened here: to close a file ends all locks that this process has on it, SQLite's too.
    try:
        found = os.stat(path)
    except OSError as error:
        raise UserError(f"{what}: {error.strerror}") from error
    except ValueError:  # a NUL or a lone surrogate
        raise UserError(f"{what}: cannot be the name of a file") from None
    if not stat.S_ISREG(found.st_mode):
        raise UserError(f"{what}: not a file")
    if not os.access(path, os.R_OK, effective_ids=os.access in os.supports_effective_ids):
        raise UserError(f"{what}: Permission denied")
    if not found.st_size:
        raise DamagedRegistry(f"{what}: empty, so it is no registry; was it cut off?")
    if found.st_size < _SMALLEST:
        raise UserError(f"{what}: {_NO_DATABASE}")
    return found.st_size


def connect(path: AnyPath) -> sqlite3.Connection:
    """Open a database that is there; transactions are begun by hand."""
    # A file that may only be read is opened for that.
    uri = f"file:{quote(os.fsencode(os.path.abspath(path)))}?mode=rw"
    database = sqlite3.connect(uri, uri=True, timeout=WAIT_SECONDS, isolation_level=None)
    # Damaged text must come through, to be found out by its seal.
    database.text_factory = lambda text: text.decode("utf-8", "surrogateescape")
    try:
        for setting in _SETTINGS:
            database.execute(f"PRAGMA {setting}")
    except BaseException:
        database.close()
        raise
    return database


def create_file(path: AnyPath) -> bool:
    """Put an empty registry where no file is; False if another process came first."""
    with errors_of(path):
        empty = _empty_registry()
    try:
        with new_file(path, "registry") as file:
            file.write(empty)
    except UserError:
        if os.path.lexists(path):
            return False
        raise
    return True


def _empty_registry() -> bytes:
    """Return the file of an empty registry; a kill leaves nothing of it that will be a secret."""
    if hasattr(sqlite3.Connection, "serialize"):  # from Python 3.11
        with closing(sqlite3.connect(":memory:", isolation_level=None)) as database:
            _set_up(database)
            return database.serialize()
    with TemporaryDirectory() as folder:
        path = Path(folder) / "registry"
        with closing(sqlite3.connect(path, isolation_level=None)) as database:
            _set_up(database)
        return path.read_bytes()


def _set_up(database: sqlite3.Connection) -> None:
    """Make the tables of an empty registry."""
    # Nobody sees this database; its copy is what goes to the disk.
    database.execute("PRAGMA journal_mode = MEMORY")
    database.execute("PRAGMA synchronous = OFF")
    database.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    database.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    for statement in SCHEMA:
        database.execute(statement)
    salt = secrets.token_bytes(32)
    database.execute("INSERT INTO head VALUES (?, 0, ?)", (salt, first_seal(salt)))


def check_kind(database: sqlite3.Connection, path: AnyPath) -> None:
    """Refuse a database of another application or version, or with other tables.

    Raises:
        UserError: another application's, or another version of artfp's.
        Fault: its tables are not those of its version.
    """
    (application,) = database.execute("PRAGMA application_id").fetchone()
    if application != APPLICATION_ID:
        raise UserError(
            f"registry {path}: a database of another application, not of artfp registry"
        )
    (version,) = database.execute("PRAGMA user_version").fetchone()
    if version != SCHEMA_VERSION:
        raise UserError(
            f"registry {path}: its format is version {version}, and this artfp reads only "
            f"{SCHEMA_VERSION}; use the artfp that wrote it, or a newer one"
        )
    # Nothing but these: a trigger or a view would run in our name.
    made = database.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
    if {sql for (sql,) in made} != set(SCHEMA) or len(made) != len(SCHEMA):
        raise RegistryFault("its tables are not those that artfp makes")


class RegistryFault(Exception):
    """Something in the file is not as artfp left it; `errors_of` says in which."""


@contextmanager
def errors_of(path: AnyPath) -> Iterator[None]:
    """Turn what goes wrong with this registry's file into errors for the user.

    Raises:
        Damaged: for a Fault, and for what SQLite finds malformed.
        UserError: for all else that SQLite refuses.
    """
    what = f"registry {os.fspath(path)}"
    try:
        yield
    except RegistryFault as fault:
        raise DamagedRegistry(
            f"{what}: damaged: {fault}; restore it from a copy or an export"
        ) from None
    except UnicodeDecodeError:  # of SQLite's own message, which quotes the file
        raise DamagedRegistry(f"{what}: damaged: its tables cannot be read") from None
    except sqlite3.ProgrammingError:
        raise
    except sqlite3.DatabaseError as error:
        message = str(error)
        if "locked" in message:
            reason = "another process holds it; try again later"
        elif "not a database" in message:
            reason = _NO_DATABASE
        elif "readonly" in message:
            reason = "cannot be written: it, or its folder, is read-only"
        elif "unable to open" in message or "full" in message or "disk I/O" in message:
            reason = f"cannot be read or written: {message}"
        else:
            reason = f"damaged: {message}; restore it from a copy or an export"
            raise DamagedRegistry(f"{what}: {reason}") from error
        raise UserError(f"{what}: {reason}") from error


def first_seal(salt: bytes) -> bytes:
    """Return the seal before the first entry."""
    return hmac.digest(salt, encode_fields(_HEAD_LABEL), "sha256")


def seal(salt: bytes, before: bytes, number: int, fields: tuple[Any, ...]) -> bytes:
    """Return the seal of an entry: over the seal before it, its number, its fields and their types.

    Raises:
        TypeError: a field is neither text, a whole number, bytes nor None.
    """
    return hmac.digest(
        salt,
        encode_fields(_ENTRY_LABEL, before, _typed(number), *map(_typed, fields)),
        "sha256",
    )


def _typed(value: object) -> bytes:
    """A value as bytes that no other value has."""
    if value is None:
        return b"n"
    if isinstance(value, str):
        return b"t" + value.encode("utf-8", "surrogateescape")
    if isinstance(value, bytes):
        return b"b" + value
    if type(value) is int:
        return b"i%d" % value
    raise TypeError(type(value).__name__)


def guard(number: int, bits: int, packed: bytes) -> int:
    """Return a checksum (CRC-32) of what a search reads of an entry, quick enough for all of them.

    Raises:
        TypeError: the values have other types.
    """
    return zlib.crc32(packed, (number << 9 | bits) & 0xFFFFFFFF)


def read_row(row: tuple[Any, ...], salt: bytes) -> RegistryEntry:
    """Check the seal of a row (number, seal, guard, the entry's fields, seal before); its entry.

    Raises:
        Fault: it does not hold.
    """
    number, found, crc, *fields, before = row
    before = first_seal(salt) if number == 1 else before
    try:
        entry = RegistryEntry(*fields)
        if isinstance(before, bytes) and isinstance(found, bytes):
            same = hmac.compare_digest(found, seal(salt, before, number, tuple(fields)))
            if same and crc == guard(number, entry.bits, entry.packed):
                return entry
    except (TypeError, UnicodeError):
        pass
    raise RegistryFault(f"entry number {number} is not what was registered")
