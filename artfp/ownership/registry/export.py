"""A registry as a text file: JSON Lines with a checksum at the end.

The first line says what the file is, each further line is an entry, and the last has their number
and the SHA-256 of all lines before it, so that a file that was cut off or changed is noticed.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator
from typing import Any

from artfp.core.errors import UserError
from artfp.data.files import new_file
from artfp.data.paths import AnyPath, warn_if_shared
from artfp.ownership.commitment import Commitment, commitment_text
from artfp.ownership.key import check_bits
from artfp.ownership.registry.entry import AddedCounts, RegistryEntry, check_entry
from artfp.ownership.registry.store import Registry

_KIND = "registry-export"
_VERSION = 1
_LONGEST = 16 << 20
_FIELDS = frozenset(
    ("id", "owner", "subject", "decoder", "bits", "commitment", "time", "fingerprint", "notes")
)


def export_registry(
    registry: Registry, path: AnyPath, public: bool = False, overwrite: bool = False
) -> int:
    """Write the entries to a file, whole or not at all; returns their number.

    A `public` file has neither fingerprints nor notes, and only the entries with a commitment; all
    else is secret, and readable by its owner alone (mode 0600).

    Args:
        registry: The registry.
        path: File to write.
        public: True to leave out fingerprints, notes and entries without a commitment.
        overwrite: True to replace a file that exists.

    Raises:
        UserError: the file exists and is not to be overwritten, or cannot be written.
        Damaged: an entry is not what was registered.

    Example:
        >>> import tempfile
        >>> from artfp.ownership.registry import Registry, RegistryEntry
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with Registry(f"{folder}/my.registry", create=True) as registry:
        ...         _ = registry.add(RegistryEntry.of([0, 1] * 32, "Ada", "cats v1"))
        ...         export_registry(registry, f"{folder}/all.jsonl")
        1
    """
    if os.path.realpath(path) == os.path.realpath(registry.path):
        raise UserError(f"export {path}: that is the registry itself; choose another name")
    digest = hashlib.sha256()
    count = 0
    with new_file(path, "export", secret=not public, overwrite=overwrite) as file:

        def write(line: dict[str, Any]) -> None:
            encoded = json.dumps(line).encode("ascii") + b"\n"
            digest.update(encoded)
            file.write(encoded)

        write({"artfp": _KIND, "version": _VERSION, "public": public})
        for entry in registry:
            if not public:
                write({**entry.public(), "fingerprint": entry.hex, "notes": entry.notes})
            elif entry.commitment is not None:
                write(entry.public())
            else:
                continue
            count += 1
        write({"entries": count, "sha256": digest.hexdigest()})
    return count


def import_registry(registry: Registry, path: AnyPath, keep: bool = False) -> AddedCounts:
    """Add the entries of an export that is not public: all of them or, where something fails, none.

    What the registry has already, word for word, is left as it is, so that importing twice is as
    good as once. Where it has something else under the same id, or the same fingerprint of the
    same subject, that is an error, or with `keep` stays as it is too.

    Args:
        registry: The registry to add to.
        path: File that `export_registry` wrote.
        keep: True to keep entries that are there already and differ.

    Raises:
        UserError: the file is missing, unreadable, malformed, cut off or changed; or as said.

    Example:
        >>> import tempfile
        >>> from artfp.ownership.registry import Registry, RegistryEntry
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with Registry(f"{folder}/my.registry", create=True) as registry:
        ...         _ = registry.add(RegistryEntry.of([0, 1] * 32, "Ada", "cats v1"))
        ...         _ = export_registry(registry, f"{folder}/all.jsonl")
        ...         import_registry(registry, f"{folder}/all.jsonl").known
        1
    """
    return registry.add_all(read_export(path), known="keep" if keep else "same")


def read_export(path: AnyPath) -> Iterator[RegistryEntry]:
    """The entries of an export, each checked; the checksum is known only at the end.

    Args:
        path: File that `export_registry` wrote.

    Raises:
        UserError: the file is missing, unreadable, malformed, cut off or changed.

    Example:
        >>> import tempfile
        >>> from artfp.ownership.registry import Registry, RegistryEntry
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with Registry(f"{folder}/my.registry", create=True) as registry:
        ...         _ = registry.add(RegistryEntry.of([0, 1] * 32, "Ada", "cats v1"))
        ...         _ = export_registry(registry, f"{folder}/all.jsonl")
        ...         [entry.owner for entry in read_export(f"{folder}/all.jsonl")]
        ['Ada']
    """
    what = f"export {os.fspath(path)}"
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as file:
            count = 0
            # The last line is the one after which nothing comes.
            line, number = file.readline(_LONGEST), 1
            while following := file.readline(_LONGEST):
                content = _object(line, f"{what}, line {number}")
                if number == 1:
                    _check_first(content, what)
                    warn_if_shared(path, "export")
                else:
                    yield _entry(content, f"{what}, line {number}")
                    count += 1
                digest.update(line)
                line, number = following, number + 1
    except OSError as error:
        raise UserError(f"{what}: {error.strerror}") from error
    if number == 1:
        _check_first(_object(line, what), what)
    last = _object(line, f"{what}, line {number}")
    if set(last) != {"entries", "sha256"}:
        raise UserError(f"{what}: cut off after line {number}: its checksum is missing")
    if last != {"entries": count, "sha256": digest.hexdigest()}:
        raise UserError(f"{what}: changed since it was written: its checksum does not hold")


def _object(line: bytes, where: str) -> dict[str, Any]:
    try:
        content = json.loads(line.decode("ascii"))
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict) or not line.endswith(b"\n"):
        raise UserError(f"{where}: not a whole line of JSON; expected a file by registry export")
    return content


def _check_first(content: dict[str, Any], what: str) -> None:
    if content.get("artfp") != _KIND:
        raise UserError(f"{what}: not an export of a registry")
    if content.get("version") != _VERSION:
        raise UserError(
            f"{what}: its format is not version {_VERSION}, the only one that this artfp reads"
        )
    if content.get("public") is not False:
        raise UserError(f"{what}: a public export, which has no fingerprints to import")


def _entry(content: dict[str, Any], where: str) -> RegistryEntry:
    """The entry that a line says. What is wrong is told without repeating the fingerprint."""
    try:
        if set(content) != _FIELDS:
            missing = sorted(_FIELDS - set(content))
            raise UserError(f"lacks {', '.join(missing)}" if missing else "has unknown fields")
        given = content["commitment"]
        if given is not None:
            given = commitment_text(Commitment.from_json(given, "commitment"))
        rest = {name: content[name] for name in _FIELDS - {"fingerprint", "commitment"}}
        packed = _packed(content["fingerprint"], content["bits"])
        return check_entry(RegistryEntry(**rest, packed=packed, commitment=given))
    except UserError as error:
        raise UserError(f"{where}: {error}") from None


def _packed(text: object, bits: object) -> bytes:
    """Undo `Entry.hex`."""
    if type(bits) is not int:
        raise UserError("bits is not a whole number")
    digits = -(-check_bits(bits) // 4)
    if not isinstance(text, str) or not re.fullmatch(f"[0-9a-f]{{{digits}}}", text):
        raise UserError(f"fingerprint is not {digits} lower-case hexadecimal digits")
    number = int(text, 16)
    if number >> bits:
        raise UserError(f"fingerprint is not of {bits} bits")
    return (number << (-bits % 8)).to_bytes(-(-bits // 8), "big")
