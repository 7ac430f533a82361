"""Settings that name a fingerprint, shared by commands."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from artfp.core.settings import Settings, option


@dataclass(frozen=True, kw_only=True)
class FingerprintSettings(Settings):
    """Fingerprint, by its bits or by the key that it is derived from.

    Args:
        fingerprint: The fingerprint, as 0s and 1s or hexadecimal.
        key: Key file to derive it from.
        owner: With --subject: derive what artfp keygen and artfp registry derive from the key for
            these names. Without the two: from the key alone, which is their --bare.
        subject: The model or data set, as it is registered.
    """

    title: ClassVar[str] = "fingerprint"

    fingerprint: str | None = option(None, metavar="BITS|HEX", secret=True)
    key: Path | None = option(None, metavar="FILE")
    owner: str | None = option(None, metavar="NAME")
    subject: str | None = option(None, metavar="NAME")
