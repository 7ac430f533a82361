"""Settings of the robustness sweep."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from artfp.core.errors import UserError
from artfp.core.options import NonNegativeInt, PositiveFloat, PositiveInt, Probability, option
from artfp.nn.settings import LatentAutoencoderSettings
from artfp.ownership.settings import FingerprintSettings


@dataclass(frozen=True, kw_only=True)
class RobustnessSettings(LatentAutoencoderSettings, FingerprintSettings):
    """Robustness sweep.

    Args:
        data_dir: Original images: a folder, a zip, one image, or a list of paths (.txt). With
            --marked_dir optional: images without the fingerprint, to count false positives on.
        output_dir: Folder for the results.
        methods: Watermark methods to compare, see above; by default photo128.
        marked_dir: Images that carry the fingerprint, such as the output of a generator.
        decoder_path: With --marked_dir: the decoder; by default photo128.
        attributor: Passive attributors to sweep, which artfp attribute fit wrote.
        labelled_dir: With --attributor: folder with one subfolder of images for each of its
            sources; other subfolders hold images of sources that it does not know.
        perturbations: Perturbations, see above; by default all.
        strengths: Strengths in place of the usual ones, such as 'jpeg=90,50;noise=0.02'.
        image_resolution: Cut the centre square of each image and resize it to this side first.
        validation_only: Take only the images that artfp train sets aside from this data, by name.
        limit: Images, at most.
        strength: Factor on the watermark residual of artfp's encoders; others have none.
        fpr: False positive rate of the test.
        batch_size: Images of one size that are processed at once.
        seed: Seed of the messages and of the perturbations' draws.

    Raises:
        UserError: Options that exclude each other, or images without what goes with them.

    Example:
        >>> settings = RobustnessSettings(
        ...     data_dir="photos", output_dir="robust", perturbations=("jpeg",)
        ... )
        >>> settings.command_line("artfp robustness")
        'artfp robustness --data_dir photos --output_dir robust --perturbations jpeg'
        >>> RobustnessSettings(data_dir="photos", output_dir="robust", methods=())
        Traceback (most recent call last):
        artfp.core.errors.UserError: --methods: found no name
    """

    title: ClassVar[str] = "sweep"

    data_dir: str | None = option(None, metavar="IMAGES")
    output_dir: Path
    methods: tuple[str, ...] | None = option(None, separator=",", metavar="NAME,...")
    marked_dir: str | None = option(None, metavar="IMAGES")
    decoder_path: str | None = None
    attributor: tuple[str, ...] | None = option(None, separator=",", metavar="[LABEL=]FOLDER,...")
    labelled_dir: Path | None = option(None, metavar="FOLDER")
    perturbations: tuple[str, ...] = option(("all",), separator=",", metavar="NAME,...")
    strengths: str = option("", metavar="NAME=S,...;...")
    image_resolution: PositiveInt | None = None
    validation_only: bool = False
    limit: PositiveInt | None = None
    strength: PositiveFloat = 1.0
    fpr: Probability = 1e-6
    batch_size: PositiveInt = 32
    seed: NonNegativeInt = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        for flag, value in (
            ("--methods", self.methods),
            ("--attributor", self.attributor),
            ("--perturbations", self.perturbations),
        ):
            if value == ():
                raise UserError(f"{flag}: found no name")
        if "latent" in self.perturbations and self.latent_autoencoder is None:
            raise UserError("--perturbations latent needs --latent_autoencoder")
        for one, other in (("attributor", "labelled_dir"), ("labelled_dir", "attributor")):
            if getattr(self, one) is not None and getattr(self, other) is None:
                raise UserError(f"--{one} needs --{other}")
        if self.marked_dir is None:
            for name in (
                "decoder_path",
                "fingerprint",
                "fingerprint_file",
                "key",
                "owner",
                "subject",
            ):
                if getattr(self, name) is not None:
                    raise UserError(f"--{name} belongs to --marked_dir, which is not given")
            if self.data_dir is None and self.methods is not None:
                raise UserError("--methods needs --data_dir, originals to mark")
            if self.data_dir is None and self.attributor is None:
                raise UserError(
                    "missing --data_dir (originals to mark), --marked_dir or --attributor"
                )
        elif self.methods is not None:
            raise UserError("--methods mark originals and --marked_dir is marked; give one of them")
        elif not self.has_bits and self.key is None:
            raise UserError("--marked_dir needs --key or --fingerprint_file, what the images carry")
