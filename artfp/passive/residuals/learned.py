"""Residuals of a learned denoiser."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from artfp.core.errors import UserError
from artfp.data.bundle import (
    WEIGHTS,
)
from artfp.passive.residuals.denoiser import load_denoiser
from artfp.passive.residuals.filters import by_planes, mirror

SHIPPED = "denoiser"
_AT_WORK = {"cpu": 1 << 18, "cuda": 1 << 23}
"""About how many pixels are at work at once; the network has many numbers for each."""


def learned(sigma: float = 5.0, weights: str = SHIPPED) -> Callable[[Tensor], Tensor]:
    """The noise of `sigma` grey levels that a network finds; edges are mirrored.

    `weights` are those that come with artfp, `denoiser`, or a file that `artfp denoiser` wrote. See
    `artfp.passive.residuals.denoiser.Denoiser`; the shipped one has learned 1 to 10 grey levels.

    Raises UserError: sigma not over 0, or a file that holds no denoiser.
    """
    if not sigma > 0:
        raise UserError(f"extractor learned: sigma is {sigma:g}; it must be over 0")
    path = WEIGHTS / f"{SHIPPED}.safetensors" if weights == SHIPPED else Path(weights)
    network, _ = load_denoiser(path)
    level = torch.tensor([sigma / 255.0])

    @torch.no_grad()
    def noise(planes: Tensor) -> Tensor:
        network.to(planes.device)
        return network(mirror(planes, network.reach)[:, 0], level.to(planes.device))[:, None]

    return lambda x: by_planes(noise, x, _AT_WORK)
