"""Sources of planted patterns, with their residuals and correlations by SciPy and NumPy."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

from artfp.passive_studies.marra2019.settings import Marra2019Settings

SIDE, COUNT, ESTIMATE = 24, 30, 16
NAMES = ("dcgan.a", "dcgan.b", "progan", "real")


def study_settings(folder: Path, output: Path, **more: Any) -> Marra2019Settings:
    return Marra2019Settings(
        data_dir=folder, output_dir=output, extractor="gaussian", cuda=-1, **more
    )


def residuals_of(
    folder: Path, name: str, quality: int | None = None, blur: float | None = None
) -> np.ndarray:
    """All residuals (N, 3, H, W) of a source in the study's order, by SciPy."""

    def drawn(path: Path) -> bytes:
        return hashlib.blake2b(f"3 {path.name}".encode(), digest_size=8).digest()

    found = []
    for path in sorted((folder / name).iterdir(), key=drawn):
        image = Image.open(path)
        if quality is not None:
            file = io.BytesIO()
            image.save(file, "JPEG", quality=quality, subsampling=2)
            image = Image.open(file)
        x = np.asarray(image).astype(np.float64).transpose(2, 0, 1) / 255.0
        if blur is not None:
            x = np.stack([gaussian_filter(plane, blur, mode="mirror", truncate=3.0) for plane in x])
            x = (255.0 * x).round() / 255.0
        low = [gaussian_filter(plane, 1.0, mode="reflect", truncate=4.0) for plane in x]
        found.append(x - np.stack(low))
    return np.stack(found)


def correlate(residuals: np.ndarray, fingerprints: np.ndarray) -> np.ndarray:
    """Pearson's, (N, K)."""
    rows = np.concatenate([each.reshape(len(each), -1) for each in (residuals, fingerprints)])
    return np.asarray(np.corrcoef(rows)[: len(residuals), len(residuals) :])
