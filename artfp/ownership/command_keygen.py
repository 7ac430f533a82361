"""`artfp keygen`: draw a secret key, commit to a fingerprint that it gives, check a commitment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from artfp.core.console import prepare_terminal
from artfp.core.errors import UserError, one_line
from artfp.core.legacy import make_parser
from artfp.ownership.ownership import (
    OWNERSHIP,
    add_ownership_options,
    decoder_hash,
    excluded,
    fingerprint_of,
    how_to_embed,
    one_of_key_and_fingerprint,
    required,
)

DESCRIPTION = """\
Draw a secret key, from which all your fingerprints are derived; commit to a fingerprint; check a
commitment.

A commitment is a hash to publish before images are examined: it shows afterwards that the
fingerprint was not chosen to suit them, and tells nobody what it is. Publish NAME.commitment.json
where others date it; keep NAME.opening.json and the key secret."""

EPILOG = """\
examples:
  artfp keygen --key owner.key.json
      a new key, in a file that you alone can read
  artfp keygen --key owner.key.json --owner "Ada Lovelace" --subject "cats v1" --bits 100 \\
      --decoder photo128 --commit cats
      writes cats.commitment.json (publish it) and cats.opening.json (keep it)
  artfp keygen --key owner.key.json --verify cats.commitment.json
      checks it with the cats.opening.json beside it
  artfp keygen --fingerprint 9f3a... --verify cats.commitment.json --opening shown.json
      the same for somebody who was shown fingerprint and opening, but not the key

A fingerprint belongs to the key, the owner, the subject and the number of bits together: with any
other of them it is another, which has nothing to do with it. So embed it with --key, --owner and
--subject, all three. What embed took from a key without the names (also from the one that it drew),
commit to and register with --bare.

exit codes: 0 done, or the commitment holds; 1 it does not hold; 2 bad input"""


def _parser() -> Any:
    parser = make_parser("artfp keygen", DESCRIPTION, EPILOG)
    add = parser.add_argument
    add_ownership_options(parser, "Key file: written, or with --commit and --verify read.")
    add(
        "--overwrite",
        action="store_true",
        help="Put a new key in the place of one that is there, which is then lost.",
    )
    add(
        "--commit",
        type=str | None,
        default=None,
        metavar="NAME",
        help="Commit to a fingerprint: write NAME.commitment.json and NAME.opening.json.",
    )
    add(
        "--verify",
        type=str | None,
        default=None,
        metavar="FILE",
        help="Check this commitment.",
    )
    add(
        "--opening",
        type=str | None,
        default=None,
        metavar="FILE",
        help="The commitment's opening; default: NAME.opening.json beside NAME.commitment.json.",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; the exit code."""
    args = _parser().parse_args(argv)
    prepare_terminal()
    if args.verify is not None:
        excluded(args, "not with --verify; the commitment says it", *OWNERSHIP)
        excluded(args, "not with --verify", "commit", "overwrite")
        return _verify(args)
    excluded(args, "only with --verify", "opening")
    if args.commit is not None:
        excluded(args, "not with --commit", "overwrite")
        return _commit(args)
    excluded(args, "only with --commit", *OWNERSHIP, "fingerprint")
    return _draw(args)


def _draw(args: Any) -> int:
    """Write a new key; print its public name."""
    from artfp.ownership.key import Key

    required(args, "key")
    key = Key.draw()
    key.save(args.key, overwrite=args.overwrite)
    print(f"new key in {one_line(args.key)}, which you alone can read; keep a copy in a safe place")
    print(f"its public name: {key.tag()}")
    return 0


def _commit(args: Any) -> int:
    """Write a commitment and its opening; print the hash."""
    from artfp.ownership.commitment import commit, save_both

    one_of_key_and_fingerprint(args)
    required(args, "owner", "subject", "bits")
    word = fingerprint_of(args, args.owner, args.subject, args.bits, args.bare)
    made, opening = commit(word, args.owner, args.subject, decoder_hash(args.decoder), args.bare)
    public, secret = save_both(made, opening, args.commit)
    print(f"publish {one_line(str(public))}")
    print(f"keep    {one_line(str(secret))}, which you alone can read")
    print(f"hash    {made.hash}")
    if (how := how_to_embed(args, made.owner, made.subject, args.bare)) is not None:
        print(how)
    return 0


def _verify(args: Any) -> int:
    """Say whether a commitment holds."""
    from artfp.ownership.commitment import Commitment, Opening, holds, opening_path

    one_of_key_and_fingerprint(args)
    made = Commitment.load(args.verify)
    if args.opening is None and not args.verify.endswith(".commitment.json"):
        raise UserError("give --opening: it is not to be found by the name of --verify")
    opening = Opening.load(args.opening or opening_path(args.verify))
    whose = f"{one_line(made.subject)!r} of {one_line(made.owner)!r}, {made.bits} bits"
    if opening.commitment != made.hash:
        print(f"does not hold: the opening belongs to another commitment than that to {whose}")
        return 1
    word = fingerprint_of(args, made.owner, made.subject, made.bits, opening.bare)
    if not holds(made, opening, word):
        named = "--fingerprint" if args.key is None else "--key"
        print(f"does not hold: {named} is not what was committed to, or the file was changed")
        return 1
    print(f"holds: {whose}")
    print(f"  decoder {made.decoder or 'not fixed'}")
    print(f"  time    {made.time}, as its author says; prove it by where it was published")
    return 0
