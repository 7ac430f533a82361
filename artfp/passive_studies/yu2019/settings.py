"""Settings of `artfp attribute learned`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from artfp.core.options import Probability, option
from artfp.passive.settings import SplitSettings, StudyTrainingSettings, immunisations


@dataclass(frozen=True, kw_only=True)
class Yu2019Settings(SplitSettings, StudyTrainingSettings):
    """Studies of sources by classifiers as in Yu et al. 2019.

    Args:
        data_dir: Folder with one subfolder of images for each source.
        output_dir: Folder for the results.
        immunise: Perturbations of the images on which a second network is trained further: relight,
            crop, blur, jpeg, noise, or all.
        left_out: Sources without which a network is trained anew, each by itself, or all.
        alpha: Fraction of the known sources' images that may be called none of these.

    Example:
        >>> Yu2019Settings(data_dir="sources", output_dir="study", immunise=("jpeg",)).network
        'compact'
    """

    title: ClassVar[str] = "study"

    data_dir: Path = option(positional=True, metavar="FOLDER")
    output_dir: Path = option(metavar="FOLDER")
    immunise: tuple[str, ...] = option((), separator=",", metavar="NAME,...|all")
    left_out: tuple[str, ...] = option((), separator=",", metavar="NAME,...|all")
    alpha: Probability = 0.05

    @property
    def without_effect(self) -> dict[str, str]:
        """Fields that change nothing beside the others, with the reasons."""
        own = {} if self.immunise else {"immunise_steps": "it belongs to --immunise"}
        return super().without_effect | own

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "immunise", immunisations(self.immunise))
