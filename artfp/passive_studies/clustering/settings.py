"""Settings of `artfp attribute cluster`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from artfp.core.device import DeviceSettings
from artfp.core.errors import UserError
from artfp.core.options import Bounds, NonNegativeInt, PositiveInt, option
from artfp.core.settings import Settings


@dataclass(frozen=True, kw_only=True)
class ClusteringOptions(Settings):
    """Clustering of images by their noise residuals.

    Args:
        min_images: Images of a cluster, at least.
        stability: Mean Jaccard index of a stable cluster, at least (Hennig 2007).
        seed: Seed of the random subsets.
        max_parts: Parts into which a set is divided at once, at most.
        components: Principal components to keep, as a multiple of those that exceed chance.
        subsets: Random subsets that test the stability.
        subset_fraction: Fraction of the images in a subset.

    Example:
        >>> ClusteringOptions(min_images=1)
        Traceback (most recent call last):
        artfp.core.errors.UserError: --min_images is 1; it must be 2 or more
    """

    title: ClassVar[str] = "clustering"

    min_images: Annotated[int, Bounds(ge=2)] = 10
    stability: Annotated[float, Bounds(ge=0.5, le=1)] = 0.85
    seed: NonNegativeInt = 0
    max_parts: Annotated[int, Bounds(ge=2)] = option(10, hidden=True)
    components: Annotated[float, Bounds(ge=1)] = option(2.0, hidden=True)
    subsets: PositiveInt = option(8, hidden=True)
    subset_fraction: Annotated[float, Bounds(ge=0.2, le=0.95)] = option(0.7, hidden=True)


@dataclass(frozen=True, kw_only=True)
class ClusterSettings(ClusteringOptions, DeviceSettings):
    """Clustering of a set of images by source.

    Args:
        data_dir: Images: a folder (at any depth), a zip, or a list of paths (.txt).
        output_dir: Folder for tables and figure.
        extractor: Extractor of noise residuals, see artfp attribute study.
        size: Side in pixels of the upper left square that is used; by default images of the first
            one's size.
        limit: Images, at most, chosen by name.
        truth: Subfolders are the true sources: measure the agreement.
        scores: CSV file of a detector's scores, which are fused with the clusters.
        real: With --truth and --scores: subfolders of real images; measures the AUC before and
            after fusion.

    Example:
        >>> ClusterSettings(data_dir="folder", output_dir="clusters").stability
        0.85
    """

    title: ClassVar[str] = "images and results"

    data_dir: str = option(positional=True, metavar="IMAGES")
    output_dir: Path = option(metavar="FOLDER")
    extractor: str = option("wavelet:sigma=3", metavar="NAME[:SETTING=VALUE,...]")
    size: Annotated[int, Bounds(ge=8)] | None = None
    limit: PositiveInt | None = None
    truth: bool = False
    scores: Path | None = option(None, metavar="FILE.csv")
    real: tuple[str, ...] = option((), separator=",", metavar="NAME,...")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.real and not (self.truth and self.scores):
            raise UserError("--real goes with --truth and --scores")
