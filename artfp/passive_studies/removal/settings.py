"""Settings of `artfp attribute remove`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from artfp.core.device import DeviceSettings
from artfp.core.errors import UserError
from artfp.core.options import NonNegativeInt, option
from artfp.core.settings import Settings
from artfp.passive_studies.settings import MeanResidualSettings


@dataclass(frozen=True, kw_only=True)
class AttackSettings(Settings):
    """Removal attack on images of a source.

    Args:
        strength: Factor of the fingerprint that is subtracted.
        mode: Pattern that is subtracted: mean, the fingerprint itself; projection, each residual's
            projection on the fingerprint.
        rounding: Rounding to 8-bit pixels: random (unbiased) or nearest.
        seed: Seed of the random rounding.

    Example:
        >>> AttackSettings(strength=2, mode="projection").rounding
        'random'
    """

    title: ClassVar[str] = "attack"

    strength: float = 1.0
    mode: Literal["mean", "projection"] = "mean"
    rounding: Literal["random", "nearest"] = "random"
    seed: NonNegativeInt = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not math.isfinite(self.strength):
            raise UserError(f"--strength is {self.strength}; it must be a finite number")


@dataclass(frozen=True, kw_only=True)
class RemovalSettings(AttackSettings, MeanResidualSettings, DeviceSettings):
    """Removal of a residual fingerprint from images.

    Args:
        data_dir: Images of the fingerprint's size: a folder (at any depth), a zip, one image, or a
            list of paths (.txt).
        output_dir: Folder for attacked images and tables.

    Example:
        >>> RemovalSettings(
        ...     data_dir="images", residual_fingerprint="dcgan.safetensors", output_dir="attacked"
        ... ).strength
        1.0
    """

    title: ClassVar[str] = "removal"

    data_dir: str = option(positional=True, metavar="IMAGES")
    output_dir: Path = option(metavar="FOLDER")
