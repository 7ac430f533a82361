"""Options that `artfp keygen` and `artfp registry` share: whose fingerprint, and which."""

from __future__ import annotations

import shlex
from typing import Any

import numpy as np
from numpy.typing import NDArray

from artfp.core.errors import UserError, one_line
from artfp.ownership.assignment import given_fingerprints

OWNERSHIP = ("owner", "subject", "bits", "decoder", "bare")
"""What `add_ownership_options` adds, but for the fingerprint."""


def add_ownership_options(parser: Any, key_help: str) -> None:
    """Which fingerprint: from a key or as it is; and whose, of what."""
    add = parser.add_argument
    add("--key", type=str | None, default=None, metavar="FILE", help=key_help)
    add(
        "--fingerprint",
        type=str | None,
        default=None,
        metavar="BITS|HEX",
        help="The fingerprint itself, as 0s and 1s or hexadecimal, instead of --key.",
    )
    add("--owner", type=str | None, default=None, metavar="NAME", help="Whose it is.")
    add(
        "--subject",
        type=str | None,
        default=None,
        metavar="NAME",
        help="The model or data set that has it.",
    )
    add("--bits", type=int | None, default=None, help="Bits of the fingerprint.")
    add(
        "--decoder",
        type=str | None,
        default=None,
        metavar="WEIGHTS",
        help="The decoder that reads it: a shipped name, a file, or the SHA-256 of one.",
    )
    add(
        "--bare",
        action="store_true",
        help="Derive the fingerprint from --key alone, as embed and detect do without --owner and "
        "--subject. Without this it is another: that of key, owner and subject together.",
    )


def required(args: Any, *names: str) -> None:
    """Refuse a command line without these options."""
    missing = [f"--{name}" for name in names if getattr(args, name) is None]
    if missing:
        raise UserError(f"missing {', '.join(missing)}")


def excluded(args: Any, reason: str, *names: str) -> None:
    """Refuse a command line with any of these options."""
    given = [f"--{name}" for name in names if getattr(args, name) not in (None, False)]
    if given:
        raise UserError(f"{', '.join(given)}: {reason}")


def one_of_key_and_fingerprint(args: Any) -> None:
    """Refuse a command line that names the fingerprint twice or not at all."""
    if (args.key is None) == (args.fingerprint is None):
        raise UserError("give one of --key and --fingerprint")
    if args.fingerprint is not None and args.bare:
        raise UserError("--bare: only with --key")


def fingerprint_of(args: Any, owner: str, subject: str, bits: int, bare: bool) -> NDArray[np.uint8]:
    """The fingerprint (bits,) that --fingerprint says or --key gives."""
    names = (None, None) if bare or args.key is None else (owner, subject)
    words = given_fingerprints(bits, args.fingerprint, args.key, *names)
    assert words is not None
    return words.of_image("")


def how_to_embed(args: Any, owner: str, subject: str, bare: bool) -> str | None:
    """Which options of embed give the fingerprint of --key; None without a key."""
    if args.key is None:
        return None
    if bare:
        return f"embed it with: --key {_word(args.key)}"
    names = f"--owner {_word(owner)} --subject {_word(subject)}"
    return (
        f"embed it with: --key {_word(args.key)} {names}\n"
        "(the key alone gives another fingerprint, which --bare registers)"
    )


def _word(text: str) -> str:
    """A text as a word of a command line."""
    return shlex.quote(one_line(text))


def decoder_hash(decoder: str | None) -> str | None:
    """The SHA-256 of a decoder's weights, from a hash, a shipped name or a file."""
    if decoder is None:
        return None
    from artfp.ownership.commitment import is_digest

    if is_digest(decoder):
        return decoder
    from artfp.data.bundle import find_weights
    from artfp.data.files import file_hash

    return file_hash(find_weights(decoder, "decoder"))
