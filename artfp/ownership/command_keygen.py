"""`artfp keygen`: draw a secret key, commit to a fingerprint that it gives, verify a commitment."""

from __future__ import annotations

import shlex
from pathlib import Path

from artfp.core.command import Command
from artfp.core.console import print_next_step
from artfp.core.errors import one_line
from artfp.ownership.settings import KeygenSettings

DESCRIPTION = """\
Draw a secret key, from which all your fingerprints are derived; commit to a fingerprint; verify a
commitment.

A commitment is a hash to publish before images are examined: it shows afterwards that the
fingerprint was not chosen to suit them, and does not reveal it. Publish NAME.commitment.json
where others date it; keep NAME.opening.json and the key secret."""

EPILOG = """\
examples:
  artfp keygen --key owner.key.json
      a new key, in a file that you alone can read
  artfp keygen --key owner.key.json --owner "Ada Lovelace" --subject "cats v1" --bits 100 \\
      --decoder photo128 --commit cats
      writes cats.commitment.json (publish it) and cats.opening.json (keep it)
  artfp keygen --key owner.key.json --verify cats.commitment.json
      verifies it with the cats.opening.json beside it
  artfp keygen --fingerprint_file fingerprint.txt --verify cats.commitment.json --opening shown.json
      the same for somebody who was shown fingerprint and opening, but not the key

A fingerprint belongs to the key, the owner, the subject and the number of bits together: with any
other of them it is another, unrelated fingerprint. So embed it with --key, --owner and --subject,
all three. What embed took from a key without the names (also from a key that it drew itself),
commit to and register with --bare.

exit codes: 0 done, or the commitment holds; 1 it does not hold"""


def _keygen(settings: KeygenSettings) -> int:
    if settings.verify is not None:
        return _verify(settings)
    if settings.commit is not None:
        return _commit(settings)
    from artfp.ownership.actions import draw_key

    key = draw_key(settings)
    where = one_line(str(settings.key))
    print(f"new key in {where}, which you alone can read; keep a copy in a safe place")
    print(f"its public name: {key.tag()}")
    print_next_step(f"artfp embed --data_dir images/ --output_dir out --key {_word(settings.key)}")
    return 0


def _commit(settings: KeygenSettings) -> int:
    from artfp.ownership.actions import make_commitment

    made, public, secret = make_commitment(settings)
    print(f"publish {one_line(str(public))}")
    print(f"keep    {one_line(str(secret))}, which you alone can read")
    print(f"hash    {made.hash}")
    if (text := how_to_embed(settings.key, made.owner, made.subject, settings.bare)) is not None:
        print(text)
    given = f"--key {_word(settings.key)}"
    if settings.key is None:
        given = f"--fingerprint_file {_word(settings.fingerprint_file or 'FILE')}"
    print_next_step(f"artfp registry add my.registry {given} --commitment {_word(public)}")
    return 0


def _verify(settings: KeygenSettings) -> int:
    from artfp.ownership.actions import check_commitment

    checked = check_commitment(settings)
    made = checked.commitment
    if checked.reason:
        print(f"does not hold: {checked.reason}")
        return 1
    print(f"holds: {one_line(made.subject)!r} of {one_line(made.owner)!r}, {made.bits} bits")
    print(f"  decoder {made.decoder or 'not fixed'}")
    print(f"  time    {made.time}, as stated by its author; where it was published proves it")
    return 0


def how_to_embed(key: Path | None, owner: str, subject: str, bare: bool) -> str | None:
    """Return the options of embed that give the fingerprint of a key; None without a key."""
    if key is None:
        return None
    if bare:
        return f"embed it with: --key {_word(key)}"
    return (
        f"embed it with: --key {_word(key)} --owner {_word(owner)} --subject {_word(subject)}\n"
        "(the key alone gives another fingerprint, which --bare registers)"
    )


def _word(text: str | Path | None) -> str:
    """A text as a word of a command line."""
    return shlex.quote(one_line(str(text)))


COMMAND = Command(KeygenSettings, _keygen, DESCRIPTION, EPILOG)
