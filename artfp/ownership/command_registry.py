"""`artfp registry`: who owns which fingerprint, in one secret file."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any

from artfp.core.console import console
from artfp.core.errors import UserError, one_line
from artfp.core.legacy import make_parser, parsed_action
from artfp.ownership.ownership import (
    add_ownership_options,
    decoder_hash,
    fingerprint_of,
    how_to_embed,
    one_of_key_and_fingerprint,
    required,
)

HELP = """\
usage: artfp registry ACTION REGISTRY ...

Keep who owns which fingerprint in one file. It holds the fingerprints, so it is secret: readable
by you alone. Entries are only ever added, and damage to the file is noticed.

actions:
  add     Register a fingerprint
  list    List entries
  show    Show one entry
  export  Write all entries, or what is public of them, as text
  import  Add the entries of an export
  verify  Check the whole file and print its digest

examples:
  artfp registry add my.registry --key owner.key.json --commitment cats.commitment.json
  artfp registry add my.registry --key owner.key.json --owner Ada --subject "cats v1" --bits 100
  artfp registry list my.registry --owner Ada
  artfp registry show my.registry 3f9a
  artfp registry export my.registry public.jsonl --public
  artfp registry import other.registry backup.jsonl

artfp registry ACTION --help tells an action's options.
exit codes: 0 done, 1 verify found damage, 2 bad input (a damaged file too)"""

_REGISTRY = "The registry's file."

_ADD = """\
Register a fingerprint; the file is made if it is not there.

With --commitment, owner, subject, bits and decoder are its own, and if its opening lies beside it,
it is checked.

--key gives a fingerprint for each owner and subject: the one that embed takes from --key, --owner
and --subject. What was embedded with --key alone, or with a key that embed drew, is another:
register that with --bare."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; the exit code."""
    found = parsed_action("artfp registry", _ACTIONS, argv, HELP)
    if found is None:
        return 0
    act, args, _, _ = found
    return act(args)


def _parser(prog: str, description: str, epilog: str = "") -> Any:
    parser = make_parser(prog, description, epilog)
    parser.add_argument("registry", type=str, help=_REGISTRY)
    return parser


def _add_parser(prog: str) -> Any:
    parser = _parser(prog, _ADD)
    add_ownership_options(parser, "Key file to derive the fingerprint from.")
    add = parser.add_argument
    add(
        "--commitment",
        type=str | None,
        default=None,
        metavar="FILE",
        help="Commitment to this fingerprint, by artfp keygen --commit.",
    )
    add("--notes", type=str, default="", help="Anything; never part of a public export.")
    return parser


def _add(args: Any) -> int:
    from artfp.ownership.commitment import Commitment, holds
    from artfp.ownership.registry import Registry, RegistryEntry

    one_of_key_and_fingerprint(args)
    made = None if args.commitment is None else Commitment.load(args.commitment)
    decoder = decoder_hash(args.decoder)
    if made is not None:
        args.owner = made.owner if args.owner is None else args.owner
        args.subject = made.subject if args.subject is None else args.subject
        args.bits = made.bits if args.bits is None else args.bits
        decoder = made.decoder if decoder is None else decoder
    required(args, "owner", "subject", "bits")
    opening = None if made is None else _opening(args.commitment)
    bare = args.bare if opening is None else opening.bare
    word = fingerprint_of(args, args.owner, args.subject, args.bits, bare)
    if made is not None and opening is not None and not holds(made, opening, word):
        raise UserError(f"{args.commitment} does not hold for this fingerprint; nothing is added")
    entry = RegistryEntry.of(word, args.owner, args.subject, decoder, made, args.notes)
    with Registry(args.registry, create=True) as registry:
        registry.add(entry)
        if registry.created:
            print(f"new registry {one_line(args.registry)}, which you alone can read")
    print(f"added {entry.id}")
    if (how := how_to_embed(args, entry.owner, entry.subject, bare)) is not None:
        print(how)
    if made is not None and opening is None:
        print("its commitment is not checked: the opening does not lie beside it")
    return 0


def _opening(commitment: str) -> Any:
    """The opening beside a commitment's file, if there is one."""
    from artfp.ownership.commitment import Opening, opening_path

    path = opening_path(commitment)
    return Opening.load(path) if path.exists() else None


def _list_parser(prog: str) -> Any:
    parser = _parser(prog, "List entries, without their fingerprints, the oldest first.")
    add = parser.add_argument
    add("--owner", type=str | None, default=None, metavar="NAME", help="Only this owner's.")
    add("--subject", type=str | None, default=None, metavar="NAME", help="Only of this subject.")
    add("--limit", type=int, default=100, help="At most so many; 0 for all.")
    add("--json", action="store_true", help="A line of JSON for each, with nothing secret in it.")
    return parser


