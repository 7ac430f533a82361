"""Jobs of embedding: what a run is given, and the names and records of the files it leaves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from artfp.core.errors import UserError
from artfp.data.geometry import Geometry
from artfp.data.naming import check_labels
from artfp.data.paths import check_not_inside
from artfp.data.resume import Journal
from artfp.data.sources import ImageSource
from artfp.data.writing import suffix_of
from artfp.watermark.networks.base import Encoder
from artfp.watermark.settings import FINGERPRINTED_FOLDER

EMBEDDED_LISTING = "embedded_fingerprints.txt"
EMBEDDED_TABLE = "embedded_fingerprints.csv"
ARCHIVE_FILE = "fingerprinted_images.zip"


@dataclass(frozen=True)
class EmbeddingJob:
    """Images, networks and options of an embedding run; all but the fingerprints.

    Args:
        source: Images.
        output: Folder for the results.
        encoder: Encoder.
        encoder_hash: Hash of its file, by which a run that goes on knows it.
        trainer: Trainer of `make_trainer`.
        geometry: Crop and resize of the images.
        format: Format of the written images.
        strength: Factor on the watermark residual.
        min_psnr: PSNR in dB that no image falls below; 0 is no limit.
        batch_size: Images that the network sees at once.
        num_workers: Loader processes; None: as many as CPUs.
        archive: True to pack the images as a zip, too.

    Raises:
        UserError: a number or the format is out of range, labels are not in StyleGAN's form, or the
            output would be among the source's images in the next run.
    """

    source: ImageSource
    output: Path
    encoder: Encoder
    encoder_hash: str
    trainer: pl.Trainer
    geometry: Geometry = field(default_factory=Geometry)
    format: str = "png"
    strength: float = 1.0
    min_psnr: float = 0.0
    batch_size: int = 32
    num_workers: int | None = None
    archive: bool = False

    def __post_init__(self) -> None:
        suffix_of(self.format)
        if not 0.0 < self.strength <= 10.0:
            raise UserError(f"strength is {self.strength}; give a factor above 0, at most 10")
        if not 0.0 <= self.min_psnr <= 100.0:
            raise UserError(f"min_psnr is {self.min_psnr}; give decibels from 0 (no limit) to 100")
        check_labels(self.source.dataset_json, self.source.names, self.source.location)
        check_not_inside(self.source.location, self.output / FINGERPRINTED_FOLDER)


def records(output: Path) -> Iterator[dict[str, Any]]:
    """Yield the records of an output folder, but for those of images that are not there."""
    for record in Journal(output, "embed").stream():
        if (
            record.get("error") is not None
            or (output / FINGERPRINTED_FOLDER / record["output"]).is_file()
        ):
            yield record
