"""Settings of training, embedding, measuring, calibrating and the demo."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from artfp.core.device import LoadingSettings, RunSettings
from artfp.core.errors import UserError
from artfp.core.settings import (
    Bounds,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    Settings,
    option,
    options,
)
from artfp.data.settings import ImageSettings
from artfp.ownership.settings import FingerprintSettings

if TYPE_CHECKING:
    from artfp.data.geometry import Geometry

FINGERPRINTED_FOLDER = "fingerprinted_images"
"""Folder of the fingerprinted images in the output folder."""

SIZE_FLAGS = ("--fingerprint_size", "--fingerprint_length")
"""Option strings of the number of bits; the second is the published one."""

Decibels = Annotated[float, Bounds(ge=0, le=100)]


class WeightsSettings(Settings):
    """Settings that name weights of encoders and decoders."""

    def check_inputs(self) -> None:
        """Refuse images or weights that are not there.

        Raises:
            UserError: no such images, or no such weights.
        """
        super().check_inputs()
        from artfp.data.bundle import find_weights

        for found in options(type(self)):
            given = getattr(self, found.name)
            if found.metavar == "WEIGHTS" and given is not None:
                find_weights(given, "decoder" if "decoder" in found.name else "encoder")


@dataclass(frozen=True, kw_only=True)
class EncoderSettings(WeightsSettings):
    """Weights of an encoder.

    Args:
        encoder_path: Encoder: a shipped name (photo128, cifar32, transfer32), a .safetensors file,
            or a .pth published by the ArtFP authors.
    """

    title: ClassVar[str] = "weights"

    encoder_path: str = option("photo128", metavar="WEIGHTS")


@dataclass(frozen=True, kw_only=True)
class RealignSettings(Settings):
    """Use of a decoder.

    Args:
        realign: Undo crops, turns, mirroring and uniform borders of the images before they are
            decoded.
    """

    title: ClassVar[str] = "weights"

    realign: bool = True


@dataclass(frozen=True, kw_only=True)
class DecoderSettings(RealignSettings, WeightsSettings):
    """Weights of a decoder, and their use.

    Args:
        decoder_path: Decoder: a shipped name (photo128, cifar32, transfer32), a .safetensors file,
            or a .pth published by the ArtFP authors.
    """

    title: ClassVar[str] = "weights"

    decoder_path: str = option("photo128", metavar="WEIGHTS")


@dataclass(frozen=True)
class Recipe:
    """Settings of a training that depend on its architecture and its schedule."""

    schedule: Literal["feedback", "published"]
    lr: float
    batch_size: int
    stall_recovery: bool


@dataclass(frozen=True, kw_only=True)
class TrainSettings(RunSettings, WeightsSettings):
    """Training of an encoder and a decoder.

    Args:
        data_dir: Images: a folder (at any depth), a zip, or a list of paths (.txt).
        bits: Bits of the fingerprint: 8 to 256, with the architecture stegastamp 1 to 512.
        resolution: Pixels a side that the networks see: a power of two, 32 to 512; with the
            architecture stegastamp 16, or a multiple of 32 up to 1024.
        use_celeba_preprocessing: Crop the middle 148 x 148 of aligned CelebA images, as published.
        centre_crop: Train on the resized centre square of each image, as published, without random
            crops (always on with --schedule published).
        architecture: Networks: residual (artfp's own), stegastamp, or one of a plugin.
        schedule: Weighing of image quality against bit accuracy: feedback steers to --target_psnr
            (default of residual), published is ArtFP's (default of stegastamp).
        init: Weights to continue with instead of new ones: a shipped name, or an encoder's file
            with its decoder beside it. Take a lower --lr, such as 5e-4.
        transplant: Fraction of the training images that carry only what the residuals of one
            fingerprint have in common, which is what a generator learns first; try 0.3 for a
            fingerprint that should transfer early.
        target_psnr: Mean PSNR in dB at the end of the schedule feedback.
        batch_size: Images per step and process; 32, with the published schedule 64.
        num_workers: Loader processes; by default as many as CPUs.
        num_epochs: Passes over the images; 20 with the published schedule.
        max_steps: Steps of training; 4000 unless --num_epochs is given.
        lr: Learning rate; 2e-3, with the published schedule 1e-4, where --resume may change it.
        l2_loss_await: Steps before the image loss of the published schedule begins.
        l2_loss_weight: Final weight of the image loss of the published schedule.
        l2_loss_ramp: Steps in which that weight rises.
        bce_loss_weight: Weight of the cross-entropy of the bits.
        validate_every: Steps between validations.
        stall_recovery: Act on a training that stays at bit accuracy 0.5; by default yes, with the
            published schedule only report it.

    Example:
        >>> TrainSettings(data_dir="photos", output_dir="runs/photos").target_psnr
        40.0
    """

    title: ClassVar[str] = "training"

    data_dir: str = option(metavar="IMAGES")
    bits: Annotated[int, Bounds(ge=1, le=512)] = option(100, flags=SIZE_FLAGS)
    resolution: PositiveInt = option(128, flags=("--image_resolution",))
    use_celeba_preprocessing: bool = False
    centre_crop: bool = False
    architecture: str = "residual"
    schedule: Literal["feedback", "published"] | None = None
    init: str | None = option(None, metavar="WEIGHTS")
    transplant: Annotated[float, Bounds(ge=0, lt=1)] = 0.0
    target_psnr: PositiveFloat = 40.0
    batch_size: PositiveInt | None = None
    num_workers: NonNegativeInt | None = None
    num_epochs: PositiveInt | None = None
    max_steps: PositiveInt | None = None
    lr: PositiveFloat | None = None
    l2_loss_await: NonNegativeInt = 1000
    l2_loss_weight: NonNegativeFloat = 10.0
    l2_loss_ramp: NonNegativeInt = 3000
    bce_loss_weight: NonNegativeFloat = option(1.0, flags=("--BCE_loss_weight",))
    validate_every: PositiveInt = 500
    stall_recovery: bool | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.transplant and self.recipe.schedule == "published":
            raise UserError("--transplant is no part of the published recipe")

    def check_inputs(self) -> None:
        """Refuse images and weights that are not there, and networks that there are not.

        Raises:
            UserError: see there.
        """
        super().check_inputs()
        from artfp.watermark.networks.shapes import SHAPE_CHECKS

        added = [entry.name for entry in metadata.entry_points(group="artfp.architectures")]
        known = list(dict.fromkeys([*SHAPE_CHECKS, *added]))
        if self.architecture not in known:
            raise UserError(
                f"unknown architecture {self.architecture!r}; known: {', '.join(known)}"
            )
        if self.architecture in SHAPE_CHECKS:
            try:
                SHAPE_CHECKS[self.architecture](self.bits, self.resolution)
            except ValueError as error:
                raise UserError(str(error)) from error

    @property
    def without_effect(self) -> dict[str, str]:
        """Fields that change nothing beside the others, with the reasons."""
        found = super().without_effect
        if self.recipe.schedule == "published":
            found["target_psnr"] = "it belongs to --schedule feedback"
            found["centre_crop"] = "--schedule published always takes the centre"
        else:
            ours = ("l2_loss_await", "l2_loss_weight", "l2_loss_ramp")
            found |= dict.fromkeys(ours, "it belongs to --schedule published")
        if self.use_celeba_preprocessing:
            found["centre_crop"] = "--use_celeba_preprocessing takes the centre"
        if self.max_steps is not None:
            found["num_epochs"] = "--max_steps is given"
        return found

    @property
    def recipe(self) -> Recipe:
        """Options as given, completed by the defaults of the architecture and the schedule."""
        own = "published" if self.architecture == "stegastamp" else "feedback"
        schedule = self.schedule or own
        published = schedule == "published"
        return Recipe(
            schedule="published" if published else "feedback",
            lr=(1e-4 if published else 2e-3) if self.lr is None else self.lr,
            batch_size=self.batch_size or (64 if published else 32),
            stall_recovery=not published if self.stall_recovery is None else self.stall_recovery,
        )

    @property
    def geometry(self) -> Geometry:
        """Crop and resize of the images as a function of pixels."""
        from artfp.data.geometry import Geometry

        published = self.recipe.schedule == "published"
        square = self.centre_crop or self.use_celeba_preprocessing or published
        return Geometry(self.resolution if square else None, self.use_celeba_preprocessing)

    def total_steps(self, per_epoch: int) -> int:
        """Return the steps of the whole training, given the steps of an epoch."""
        if self.max_steps is not None:
            return self.max_steps
        if self.num_epochs is not None or self.recipe.schedule == "published":
            return per_epoch * (self.num_epochs or 20)
        return 4000


@dataclass(frozen=True, kw_only=True)
class EmbedSettings(FingerprintSettings, EncoderSettings, ImageSettings, LoadingSettings):
    """Embedding of fingerprints in a set of images.

    Args:
        output_dir: Folder for the fingerprinted images and their tables.
        fingerprint_size: Bits of the fingerprint; only checked against the weights.
        identical_fingerprints: Draw a fresh secret key for one fingerprint in all images; it is
            kept in OUTPUT_DIR/fingerprint.key.json, readable by its owner alone.
        seed: Take the key from a number, for experiments that others repeat. It is no secret.
        strength: Factor on the watermark residual; 1 is as trained.
        min_psnr: PSNR in dB that no image falls below: stronger residuals, of images whose bits
            are hard to embed, are weakened to it, at the price of robustness; 0 is no limit.
        format: Format of the images; jpeg is lossy.
        archive: Also pack the images as fingerprinted_images.zip.
        check: Read the written files back and report bit accuracy, PSNR and SSIM.
        samples: With --check: images in the pictures test_samples_clean.png, ..._fingerprinted.png
            and ..._residual.png (x10); the published script takes 49.
        decoder_path: Decoder for --check; by default the encoder's.

    Example:
        >>> EmbedSettings(data_dir="photos", output_dir="out").encoder_path
        'photo128'
    """

    title: ClassVar[str] = "embedding"

    output_dir: Path
    fingerprint_size: int | None = option(None, flags=SIZE_FLAGS, group="fingerprint")
    identical_fingerprints: bool = option(False, group="fingerprint")
    seed: int | None = option(None, group="fingerprint")
    strength: Annotated[float, Bounds(gt=0, le=10)] = 1.0
    min_psnr: Decibels = 0.0
    format: Literal["png", "webp", "bmp", "tiff", "jpeg"] = "png"
    archive: bool = False
    check: bool = False
    samples: Annotated[int, Bounds(ge=0, le=1024)] = 0
    decoder_path: str | None = option(None, metavar="WEIGHTS", group="weights")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_outside(self.data_dir, self.output_dir)

    @property
    def without_effect(self) -> dict[str, str]:
        """Fields that change nothing beside the others, with the reasons."""
        found = super().without_effect
        if not self.check and Path(self.encoder_path).suffix != ".pth":
            found["decoder_path"] = "it is read with --check"
        if not self.check:
            found["samples"] = "the pictures are written with --check"
        return found


def check_outside(location: str, output: Path) -> None:
    """Refuse an output whose images the next run would find among those of the input folder."""
    source, images = os.path.realpath(location), os.path.realpath(output / FINGERPRINTED_FOLDER)
    if os.path.isdir(source) and Path(images).is_relative_to(source):
        raise UserError(
            f"{output} lies in the folder of the images, {location}; choose an output folder "
            "outside"
        )


@dataclass(frozen=True, kw_only=True)
class MeasureSettings(RealignSettings, EncoderSettings):
    """Measuring of an encoder and its decoder on images.

    Args:
        data_dir: Images: a folder (at any depth), a zip, one image, or a list of paths (.txt).
        decoder_path: Decoder; by default the encoder's.
        image_resolution: Cut the centre square of each image and resize it to this side in pixels;
            by default images keep size and shape.
        sizes: Measure at these sizes: the largest centre of that shape of each image, resized. By
            default every image as it is.
        strengths: Measure at these factors on the watermark residual, at every size, and compare
            fidelity with bit accuracy. By default 1.
        min_psnr: PSNR in dB that no image falls below, as in artfp embed; 0 is no limit.
        validation_only: Only the images that artfp train sets aside from this data (decided by
            name).
        limit: Images, at most.
        output: File for the figures.

    Example:
        >>> MeasureSettings(data_dir="photos").encoder_path
        'photo128'
    """

    title: ClassVar[str] = "measuring"

    data_dir: str = option(metavar="IMAGES", positional=True)
    decoder_path: str | None = option(None, metavar="WEIGHTS", group="weights")
    image_resolution: PositiveInt | None = None
    sizes: tuple[str, ...] = option((), metavar="WxH,...", separator=",")
    strengths: tuple[PositiveFloat, ...] = option((), metavar="S,...", separator=",")
    min_psnr: Decibels = 0.0
    validation_only: bool = False
    limit: PositiveInt | None = None
    output: Path | None = option(None, metavar="FILE.json")

    def __post_init__(self) -> None:
        super().__post_init__()
        for size in self.sizes:
            _parse_size(size)

    @property
    def shapes(self) -> list[tuple[int, int] | None]:
        """(height, width) of each size; None for images as they are."""
        return [_parse_size(size) for size in self.sizes] or [None]


def _parse_size(text: str) -> tuple[int, int]:
    """Return (height, width) of `WxH`."""
    match = re.fullmatch(r"\s*(\d+)x(\d+)\s*", text)
    if not match or not int(match[1]) or not int(match[2]):
        raise UserError(f"--sizes: found {text!r}, expected width x height such as 320x240")
    return int(match[2]), int(match[1])


@dataclass(frozen=True, kw_only=True)
class ExportSettings(WeightsSettings):
    """Weights that are written for other programs.

    Args:
        encoder_path: Encoder: a .safetensors file, or a published .pth.
        decoder_path: Decoder; by default the encoder's.
        output_dir: Folder for the files.
        published: Write the published form: NAME_encoder.pth and NAME_decoder.pth. There is no
            other yet.
        name: Beginning of the names of the files; by default that of the encoder's file, or of its
            folder.

    Example:
        >>> settings = ExportSettings(encoder_path="a.pth", output_dir="out", published=True)
        >>> settings.command_line("artfp export")
        'artfp export --encoder_path a.pth --output_dir out --published'
    """

    title: ClassVar[str] = "export"

    encoder_path: str = option(metavar="WEIGHTS", positional=True)
    decoder_path: str | None = option(None, metavar="WEIGHTS")
    output_dir: Path
    published: bool = False
    name: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.published:
            raise UserError("--published is missing: the published form is the only one yet")
        if self.name is not None and (not self.name or Path(self.name).name != self.name):
            raise UserError(f"--name is {self.name!r}; give the beginning of a file's name")


@dataclass(frozen=True, kw_only=True)
class CalibrateSettings(DecoderSettings, LoadingSettings):
    """Calibration of a decoder on clean images.

    Args:
        data_dir: Clean images, in which no fingerprint is: folders, zips, images, or lists of paths
            (.txt).
        output: File for the calibration, by default beside the decoder's. Results on the way are
            in FILE.json.decoding/ until it is done.
        keys: Number of test keys to compare with.
        max_images: Images, at most, from each place the same number.
        image_resolution: Cut the centre square of each image and resize it to this side in pixels;
            by default images keep size and shape.
        logits: File for what was decoded: names and logits.

    Example:
        >>> CalibrateSettings(data_dir=("clean/",), output="found.json").decoder_path
        'photo128'
    """

    title: ClassVar[str] = "calibration"

    data_dir: tuple[str, ...] = option(metavar="IMAGES", positional=True)
    output: Path | None = option(None, metavar="FILE.json")
    keys: Annotated[int, Bounds(ge=2, le=10_000)] = 100
    max_images: Annotated[int, Bounds(ge=2)] | None = None
    image_resolution: PositiveInt | None = None
    logits: Path | None = option(None, metavar="FILE.npz")


@dataclass(frozen=True, kw_only=True)
class DemoSettings(WeightsSettings):
    """Demonstration on photographs that come with scikit-image.

    Args:
        output_dir: Folder for the images and the picture.
        weights: Weights: a shipped name, or an encoder's file with its decoder beside it.
    """

    title: ClassVar[str] = "demo"

    output_dir: Path = Path("demo")
    weights: str = option("photo128", metavar="WEIGHTS")
