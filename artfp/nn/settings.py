"""Settings of networks that commands share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from artfp.core.errors import UserError
from artfp.core.options import option
from artfp.core.settings import Settings

AUTOENCODER_FILES = ("encoder.pth", "decoder.pth")
"""Files of a tiny autoencoder in its folder."""


@dataclass(frozen=True, kw_only=True)
class LatentAutoencoderSettings(Settings):
    """Latent autoencoder.

    Args:
        latent_autoencoder: Folder of a latent autoencoder, encoder.pth and decoder.pth of the tiny
            autoencoder of FLUX.2 (github.com/madebyollin/taesd): with it there is a perturbation
            latent, images encoded and decoded again, as latent-diffusion models do.

    Example:
        >>> LatentAutoencoderSettings().latent_autoencoder is None
        True
    """

    title: ClassVar[str] = "perturbations"

    latent_autoencoder: Path | None = option(None, metavar="FOLDER")

    def check_inputs(self) -> None:
        """Refuse a folder that is not there or holds no autoencoder.

        Raises:
            UserError: see there.
        """
        super().check_inputs()
        if self.latent_autoencoder is not None:
            check_autoencoder(self.latent_autoencoder)


def check_autoencoder(folder: Path) -> None:
    """Refuse a folder without the files of a latent autoencoder.

    Raises:
        UserError: a file is missing.
    """
    missing = [name for name in AUTOENCODER_FILES if not (folder / name).is_file()]
    if missing:
        there = "has no" if folder.is_dir() else "is no folder with"
        raise UserError(
            f"{folder} {there} {' and '.join(missing)}; give the folder of a latent autoencoder: "
            "download taef2_encoder.pth and taef2_decoder.pth from github.com/madebyollin/taesd "
            "and name them encoder.pth and decoder.pth"
        )
