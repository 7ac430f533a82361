"""Settings of `artfp attribute localise`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from artfp.core.device import DeviceSettings
from artfp.core.options import PositiveInt, option
from artfp.passive_studies.settings import MeanResidualSettings


@dataclass(frozen=True, kw_only=True)
class LocaliseSettings(MeanResidualSettings, DeviceSettings):
    """Localisation of regions without the residual fingerprint of a source.

    Args:
        data_dir: Images: a folder (at any depth), a zip, one image, or a list of paths (.txt).
        output_dir: Folder for heat maps and tables.
        window: Side of the sliding windows in pixels; by default a quarter of the shorter side.
        threshold: Correlation below which pixels are outlined and counted.

    Example:
        >>> LocaliseSettings(
        ...     data_dir="suspect.png", residual_fingerprint="camera.safetensors", output_dir="out"
        ... ).window is None
        True
    """

    title: ClassVar[str] = "localisation"

    data_dir: str = option(positional=True, metavar="IMAGES")
    output_dir: Path = option(metavar="FOLDER")
    window: PositiveInt | None = None
    threshold: float | None = option(None, metavar="CORRELATION")
