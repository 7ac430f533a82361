"""Settings of `artfp attribute fit`, `baseline`, `train`, `visnet`, `predict` and `report`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from artfp.core.device import DeviceSettings, RunSettings
from artfp.core.errors import UserError
from artfp.core.options import (
    Bounds,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    Probability,
    option,
)
from artfp.core.settings import Settings

if TYPE_CHECKING:
    from artfp.passive.attributors.verdicts import DecisionRule

STANDARD_OUTPUT = "-"
"""Path that stands for standard output."""

Precision = Literal["32-true", "bf16-mixed"]
Side = Literal[32, 64, 128, 256]
HeldOutFraction = Annotated[float, Bounds(ge=0.1, le=0.5)]


@dataclass(frozen=True, kw_only=True)
class SourcesSettings(Settings):
    """Labelled images of several sources.

    Args:
        data_dir: Folder with one subfolder of images for each source.
        limit: Images of each source, at most.
    """

    title: ClassVar[str] = "images"

    data_dir: Path = option(positional=True, metavar="FOLDER")
    limit: PositiveInt | None = 1000


@dataclass(frozen=True, kw_only=True)
class DecisionSettings(Settings):
    """Decision rule of an attributor: when it names a source, and when none.

    Args:
        alpha: Fraction of the known sources' images that may be called none of these.
        confidence: Posterior probability from which on a source is named.

    Example:
        >>> DecisionSettings(alpha=0.01).rule.alpha
        0.01
    """

    title: ClassVar[str] = "verdicts"

    alpha: Probability = 0.05
    confidence: Probability = 0.95

    @property
    def rule(self) -> DecisionRule:
        """The decision rule."""
        from artfp.passive.attributors.verdicts import DecisionRule

        return DecisionRule(self.alpha, self.confidence)


@dataclass(frozen=True, kw_only=True)
class FitAttributorSettings(SourcesSettings, DecisionSettings, DeviceSettings):
    """Fit of an attributor to the images of its sources.

    Args:
        output_dir: Folder for the attributor.
        policy: Sizes and positions of images; by default by the images' sizes.
        window: Side in pixels of the square that is taken from every image; by default as large as
            the images of all sources, at most 256, for shift three quarters of that.
        method: Method of attribution; by default the best but plain.
        extractor: Extractor of noise residuals, such as wavelet:sigma=1; by default the best of
            eight.
        recompress: Also fit to recompressed copies of the images.
        seed: Seed of the folds and of the copies' qualities.

    Example:
        >>> FitAttributorSettings(data_dir="dumps", policy="any")
        Traceback (most recent call last):
        artfp.core.errors.UserError: --policy is 'any'; choose from aligned, shift, spectrum
    """

    title: ClassVar[str] = "fit"

    output_dir: Path = Path("attributor")
    policy: Literal["aligned", "shift", "spectrum"] | None = None
    window: PositiveInt | None = None
    method: Literal["plain", "matched", "spectrum", "fusion"] | None = None
    extractor: str | None = option(None, metavar="NAME[:SETTING=VALUE,...]")
    recompress: bool = True
    seed: NonNegativeInt = 0


@dataclass(frozen=True, kw_only=True)
class FitBaselineSettings(SourcesSettings, DecisionSettings, DeviceSettings):
    """Fit of a baseline of Yu et al. 2019.

    Args:
        output_dir: Folder for the attributor.
        kind: Kind of the baseline: nearest, eigenface, or one that another package adds.
        components: Principal components of eigenface; by default the best of 32, 128 and 512.
        window: Side in pixels of the square that is taken from the middle of every image; by
            default as large as the images of all sources, at most 256.
        seed: Seed of the folds.

    Example:
        >>> FitBaselineSettings(data_dir="dumps", output_dir="nearest", kind="nearest").limit
        1000
    """

    title: ClassVar[str] = "baseline"

    output_dir: Path
    kind: str
    components: PositiveInt | None = None
    window: PositiveInt | None = None
    seed: NonNegativeInt = 0

    @property
    def without_effect(self) -> dict[str, str]:
        """Fields that change nothing beside the others, with the reasons."""
        own = {} if self.kind == "eigenface" else {"components": "it belongs to --kind eigenface"}
        return super().without_effect | own


@dataclass(frozen=True, kw_only=True)
class ClassifierSettings(RunSettings):
    """Training of a network that classifies images by source (Yu et al. 2019).

    Args:
        network: Network; by default compact, or as --init.
        low_pass: Factor of a low pass: the network sees images made smaller and large again.
        high_pass: Factor of a high pass: the network sees what that low pass takes away.
        convolve_from: Side in pixels of the smallest maps that the published network convolves; by
            default 4, the whole network.
        immunise: Perturbations of training images: relight, crop, blur, jpeg, noise, or all.
        init: Attributor whose network is trained further.
        max_steps: Training steps; by default 2000 of compact, 20000 of published.
        batch_size: Images in a step and process.
        lr: Learning rate of Adam; by default 0.003 of compact, 0.001 of published.
        mirror: Mirror half of the images at random.
        validate_every: Steps between validations on the held-out images.

    Example:
        >>> ClassifierSettings(output_dir="out", immunise=("all",)).immunise
        ('relight', 'crop', 'blur', 'jpeg', 'noise')
    """

    title: ClassVar[str] = "training"

    network: Literal["compact", "published"] | None = None
    low_pass: Literal[1, 2, 4, 8, 16, 32] | None = None
    high_pass: Literal[2, 4, 8, 16, 32] | None = None
    convolve_from: PositiveInt | None = None
    immunise: tuple[str, ...] = option((), separator=",", metavar="NAME,...|all")
    init: Path | None = option(None, metavar="FOLDER")
    max_steps: PositiveInt | None = None
    batch_size: PositiveInt = 32
    lr: PositiveFloat | None = None
    mirror: bool = True
    validate_every: PositiveInt = 100
    precision: Precision = "32-true"

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "immunise", immunisations(self.immunise))


@dataclass(frozen=True, kw_only=True)
class TrainAttributorSettings(SourcesSettings, ClassifierSettings, DecisionSettings):
    """Training of a classifier as an attributor.

    Args:
        window: Side in pixels of the square that is taken from the middle of every image; by
            default the largest that 95% of each source's images have.
        held_out: Fraction of each source's images that is held out, for validation and calibration.
        validation_dir: Folder of the same sources whose images validate and calibrate instead; then
            all of data_dir is trained on.

    Example:
        >>> TrainAttributorSettings(data_dir="dumps").output_dir.name
        'attributor'
    """

    title: ClassVar[str] = "network"

    output_dir: Path = Path("attributor")
    window: Side | None = None
    held_out: HeldOutFraction = 0.2
    validation_dir: Path | None = option(None, metavar="FOLDER")


@dataclass(frozen=True, kw_only=True)
class VisNetSettings(RunSettings):
    """Training of the visualisation network of Yu et al. 2019.

    Args:
        size: Layers of the autoencoder: compact has 200 thousand weights, published the layers of
            the paper, 14 million at 128 pixels.
        width: Channels of the compact network's maps at 32 pixels a side.
        max_steps: Training steps.
        batch_size: Images in a step.
        lr: Learning rate of Adam, of both networks.
        reconstruction: Weight of the L1 reconstruction loss.
        adversarial: Weight of the adversarial loss (WGAN-GP).
        mirror: Mirror half of the images at random.
        validate_every: Steps between validations on the held-out images.

    Example:
        >>> VisNetSettings(output_dir="out").reconstruction
        20.0
    """

    title: ClassVar[str] = "training"

    size: Literal["compact", "published"] = "compact"
    width: PositiveInt = 16
    max_steps: PositiveInt = 1500
    batch_size: PositiveInt = 32
    lr: PositiveFloat = 1e-3
    reconstruction: NonNegativeFloat = 20.0
    adversarial: NonNegativeFloat = 0.1
    mirror: bool = False
    validate_every: PositiveInt = 250
    precision: Precision = "32-true"
    penalty: NonNegativeFloat = option(10.0, hidden=True)
    betas: tuple[float, float] = option((0.0, 0.99), hidden=True)


@dataclass(frozen=True, kw_only=True)
class TrainVisNetSettings(SourcesSettings, VisNetSettings, DecisionSettings):
    """Training of a visualisation network as an attributor.

    Args:
        window: Side in pixels of the square that is taken from the middle of every image; by
            default the largest that 95% of each source's images have.
        held_out: Fraction of each source's images that is held out, for validation and calibration.
        validation_dir: Folder of the same sources whose images validate and calibrate instead; then
            all of data_dir is trained on.

    Example:
        >>> TrainVisNetSettings(data_dir="dumps", output_dir="visnet").held_out
        0.2
    """

    title: ClassVar[str] = "network"

    window: Side | None = None
    held_out: HeldOutFraction = 0.2
    validation_dir: Path | None = option(None, metavar="FOLDER")


@dataclass(frozen=True, kw_only=True)
class PredictSourcesSettings(DeviceSettings):
    """Attribution of images to the sources that an attributor knows.

    Args:
        data_dir: Images: a folder (at any depth), a zip, one image, or a list of paths (.txt).
        attributor: Attributor: the folder that fit, train, baseline or visnet wrote.
        same_source: Also attribute all images together, as images of one source.
        json: File for all results as JSON; - for standard output, the rest then goes to stderr.
        csv: File for a table of the images as CSV; - for standard output, likewise.
        pictures: Folder for a picture of each image with its fingerprint and its responses to those
            of the sources, if the attributor is one of artfp attribute visnet.

    Example:
        >>> PredictSourcesSettings(data_dir="photo.jpg").command_line("artfp attribute predict")
        'artfp attribute predict --data_dir photo.jpg'
    """

    title: ClassVar[str] = "attribution"

    data_dir: str = option(positional=True, metavar="IMAGES")
    attributor: Path = option(Path("attributor"), metavar="FOLDER")
    same_source: bool = False
    json: str | None = option(None, metavar="FILE")
    csv: str | None = option(None, metavar="FILE")
    pictures: Path | None = option(None, metavar="FOLDER")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.json == self.csv == STANDARD_OUTPUT:
            raise UserError("--json and --csv: only one of them can go to standard output")


@dataclass(frozen=True, kw_only=True)
class AssessAttributorSettings(SourcesSettings, DeviceSettings):
    """Accuracy and open-set recognition of an attributor on labelled images.

    Args:
        attributor: Attributor: the folder that fit, train, baseline or visnet wrote.
        output_dir: Folder for the report.
        seed: Seed of the assignment of images to groups.

    Example:
        >>> AssessAttributorSettings(data_dir="labelled").limit is None
        True
    """

    title: ClassVar[str] = "report"

    limit: PositiveInt | None = None
    attributor: Path = option(Path("attributor"), metavar="FOLDER")
    output_dir: Path = Path("attribution_report")
    seed: NonNegativeInt = 0


@dataclass(frozen=True, kw_only=True)
class SplitSettings(Settings):
    """Split of each source's images, of a study that fits attributors on its way.

    Args:
        fit: Images of each source that attributors are fitted to; by default 512 where all sources
            have 1000, else half of the smallest source.
        test: Other images of each source that test them, at most.
    """

    title: ClassVar[str] = "images"

    fit: PositiveInt | None = None
    test: PositiveInt = 488


@dataclass(frozen=True, kw_only=True)
class StudyTrainingSettings(DeviceSettings):
    """Training of classifiers in a study.

    Args:
        network: Network that is trained.
        max_steps: Training steps of each network; by default 2000 of compact, 20000 of published.
        immunise_steps: Training steps of an immunisation; by default those of the network.
        precision: Lightning's precision.
        seed: Seed of the split, the trainings and the perturbations.
    """

    title: ClassVar[str] = "training"

    network: Literal["compact", "published"] = "compact"
    max_steps: PositiveInt | None = None
    immunise_steps: PositiveInt | None = None
    precision: Precision = "32-true"
    seed: NonNegativeInt = 0


IMMUNITIES = {
    "relight": "relight",
    "crop": "random_crop",
    "blur": "blur",
    "jpeg": "jpeg",
    "noise": "noise",
}
"""Perturbations that a network can be immunised against, in the published order, and the names of
`artfp.perturbations`."""


def immunisations(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return names of IMMUNITIES in the published order; ("all",) stands for all of them.

    Raises:
        UserError: another name.
    """
    wanted = tuple(IMMUNITIES) if names == ("all",) else names
    for name in wanted:
        if name not in IMMUNITIES:
            known = ", ".join(IMMUNITIES)
            raise UserError(f"immunise: found {name!r}; choose from {known}, or all")
    return tuple(name for name in IMMUNITIES if name in wanted)
