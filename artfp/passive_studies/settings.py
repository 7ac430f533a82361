"""Settings that several passive studies share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from artfp.core.options import option
from artfp.core.settings import Settings


@dataclass(frozen=True, kw_only=True)
class MeanResidualSettings(Settings):
    """Residual fingerprint of one source.

    Args:
        residual_fingerprint: Residual fingerprint of the source, from artfp attribute fingerprint
            or study; or an attributor from artfp attribute fit.
        source: Source whose fingerprint is taken from an attributor; the images must then have the
            attributor's size.
    """

    title: ClassVar[str] = "residual fingerprint"

    residual_fingerprint: str = option(metavar="FILE")
    source: str | None = option(None, metavar="NAME")
