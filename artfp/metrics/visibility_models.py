"""Published models of what the eye sees: ColorVideoVDP, SSIMULACRA2, FLIP, each of its package.

None of them needs a download or a GPU. They come with `pip install 'artfp[visibility]'`.
"""

from __future__ import annotations

import importlib.util
import logging
from functools import lru_cache
from io import BytesIO
from types import ModuleType
from typing import Any

import numpy as np

from artfp.core.errors import UserError
from artfp.data.writing import encode_image

_DISPLAY = "standard_4k"
"""Screen of ColorVideoVDP: 200 cd/m^2 in an office."""

SSIMULACRA2_SIDE = 8
"""Pixels of the shorter side that SSIMULACRA2 needs."""


def color_video_vdp(
    original: np.ndarray, marked: np.ndarray, pixels_per_degree: float = 60.0
) -> float:
    """Return the quality of a changed image by ColorVideoVDP (Mantiuk et al. 2024).

    Args:
        original: Image (H, W, 3), uint8.
        marked: Image of the same shape, uint8.
        pixels_per_degree: Pixels in a degree of the visual angle.

    Returns:
        Just-objectionable differences (JOD): 10 for equal images; of images at 9, one observer in
        four prefers the changed one.

    Raises:
        UserError: the extra `visibility` is not installed.

    Example:
        >>> gray = np.full((64, 64, 3), 128, np.uint8)
        >>> round(color_video_vdp(gray, gray), 2)  # doctest: +SKIP
        10.0
    """
    found = _vdp(float(pixels_per_degree)).predict(marked, original, dim_order="HWC")
    return float(found[0])


@lru_cache(maxsize=4)
def _vdp(pixels_per_degree: float) -> Any:
    import torch

    package = _load("pycvvdp", "ColorVideoVDP")
    geometry = package.vvdp_display_geometry([3840, 2160], ppd=pixels_per_degree)
    return package.cvvdp(
        display_name=_DISPLAY, display_geometry=geometry, quiet=True, device=torch.device("cpu")
    )


def ssimulacra2(original: np.ndarray, marked: np.ndarray) -> float:
    """Return the quality of a changed image by SSIMULACRA2 (Sneyers 2023).

    Args:
        original: Image (H, W, 3), uint8, 8 pixels a side or more.
        marked: Image of the same shape, uint8.

    Returns:
        100 for equal images; 90 is visually lossless, 70 high quality, 50 medium.

    Raises:
        UserError: the extra `visibility` is not installed.
        ValueError: the image is too small.

    Example:
        >>> gray = np.full((64, 64, 3), 128, np.uint8)
        >>> round(ssimulacra2(gray, gray), 2)  # doctest: +SKIP
        100.0
    """
    package = _load("ssimulacra2", "SSIMULACRA2")
    if min(original.shape[:2]) < SSIMULACRA2_SIDE:
        raise ValueError(f"an image has a side under {SSIMULACRA2_SIDE} pixels")
    files = [BytesIO(encode_image(image)) for image in (original, marked)]
    return float(package.compute_ssimulacra2(*files))


def flip(original: np.ndarray, marked: np.ndarray, pixels_per_degree: float = 60.0) -> float:
    """Return the mean difference of two images by FLIP (Andersson et al. 2020).

    It is made for rendered images that are shown in turn at one place.

    Args:
        original: Image (H, W, 3), uint8.
        marked: Image of the same shape, uint8.
        pixels_per_degree: Pixels in a degree of the visual angle.

    Returns:
        0 for equal images, at most 1.

    Raises:
        UserError: the extra `visibility` is not installed.

    Example:
        >>> gray = np.full((64, 64, 3), 128, np.uint8)
        >>> round(flip(gray, gray), 2)  # doctest: +SKIP
        0.0
    """
    package = _load("flip_evaluator", "FLIP")
    x, y = (image.astype(np.float32) / 255.0 for image in (original, marked))
    options = {"ppd": float(pixels_per_degree)}
    return float(package.evaluate(x, y, "LDR", True, False, True, options)[1])


def visibility_models_installed() -> bool:
    """Return True if the packages of ColorVideoVDP and SSIMULACRA2 are installed."""
    return all(importlib.util.find_spec(name) is not None for name in ("pycvvdp", "ssimulacra2"))


def _load(package: str, what: str) -> ModuleType:
    log = logging.getLogger("torch.utils.cpp_extension")
    level = log.level
    log.setLevel(logging.ERROR)  # it warns of a missing GPU, which nobody asked for
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise UserError(
            f"{what} needs a package that is not installed ({error}); "
            "run: pip install 'artfp[visibility]'"
        ) from error
    finally:
        log.setLevel(level)
