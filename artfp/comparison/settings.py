"""Settings of `artfp compare`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from artfp.core.errors import UserError
from artfp.core.options import option
from artfp.passive.settings import SplitSettings, StudyTrainingSettings

PASSIVE_METHODS = ("plain", "best", "learned", "immunised", "nearest", "eigenface")
"""Passive methods of the comparison, in the order of tables."""

TRAINED_FURTHER = {"immunised": "learned"}
"""Methods that train the network of another one further."""

_PERTURBATIONS = ("jpeg", "blur", "noise", "random_crop", "relight", "combination")
_STRENGTHS = (
    "jpeg=95,75,40;blur=0.8,1.7;noise=0.02,0.08;random_crop=0.05,0.2;relight=0.5,1;combination=1"
)


@dataclass(frozen=True, kw_only=True)
class CompareSettings(SplitSettings, StudyTrainingSettings):
    """Comparison of proactive and passive attribution.

    Args:
        data_dir: Folder with one subfolder of images for each source.
        fingerprints: JSON file with the fingerprint of each source, see below.
        output_dir: Folder for the results.
        decoder_path: Decoder: shipped weights by name, or a file; with :plain at its end it does
            not search for crops and rotations.
        methods: Passive methods, see above.
        perturbations: Perturbations, see artfp robustness.
        strengths: Their strengths; the defaults lie within the published ranges.

    Example:
        >>> CompareSettings(
        ...     data_dir="made", fingerprints="made.json", output_dir="out", methods=("plain",)
        ... ).decoder_path
        'transfer32'
    """

    title: ClassVar[str] = "comparison"

    data_dir: Path = option(positional=True, metavar="FOLDER")
    fingerprints: Path = option(metavar="FILE.json")
    output_dir: Path = option(metavar="FOLDER")
    decoder_path: str = option("transfer32", metavar="NAME|FILE")
    methods: tuple[str, ...] = option(PASSIVE_METHODS, separator=",", metavar="NAME,...")
    perturbations: tuple[str, ...] = option(_PERTURBATIONS, separator=",", metavar="NAME,...")
    strengths: str = option(_STRENGTHS, metavar="NAME=S,...;...")

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in self.methods:
            if name not in PASSIVE_METHODS:
                known = ", ".join(PASSIVE_METHODS)
                raise UserError(f"--methods: {name!r} is unknown; choose from {known}")
            origin = TRAINED_FURTHER.get(name, name)
            if origin not in self.methods:
                raise UserError(
                    f"--methods: {name} trains the network of {origin} further; name {origin} too"
                )
