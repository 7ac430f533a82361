"""Extractor `learned`: a small network that finds Gaussian noise in images, colour by colour."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import artfp
from artfp.core.errors import UserError
from artfp.data.bundle import (
    WEIGHTS,
    Card,
    build_to_fit,
    read_card,
    read_state,
    write_bundle,
)
from artfp.passive.residuals.filters import by_planes, mirror_padded

ARCHITECTURE = "denoiser"
SHIPPED = "denoiser"

_DILATIONS = (1, 2, 3, 3, 2, 1)
_MEAN = 5
_LIMIT = 4.0
"""Noise found, at most, in standard deviations; contrasts beyond it are compressed."""
_CHUNK = {"cpu": 1 << 18, "cuda": 1 << 23}
"""Pixels that are filtered at once, about; the network has many numbers for each."""


class Denoiser(nn.Module):
    """Map planes (P, H, W) in [0, 1] to their Gaussian noise, except for `margin` pixels.

    In the spirit of DnCNN (Zhang et al., IEEE TIP 2017), which predicts the noise rather
    than the image, with the dilated convolutions of IRCNN (Zhang et al., CVPR 2017): six layers of
    `width` channels. Planes are not padded, so that no pixel of the result depends on a border.

    Input and output are in units of the noise's standard deviation, and the input is the plane
    minus its means over 5 x 5. Values far above the noise are compressed at both ends, so the
    network also serves at a deviation far below those that it was trained with.
    """

    margin = sum(_DILATIONS) + _MEAN // 2
    """Pixels on each side by which the result is smaller."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.width = width
        sizes = [1, *[width] * (len(_DILATIONS) - 1), 1]
        self.layers = nn.ModuleList(
            nn.Conv2d(inputs, outputs, 3, dilation=dilation)
            for inputs, outputs, dilation in zip(sizes, sizes[1:], _DILATIONS, strict=False)
        )
        for layer in self.layers:
            assert isinstance(layer, nn.Conv2d) and layer.bias is not None
            nn.init.kaiming_normal_(layer.weight)
            nn.init.zeros_(layer.bias)
        # No noise is a better start than what contrasts would make of random weights.
        nn.init.zeros_(self.layers[-1].weight)  # type: ignore[arg-type]

    def forward(self, planes: Tensor, sigma: Tensor) -> Tensor:
        """Return the noise (P, H - 2 margin, W - 2 margin); `sigma`, (P,) or (1,), is over 0."""
        scale = sigma.view(-1, 1, 1, 1)
        maps = planes[:, None]
        edge = _MEAN // 2
        inner = maps[..., edge:-edge, edge:-edge]
        # High-pass in units of the noise, compressed; the last layer's result is expanded back.
        maps = (inner - F.avg_pool2d(maps, _MEAN, stride=1)) / scale
        maps = _LIMIT * torch.asinh(maps / _LIMIT)
        maps = maps.contiguous(memory_format=torch.channels_last)
        *hidden, last = self.layers
        for layer in hidden:
            maps = F.relu(layer(maps), inplace=True)
        return (_LIMIT * torch.tanh(last(maps) / _LIMIT) * scale)[:, 0]


def save_denoiser(network: Denoiser, path: Path, card: Card) -> Card:
    """Write the network and return the card as written: `card`, and what the network is."""
    whole = {
        "kind": "denoiser",
        "architecture": ARCHITECTURE,
        "width": network.width,
        "version": artfp.__version__,
        **card,
    }
    write_bundle(network, path, whole)
    return whole


def load_denoiser(path: Path) -> tuple[Denoiser, Card]:
    """Read a denoiser, in evaluation mode, on the CPU, with its card.

    Raises:
        UserError: no such file, or it holds something else.
    """
    if not path.is_file():
        raise UserError(f"no denoiser at {path}; give a file that `artfp denoiser` wrote")
    card = read_card(path)
    if card.get("kind") != "denoiser" or card.get("architecture") != ARCHITECTURE:
        raise UserError(f"{path} holds no denoiser of this version of artfp, but {_named(card)}")
    state = read_state(path)
    try:
        width = int(card["width"])
        network = build_to_fit(lambda: Denoiser(width), state)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"{path} does not fit the denoiser that it claims to be: {reason}"
        ) from error
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network.eval().requires_grad_(False), card


def _named(card: dict[str, Any]) -> str:
    return f"{card.get('kind', 'something')} {card.get('architecture', '')}".strip()


def learned_residual(sigma: float = 5.0, weights: str = SHIPPED) -> Callable[[Tensor], Tensor]:
    """Return a network's prediction of noise of `sigma` grey levels, as a function.

    Edges are mirrored. `weights` are those that come with artfp, `denoiser`, or a file that `artfp
    denoiser` wrote. The shipped network (`Denoiser`) was trained with 1 to 10 grey levels.

    Raises:
        UserError: sigma not over 0, or a file that holds no denoiser.
    """
    if not sigma > 0:
        raise UserError(f"extractor learned: sigma is {sigma:g}; it must be over 0")
    path = WEIGHTS / f"{SHIPPED}.safetensors" if weights == SHIPPED else Path(weights)
    network, _ = load_denoiser(path)
    level = torch.tensor([sigma / 255.0])

    @torch.no_grad()
    def residual(planes: Tensor) -> Tensor:
        network.to(planes.device)
        padded = mirror_padded(planes, network.margin)[:, 0]
        noise: Tensor = network(padded, level.to(planes.device))
        return noise[:, None]

    return lambda x: by_planes(residual, x, _CHUNK)
