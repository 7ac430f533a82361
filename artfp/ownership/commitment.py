"""Committing to a fingerprint: a hash to publish before a detection and to check after it.

A verdict is evidence only if the fingerprint was chosen before the images were looked at. Its
owner cannot publish it, so they publish a `Commitment`, and keep the `Opening`:

    >>> import numpy as np
    >>> fingerprint = np.array([0, 1] * 32, dtype=np.uint8)
    >>> made, opening = commit(fingerprint, "Ada", "cats v1")
    >>> holds(made, opening, fingerprint), holds(made, opening, 1 - fingerprint)
    (True, False)

The hash is HMAC-SHA256 under a random salt of 32 bytes, the opening, over the fingerprint and all
that the commitment says. Without the salt nothing can be learnt about the fingerprint, not even
by trying all bit strings; nobody can find a second fingerprint, name or time that fits. The
time is stated by the committer; to prove it, publish the commitment where others date it.
"""

from __future__ import annotations

import hmac
import json
import os
import re
import secrets
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from artfp.core.errors import UserError
from artfp.data.files import new_file
from artfp.data.paths import AnyPath, read_json, warn_if_shared
from artfp.ownership.key import check_bits, check_name, encode_fields, to_text

SCHEME = "HMAC-SHA256/1"
"""Name of the way in which the hash is computed."""

_KIND = "commitment"
_OPENING_KIND = "commitment-opening"
_VERSION = 1
_WRITER = "artfp keygen --commit"
_LABEL = b"artfp/commitment/v1"


@dataclass(frozen=True)
class Commitment:
    """Commitment to a fingerprint, to publish: no secret can be computed from it.

    Example:
        >>> commitment, opening = commit([0, 1] * 32, "Ada", "cats v1")
        >>> commitment.owner, commitment.bits, len(commitment.hash)
        ('Ada', 64, 64)
    """

    owner: str
    subject: str
    """The model or data set."""
    bits: int
    decoder: str | None
    """SHA-256 of the decoder's weights that are to read the fingerprint, if they are fixed."""
    time: str
    """Time when it was made, in UTC, as stated by its author."""
    hash: str
    """64 hexadecimal digits."""
    scheme: str = SCHEME

    def to_json(self) -> dict[str, Any]:
        """The commitment as a JSON object; `from_json` reads it back."""
        return {"artfp": _KIND, "version": _VERSION, **asdict(self)}

    @classmethod
    def from_json(cls, content: object, where: str) -> Commitment:
        """Check a JSON object that `to_json` made; `where` it stood is named in errors.

        Raises:
            UserError: a field is missing, unknown or malformed.
        """
        names = list(cls.__dataclass_fields__)
        if not isinstance(content, dict) or set(content) != {"artfp", "version", *names}:
            raise UserError(f"{where}: not a commitment with the fields {', '.join(names)}")
        if content["artfp"] != _KIND or content["version"] != _VERSION:
            raise UserError(f"{where}: not a commitment of version {_VERSION}")
        if content["scheme"] != SCHEME:
            raise UserError(
                f"{where}: made by another scheme than {SCHEME}, which this artfp knows"
            )
        try:
            owner, subject = _text(content["owner"]), _text(content["subject"])
            if check_name(owner, "owner") != owner or check_name(subject, "subject") != subject:
                raise UserError("a name is not in Unicode's form NFC")
            if type(content["bits"]) is not int:
                raise UserError("bits is not a whole number")
            if not is_digest(content["hash"]):
                raise UserError("hash is not 64 lower-case hexadecimal digits")
            return cls(
                owner,
                subject,
                check_bits(content["bits"]),
                check_digest(content["decoder"], "decoder"),
                check_time(content["time"]),
                content["hash"],
            )
        except UserError as error:
            raise UserError(f"{where}: {error}") from None

    @classmethod
    def load(cls, path: AnyPath) -> Commitment:
        """Read the file of a commitment.

        Raises:
            UserError: the file is missing, unreadable or not a commitment.
        """
        what = "commitment"
        return cls.from_json(read_json(path, what, _KIND, _VERSION, _WRITER), f"{what} {path}")

    def save(self, path: AnyPath) -> None:
        """Write it to a new file, which anybody may read.

        Raises:
            UserError: the file exists or cannot be written.
        """
        with new_file(path, "commitment", secret=False) as file:
            file.write((json.dumps(self.to_json(), indent=1) + "\n").encode("ascii"))


@dataclass(frozen=True)
class Opening:
    """Opening of a commitment: kept secret, and shown with the fingerprint for verification.

    It alone does not reveal the fingerprint, unless that has so few bits that all can be tried.

    Example:
        >>> commitment, opening = commit([0, 1] * 32, "Ada", "cats v1")
        >>> len(opening.salt)
        32
    """

    commitment: str
    """The hash of the commitment that it opens."""
    salt: bytes = field(repr=False)
    bare: bool = False
    """True if the fingerprint is the key's own, without the context of owner and subject."""

    @classmethod
    def load(cls, path: AnyPath) -> Opening:
        """Read the file of an opening; log a warning where others than the owner can read it.

        Raises:
            UserError: the file is missing, unreadable or not an opening.
        """
        what = "opening"
        content = read_json(path, what, _OPENING_KIND, _VERSION, _WRITER)
        salt, bare = content.get("salt"), content.get("bare")
        if not is_digest(salt) or type(bare) is not bool or not is_digest(content.get("opens")):
            raise UserError(f"{what} {path}: a field is missing or malformed")
        warn_if_shared(path, what)
        return cls(content["opens"], bytes.fromhex(content["salt"]), bare)

    def save(self, path: AnyPath) -> None:
        """Write it to a new file that only its owner can read (mode 0600).

        Raises:
            UserError: the file exists or cannot be written.
        """
        content = {
            "artfp": _OPENING_KIND,
            "version": _VERSION,
            "opens": self.commitment,
            "salt": self.salt.hex(),
            "bare": self.bare,
        }
        with new_file(path, "opening") as file:
            file.write((json.dumps(content, indent=1) + "\n").encode("ascii"))


