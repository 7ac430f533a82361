"""Settings that name a fingerprint, and those of `artfp keygen` and `artfp registry`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from artfp.core.errors import UserError
from artfp.core.options import NonNegativeInt, option
from artfp.core.settings import Settings

if TYPE_CHECKING:
    from artfp.ownership.assignment import Fingerprints


@dataclass(frozen=True, kw_only=True)
class FingerprintSettings(Settings):
    """Fingerprint, by its bits or by the key that it is derived from.

    Args:
        fingerprint: The fingerprint, as 0s and 1s or hexadecimal. Others see it in lists of
            processes and in your shell's history: better give --fingerprint_file.
        fingerprint_file: File that holds the fingerprint as text; "-" for standard input.
        key: Key file to derive it from.
        owner: With --subject: derive what artfp keygen and artfp registry derive from the key for
            these names. Without the two: from the key alone, which is their --bare.
        subject: The model or data set, as it is registered.
    """

    title: ClassVar[str] = "fingerprint"

    fingerprint: str | None = option(None, metavar="BITS|HEX", secret=True)
    fingerprint_file: str | None = option(None, metavar="FILE")
    key: Path | None = option(None, metavar="FILE")
    owner: str | None = option(None, metavar="NAME")
    subject: str | None = option(None, metavar="NAME")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.fingerprint is not None and self.fingerprint_file is not None:
            raise UserError("--fingerprint and --fingerprint_file: give one of them")

    @property
    def has_bits(self) -> bool:
        """True if the fingerprint is given by its bits, not by a key."""
        return self.fingerprint is not None or self.fingerprint_file is not None

    def given_fingerprints(self, bits: int) -> Fingerprints | None:
        """Return the one fingerprint that bits, file or key name; None if none of them is given.

        Args:
            bits: Length of the fingerprint.

        Raises:
            UserError: as `artfp.ownership.assignment.given_fingerprints`; the file cannot be read.
        """
        from artfp.ownership.assignment import given_fingerprints

        return given_fingerprints(bits, self.fingerprint_text, self.key, self.owner, self.subject)

    @cached_property
    def fingerprint_text(self) -> str | None:
        """Text of the fingerprint, read from `fingerprint_file` at the first call; None without.

        Raises:
            UserError: the file cannot be read. The message does not repeat what it holds.
        """
        if self.fingerprint_file is None:
            return self.fingerprint
        from artfp.ownership.assignment import read_fingerprint_file

        return read_fingerprint_file(self.fingerprint_file)


@dataclass(frozen=True, kw_only=True)
class OwnershipSettings(FingerprintSettings):
    """Fingerprint, its owner, what it belongs to, and what decodes it.

    Args:
        owner: Name of the owner.
        subject: The model or data set that has the fingerprint.
        bits: Bits of the fingerprint.
        decoder: The decoder of the fingerprint: a shipped name, a file, or the SHA-256 of one.
        bare: Derive the fingerprint from --key alone, as embed and detect do without --owner and
            --subject. By default it is derived from key, owner and subject together, and differs.
    """

    owner: str | None = option(None, metavar="NAME")
    subject: str | None = option(None, metavar="NAME")
    bits: int | None = None
    decoder: str | None = option(None, metavar="WEIGHTS")
    bare: bool = False

    def refuse(self, reason: str, *names: str) -> None:
        """Raise a UserError if any of these options is given."""
        given = [f"--{name}" for name in names if getattr(self, name) not in (None, False)]
        if given:
            raise UserError(f"{', '.join(given)}: {reason}")

    def require(self, *names: str) -> None:
        """Raise a UserError unless all of these options are given."""
        missing = [f"--{name}" for name in names if getattr(self, name) is None]
        if missing:
            raise UserError(f"missing {', '.join(missing)}")

    def require_fingerprint(self) -> None:
        """Raise a UserError unless exactly one of key, fingerprint and its file is given."""
        if (self.key is not None) == self.has_bits:
            raise UserError("give one of --key, --fingerprint and --fingerprint_file")
        if self.has_bits and self.bare:
            raise UserError("--bare: only with --key")


_NAMED = ("owner", "subject", "bits", "decoder", "bare")


@dataclass(frozen=True, kw_only=True)
class KeygenSettings(OwnershipSettings):
    """Drawing of a key, commitment to a fingerprint, or verification of a commitment.

    Args:
        key: Key file: written; with --commit and --verify read.
        overwrite: Replace a key that is there. The old key is then lost.
        commit: Commit to a fingerprint: write NAME.commitment.json and NAME.opening.json.
        verify: Verify this commitment.
        opening: The commitment's opening; by default NAME.opening.json beside
            NAME.commitment.json.
    """

    title: ClassVar[str] = "action"

    key: Path | None = option(None, metavar="FILE")
    overwrite: bool = False
    commit: Path | None = option(None, metavar="NAME")
    verify: Path | None = option(None, metavar="FILE")
    opening: Path | None = option(None, metavar="FILE")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.verify is not None:
            self.refuse("not with --verify; the commitment says it", *_NAMED)
            self.refuse("not with --verify", "commit", "overwrite")
            self.require_fingerprint()
            return
        self.refuse("only with --verify", "opening")
        if self.commit is not None:
            self.refuse("not with --commit", "overwrite")
            self.require_fingerprint()
            self.require("owner", "subject", "bits")
        else:
            self.refuse("only with --commit", *_NAMED, "fingerprint", "fingerprint_file")
            self.require("key")


@dataclass(frozen=True, kw_only=True)
class RegistrySettings(Settings):
    """A registry.

    Args:
        registry: The registry's file.
    """

    title: ClassVar[str] = "registry"

    registry: Path = option(metavar="REGISTRY", positional=True)


@dataclass(frozen=True, kw_only=True)
class RegisterSettings(RegistrySettings, OwnershipSettings):
    """Entry that is added.

    Args:
        commitment: Commitment to this fingerprint, by artfp keygen --commit. Owner, subject, bits
            and decoder are then those of the commitment.
        notes: Any text; never part of a public export.
    """

    title: ClassVar[str] = "entry"

    commitment: Path | None = option(None, metavar="FILE")
    notes: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_fingerprint()


@dataclass(frozen=True, kw_only=True)
class ListEntriesSettings(RegistrySettings):
    """Entries that are listed.

    Args:
        owner: Only entries of this owner.
        subject: Only entries of this subject.
        limit: Entries, at most; 0 for all.
        json: Print a line of JSON for each entry, with nothing secret in it.
    """

    title: ClassVar[str] = "entries"

    owner: str | None = option(None, metavar="NAME")
    subject: str | None = option(None, metavar="NAME")
    limit: NonNegativeInt = 100
    json: bool = False


@dataclass(frozen=True, kw_only=True)
class ShowEntrySettings(RegistrySettings):
    """Entry that is shown.

    Args:
        id: The entry's id, or its first four or more digits.
        reveal: Also print the fingerprint, which is secret.
    """

    title: ClassVar[str] = "entry"

    id: str = option(metavar="ID", positional=True)
    reveal: bool = False


@dataclass(frozen=True, kw_only=True)
class ExportRegistrySettings(RegistrySettings):
    """Export of a registry.

    Args:
        output: File to write.
        public: Leave out fingerprints, notes, and entries without a commitment.
        overwrite: Replace the file if it is there.
    """

    title: ClassVar[str] = "export"

    output: Path = option(metavar="FILE", positional=True)
    public: bool = False
    overwrite: bool = False


@dataclass(frozen=True, kw_only=True)
class ImportRegistrySettings(RegistrySettings):
    """Import into a registry.

    Args:
        input: File by artfp registry export, not a public one.
        keep: Where the registry has another entry in the same place, leave that as it is; by
            default it is an error.
    """

    title: ClassVar[str] = "import"

    input: Path = option(metavar="FILE", positional=True)
    keep: bool = False


@dataclass(frozen=True, kw_only=True)
class VerifyRegistrySettings(RegistrySettings):
    """Verification of a registry.

    Args:
        digest: Also check that since this digest was printed entries were only added.
    """

    title: ClassVar[str] = "verification"

    digest: str | None = option(None, metavar="SHA256")
