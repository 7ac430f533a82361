"""Resuming of long runs: their settings and the items that they have finished."""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from artfp.core.errors import UserError
from artfp.core.run_folder import lock_folder
from artfp.data.files import replacing, write_atomic

_SECRET = "secret"
_SYNC_SECONDS = 1.0

CONTENT = "_sha256"
"""End of the names of settings that are digests of files."""


class Manifest:
    """The settings of a run, kept in its output folder, so that no other run goes on with it."""

    @staticmethod
    def claim(
        folder: Path,
        settings: Mapping[str, object],
        what: str,
        anew: bool = False,
        results: str | None = None,
    ) -> bool:
        """Claim a folder for a run, or find that it may go on; lock it (see `lock_folder`).

        Args:
            folder: Output folder of the run; `<what>.run.json` in it holds the settings.
            settings: JSON values. Of those whose key starts with "secret" only a salted digest is
                stored, and no value is ever shown.
            what: Kind of the run, a word such as "embed".
            anew: Whether the run takes the place of any before it, with whatever settings.
            results: Pattern of its results in `folder` that count as done by being there; none that
                an unknown run wrote may be there.

        Returns:
            False: the folder was free. True: it was claimed with equal settings.

        Raises:
            UserError: claimed with other settings; the message names the first that differs. Or
                another run uses the folder, or results of an unknown one are in it.
        """
        lock_folder(folder)
        path = folder / f"{what}.run.json"
        wanted: dict[str, Any] = json.loads(json.dumps(settings))
        try:
            if anew:
                path.unlink(missing_ok=True)
            text = path.read_bytes()
        except FileNotFoundError:
            for stray in () if results is None else folder.glob(results):
                if stray.is_file() and not stray.name.startswith("."):
                    raise UserError(
                        f"{stray} is of an unknown run; choose another output folder or delete "
                        f"{folder}"
                    ) from None
            Journal(folder, what).remove()  # of settings that nobody knows any more
            stored = {key: _sealed(key, value) for key, value in wanted.items()}
            write_atomic(path, json.dumps(stored, indent=1) + "\n", secret=True)
            return False
        except OSError as error:
            raise UserError(f"{path}: cannot be read: {error.strerror or error}") from None
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise UserError(f"{path}: damaged; choose another output folder or delete {folder}")
        keys = [*wanted, *(key for key in found if key not in wanted)]
        for key in sorted(keys, key=lambda key: key.endswith(CONTENT)):  # which others may explain
            if not _agrees(key, wanted, found):
                raise UserError(_difference(folder, what, key, wanted, found))
        return True


def _sealed(key: str, value: object, salt: str | None = None) -> object:
    """Return the stored form of a setting: itself, or a salted digest of a secret."""
    if not key.startswith(_SECRET):
        return value
    salt = salt or secrets.token_hex(16)
    digest = hashlib.sha256(f"{salt}:{json.dumps(value, sort_keys=True)}".encode()).hexdigest()
    return f"{salt}:{digest}"


def _agrees(key: str, wanted: dict[str, Any], found: dict[str, Any]) -> bool:
    if key not in wanted or key not in found:
        return False
    salt = str(found[key]).partition(":")[0]
    return bool(_sealed(key, wanted[key], salt) == found[key])


def _difference(
    folder: Path, what: str, key: str, wanted: dict[str, Any], found: dict[str, Any]
) -> str:
    if key.endswith(CONTENT):
        detail = "is that of other files"
    elif key.startswith(_SECRET):
        detail = "has another value"
    else:
        before, now = (_shown(settings, key) for settings in (found, wanted))
        detail = f"was {before} and is now {now}"
    return (
        f"{folder} holds a run of '{what}' with other settings: '{key}' {detail}; "
        "choose another output folder or delete this one"
    )


def _shown(settings: dict[str, Any], key: str) -> str:
    return json.dumps(settings[key])[:200] if key in settings else "absent"


