"""Settings of the comparison of proactive and passive attribution."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from artfp.core.settings import option
from artfp.passive.settings import SplitSettings, StudyTrainingSettings


@dataclass(frozen=True, kw_only=True)
class CompareSettings(SplitSettings, StudyTrainingSettings):
    """Comparison of proactive and passive attribution.

    Args:
        data_dir: Folder with one subfolder of images for each source.
        fingerprints: JSON file with the fingerprint of each source, see below.
        output_dir: Folder for the results.
        decoder_path: Decoder: a shipped name or a file; with :plain at its end it does not search
            for crops and rotations.
        methods: Passive methods.
        perturbations: Perturbations, see artfp robustness.
        strengths: Their strengths; the defaults lie within the published ranges.
    """

    title: ClassVar[str] = "comparison"

    data_dir: Path = option(positional=True, metavar="FOLDER")
    fingerprints: Path = option(metavar="FILE.json")
    output_dir: Path
    decoder_path: str = "transfer32"
    methods: tuple[str, ...] = option(
        ("plain", "best", "learned", "immunised", "nearest", "eigenface"),
        separator=",",
        metavar="NAME,...",
    )
    perturbations: tuple[str, ...] = option(
        ("jpeg", "blur", "noise", "random_crop", "relight", "combination"),
        separator=",",
        metavar="NAME,...",
    )
    strengths: str = option(
        "jpeg=95,75,40;blur=0.8,1.7;noise=0.02,0.08;random_crop=0.05,0.2;relight=0.5,1;"
        "combination=1",
        metavar="NAME=S,...;...",
    )
