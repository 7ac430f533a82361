"""Mean residual of one source, from a file of its own or from an attributor."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from artfp.core.errors import UserError
from artfp.data.bundle import read_card
from artfp.passive.attributors.bundle import ATTRIBUTOR_FILE, ATTRIBUTOR_KIND, load_attributor
from artfp.passive.attributors.correlation import ResidualCorrelation
from artfp.passive.residuals.extractor import Extractor, load_extractor
from artfp.passive.residuals.residual_fingerprint import ResidualFingerprint


@dataclass(frozen=True)
class MeanResidual:
    """Residual fingerprint of one source, with the extractor of its residuals.

    Args:
        source: Name of the source.
        extractor: Extractor of noise residuals.
        mean: Mean residual (C, H, W), float32.
        exact: True if images must have its size, since it does not begin at their upper left.
    """

    source: str
    extractor: Extractor
    mean: Tensor
    exact: bool = False

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        return self.mean.shape[1], self.mean.shape[2]


def read_mean_residual(path: str | Path, source: str | None = None) -> MeanResidual:
    """Read the residual fingerprint of a source.

    Args:
        path: File of `ResidualFingerprint.save`, or an attributor: a folder or file of `artfp
            attribute fit`.
        source: Name of one of the attributor's sources.

    Returns:
        The mean residual and its extractor.

    Raises:
        UserError: no such file, another kind of file, or a source that is not in it.
    """
    place = Path(path) / ATTRIBUTOR_FILE if Path(path).is_dir() else Path(path)
    if place.is_file() and read_card(place).get("kind") == ATTRIBUTOR_KIND:
        return _in_attributor(place, source)
    found = ResidualFingerprint.load(place)
    if source is not None and source != found.source:
        raise UserError(f"{path} holds the fingerprint of {found.source}, not of {source}")
    if len(found.total) != 3:
        raise UserError(f"{path}: a fingerprint of {len(found.total)} channels; expected 3")
    return MeanResidual(found.source, load_extractor(found.extractor), found.mean)


def _in_attributor(place: Path, source: str | None) -> MeanResidual:
    attributor = load_attributor(place)
    parts = [part for part in attributor.parts if isinstance(part, ResidualCorrelation)]
    if not parts:
        raise UserError(
            f"{place}: an attributor without residual fingerprints; estimate one with artfp "
            "attribute fingerprint"
        )
    if source not in attributor.sources:
        found = "no source was named" if source is None else f"no source {source!r}"
        raise UserError(f"{place}: {found}; --source: one of {', '.join(attributor.sources)}")
    mean = parts[0].fingerprints[attributor.sources.index(source)]
    return MeanResidual(source, parts[0].extractor, mean, exact=True)
