"""Settings of the secrecy study."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from artfp.core.errors import UserError
from artfp.core.options import Bounds, NonNegativeInt, option
from artfp.core.settings import Settings

ATTACKER_NAMES = ("network", "mean_residual", "lda", "spectrum")
"""Attackers, in the order of the tables."""

MIN_ATTACK_IMAGES = 20
"""Images of each class below which no attacker is trained: a fifth of them is for validation."""


@dataclass(frozen=True, kw_only=True)
class SecrecySettings(Settings):
    """Secrecy study.

    Args:
        data_dir: Clean images: a folder (at any depth), a zip, or a list of paths (.txt).
        output_dir: Folder for the results.
        encoder_path: Encoders to attack: shipped names or files, each perhaps with a label.
        other_encoder: The attacker's own encoder: for the encoder with that label, or for all.
        sizes: Training images of each class.
        attackers: Attackers, see above; by default all.
        test_images: Test images of each class.
        psnr: Mean PSNR in dB that the watermark residuals of every encoder are scaled to; by
            default they stay as they are.
        image_resolution: Side of the images in pixels; by default the first encoder's.
        seed: Seed of the split, the messages and the weights.

    Raises:
        UserError: An unknown attacker, or no encoder or number of images.

    Example:
        >>> settings = SecrecySettings(data_dir="photos", output_dir="secrecy", sizes=(100, 300))
        >>> settings.command_line("artfp secrecy")
        'artfp secrecy --data_dir photos --output_dir secrecy --sizes 100,300'
    """

    title: ClassVar[str] = "secrecy"

    data_dir: str = option(metavar="IMAGES")
    output_dir: Path
    encoder_path: tuple[str, ...] = option(("photo128",), separator=",", metavar="[LABEL=]PATH,...")
    other_encoder: tuple[str, ...] = option((), separator=",", metavar="[LABEL=]PATH,...")
    sizes: tuple[Annotated[int, Bounds(ge=MIN_ATTACK_IMAGES)], ...] = option(
        (100, 300, 1000, 3000), separator=",", metavar="N,..."
    )
    attackers: tuple[str, ...] = option(ATTACKER_NAMES, separator=",", metavar="NAME,...")
    test_images: Annotated[int, Bounds(ge=MIN_ATTACK_IMAGES)] = 1000
    psnr: Annotated[float, Bounds(ge=10, le=60)] | None = None
    image_resolution: Annotated[int, Bounds(ge=16)] | None = None
    seed: NonNegativeInt = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in self.attackers:
            if name not in ATTACKER_NAMES:
                known = ", ".join(ATTACKER_NAMES)
                raise UserError(f"--attackers: found {name!r}; choose from {known}")
        if not self.encoder_path:
            raise UserError("--encoder_path: found no name")
        if not self.sizes:
            raise UserError("--sizes: found no number")
