"""All perturbations by name."""

from __future__ import annotations

from functools import cache

from artfp.core.plugins import with_plugins
from artfp.perturbations.base import Perturbation
from artfp.perturbations.chains import Combination, Screenshot
from artfp.perturbations.codec import Jpeg, Webp
from artfp.perturbations.frequency import Blur, LowPass, Residual
from artfp.perturbations.geometric import CentreCrop, Mirror, RandomCrop, ResizeBack, Rotation
from artfp.perturbations.local import Erase, Relight
from artfp.perturbations.photometric import (
    Brightness,
    Contrast,
    Gamma,
    Hue,
    Noise,
    Quantise,
    Saturation,
)
from artfp.perturbations.super_resolution import SuperResolution

PERTURBATIONS: dict[str, Perturbation] = {
    perturbation.name: perturbation
    for perturbation in (
        Jpeg(),
        Webp(),
        ResizeBack(),
        Blur(),
        Noise(),
        Quantise(),
        LowPass(),
        Residual(),
        Mirror(),
        CentreCrop(),
        RandomCrop(),
        Rotation(),
        Erase(),
        Brightness(),
        Contrast(),
        Gamma(),
        Saturation(),
        Hue(),
        Relight(),
        Screenshot(),
        SuperResolution(),
        Combination(),
    )
}
"""artfp's perturbations by name, in the order of tables; Latent needs weights that the user has."""


@cache
def known_perturbations() -> dict[str, Perturbation]:
    """Return all perturbations by name: artfp's, and those of other packages.

    A package adds one by the entry point `artfp.perturbations`, which names a subclass of
    `Perturbation` (or an object of one) whose `name` is that of the entry.

    Example:
        >>> known_perturbations()["jpeg"].levels
        (90.0, 75.0, 50.0, 30.0, 20.0, 10.0)
    """
    return with_plugins("artfp.perturbations", PERTURBATIONS, _as_perturbation)


def _as_perturbation(found: object) -> Perturbation | None:
    """Return what an entry point names as a perturbation, None if it is none."""
    made = found() if isinstance(found, type) and issubclass(found, Perturbation) else found
    return made if isinstance(made, Perturbation) and made.name and made.levels else None
