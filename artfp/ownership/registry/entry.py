"""One entry of the registry: whose fingerprint it is, and how its fields become bytes."""

from __future__ import annotations

import json
import re
import secrets
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from artfp.core.errors import UserError
from artfp.ownership.commitment import (
    Commitment,
    check_digest,
    check_time,
    commitment_text,
    utc_now,
)
from artfp.ownership.key import check_bits, check_name, to_text

MAX_NOTES = 1_000_000
"""Characters of notes that an entry may have."""


@dataclass(frozen=True)
class RegistryEntry:
    """Fingerprint of a model or data set, and its owner. Make one with `RegistryEntry.of`.

    Its text forms never show the fingerprint.

    Example:
        >>> entry = RegistryEntry.of([0, 1] * 32, "Ada", "cats v1")
        >>> entry.owner, entry.subject, entry.bits
        ('Ada', 'cats v1', 64)
    """

    id: str
    """32 random hexadecimal digits."""
    owner: str
    subject: str
    """The model or data set."""
    decoder: str | None
    """SHA-256 of the decoder's weights."""
    bits: int
    packed: bytes = field(repr=False)
    """The fingerprint, 8 bits a byte, most significant first, zeros at the end."""
    commitment: str | None
    """The commitment's JSON on one line, as `commitment_text` writes it."""
    time: str
    """Time of the registration, in UTC."""
    notes: str

    @classmethod
    def of(
        cls,
        fingerprint: ArrayLike,
        owner: str,
        subject: str,
        decoder: str | None = None,
        commitment: Commitment | None = None,
        notes: str = "",
    ) -> RegistryEntry:
        """Make a new entry for a fingerprint of shape (bits,), with this time and a random id.

        Raises:
            UserError: a name, the notes, the hash or the number of bits is malformed, or the
                commitment speaks of something else.
            ValueError: the fingerprint is not one-dimensional and of {0, 1}.
        """
        array = np.asarray(fingerprint)
        bits = check_bits(len(to_text(array)))
        return check_entry(
            cls(
                secrets.token_hex(16),
                check_name(owner, "owner"),
                check_name(subject, "subject"),
                decoder,
                bits,
                np.packbits(array.astype(np.uint8)).tobytes(),
                commitment_text(commitment),
                utc_now(),
                notes,
            )
        )

    @property
    def fingerprint(self) -> NDArray[np.uint8]:
        """Secret fingerprint, shape (bits,), of {0, 1}."""
        return np.unpackbits(np.frombuffer(self.packed, np.uint8), count=self.bits)

    @property
    def hex(self) -> str:
        """The secret as `fingerprint.to_hex` writes it."""
        number = int.from_bytes(self.packed, "big") >> (-self.bits % 8)
        return f"{number:0{-(-self.bits // 4)}x}"

    def public(self) -> dict[str, Any]:
        """Return what others may see, as JSON: no fingerprint and no notes."""
        commitment = None if self.commitment is None else json.loads(self.commitment)
        return {
            "id": self.id,
            "owner": self.owner,
            "subject": self.subject,
            "decoder": self.decoder,
            "bits": self.bits,
            "commitment": commitment,
            "time": self.time,
        }

    def committed(self) -> Commitment | None:
        """The commitment, if there is one."""
        if self.commitment is None:
            return None
        return Commitment.from_json(json.loads(self.commitment), f"entry {self.id}")

    def content(self) -> tuple[Any, ...]:
        """All but the id: two entries that agree in it say the same."""
        return tuple(asdict(self).values())[1:]

    def identity(self) -> tuple[Any, ...]:
        """Return the fields that a registry holds only once together."""
        return self.owner, self.subject, self.decoder, self.bits, self.packed


def check_entry(entry: RegistryEntry) -> RegistryEntry:
    """Return an entry, of whatever origin, if all of its fields are well formed and fit together.

    Raises:
        UserError: they are not. The message does not repeat the fingerprint.
    """
    if not isinstance(entry.id, str) or not re.fullmatch("[0-9a-f]{32}", entry.id):
        raise UserError("id is not 32 lower-case hexadecimal digits")
    for name, what in ((entry.owner, "owner"), (entry.subject, "subject")):
        if not isinstance(name, str):
            raise UserError(f"{what} is not text")
        if check_name(name, what) != name:
            raise UserError(f"{what} is not in Unicode's form NFC")
    check_digest(entry.decoder, "decoder")
    check_time(entry.time)
    _check_notes(entry.notes)
    if type(entry.bits) is not int:
        raise UserError("bits is not a whole number")
    check_bits(entry.bits)
    spare = -entry.bits % 8
    if not isinstance(entry.packed, bytes) or 8 * len(entry.packed) != entry.bits + spare:
        raise UserError(f"fingerprint is not of {entry.bits} bits")
    if entry.packed[-1] & ((1 << spare) - 1):
        raise UserError("fingerprint has bits beyond its end")
    _check_commitment(entry)
    return entry


def _check_notes(notes: object) -> None:
    if not isinstance(notes, str):
        raise UserError("notes are not text")
    if len(notes) > MAX_NOTES:
        raise UserError(f"notes: found {len(notes)} characters, expected at most {MAX_NOTES}")
    if "\0" in notes or any("\ud800" <= char <= "\udfff" for char in notes):
        raise UserError("notes: found NUL or bytes that are no UTF-8; expected text")


def _check_commitment(entry: RegistryEntry) -> None:
    """Refuse a commitment that is malformed or to something else."""
    if entry.commitment is None:
        return
    if not isinstance(entry.commitment, str):
        raise UserError("commitment is not text")
    try:
        content = json.loads(entry.commitment)
    except (ValueError, RecursionError):
        raise UserError("commitment is not JSON") from None
    commitment = Commitment.from_json(content, "commitment")
    if commitment_text(commitment) != entry.commitment:
        raise UserError("commitment is not written as artfp writes it")
    for name in ("owner", "subject", "bits", "decoder"):
        committed, found = getattr(commitment, name), getattr(entry, name)
        if committed != found and not (name == "decoder" and committed is None):
            raise UserError(f"commitment is to {name} {committed!r}, but the entry says {found!r}")


@dataclass(frozen=True)
class RegistryState:
    """Number of entries of a registry, and the digest over all of them.

    Example:
        >>> RegistryState(entries=3, digest="0" * 64).entries
        3
    """

    entries: int
    digest: str


@dataclass(frozen=True)
class AddedCounts:
    """Numbers of entries that are new, were there already, and were left out.

    Example:
        >>> AddedCounts(new=2, known=1, left_out=0).new
        2
    """

    new: int
    known: int
    left_out: int


@dataclass(frozen=True)
class SearchResult:
    """Entries nearest to each of N rows of decoded bits: nearest first, equally near ones by age.

    `matches` (N, K) counts agreeing bits, and `entries[i][j]` is what has `matches[i, j]` of them.
    `compared` is the number of entries with this number of bits, all of which were compared: what a
    p-value of one comparison is to be corrected for, as in
    `bonferroni(log_p_value(found.matches, found.bits), fingerprints=found.compared)`.

    Example:
        >>> SearchResult(64, 0, np.zeros((1, 0), np.int64), [[]]).compared
        0
    """

    bits: int
    compared: int
    matches: NDArray[np.int64]
    entries: list[list[RegistryEntry]]
