"""`artfp registry`: who owns which fingerprint, in one secret file."""

from __future__ import annotations

import json
import shlex
import sys
from itertools import islice

from artfp.core.command import Command, CommandGroup, Entry
from artfp.core.console import console, print_next_step
from artfp.core.errors import one_line
from artfp.ownership.settings import (
    ExportRegistrySettings,
    ImportRegistrySettings,
    ListEntriesSettings,
    RegisterSettings,
    ShowEntrySettings,
    VerifyRegistrySettings,
)

DESCRIPTION = """\
Keep who owns which fingerprint in one file. It holds the fingerprints, so it is secret: readable
by you alone. Entries are only ever added, and damage to the file is noticed."""

EPILOG = """\
examples:
  artfp registry add my.registry --key owner.key.json --commitment cats.commitment.json
  artfp registry add my.registry --key owner.key.json --owner Ada --subject "cats v1" --bits 100
  artfp registry list my.registry --owner Ada
  artfp registry show my.registry 3f9a
  artfp registry export my.registry public.jsonl --public
  artfp registry import other.registry backup.jsonl

exit codes: 0 done, 1 verify found damage (a file that cannot be opened: 2)"""

_ADD = """\
Register a fingerprint; the registry is created if it is not there.

With --commitment, owner, subject, bits and decoder are those of the commitment, and if its opening
lies beside it, it is verified.

--key gives a fingerprint for each owner and subject: the one that embed takes from --key, --owner
and --subject. What was embedded with --key alone, or with a key that embed drew, is another:
register that with --bare."""


def _add(settings: RegisterSettings) -> int:
    from artfp.ownership.actions import register_fingerprint
    from artfp.ownership.command_keygen import how_to_embed

    added = register_fingerprint(settings)
    entry, registry = added.entry, one_line(str(settings.registry))
    if added.new_registry:
        print(f"new registry {registry}, which you alone can read")
    print(f"added {entry.id}")
    if (text := how_to_embed(settings.key, entry.owner, entry.subject, added.bare)) is not None:
        print(text)
    if added.checked is False:
        print("its commitment is not checked: the opening does not lie beside it")
    print_next_step(f"artfp detect suspects/ --registry {shlex.quote(registry)}")
    return 0


def _list(settings: ListEntriesSettings) -> int:
    from artfp.data.tables import Column, rich_table
    from artfp.ownership.registry import Registry, RegistryEntry

    columns = (
        Column("id", lambda entry: entry.id[:12]),
        Column("owner"),
        Column("subject"),
        Column("bits"),
        Column("decoder", lambda entry: (entry.decoder or "")[:12]),
        Column("time"),
        Column("committed", lambda entry: "yes" if entry.commitment else "no"),
    )
    with Registry(settings.registry) as registry:
        entries = registry.find(settings.owner, settings.subject)
        shown: list[RegistryEntry] = list(islice(entries, settings.limit or None))
        more = next(entries, None) is not None
    if settings.json:
        for entry in shown:
            print(json.dumps(entry.public()))
    else:
        console().print(rich_table(shown, columns, boxed=True))
    if more:
        print(f"there are more than these {settings.limit}; --limit 0 lists all", file=sys.stderr)
    return 0


def _show(settings: ShowEntrySettings) -> int:
    from artfp.ownership.registry import Registry

    with Registry(settings.registry) as registry:
        entry = registry.get(settings.id)
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
        "fingerprint": entry.hex if settings.reveal else "kept secret; --reveal shows it",
    }
    for name, value in lines.items():
        print(f"{name:11}  {one_line(value)}")
    return 0


def _export(settings: ExportRegistrySettings) -> int:
    from artfp.ownership.registry import Registry, export_registry

    with Registry(settings.registry) as registry:
        count = export_registry(registry, settings.output, settings.public, settings.overwrite)
        left_out = len(registry) - count
    print(f"{_count_entries(count)} in {one_line(str(settings.output))}")
    if settings.public and left_out:
        print(f"{_count_entries(left_out)} without a commitment left out")
    return 0


def _import(settings: ImportRegistrySettings) -> int:
    from artfp.ownership.registry import Registry, import_registry, read_export

    for _ in read_export(settings.input):
        pass  # a malformed file creates no registry
    with Registry(settings.registry, create=True) as registry:
        added = import_registry(registry, settings.input, settings.keep)
    print(
        f"{_count_entries(added.new)} added, {added.known} there already, {added.left_out} left out"
    )
    return 0


def _verify(settings: VerifyRegistrySettings) -> int:
    from artfp.ownership.commitment import check_digest
    from artfp.ownership.registry import DamagedRegistry, Registry

    digest = check_digest(settings.digest, "--digest")
    try:
        with Registry(settings.registry) as registry:
            state = registry.verify(digest)
    except DamagedRegistry as error:
        print(f"artfp registry verify: {error}", file=sys.stderr)
        return 1
    print(f"whole: {_count_entries(state.entries)}")
    print(f"digest {state.digest}")
    return 0


def _count_entries(entries: int) -> str:
    return f"{entries} entr{'y' if entries == 1 else 'ies'}"


ADD = Command(RegisterSettings, _add, _ADD)
LIST = Command(
    ListEntriesSettings, _list, "List entries, without their fingerprints, the oldest first."
)
SHOW = Command(ShowEntrySettings, _show, "Show one entry.")
EXPORT = Command(
    ExportRegistrySettings,
    _export,
    "Write the entries to a text file: JSON Lines with a checksum at the end. It is secret, unless "
    "it is --public.",
)
IMPORT = Command(
    ImportRegistrySettings,
    _import,
    "Add the entries of an export: all or, where something is wrong, none. Importing twice adds "
    "nothing more.",
)
VERIFY = Command(
    VerifyRegistrySettings,
    _verify,
    "Check the whole file, and print its digest, which reveals nothing of the entries: note or "
    "publish it.",
)

_MODULE = "artfp.ownership.command_registry"

COMMAND = CommandGroup(
    DESCRIPTION,
    {
        "add": Entry(f"{_MODULE}:ADD", "Register a fingerprint"),
        "list": Entry(f"{_MODULE}:LIST", "List entries"),
        "show": Entry(f"{_MODULE}:SHOW", "Show one entry"),
        "export": Entry(f"{_MODULE}:EXPORT", "Write all entries, or their public part, as text"),
        "import": Entry(f"{_MODULE}:IMPORT", "Add the entries of an export"),
        "verify": Entry(f"{_MODULE}:VERIFY", "Check the whole file and print its digest"),
    },
    EPILOG,
)
