"""What the tests of embedding share: fingerprints, and what stands in a folder."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from artfp.ownership.assignment import Fingerprints
from artfp.ownership.key import Key
from artfp.watermark.embed_job import EMBEDDED_TABLE, EmbeddingJob

Jobs = Callable[..., EmbeddingJob]
KEY = Key.from_seed(5)
ONE = Fingerprints(16, key=KEY)
EACH = Fingerprints(16, key=KEY, per_image=True)


def save_image(path: Path, pixels: np.ndarray, mode: str = "RGB") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).convert(mode).save(path)


def read_pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def table_rows(folder: Path) -> list[dict[str, str]]:
    with open(
        folder / EMBEDDED_TABLE, encoding="utf-8", errors="surrogateescape", newline=""
    ) as file:
        return list(csv.DictReader(file))


def folder_state(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Content and time of change of all that a user sees."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name[0] != ".")
    return {
        str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in files
    }
