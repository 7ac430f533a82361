"""Settings of embedding, measuring, exporting, calibrating and the demo."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from artfp.core.device import LoadingSettings
from artfp.core.errors import UserError
from artfp.core.options import Bounds, PositiveFloat, PositiveInt, option
from artfp.data.paths import check_not_inside
from artfp.data.settings import ImageSettings
from artfp.nn.settings import LatentAutoencoderSettings
from artfp.ownership.settings import FingerprintSettings
from artfp.watermark.weight_settings import (
    SIZE_FLAGS,
    DecoderSettings,
    EncoderSettings,
    RealignSettings,
    WeightsSettings,
)

FINGERPRINTED_FOLDER = "fingerprinted_images"
"""Folder of the fingerprinted images in the output folder."""

Decibels = Annotated[float, Bounds(ge=0, le=100)]


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
        check_not_inside(self.data_dir, self.output_dir / FINGERPRINTED_FOLDER)

    @property
    def without_effect(self) -> dict[str, str]:
        """Fields that change nothing beside the others, with the reasons."""
        found = super().without_effect
        if not self.check and Path(self.encoder_path).suffix != ".pth":
            found["decoder_path"] = "it is read with --check"
        if not self.check:
            found["samples"] = "the pictures are written with --check"
        return found


@dataclass(frozen=True, kw_only=True)
class MeasureSettings(LatentAutoencoderSettings, RealignSettings, EncoderSettings):
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
