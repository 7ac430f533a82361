"""All perturbations by name."""

from __future__ import annotations

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
        Combination(),
    )
}
"""All perturbations by name, in the order of tables."""