def _list(args: Any) -> int:
    from rich.table import Table
    from rich.text import Text

    from artfp.ownership.registry import Registry

    if args.limit < 0:
        raise UserError(f"--limit: found {args.limit}, expected 0 or more")
    with Registry(args.registry) as registry:
        entries = registry.find(args.owner, args.subject)
        shown = islice(entries, args.limit or None)
        if args.json:
            for entry in shown:
                print(json.dumps(entry.public()))
        else:
            table = Table("id", "owner", "subject", "bits", "decoder", "time", "committed")
            for entry in shown:
                cells = (
                    entry.id[:12],
                    one_line(entry.owner),
                    one_line(entry.subject),
                    str(entry.bits),
                    (entry.decoder or "")[:12],
                    entry.time,
                    "yes" if entry.commitment else "no",
                )
                # Text: a name with [brackets] is a name.
                table.add_row(*map(Text, cells))
            console().print(table)
        more = next(entries, None) is not None
    if more:
        print(f"there are more than these {args.limit}; --limit 0 lists all", file=sys.stderr)
    return 0


def _show_parser(prog: str) -> Any:
    parser = _parser(prog, "Show one entry.")
    parser.add_argument("id", type=str, help="Its id, or the first four or more digits of it.")
    parser.add_argument(
        "--reveal", action="store_true", help="Also the fingerprint, which is secret."
    )
    return parser


def _show(args: Any) -> int:
    from artfp.ownership.registry import Registry

    with Registry(args.registry) as registry:
        entry = registry.get(args.id)
    made = entry.committed()
    lines = {
        "id": entry.id,
        "owner": entry.owner,
        "subject": entry.subject,
        "bits": str(entry.bits),
        "decoder": entry.decoder or "none",
        "time": entry.time,
        "committed": f"{made.time}, {made.hash}" if made else "no",
        "notes": entry.notes,
        "fingerprint": entry.hex if args.reveal else "kept secret; --reveal shows it",
    }
    for name, value in lines.items():
        print(f"{name:11}  {one_line(value)}")
    return 0


def _export_parser(prog: str) -> Any:
    parser = _parser(
        prog,
        "Write the entries to a text file: JSON Lines with a checksum at the end. It is secret, "
        "but for --public.",
    )
    add = parser.add_argument
    add("output", type=str, help="File to write.")
    add(
        "--public",
        action="store_true",
        help="Without fingerprints and notes, and only the entries with a commitment.",
    )
    add("--overwrite", action="store_true", help="Replace the file if it is there.")
    return parser


def _export(args: Any) -> int:
    from artfp.ownership.registry import Registry, export_registry

    with Registry(args.registry) as registry:
        count = export_registry(registry, args.output, args.public, args.overwrite)
        left_out = len(registry) - count
    print(f"{_counted(count)} in {one_line(args.output)}")
    if args.public and left_out:
        print(f"{_counted(left_out)} without a commitment left out")
    return 0


def _import_parser(prog: str) -> Any:
    parser = _parser(
        prog,
        "Add the entries of an export: all or, where something is wrong, none. Importing twice is "
        "as good as once.",
    )
    add = parser.add_argument
    add("input", type=str, help="File by artfp registry export, not a public one.")
    add(
        "--keep",
        action="store_true",
        help="Where the registry says something else of an entry, leave that as it is; without "
        "this it is an error.",
    )
    return parser


def _import(args: Any) -> int:
    from artfp.ownership.registry import Registry, import_registry, read_export

    for _ in read_export(args.input):
        pass  # what is malformed makes no registry
    with Registry(args.registry, create=True) as registry:
        added = import_registry(registry, args.input, args.keep)
    print(f"{_counted(added.new)} added, {added.known} there already, {added.left_out} left out")
    return 0


def _verify_parser(prog: str) -> Any:
    parser = _parser(
        prog,
        "Check the whole file, and print its digest, which tells nothing of what is in it: "
        "note or publish it.",
    )
    parser.add_argument(
        "--digest",
        type=str | None,
        default=None,
        metavar="SHA256",
        help="Also check that since this digest was printed entries were only added.",
    )
    return parser


def _verify(args: Any) -> int:
    from artfp.ownership.commitment import check_digest
    from artfp.ownership.registry import DamagedRegistry, Registry

    digest = check_digest(args.digest, "--digest")
    try:
        with Registry(args.registry) as registry:
            state = registry.verify(digest)
    except DamagedRegistry as error:
        print(f"artfp registry verify: {error}", file=sys.stderr)
        return 1
    print(f"whole: {_counted(state.entries)}")
    print(f"digest {state.digest}")
    return 0


def _counted(entries: int) -> str:
    return f"{entries} entr{'y' if entries == 1 else 'ies'}"


_ACTIONS: dict[str, tuple[Callable[[str], Any], Callable[[Any], int]]] = {
    "add": (_add_parser, _add),
    "list": (_list_parser, _list),
    "show": (_show_parser, _show),
    "export": (_export_parser, _export),
    "import": (_import_parser, _import),
    "verify": (_verify_parser, _verify),
}
