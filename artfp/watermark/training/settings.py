"""Settings of the training of an encoder and a decoder."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from artfp.core.device import RunSettings
from artfp.core.errors import UserError
from artfp.core.options import (
    Bounds,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    option,
)
from artfp.nn.settings import LatentAutoencoderSettings
from artfp.watermark.weight_settings import SIZE_FLAGS, WeightsSettings

if TYPE_CHECKING:
    from artfp.data.geometry import Geometry


@dataclass(frozen=True)
class Recipe:
    """Settings of a training that depend on its architecture and its schedule."""

    schedule: Literal["feedback", "published"]
    lr: float
    batch_size: int
    stall_recovery: bool


@dataclass(frozen=True, kw_only=True)
class TrainSettings(LatentAutoencoderSettings, RunSettings, WeightsSettings):
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
        max_time: Time after which this run of the training stops, as DD:HH:MM:SS; --resume goes on.
            The schedule feedback ends with that time, if --max_steps does not come before. It then
            depends on the clock: two such trainings, or one that was resumed, differ in their
            weights, which without --max_time are equal to the bit.
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
        if self.latent_autoencoder is not None and self.recipe.schedule == "published":
            raise UserError(
                "--latent_autoencoder is no part of the published recipe, which perturbs no images"
            )

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
