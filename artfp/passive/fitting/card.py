"""Card of a fitted attributor: data, settings, choices, validation, leakage, software."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

import numpy as np

from artfp.data.tables import round_significant
from artfp.passive.fitting.image_set import AS_IS, FOLDS, QUALITIES, ImageSet
from artfp.passive.fitting.leakage import Leakage
from artfp.passive.fitting.select import METHODS, FitResult, trial_records

_COPIES = "JPEG of qualities from {} to {}".format(*QUALITIES)
_PACKAGES = ("numpy", "scikit-learn", "scipy", "torch")


def describe_fit(
    image_set: ImageSet,
    found: FitResult,
    leakage: Sequence[Leakage],
    settings: dict[str, Any],
    about: str | None = None,
) -> dict[str, Any]:
    """Return metadata of a fitted attributor as JSON values.

    `about` describes the method if it is none of METHODS.
    """
    copies = found.recompressed
    originals = image_set.labels[image_set.states == AS_IS]
    counts = np.bincount(originals, minlength=len(image_set.sources)).tolist()
    whole = {
        "method": found.chosen,
        "about": about or METHODS[found.chosen],
        "settings": settings,
        "data": {
            name: {
                "images": counts[k],
                "sizes": dict(image_set.sizes[name].most_common()),
                "codecs": dict(image_set.codecs[name].most_common()),
            }
            for k, name in enumerate(image_set.sources)
        },
        "fitted_to": "images as they are" + (f" and copies after {_COPIES}" if copies else ""),
        "unusable": len(image_set.failed),
        "leakage": [{**asdict(finding), "text": str(finding)} for finding in leakage],
        "tried": {
            "methods": trial_records(found.methods),
            **{method: trial_records(trials) for method, trials in found.extractors.items()},
        },
        "validation": {
            "folds": FOLDS,
            **asdict(found.validation),
            "recompressed": asdict(copies) if copies else None,
        },
        "software": {
            "python": platform.python_version(),
            **{package: version(package) for package in _PACKAGES},
        },
    }
    metadata: dict[str, Any] = round_significant(whole)
    return metadata
