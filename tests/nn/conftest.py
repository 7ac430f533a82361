"""Small pieces of photographs."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from torch import Tensor

from artfp.data.pixels import to_unit


@pytest.fixture
def x(photo_crops: Callable[..., Tensor]) -> Tensor:
    """Four pieces, (4, 3, 64, 64) in [0, 1]."""
    return to_unit(photo_crops(4, 64, seed=9))
