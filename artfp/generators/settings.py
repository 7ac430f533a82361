"""Settings of training generative models, of generating with them and of altering their weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from artfp.core.device import DeviceSettings, RunSettings
from artfp.core.errors import UserError
from artfp.core.options import Bounds, NonNegativeInt, PositiveFloat, PositiveInt, option
from artfp.core.settings import Settings


@dataclass(frozen=True, kw_only=True)
class ListGeneratorsSettings(Settings):
    """List of the models.

    Args:
        departures: Also print where each model differs from its paper.
    """

    departures: bool = False


@dataclass(frozen=True, kw_only=True)
class GeneratorTrainingSettings(RunSettings):
    """Model, images and length of a training of a generative model.

    Args:
        model: Generative model, see artfp gan list.
        data_dir: Training images: a folder (at any depth), a zip, or a list of paths (.txt).
        data_dir_b: Training images of the second domain, for a translator between two.
        size: Configuration of the model: small, for two CPU cores, or that of its paper.
        resolution: Side of the images in pixels; by default 32.
        changes: Numbers of the model's configuration to change, such as width=32,ema_decay=0.999;
            several values of one number are separated by colons.
        max_steps: Training steps; by default the configuration's.
        batch_size: Images in an update and process; by default the configuration's.
        mirror: Mirror half of the images at random.
        use_celeba_preprocessing: Cut the middle 148 x 148 of aligned CelebA images, as published.
        limit: Images of each set, at most, drawn by their names.
        num_workers: Loader processes; by default none if all images can be kept in memory, else as
            many as CPUs.
        sample_every: Steps between pictures in TensorBoard.
        keep_every: Steps between generators that are kept in snapshots/; 0 for none.
    """

    title: ClassVar[str] = "training"

    model: str = option(metavar="MODEL", positional=True)
    data_dir: str = option(metavar="IMAGES")
    data_dir_b: str | None = option(None, metavar="IMAGES")
    size: Literal["small", "paper"] = "small"
    resolution: PositiveInt | None = None
    changes: tuple[str, ...] = option((), flags=("--set",), metavar="NAME=VALUE,...", separator=",")
    max_steps: PositiveInt | None = None
    batch_size: PositiveInt | None = None
    mirror: bool = True
    use_celeba_preprocessing: bool = False
    limit: PositiveInt | None = None
    num_workers: NonNegativeInt | None = None
    sample_every: PositiveInt = 250
    keep_every: NonNegativeInt = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.config_changes()

    def check_inputs(self) -> None:
        """Refuse images that are not there, a name of no model, and a folder in use.

        Raises:
            UserError: see there.
        """
        super().check_inputs()
        from artfp.generators.report import model_names

        known = model_names()
        if self.model not in known:
            raise UserError(
                f"no generative model is called {self.model!r}; choose from {', '.join(known)}"
            )

    @property
    def data_dirs(self) -> tuple[str, ...]:
        """Training images of each domain."""
        return (self.data_dir,) if self.data_dir_b is None else (self.data_dir, self.data_dir_b)

    def config_changes(self) -> dict[str, str | tuple[str, ...]]:
        """Return the changes of the configuration by name.

        Raises:
            UserError: one of them is not of the form NAME=VALUE.
        """
        found: dict[str, str | tuple[str, ...]] = {}
        for change in filter(None, self.changes):
            name, equals, value = change.partition("=")
            if not equals:
                raise UserError(f"--set {change}: write NAME=VALUE")
            parts = tuple(part.strip() for part in value.split(":"))
            found[name.strip()] = parts if len(parts) > 1 else parts[0]
        return found


@dataclass(frozen=True, kw_only=True)
class TrainGeneratorSettings(GeneratorTrainingSettings):
    """Training of a generative model, from the start or from a trained generator.

    Args:
        init: Continue with a trained generator, with its resolution and configuration (--size has
            no effect): its file, or the folder of its training, for all networks. Optimisers start
            anew.
        freeze_steps: With --init: first steps in which the generator is frozen while the other
            networks train; by default 100 if these are new, else 0.

    Example:
        >>> settings = TrainGeneratorSettings(
        ...     model="dcgan", data_dir="photos", output_dir="run", changes=("width=32",)
        ... )
        >>> settings.command_line("artfp gan train")
        'artfp gan train --model dcgan --data_dir photos --set width=32 --output_dir run'
    """

    init: str | None = option(None, metavar="FILE|FOLDER")
    freeze_steps: NonNegativeInt | None = None

    @property
    def without_effect(self) -> dict[str, str]:
        """Fields that change nothing beside the others, with the reasons."""
        own = {} if self.init is None else {"size": "--init has its own"}
        return super().without_effect | own

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.freeze_steps is not None and self.init is None:
            raise UserError(
                "--freeze_steps is for a training that continues another; give --init as well"
            )


def check_generator_file(path: Path) -> None:
    """Raise a UserError if there is no file of a generator."""
    if not path.is_file():
        raise UserError(f"no generator at {path}; give a generator.safetensors of artfp gan train")


@dataclass(frozen=True, kw_only=True)
class GenerateSettings(DeviceSettings):
    """Images of a trained generator.

    Args:
        generator: Trained generator: generator.safetensors of a training.
        output_dir: Folder for the images.
        count: Number of images; for a translator at most so many, by default all of --data_dir.
        seed: Seed of the images; each depends on it and on the image's number.
        batch_size: Images that are generated at once.
        label: Only images of this class; by default all classes in turn.
        data_dir: Images that a translator translates: a folder, a zip, or a list of paths (.txt).
        follow_links: Follow symbolic links that lead out of the folder of the images.
        target: Domain or class that a translator translates to, counted from 0.
        format: Format of the images.
        archive: Also pack the images into images.zip.

    Example:
        >>> GenerateSettings(generator="dcgan.safetensors", output_dir="generated", count=0)
        Traceback (most recent call last):
        artfp.core.errors.UserError: --count is 0; it must be 1 or more
    """

    title: ClassVar[str] = "images"

    generator: Path = option(metavar="FILE", positional=True)
    output_dir: Path
    count: PositiveInt | None = None
    seed: NonNegativeInt = 0
    batch_size: PositiveInt = 64
    label: NonNegativeInt | None = None
    data_dir: str | None = option(None, metavar="IMAGES")
    follow_links: bool = False
    target: NonNegativeInt | None = None
    format: Literal["png", "webp", "bmp", "tiff", "jpeg"] = "png"
    archive: bool = False

    def check_inputs(self) -> None:
        """Refuse images or a generator that are not there.

        Raises:
            UserError: see there.
        """
        super().check_inputs()
        check_generator_file(self.generator)


@dataclass(frozen=True, kw_only=True)
class AlterSettings(Settings):
    """Altered copies of a trained generator.

    Args:
        generator: Trained generator: generator.safetensors of a training.
        output_dir: Folder for the altered generators.
        noise: Standard deviations of Gaussian noise on the weights, as multiples of the standard
            deviation of each layer's weights.
        quantise: Bits that the weights of each layer are quantised to, uniformly.
        prune: Fractions of the weights of each layer, those of smallest magnitude, that are set to
            0.
        seed: Seed of the noise.

    Example:
        >>> AlterSettings(generator="dcgan.safetensors", output_dir="altered")
        Traceback (most recent call last):
        artfp.core.errors.UserError: no alteration; give --noise, --quantise or --prune
    """

    title: ClassVar[str] = "alterations"

    generator: Path = option(metavar="FILE", positional=True)
    output_dir: Path
    noise: tuple[PositiveFloat, ...] = option((), metavar="STRENGTH,...", separator=",")
    quantise: tuple[Annotated[int, Bounds(ge=2, le=16)], ...] = option(
        (), metavar="BITS,...", separator=","
    )
    prune: tuple[Annotated[float, Bounds(gt=0, lt=1)], ...] = option(
        (), metavar="FRACTION,...", separator=","
    )
    seed: NonNegativeInt = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (self.noise or self.quantise or self.prune):
            raise UserError("no alteration; give --noise, --quantise or --prune")
