"""Latent autoencoders on disk: a folder that the user gives, never part of the package."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from artfp.core.errors import UserError
from artfp.data.bundle import build_to_fit, check_finite
from artfp.data.paths import file_hash
from artfp.data.state_dict import read_state_dict
from artfp.nn.latent_autoencoder import LatentAutoencoder
from artfp.nn.settings import AUTOENCODER_FILES, check_autoencoder
from artfp.nn.tiny_autoencoder import TinyAutoencoder


def load_latent_autoencoder(folder: Path) -> LatentAutoencoder:
    """Load a latent autoencoder, in evaluation mode on the CPU; its weights are frozen.

    Args:
        folder: Folder with `encoder.pth` and `decoder.pth`, the state dicts of a tiny autoencoder.

    Returns:
        The autoencoder. Other kinds of folders become other subclasses here.

    Raises:
        UserError: a file is missing, unreadable, or holds the weights of another network.

    Example:
        >>> import tempfile
        >>> network = TinyAutoencoder(channels=4, width=8)
        >>> with tempfile.TemporaryDirectory() as place:
        ...     torch.save(network.encoder.state_dict(), f"{place}/encoder.pth")
        ...     torch.save(network.decoder.state_dict(), f"{place}/decoder.pth")
        ...     load_latent_autoencoder(Path(place)).channels
        4
    """
    check_autoencoder(folder)
    state: dict[str, Tensor] = {}
    for file in AUTOENCODER_FILES:
        part = read_state_dict(folder / file)
        check_finite(part, folder / file)
        state |= {f"{Path(file).stem}.{name}": weight for name, weight in part.items()}
    width, channels = (_outputs(state, f"encoder.{layer}.weight", folder) for layer in (0, 14))
    try:
        with torch.random.fork_rng(devices=[]):  # initial weights are drawn, then replaced
            network = build_to_fit(lambda: TinyAutoencoder(channels, width), state)
    except (ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"{folder} does not fit the tiny autoencoder of FLUX.2, the kind that is known: "
            f"{reason}; give taef2_encoder.pth and taef2_decoder.pth under their new names"
        ) from error
    return network.eval().requires_grad_(False)


def autoencoder_hashes(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each file of a latent autoencoder, by which results name it.

    Raises:
        UserError: a file is missing.
    """
    check_autoencoder(folder)
    return {name: file_hash(folder / name) for name in AUTOENCODER_FILES}


def _outputs(state: dict[str, Tensor], name: str, folder: Path) -> int:
    """Return the output channels of a convolution. Raises UserError: there is no such weight."""
    weight = state.get(name)
    if weight is None or weight.ndim != 4:
        raise UserError(
            f"{folder} holds no tiny autoencoder: {name.removeprefix('encoder.')} is missing in "
            "encoder.pth, or no convolution; give the weights of FLUX.2's, taef2_encoder.pth"
        )
    return len(weight)