class Journal:
    """Finished items, one JSON line each, in a hidden file per process of a run (mode 0600).

    A record is on its way to the disk in one `write` when `append` returns: killing the process
    loses none, and a power cut those of the last second. Threads may append together.

    Args:
        folder: Output folder of the run.
        what: Kind of the run, a word such as "embed".
        rank: Number of the process.
    """

    def __init__(self, folder: Path, what: str, rank: int = 0) -> None:
        self._folder = folder
        self._what = what
        self._path = folder / f".{what}.{rank}.jsonl"
        self._lock = threading.Lock()
        self._descriptor: int | None = None
        self._synced = time.monotonic()

    def append(self, record: dict[str, Any]) -> None:
        """Add a record, whose "name" says what it is about.

        Raises:
            UserError: it cannot be written.
        """
        line = json.dumps(record, separators=(",", ":")).encode("ascii") + b"\n"
        with self._lock:
            try:
                if self._descriptor is None:
                    self._descriptor = self._open()
                written = os.write(self._descriptor, line)
                if time.monotonic() > self._synced + _SYNC_SECONDS:
                    self._sync()
            except OSError as error:
                raise UserError(
                    f"{self._path}: cannot be written: {error.strerror or error}"
                ) from None
            if written < len(line):
                self._close()  # the next append starts on a fresh line
                raise UserError(f"{self._path}: cannot be written: is the disk full?")

    def records(self) -> dict[str, dict[str, Any]]:
        """Return the records of all processes by their "name"; the last of a name wins."""
        return {record["name"]: record for record in self.stream()}

    def stream(self) -> Iterator[dict[str, Any]]:
        """Yield the records of all processes, one in memory at a time, as they were written.

        Lines that a kill or a full disk cut short are left out.
        """
        for path in self._files():
            for _, record in _lines(path):
                yield record

    def prune(self, keep: Callable[[dict[str, Any]], bool]) -> None:
        """Drop the records that `keep` is false of; a file of the journal changes at once or not.

        Raises:
            UserError: a file cannot be written.
        """
        self.close()
        for path in self._files():
            if all(keep(record) for _, record in _lines(path)):
                continue
            with replacing(path, secret=True) as kept:
                kept.writelines(line for line, record in _lines(path) if keep(record))

    def close(self) -> None:
        """Close the file; a later `append` opens it again."""
        with self._lock:
            self._close()

    def remove(self) -> None:
        """Close, and delete the files of all processes."""
        self.close()
        for path in self._files():
            path.unlink(missing_ok=True)

    def _open(self) -> int:
        self._folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        if hasattr(os, "fchmod"):
            os.fchmod(descriptor, 0o600)  # one that was there, too
        size = os.fstat(descriptor).st_size
        if size and os.pread(descriptor, 1, size - 1) != b"\n":
            os.write(descriptor, b"\n")
        return descriptor

    def _close(self) -> None:
        if self._descriptor is not None:
            with suppress(OSError):
                self._sync()
            os.close(self._descriptor)
            self._descriptor = None

    def _sync(self) -> None:
        assert self._descriptor is not None
        os.fsync(self._descriptor)
        self._synced = time.monotonic()

    def _files(self) -> list[Path]:
        pattern = re.compile(rf"\.{re.escape(self._what)}\.(\d+)\.jsonl")
        if not self._folder.is_dir():
            return []
        matches = ((pattern.fullmatch(entry), entry) for entry in os.listdir(self._folder))
        ranks = sorted((int(match[1]), entry) for match, entry in matches if match)
        return [self._folder / entry for _, entry in ranks]


def _lines(path: Path) -> Iterator[tuple[bytes, dict[str, Any]]]:
    """Yield the whole lines of a journal's file, with their records."""
    with open(path, "rb") as file:
        for line in file:
            try:
                record = json.loads(line)
            except ValueError:
                continue
            if isinstance(record, dict) and isinstance(record.get("name"), str):
                yield line.rstrip(b"\n") + b"\n", record
