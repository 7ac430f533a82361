"""Settings of transfer studies."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from artfp.core.errors import UserError
from artfp.core.options import Bounds, NonNegativeInt, PositiveFloat, PositiveInt, option, options
from artfp.core.settings import Settings
from artfp.generators.settings import GeneratorTrainingSettings
from artfp.ownership.settings import FingerprintSettings
from artfp.watermark.weight_settings import RealignSettings

QUICK = {"max_steps": 600, "limit": 10_000, "images": 500, "progress_images": 200}
"""Settings of a first answer within a quarter of an hour on two CPU cores."""

MIN_FORECAST_IMAGES = 16
"""Images that a forecast needs."""

Stage = Literal["embed", "train", "generate", "report"]
STAGES: tuple[Stage, ...] = ("embed", "train", "generate", "report")


@dataclass(frozen=True, kw_only=True)
class TransferStudySettings(RealignSettings, GeneratorTrainingSettings, FingerprintSettings):
    """Transfer study.

    Args:
        encoder_path: Encoder: a shipped name or a file; the default has 64 bits at 32 pixels.
        decoder_path: Decoder; by default the encoder's.
        strength: Factor on the watermark residual; 1 is as trained.
        controls: Train also on images with another fingerprint (other), and with one for each image
            (random): the fingerprint must not be found in what these generators make.
        clean_seeds: Clean generators, each from another seed, between which distances are measured.
        images: Images of each generator in the end.
        progress_images: Images of each snapshot.
        target: Domain or class that a translator translates to, counted from 0.
        distances: Measure the distances of the images to the clean data.
        stages: Stages to run: embed, train, generate, report.
        quick: A first answer: 600 steps, 10000 training images, 500 images of each generator, 200
            of each snapshot, unless these options are given.
        output_dir: Folder of the study; an interrupted one goes on there.

    Example:
        >>> settings = TransferStudySettings(
        ...     model="dcgan", data_dir="photos", output_dir="study", quick=True, images=100
        ... )
        >>> settings.resolved().max_steps, settings.resolved().images
        (600, 100)
    """

    title: ClassVar[str] = "study"

    encoder_path: str = "transfer32"
    decoder_path: str | None = None
    strength: PositiveFloat = 1.0
    controls: tuple[Literal["other", "random"], ...] = option(
        (), separator=",", metavar="other,random"
    )
    clean_seeds: NonNegativeInt = 1
    images: Annotated[int, Bounds(ge=2)] = 1000
    progress_images: PositiveInt = 250
    target: NonNegativeInt | None = None
    distances: bool = True
    stages: tuple[Stage, ...] = option(STAGES, separator=",", metavar="STAGE,...")
    quick: bool = False
    output_dir: Path
    resume: bool = option(False, hidden=True)

    @property
    def without_effect(self) -> dict[str, str]:
        """Fields that change nothing beside the others, with the reasons."""
        own = {} if "report" in self.stages else {"distances": "it belongs to the stage report"}
        return super().without_effect | own

    def resolved(self) -> TransferStudySettings:
        """Return the settings with those of `quick` in place of defaults, if it is set."""
        if not self.quick:
            return self
        defaults = {found.name: found.default for found in options(type(self))}
        changed: dict[str, Any] = {
            name: value for name, value in QUICK.items() if getattr(self, name) == defaults[name]
        }
        return replace(self, quick=False, **changed)


@dataclass(frozen=True, kw_only=True)
class DecodeGeneratedSettings(RealignSettings, FingerprintSettings):
    """Decoding of the images of a generator that was trained elsewhere.

    Args:
        data_dir: The generator's images: a folder (at any depth), a zip, or a list of paths (.txt).
        decoder_path: Decoder: a shipped name or a file.
        real: Images that the generator was trained on, without the fingerprint.
        limit: Images of each set, at most.
        output: JSON file for the figures.

    Raises:
        UserError: Neither a key nor a fingerprint.

    Example:
        >>> DecodeGeneratedSettings(data_dir="generated", decoder_path="transfer32")
        Traceback (most recent call last):
        artfp.core.errors.UserError: give --key or --fingerprint_file: the fingerprint to look for
    """

    title: ClassVar[str] = "images"

    data_dir: str = option(metavar="IMAGES", positional=True)
    decoder_path: str
    real: str | None = option(None, metavar="IMAGES")
    limit: PositiveInt | None = None
    output: Path | None = option(None, metavar="FILE.json")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.has_bits and self.key is None:
            raise UserError("give --key or --fingerprint_file: the fingerprint to look for")


@dataclass(frozen=True, kw_only=True)
class ForecastSettings(RealignSettings):
    """Forecast of transfer.

    Args:
        data_dir: Images like those to fingerprint: a folder (at any depth), a zip, or a list of
            paths (.txt).
        encoder_path: Encoder: a shipped name or a file.
        decoder_path: Decoder; by default the encoder's.
        image_resolution: Side of the generator's images in pixels; by default the encoder's.
        strength: Factor on the watermark residual; 1 is as trained.
        mirror: The generator's training mirrors half of the images, as artfp gan train does.
        images: Images to use.
        fingerprints: Random fingerprints to try.
        seed: Seed of the fingerprints.
        output: JSON file for the figures.

    Example:
        >>> ForecastSettings(data_dir="photos", images=8)
        Traceback (most recent call last):
        artfp.core.errors.UserError: --images is 8; it must be 16 or more
    """

    title: ClassVar[str] = "forecast"

    data_dir: str = option(metavar="IMAGES", positional=True)
    encoder_path: str = "transfer32"
    decoder_path: str | None = None
    image_resolution: PositiveInt | None = None
    strength: PositiveFloat = 1.0
    mirror: bool = True
    images: Annotated[int, Bounds(ge=MIN_FORECAST_IMAGES)] = 1024
    fingerprints: PositiveInt = 8
    seed: NonNegativeInt = 0
    output: Path | None = option(None, metavar="FILE.json")


@dataclass(frozen=True, kw_only=True)
class TransferTableSettings(Settings):
    """Table of several studies.

    Args:
        studies: Folders of artfp transfer study.
        output: File for the table: .md, .csv or .json.
    """

    title: ClassVar[str] = "table"

    studies: tuple[Path, ...] = option(metavar="FOLDER", positional=True)
    output: Path | None = option(None, metavar="FILE")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.output is not None and self.output.suffix not in (".md", ".csv", ".json"):
            raise UserError(f"--output {self.output}: end it with .md, .csv, .json")
