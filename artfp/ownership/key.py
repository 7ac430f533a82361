"""Fingerprints: secret bit strings, as bits, as text, and as drawn from a key.

A fingerprint is a `uint8` array of {0, 1} with shape (bits,). It comes from bits that the user
gives (`parse_fingerprint`) or from a secret `Key`; it never comes from a default seed.

    >>> key = Key.draw()
    >>> fingerprint = key.fingerprint(100)
    >>> int(hamming_distance(fingerprint, parse_fingerprint(to_hex(fingerprint), 100)))
    0
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import secrets
import unicodedata
from datetime import datetime, timezone

import numpy as np
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from numpy.typing import ArrayLike, NDArray

from artfp.core.errors import UserError
from artfp.data.files import new_file
from artfp.data.paths import read_json, warn_if_shared

MIN_BITS = 1
MAX_BITS = 512
MAX_NAME = 500

_SECRET_BYTES = 32
_FILE_KIND = "key"
_FILE_VERSION = 1
_FINGERPRINT_LABEL = b"artfp/fingerprint/v1\0"
_TAG_LABEL = b"artfp/key-tag/v1"
_SEED_LABEL = b"artfp/not-secret-seed/v1\0"
_CONTEXT_LABEL = b"artfp/owner-subject/v1"


def check_bits(bits: int) -> int:
    """Return `bits` if it is a length that artfp supports.

    Raises:
        UserError: `bits` lies outside MIN_BITS to MAX_BITS.
    """
    if not MIN_BITS <= bits <= MAX_BITS:
        raise UserError(f"fingerprint length: found {bits} bits, expected {MIN_BITS} to {MAX_BITS}")
    return bits


def check_name(text: str, what: str) -> str:
    """Return the name of an owner or a subject as artfp keeps it: in Unicode's form NFC.

    Two ways to type the same accented letter are one name; all else, case too, makes a difference.

    Raises:
        UserError: empty, longer than MAX_NAME characters, with space around it, with a control
            character or a line break, or not text (bytes that are no UTF-8).
    """
    name = unicodedata.normalize("NFC", text)
    shown = repr(name if len(name) <= 60 else name[:60] + "...")
    if not 0 < len(name) <= MAX_NAME:
        raise UserError(f"{what}: found {len(name)} characters, expected 1 to {MAX_NAME}")
    if name != name.strip():
        raise UserError(f"{what}: found {shown}, expected no space before or after it")
    odd = () if name.isprintable() else name
    if any(unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") for char in odd):
        raise UserError(f"{what}: found {shown}, expected text in UTF-8 without control characters")
    return name


def encode_fields(*fields: bytes) -> bytes:
    """Join fields so that no other fields give the same bytes: each after its length (8 bytes)."""
    return b"".join(len(field).to_bytes(8, "big") + field for field in fields)


def owner_context(owner: str | None, subject: str | None) -> bytes:
    """Return the context in which a key gives the fingerprint of an owner's model or data set.

    It is `encode_fields` of a label and the two names, so that no two pairs share a context.
    Without the names it is empty: the fingerprint of the key alone, which the commands call bare.

    Raises:
        UserError: one name without the other, or `check_name` refuses one.
    """
    if owner is None and subject is None:
        return b""
    if owner is None or subject is None:
        raise UserError("--owner and --subject name the fingerprint together; give both or neither")
    names = check_name(owner, "owner"), check_name(subject, "subject")
    return encode_fields(_CONTEXT_LABEL, *(name.encode("utf-8") for name in names))


def parse_fingerprint(text: str, bits: int) -> NDArray[np.uint8]:
    """Read a fingerprint of shape (bits,) that a user typed.

    Two forms are told apart by their length alone. Exactly `bits` characters 0 or 1 are the bits.
    Exactly ceil(bits / 4) hexadecimal digits, after an optional `0x`, are a number with its most
    significant bit first, even where every digit happens to be 0 or 1. No length fits both, but for
    one bit, where both mean the same. Space around the text is ignored.

    Args:
        text: Bits or hexadecimal digits.
        bits: Number of bits.

    Raises:
        UserError: the text is neither, the number does not fit into `bits` bits, or `bits` is
            unsupported. The message never repeats the text, which is a secret.

    Example:
        >>> parse_fingerprint("9f", 8).tolist()
        [1, 0, 0, 1, 1, 1, 1, 1]
    """
    check_bits(bits)
    text = text.strip()
    digits = -(-bits // 4)
    if len(text) == bits and re.fullmatch("[01]+", text):
        return np.frombuffer(text.encode("ascii"), dtype=np.uint8) - np.uint8(ord("0"))
    body = text[2:] if text[:2] in ("0x", "0X") else text
    if not re.fullmatch("[0-9a-fA-F]+", body) or len(body) != digits:
        raise UserError(
            f"fingerprint: found {_describe(text, body)}, expected {bits} characters 0 or 1, "
            f"or {digits} hexadecimal digits"
        )
    number = int(body, 16)
    if number >> bits:
        raise UserError(
            f"fingerprint: found a hexadecimal number of {number.bit_length()} bits, expected at "
            f"most {bits}; the leading {4 * digits - bits} bits of its first digit must be 0"
        )
    return parse_fingerprint(f"{number:0{bits}b}", bits)


def _describe(text: str, body: str) -> str:
    """Say what kind of text was found, without repeating it."""
    if not text:
        return "an empty text"
    if re.fullmatch("[01]+", text):
        return f"{len(text)} characters 0 or 1"
    if re.fullmatch("[0-9a-fA-F]+", body):
        return f"{len(body)} hexadecimal digits"
    return f"{len(text)} characters that are not all 0 and 1 and not all hexadecimal"


def to_text(fp: ArrayLike) -> str:
    """Write a fingerprint of shape (bits,) as `bits` characters 0 or 1.

    Args:
        fp: The fingerprint, shape (bits,), of {0, 1}.

    Raises:
        ValueError: not a one-dimensional array of {0, 1}.

    Example:
        >>> to_text([1, 0, 0, 1, 1, 1, 1, 1])
        '10011111'
    """
    word = _binary(fp)
    if word.ndim != 1:
        raise ValueError(f"fingerprint: found shape {word.shape}, expected (bits,)")
    return "".join("1" if bit else "0" for bit in word)


def to_hex(fp: ArrayLike) -> str:
    """Write a fingerprint of shape (bits,) as ceil(bits / 4) hexadecimal digits.

    The most significant bit comes first; where `bits` is no multiple of 4, the unused leading
    bits are 0. `parse_fingerprint` reads it back.

    Args:
        fp: The fingerprint, shape (bits,), of {0, 1}.

    Raises:
        ValueError: not a one-dimensional array of {0, 1}.

    Example:
        >>> to_hex([1, 0, 0, 1, 1, 1, 1, 1])
        '9f'
    """
    text = to_text(fp)
    return f"{int(text, 2):0{-(-len(text) // 4)}x}"


def hamming_distance(a: ArrayLike, b: ArrayLike) -> NDArray[np.int64]:
    """Hamming distance over the last axis, in bits; leading axes broadcast.

    Shapes (..., bits) and (..., bits) give (...): (N, bits) with (bits,) gives (N,), and two
    single words give an array of no dimension.

    Args:
        a: Bits, shape (..., bits), of {0, 1}.
        b: Bits of a shape that broadcasts against `a`.

    Raises:
        ValueError: unequal numbers of bits, leading axes that do not broadcast, or values
            other than {0, 1}.

    Example:
        >>> int(hamming_distance([0, 1, 1, 0], [0, 1, 0, 1]))
        2
    """
    left, right = _binary(a), _binary(b)
    if left.shape[-1] != right.shape[-1]:
        raise ValueError(
            f"distance: found fingerprints of {left.shape[-1]} and {right.shape[-1]} bits, "
            "expected equal lengths"
        )
    return np.asarray((left != right).sum(axis=-1), dtype=np.int64)


def _binary(values: ArrayLike) -> NDArray[np.uint8]:
    """Check that `values` has shape (..., bits) and holds only {0, 1}."""
    array = np.asarray(values)
    if array.ndim == 0 or array.shape[-1] == 0:
        raise ValueError(f"fingerprint: found shape {array.shape}, expected (..., bits)")
    if not np.isin(array, (0, 1)).all():
        raise ValueError("fingerprint: found values other than 0 and 1; threshold logits first")
    return array.astype(np.uint8)


def shown_path(path: str | os.PathLike[str]) -> str:
    """Return a path for a message; what looks like a fingerprint and is no file is not repeated."""
    text = os.fspath(path)
    secret = re.fullmatch("[01]{8,}|[0-9a-fA-F]{16,}", text) and not os.path.exists(text)
    return "(what was given looks like a fingerprint)" if secret else str(text)


class Key:
    """A secret of 32 bytes from which fingerprints are derived.

    Take it from `Key.draw` or `Key.load`. Its text forms never show the secret. Keys compare
    equal when their secrets do.

    Example:
        >>> key = Key.draw()
        >>> key.fingerprint(64, owner="Ada", subject="cats v1").shape
        (64,)
    """

    __slots__ = ("_secret",)

    def __init__(self, secret: bytes) -> None:
        if len(secret) != _SECRET_BYTES:
            raise ValueError(f"key: found {len(secret)} bytes, expected {_SECRET_BYTES}")
        self._secret = bytes(secret)

    @classmethod
    def draw(cls) -> Key:
        """Draw a new key from the operating system's cryptographic generator."""
        return cls(secrets.token_bytes(_SECRET_BYTES))

    @classmethod
    def from_seed(cls, seed: int) -> Key:
        """Make the key that belongs to a number: NOT secret, for reproducible experiments only.

        Whoever guesses the number has the key, and no p-value computed with it is evidence.
        """
        return cls(hashlib.sha256(_SEED_LABEL + str(int(seed)).encode("ascii")).digest())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Key:
        """Read a key that `save` wrote; log a warning where others than the owner can read it.

        Raises:
            UserError: the file is missing, unreadable, or not a key file of this version.
        """
        what = "key file"
        if shown_path(path) != str(path):
            raise UserError(f"{what} {shown_path(path)}: no such file; give the file of a key")
        content = read_json(path, what, _FILE_KIND, _FILE_VERSION, "Key.save")
        secret = content.get("secret")
        if not isinstance(secret, str) or not re.fullmatch("[0-9a-f]{64}", secret):
            raise UserError(
                f"{what} {path}: its secret is not {2 * _SECRET_BYTES} lower-case hexadecimal "
                "digits; restore the file from a copy"
            )
        warn_if_shared(path, what)
        return cls(bytes.fromhex(secret))

    def save(self, path: str | os.PathLike[str], overwrite: bool = False) -> None:
        """Write the key to a JSON file that only its owner can read (mode 0600).

        Raises:
            UserError: the file exists (a key is never overwritten without being told to) or
                cannot be written.
        """
        content = {
            "artfp": _FILE_KIND,
            "version": _FILE_VERSION,
            "secret": self._secret.hex(),
            "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        }
        hint = "a key is never overwritten unasked; choose another name or move it away"
        with new_file(path, "key file", overwrite=overwrite, hint=hint) as file:
            file.write((json.dumps(content, indent=1) + "\n").encode("ascii"))

    def fingerprint(
        self,
        bits: int,
        *,
        owner: str | None = None,
        subject: str | None = None,
        context: bytes | str = b"",
    ) -> NDArray[np.uint8]:
        """Derive a fingerprint from the key.

        HKDF-SHA256 (RFC 5869) without salt; its info is a label, `bits` as two bytes, the context
        of owner and subject and the further context, so that fingerprints of different lengths or
        contexts tell nothing about each other. The bits are taken from the output with the most
        significant first.

        Args:
            bits: Length of the fingerprint, 1 to 512.
            owner: Name of the owner, together with `subject`. The two give what the commands give
                for --owner and --subject: `artfp keygen`, `registry`, `embed` and `detect`.
            subject: Name of the model or data set.
            context: Any further context, such as the name of an image; text is encoded as UTF-8.

        Returns:
            The fingerprint of shape (bits,), of {0, 1}.

        Raises:
            UserError: `bits` is unsupported, one name without the other, or a malformed name.

        Example:
            >>> key = Key.from_seed(0)
            >>> fingerprint = key.fingerprint(64, owner="Ada", subject="cats v1")
            >>> to_hex(fingerprint) == to_hex(key.fingerprint(64))
            False
        """
        check_bits(bits)
        further = context.encode("utf-8") if isinstance(context, str) else bytes(context)
        info = (
            _FINGERPRINT_LABEL + bits.to_bytes(2, "big") + owner_context(owner, subject) + further
        )
        stream = HKDF(SHA256(), length=-(-bits // 8), salt=None, info=info).derive(self._secret)
        return np.unpackbits(np.frombuffer(stream, dtype=np.uint8), count=bits)

    def tag(self) -> str:
        """Give a public name of the key: 64 hexadecimal digits that do not reveal it.

        HMAC-SHA256 of a fixed label under the key. Equal tags mean equal keys, so a tag that was
        published with a date commits its owner to the key.
        """
        return hmac.new(self._secret, _TAG_LABEL, hashlib.sha256).hexdigest()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Key):
            return NotImplemented
        return hmac.compare_digest(self._secret, other._secret)

    def __hash__(self) -> int:
        return hash(self.tag())

    def __repr__(self) -> str:
        return f"Key(tag={self.tag()[:8]}...)"
