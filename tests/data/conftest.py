from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20240501)


@pytest.fixture
def picture_bytes() -> Callable[..., bytes]:
    """Make the bytes of a random RGB picture: (seed, height, width, format) -> bytes."""

    def make(seed: int = 0, height: int = 12, width: int = 10, format: str = "PNG") -> bytes:
        pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, format)
        return buffer.getvalue()

    return make


@pytest.fixture
def picture_folder(tmp_path: Path, picture_bytes: Callable[..., bytes]) -> Path:
    """A folder of seven PNGs of 16x16, named 0.png to 6.png."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i in range(7):
        (folder / f"{i}.png").write_bytes(picture_bytes(i, 16, 16))
    return folder


@pytest.fixture
def bytes_path(tmp_path: Path) -> Path:
    """A path whose name is not UTF-8; skips where the file system refuses it."""
    path = tmp_path / os.fsdecode(b"odd-\xff\xfe.png")
    try:
        path.write_bytes(b"")
    except OSError:
        pytest.skip("this file system refuses names that are not UTF-8")
    path.unlink()
    return path
