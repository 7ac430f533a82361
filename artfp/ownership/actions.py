"""Functions behind `artfp keygen` and `artfp registry add`, which take their settings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from artfp.core.errors import UserError
from artfp.ownership.assignment import given_fingerprints
from artfp.ownership.commitment import (
    Commitment,
    Opening,
    commit,
    holds,
    is_digest,
    opening_path,
    save_both,
)
from artfp.ownership.key import Key
from artfp.ownership.registry import Registry, RegistryEntry
from artfp.ownership.settings import KeygenSettings, OwnershipSettings, RegisterSettings


def draw_key(settings: KeygenSettings) -> Key:
    """Draw a new key and write it to `settings.key`.

    Args:
        settings: Settings of `artfp keygen`, without `commit` and `verify`.

    Returns:
        The key.

    Raises:
        UserError: the file exists and is not to be overwritten, or cannot be written.
    """
    assert settings.key is not None
    key = Key.draw()
    key.save(settings.key, overwrite=settings.overwrite)
    return key


def make_commitment(settings: KeygenSettings) -> tuple[Commitment, Path, Path]:
    """Commit to a fingerprint, and write the commitment and its opening.

    Args:
        settings: Settings of `artfp keygen` with `commit`.

    Returns:
        The commitment, its file (to publish) and the file of its opening (to keep).

    Raises:
        UserError: a name, a length or a file is not as it must be, or a file exists already.
    """
    owner, subject, bits = settings.owner, settings.subject, settings.bits
    assert settings.commit is not None
    assert owner is not None and subject is not None and bits is not None
    fingerprint = settings_fingerprint(settings, owner, subject, bits, settings.bare)
    decoder = decoder_digest(settings.decoder)
    made, opening = commit(fingerprint, owner, subject, decoder, settings.bare)
    public, secret = save_both(made, opening, settings.commit)
    return made, public, secret


@dataclass(frozen=True)
class CommitmentCheck:
    """A commitment that was checked, and why it does not hold; `reason` is "" where it holds."""

    commitment: Commitment
    reason: str = ""


def check_commitment(settings: KeygenSettings) -> CommitmentCheck:
    """Check whether a commitment was made to the fingerprint of the settings.

    Args:
        settings: Settings of `artfp keygen` with `verify`.

    Returns:
        The commitment, and the reason where it does not hold.

    Raises:
        UserError: a file is missing or malformed.
    """
    assert settings.verify is not None
    made = Commitment.load(settings.verify)
    if settings.opening is None and not settings.verify.name.endswith(".commitment.json"):
        raise UserError("give --opening: it is not to be found by the name of --verify")
    opening = Opening.load(settings.opening or opening_path(settings.verify))
    if opening.commitment != made.hash:
        return CommitmentCheck(made, "the opening belongs to another commitment")
    fingerprint = settings_fingerprint(settings, made.owner, made.subject, made.bits, opening.bare)
    if not holds(made, opening, fingerprint):
        named = "the fingerprint" if settings.key is None else "--key"
        return CommitmentCheck(
            made, f"{named} is not what was committed to, or the file was changed"
        )
    return CommitmentCheck(made)


@dataclass(frozen=True)
class Registered:
    """An entry that was added to a registry.

    Args:
        entry: The entry.
        new_registry: True if the registry was created for it.
        bare: True if the fingerprint is the key's own, without owner and subject.
        checked: True if a commitment was checked with its opening; None without a commitment.
    """

    entry: RegistryEntry
    new_registry: bool
    bare: bool
    checked: bool | None


def register_fingerprint(settings: RegisterSettings) -> Registered:
    """Add a fingerprint to a registry, which is created if it is not there.

    Args:
        settings: Settings of `artfp registry add`.

    Returns:
        The entry, and how it was made.

    Raises:
        UserError: something is missing or malformed, the commitment does not hold, or the
            fingerprint is registered already.
    """
    made = None if settings.commitment is None else Commitment.load(settings.commitment)
    decoder = decoder_digest(settings.decoder)
    owner, subject, bits = settings.owner, settings.subject, settings.bits
    opening = None
    if settings.commitment is not None and made is not None:
        owner = made.owner if owner is None else owner
        subject = made.subject if subject is None else subject
        bits = made.bits if bits is None else bits
        decoder = made.decoder if decoder is None else decoder
        beside = opening_path(settings.commitment)
        opening = Opening.load(beside) if beside.exists() else None
    if owner is None or subject is None or bits is None:
        settings.require("owner", "subject", "bits")
        raise AssertionError("unreachable: one of them is missing")
    bare = settings.bare if opening is None else opening.bare
    fingerprint = settings_fingerprint(settings, owner, subject, bits, bare)
    if made is not None and opening is not None and not holds(made, opening, fingerprint):
        raise UserError(
            f"{settings.commitment} does not hold for this fingerprint; nothing is added"
        )
    entry = RegistryEntry.of(fingerprint, owner, subject, decoder, made, settings.notes)
    with Registry(settings.registry, create=True) as registry:
        registry.add(entry)
        created = registry.created
    return Registered(entry, created, bare, None if made is None else opening is not None)


def settings_fingerprint(
    settings: OwnershipSettings, owner: str, subject: str, bits: int, bare: bool
) -> NDArray[np.uint8]:
    """Return the fingerprint (bits,) that bits, file or key of the settings give."""
    names = (None, None) if bare or settings.key is None else (owner, subject)
    found = given_fingerprints(bits, settings.fingerprint_text, settings.key, *names)
    assert found is not None
    return found.of_image("")


def decoder_digest(decoder: str | None) -> str | None:
    """Return the SHA-256 of a decoder's weights, from a hash, a shipped name or a file."""
    if decoder is None or is_digest(decoder):
        return decoder
    from artfp.data.bundle import find_weights
    from artfp.data.paths import file_hash

    return file_hash(find_weights(decoder, "decoder"))
