"""The removal attack on images of a source, one after the other, and what it costs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from artfp.core.errors import UserError
from artfp.data.pixels import as_batch, to_unit
from artfp.data.reading import Failed, UpperLeft, read_images
from artfp.data.sources import ImageSource
from artfp.metrics.fidelity import psnr
from artfp.passive.attributors.mean_residual import MeanResidual
from artfp.passive.residuals.residual_fingerprint import correlation
from artfp.passive_studies.removal.study import MODES, quantised, subtracted

ROUNDINGS = ("random", "nearest")


@dataclass(frozen=True)
class Attack:
    """What is subtracted, how many times, and how the result becomes 8-bit pixels."""

    strength: float = 1.0
    mode: str = MODES[0]
    rounding: str = ROUNDINGS[0]
    seed: int = 0
    """Of the random rounding."""

    def __post_init__(self) -> None:
        """Raises UserError: a word that is none of those, or a strength that is no number."""
        for what, value, words in (
            ("mode", self.mode, MODES),
            ("rounding", self.rounding, ROUNDINGS),
        ):
            if value not in words:
                raise UserError(f"{what} is {value!r}; choose one of {', '.join(words)}")
        if not abs(self.strength) < float("inf"):
            raise UserError(f"strength is {self.strength}; expected a number")


@dataclass(frozen=True)
class Attacked:
    """An image after the attack."""

    name: str
    pixels: NDArray[np.uint8] = field(repr=False)
    """(H, W, 3)."""
    psnr: float
    """Of it against the image before, in dB; 99 if nothing changed."""
    before: float
    """Correlation of the residual with the fingerprint before the attack."""
    after: float
    """And after it."""


def attacked(
    source: ImageSource,
    fingerprint: MeanResidual,
    attack: Attack,
    failed: Failed,
    device: torch.device | str = "cpu",
) -> Iterator[Attacked]:
    """Each image of the fingerprint's size after the attack; `failed` gets the others.

    Raises UserError: no image can be used.
    """
    mean = fingerprint.mean.to(device)
    generator = torch.Generator().manual_seed(attack.seed)
    done = False
    for image in read_images(source, failed, prepare=UpperLeft(fingerprint.size, exact=True)):
        x = as_batch(image.pixels).to(device)
        residual = fingerprint.extractor(x)
        held = residual if attack.mode == "projection" else None
        rounding = generator if attack.rounding == "random" else None
        pixels = quantised(subtracted(x, mean, attack.strength, held), rounding)
        y = to_unit(pixels)
        yield Attacked(
            image.name,
            pixels[0].permute(1, 2, 0).cpu().numpy(),
            float(psnr(x, y)),
            float(correlation(residual, mean[None])),
            float(correlation(fingerprint.extractor(y), mean[None])),
        )
        done = True
    if not done:
        raise UserError(f"{source.location}: no image can be used ({': '.join(failed[0])})")
