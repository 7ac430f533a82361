"""Visibility of the marks of a set of images: means and worst images, as reports tell them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

import numpy as np

from artfp.metrics.image_visibility import PIXELS_PER_DEGREE, visibility_of_image
from artfp.metrics.visibility_models import (
    SSIMULACRA2_SIDE,
    color_video_vdp,
    ssimulacra2,
    visibility_models_installed,
)

MODEL_IMAGES = 32
"""Images of a set, the first, that SSIMULACRA2 and ColorVideoVDP look at: each takes a second."""

_MODEL_SIDE = 1024
"""Pixels a side, in the centre, that they look at."""


class VisibilitySummary:
    """Collects the visibility of fingerprints, image by image.

    Args:
        models: How many images SSIMULACRA2 and ColorVideoVDP look at, where they are installed.

    Example:
        >>> gray = np.full((24, 32, 3), 128, np.uint8)
        >>> summary = VisibilitySummary(models=0)
        >>> for name, step in (("a.png", 1), ("b.png", 2)):
        ...     _ = summary.add(name, gray, gray + np.uint8(step))
        >>> summary.worst, round(summary.figures()["scielab_p95_60_worst"], 2)
        ('b.png', 0.75)
    """

    def __init__(self, models: int = MODEL_IMAGES) -> None:
        self._values: defaultdict[str, list[float]] = defaultdict(list)
        self._names: list[str] = []
        self._models = models if visibility_models_installed() else 0

    def add(self, name: str, original: np.ndarray, marked: np.ndarray) -> dict[str, float]:
        """Look at one more image.

        Args:
            name: Its name.
            original: Image (H, W, 3), uint8.
            marked: The same with the fingerprint, uint8.

        Returns:
            Its own figures, by the names of `figures`.
        """
        self._names.append(name)
        own: dict[str, float] = {}
        for scale in PIXELS_PER_DEGREE:
            found = visibility_of_image(original, marked, scale)
            own[f"scielab_p95_{scale}"] = found.p95.item()
            own[f"scielab_over2_{scale}"] = found.share.item()
        if len(self._names) <= self._models and min(original.shape[:2]) >= SSIMULACRA2_SIDE:
            x, y = (_central(image) for image in (original, marked))
            own["ssimulacra2"] = ssimulacra2(x, y)
            own["cvvdp"] = color_video_vdp(x, y)
        for figure, value in own.items():
            self._values[figure].append(value)
        return own

    @property
    def worst(self) -> str:
        """Name of the image whose change is the most visible at 60 pixels a degree; "" if none."""
        values = self._values[f"scielab_p95_{PIXELS_PER_DEGREE[0]}"]
        return self._names[int(np.argmax(values))] if values else ""

    def figures(self) -> dict[str, float]:
        """Return the figures; none without an image.

        Returns:
            For 60 and 20 pixels a degree the mean over the images of the 95th percentile of
            S-CIELAB, `scielab_p95_60`, and that of the worst image, `scielab_p95_60_worst`; the
            mean share of pixels over 2, `scielab_over2_60`. Where they are installed, `ssimulacra2`
            and `cvvdp` (JOD) with those of the worst image, `ssimulacra2_worst`, `cvvdp_worst`.
        """
        found: dict[str, float] = {}
        for name, values in self._values.items():
            found[name] = float(np.mean(values))
            if "_p95_" in name:
                found[f"{name}_worst"] = float(np.max(values))
            elif "_over2_" not in name:
                found[f"{name}_worst"] = float(np.min(values))
        return found


def describe_visibility(figures: Mapping[str, float], worst: str = "") -> str:
    """Return the figures of `VisibilitySummary.figures` as a line for the console.

    Args:
        figures: Figures of a set, others among them.
        worst: Name of the worst image, "" to leave it out.

    Example:
        >>> near = {"scielab_p95_20": 2.5, "scielab_p95_20_worst": 3, "scielab_over2_20": 0.08}
        >>> far = {"scielab_p95_60": 1.0, "scielab_p95_60_worst": 1.9, "scielab_over2_60": 0.01}
        >>> print(describe_visibility(near | far, "a.png"))
        visibility: S-CIELAB p95 1.00 (worst 1.90, a.png), 1.0% of pixels over 2; zoomed in 2.50
        (worst 3.00), 8.0%
    """
    parts = []
    for scale in PIXELS_PER_DEGREE:
        first = scale == PIXELS_PER_DEGREE[0]
        p95, largest = figures[f"scielab_p95_{scale}"], figures[f"scielab_p95_{scale}_worst"]
        which = f", {worst}" if worst and first else ""
        counted = " of pixels over 2" if first else ""
        parts.append(
            f"{'S-CIELAB p95' if first else 'zoomed in'} {p95:.2f} (worst {largest:.2f}{which}), "
            f"{figures[f'scielab_over2_{scale}']:.1%}{counted}"
        )
    if "ssimulacra2" in figures:
        parts.append(f"SSIMULACRA2 {figures['ssimulacra2']:.1f}")
        parts.append(f"ColorVideoVDP {figures['cvvdp']:.2f} JOD")
    return f"visibility: {'; '.join(parts)}"


def _central(image: np.ndarray) -> np.ndarray:
    top, left = (max(0, side - _MODEL_SIDE) // 2 for side in image.shape[:2])
    return np.ascontiguousarray(image[top : top + _MODEL_SIDE, left : left + _MODEL_SIDE])
