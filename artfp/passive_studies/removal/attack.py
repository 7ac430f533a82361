"""Removal of a source's residual fingerprint from its images, to measure how robust attribution is.

The attacker has an estimate of the fingerprint, from other images of the source, and subtracts a
multiple of it: the same for all images, or as much as each image's residual holds. Fingerprints are
often under one grey level, so that an image that is then rounded to the nearest level does not
change at all. Random rounding keeps the pattern on average, for noise of at most half a level.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from artfp.core.errors import UserError
from artfp.core.progress import Progress
from artfp.data.pixels import as_batch, to_unit
from artfp.data.reading import Failed, UpperLeft, read_images
from artfp.data.sources import ImageSource
from artfp.metrics.fidelity import psnr
from artfp.passive.attributors.mean_residual import MeanResidual
from artfp.passive.residuals.residual_fingerprint import correlation
from artfp.passive_studies.removal.settings import AttackSettings

_FLOAT_ERROR = 1e-3  # grey levels that float32 may lose


@dataclass(frozen=True)
class RemovalMeasurement:
    """Cost and effect of the attack on one image.

    Args:
        file: Name of the image.
        psnr: PSNR of the attacked image against the original, in dB; 99 if nothing changed.
        correlation_before: Correlation of noise residual and fingerprint before the attack.
        correlation_after: Correlation after it.

    Example:
        >>> RemovalMeasurement("a.png", 48.1, 0.4, 0.01).psnr
        48.1
    """

    file: str
    psnr: float
    correlation_before: float
    correlation_after: float


@dataclass(frozen=True)
class AttackedImage:
    """Image after the attack, with its measurement."""

    measurement: RemovalMeasurement
    pixels: NDArray[np.uint8] = field(repr=False)
    """(H, W, 3)."""


def attack_images(
    source: ImageSource,
    fingerprint: MeanResidual,
    attack: AttackSettings,
    failed: Failed,
    device: torch.device | str = "cpu",
) -> Iterator[AttackedImage]:
    """Yield each image of the fingerprint's size after the attack.

    Args:
        source: Images.
        fingerprint: Mean residual of their source.
        attack: Strength, mode and rounding.
        failed: Gets the images that cannot be used, with the reasons.
        device: Torch device.

    Raises:
        UserError: no image can be used.
    """
    mean = fingerprint.mean.to(device)
    generator = torch.Generator().manual_seed(attack.seed)
    rounding = generator if attack.rounding == "random" else None
    crop = UpperLeft(fingerprint.size, exact=True)
    used = False
    with Progress("Removing", len(source)) as progress:
        for image in read_images(
            source, failed, prepare=crop, progress=progress, orientation=False
        ):
            x = as_batch(image.pixels).to(device)
            residual = fingerprint.extractor(x)
            projected = residual if attack.mode == "projection" else None
            pixels = quantise(subtract_fingerprint(x, mean, attack.strength, projected), rounding)
            y = to_unit(pixels)
            measurement = RemovalMeasurement(
                image.name,
                float(psnr(x, y)),
                float(correlation(residual, mean[None])),
                float(correlation(fingerprint.extractor(y), mean[None])),
            )
            yield AttackedImage(measurement, pixels[0].permute(1, 2, 0).cpu().numpy())
            used = True
    if not used:
        raise UserError(f"{source.location}: no image can be used ({': '.join(failed[0])})")


def fingerprint_fraction(residuals: Tensor, fingerprint: Tensor) -> Tensor:
    """Return how much of a fingerprint (C, H, W) each residual (N, C, H, W) holds, (N,).

    By least squares, <R, F> / <F, F>, both without their means: 1 where the residual is the
    fingerprint plus something uncorrelated. 0 of a constant fingerprint.
    """
    pattern = (fingerprint - fingerprint.mean()).flatten().double()
    rows = residuals.flatten(1).double()
    energy = pattern.square().sum()
    fraction = (rows - rows.mean(1, keepdim=True)) @ pattern / energy.clamp_min(1e-300)
    return fraction.to(residuals.dtype)


def subtract_fingerprint(
    x: Tensor,
    fingerprint: Tensor,
    strength: float = 1.0,
    residuals: Tensor | None = None,
) -> Tensor:
    """Subtract `strength` times a fingerprint (C, H, W) from images (N, C, H, W).

    With `residuals` (N, C, H, W) of the images, that times the fraction of it that each holds. The
    result may leave [0, 1].
    """
    pattern = strength * fingerprint.to(x.device)
    if residuals is None:
        return x - pattern
    fraction = fingerprint_fraction(residuals, fingerprint.to(x.device))
    return x - fraction[:, None, None, None] * pattern


def quantise(x: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Quantise floats in [0, 1] to 8-bit pixels, clamped: at random with a generator, else nearest.

    Random rounding goes up with the probability of the fraction, so it is unbiased; whole levels
    stay. The generator is on the CPU, so that its pixels are the same on all devices.
    """
    levels = x.mul(255.0)
    whole = levels.round()
    levels = torch.where((levels - whole).abs() < _FLOAT_ERROR, whole, levels)
    if generator is not None:
        uniform = torch.rand(x.shape, generator=generator, dtype=torch.float64)
        whole = (levels.double() + uniform.to(x.device)).floor()
    return whole.clamp_(0.0, 255.0).to(torch.uint8)
