"""Settings of `artfp attribute study`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from artfp.core.device import DeviceSettings
from artfp.core.errors import UserError
from artfp.core.options import Bounds, NonNegativeInt, PositiveInt, Probability, option

ANALYSIS_NAMES = (
    "fingerprints",
    "energy",
    "autocorrelation",
    "histograms",
    "matrix",
    "confusion",
    "roc",
    "jpeg",
    "perturbed",
    "number",
    "size",
    "real",
    "dependence",
)
"""All analyses, in the order of the page."""


@dataclass(frozen=True, kw_only=True)
class Marra2019Settings(DeviceSettings):
    """Study of sources as in Marra et al. 2019.

    Args:
        data_dir: Folder with one subfolder of images for each source.
        output_dir: Folder for page, figures, tables and residual fingerprints.
        extractor: Extractor of noise residuals, such as wavelet or gaussian:sigma=0.5.
        images: Images that estimate each residual fingerprint; by default 512 where all sources
            have 1000, else half of the smallest source.
        test_images: Test images of each source; by default what the smallest source has left.
        validation_images: Images of each source that decide the thresholds of the analysis roc,
            neither estimating nor testing; by default no image does.
        validation_dir: Folder of the same sources whose images decide the thresholds instead.
        fpr: False positive rate of the thresholds.
        analyses: Analyses to make, see above; by default all that the sources allow.
        jpeg: JPEG qualities of the analysis jpeg, 1 to 100.
        strengths: Perturbations of the analysis perturbed with their strengths; see artfp
            robustness.
        real: Sources of real images; by default those whose names begin with "real".
        groups: JSON file of the sources' metadata, see below.
        seed: Seed of the split of the images, and of what perturbations draw.

    Example:
        >>> Marra2019Settings(data_dir="sources", output_dir="study", images=256).jpeg
        (95,)
    """

    title: ClassVar[str] = "study"

    data_dir: Path = option(positional=True, metavar="FOLDER")
    output_dir: Path = option(metavar="FOLDER")
    extractor: str = option("wavelet", metavar="NAME[:SETTING=VALUE,...]")
    images: PositiveInt | None = None
    test_images: PositiveInt | None = None
    validation_images: NonNegativeInt = 0
    validation_dir: Path | None = option(None, metavar="FOLDER")
    fpr: Probability = 0.05
    analyses: tuple[str, ...] | None = option(None, separator=",", metavar="NAME,...")
    jpeg: tuple[Annotated[int, Bounds(ge=1, le=100)], ...] = option(
        (95,), separator=",", metavar="QUALITY,..."
    )
    strengths: str = option("resize=0.5;blur=1;noise=0.02", metavar="NAME=S,...;...")
    real: tuple[str, ...] | None = option(None, separator=",", metavar="NAME,...")
    groups: Path | None = option(None, metavar="FILE.json")
    seed: NonNegativeInt = 0

    @property
    def without_effect(self) -> dict[str, str]:
        """Fields that change nothing beside the others, with the reasons."""
        owners = {
            "jpeg": "jpeg",
            "strengths": "perturbed",
            "groups": "dependence",
            "fpr": "roc",
        }
        return super().without_effect | {
            name: f"it belongs to the analysis {owner}, which --analyses leaves out"
            for name, owner in owners.items()
            if self.analyses is not None and owner not in self.analyses
        }

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.validation_images and self.validation_dir is not None:
            raise UserError("--validation_images, --validation_dir: give one of them")
        if not self.jpeg:
            raise UserError("--jpeg: give a quality")
        for name in self.analyses or ():
            if name not in ANALYSIS_NAMES:
                known = ", ".join(ANALYSIS_NAMES)
                raise UserError(f"--analyses: {name!r} is unknown; choose from {known}")
