"""Small pieces of photographs, and generators."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from artfp.data.pixels import to_unit


@pytest.fixture(scope="session")
def pixels(photo_crops: Callable[..., Tensor]) -> Tensor:
    """Four pieces, (4, 3, 64, 64) uint8; not to be changed."""
    return photo_crops(4, 64, seed=9)


@pytest.fixture
def x(pixels: Tensor) -> Tensor:
    """The same in [0, 1]."""
    return to_unit(pixels)


@pytest.fixture(scope="session")
def seeded() -> Callable[..., torch.Generator]:
    """Makes a generator from a seed, by default 0."""

    def make(seed: int = 0) -> torch.Generator:
        return torch.Generator().manual_seed(seed)

    return make


@pytest.fixture(scope="session")
def ramps() -> Callable[[int, int], Tensor]:
    """Makes (1, 3, H, W): red tells the column, green the row, from 0.2 to 0.8; blue is 0.5.

    Its colours tell where each pixel came from: to 0.05 pixels, by which cubic convolution with
    a = -0.75 misses a straight line.
    """

    def make(height: int, width: int) -> Tensor:
        across = (torch.arange(width) + 0.5) / width * 0.6 + 0.2
        down = (torch.arange(height) + 0.5) / height * 0.6 + 0.2
        half = torch.full((height, width), 0.5)
        planes = [across[None].expand(height, -1), down[:, None].expand(-1, width), half]
        return torch.stack(planes)[None]

    return make