def commit(
    fingerprint: ArrayLike, owner: str, subject: str, decoder: str | None = None, bare: bool = False
) -> tuple[Commitment, Opening]:
    """Commit to a fingerprint of shape (bits,), now, with a fresh salt from the CSPRNG.

    `decoder` is the SHA-256 of the decoder's weights: without it, the committer could still choose
    among decoders after having seen the images. `bare` is noted in the opening.

    Args:
        fingerprint: The fingerprint, shape (bits,), of {0, 1}.
        owner: Name of its owner.
        subject: Name of the model or data set.
        decoder: SHA-256 of the decoder's weights; see above.
        bare: True if the fingerprint is the key's own; noted in the opening.

    Raises:
        UserError: a name, the number of bits or the hash is malformed.
        ValueError: the fingerprint is not one-dimensional and of {0, 1}.

    Example:
        >>> commitment, opening = commit([0, 1] * 32, "Ada", "cats v1")
        >>> holds(commitment, opening, [0, 1] * 32)
        True
    """
    text = to_text(fingerprint)
    salt = secrets.token_bytes(32)
    unsigned = Commitment(
        check_name(owner, "owner"),
        check_name(subject, "subject"),
        check_bits(len(text)),
        check_digest(decoder, "decoder"),
        utc_now(),
        "",
    )
    made = Commitment(**{**asdict(unsigned), "hash": _hash(unsigned, salt, text)})
    return made, Opening(made.hash, salt, bare)


def holds(commitment: Commitment, opening: Opening, fingerprint: ArrayLike) -> bool:
    """Return whether a commitment was made to this fingerprint, with all of its fields.

    Args:
        commitment: The commitment.
        opening: Its opening.
        fingerprint: The fingerprint, shape (bits,), of {0, 1}.

    Returns:
        True if it holds.

    Raises:
        ValueError: the fingerprint is not one-dimensional and of {0, 1}.

    Example:
        >>> commitment, opening = commit([0, 1] * 32, "Ada", "cats v1")
        >>> holds(commitment, opening, [1, 0] * 32)
        False
    """
    expected = _hash(commitment, opening.salt, to_text(fingerprint))
    return hmac.compare_digest(expected, commitment.hash)


def save_both(commitment: Commitment, opening: Opening, name: AnyPath) -> tuple[Path, Path]:
    """Write `NAME.commitment.json`, to publish, and `NAME.opening.json`, secret; their paths.

    Raises:
        UserError: one exists, or cannot be written; then neither is left.
    """
    public, secret = Path(f"{os.fspath(name)}.commitment.json"), opening_path(name)
    if os.path.lexists(public):
        raise UserError(f"commitment {public}: exists already; choose another name")
    opening.save(secret)
    try:
        commitment.save(public)
    except BaseException:
        secret.unlink(missing_ok=True)
        raise
    return public, secret


def commitment_text(commitment: Commitment | None) -> str | None:
    """Return a commitment as one line of JSON, always written the same; None for None."""
    return None if commitment is None else json.dumps(commitment.to_json(), sort_keys=True)


def opening_path(path: AnyPath) -> Path:
    """Return the path of the opening that belongs to a commitment's file, or to its name."""
    return Path(os.fspath(path).removesuffix(".commitment.json") + ".opening.json")


def utc_now() -> str:
    """Return this second in UTC, as artfp writes times: 2025-01-31T09:30:00+00:00."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def check_time(text: object) -> str:
    """Return a time that is written as `utc_now` writes it.

    Raises:
        UserError: it is not.
    """
    try:
        # Not every text that Python reads as a time is written back the same.
        if isinstance(text, str) and text.endswith("+00:00"):
            parsed = datetime.fromisoformat(text)
            if parsed.isoformat(timespec="seconds") == text:
                return text
    except ValueError:
        pass
    raise UserError("time is not in UTC like 2025-01-31T09:30:00+00:00")


def check_digest(text: object, what: str) -> str | None:
    """Return a SHA-256 in hexadecimal, or None for None.

    Raises:
        UserError: it is neither; `what` it is.
    """
    if text is None or (isinstance(text, str) and is_digest(text)):
        return text
    raise UserError(f"{what} is not a SHA-256: expected 64 lower-case hexadecimal digits")


def is_digest(text: object) -> bool:
    """Return whether a text is a SHA-256 in lower-case hexadecimal."""
    return isinstance(text, str) and re.fullmatch("[0-9a-f]{64}", text) is not None


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise UserError("a name is not text")
    return value


def _hash(commitment: Commitment, salt: bytes, text: str) -> str:
    """The hash over all other fields and the fingerprint's bits, most significant first."""
    packed = np.packbits(np.frombuffer(text.encode("ascii"), np.uint8) - ord("0")).tobytes()
    fields = (
        commitment.scheme,
        commitment.owner,
        commitment.subject,
        str(commitment.bits),
        commitment.decoder or "",
        commitment.time,
    )
    encoded = (each.encode("utf-8") for each in fields)
    message = encode_fields(_LABEL, *encoded, len(text).to_bytes(2, "big"), packed)
    return hmac.digest(salt, message, "sha256").hex()
