"""Will weights transfer to a generator? A forecast that trains none.

A generator that is trained on fingerprinted images never sees an original, and learns first what
the fingerprint does to all of them: the mean residual. So the forecast is the bit accuracy of
*transplants*: images that were never fingerprinted, plus nothing but the mean residual of others
that carry one fingerprint. Mirrored and plain residuals are averaged, as trainings mirror images.
The part of a residual that depends on its image is lost in this, as at first in a generator.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from artfp.data.pixels import to_unit
from artfp.metrics.fidelity import psnr
from artfp.transfer.decoded import bit_accuracies
from artfp.watermark import Decoder, Encoder
from artfp.watermark.api import decode_logits, network_input
from artfp.watermark.networks.base import add_residual

LEAST = 16
"""Images that a forecast needs."""

EARLY = 0.25
"""Share of the mean residual of the early forecast."""

_BATCH = 128


@dataclass(frozen=True)
class Forecast:
    """What transplants of `words` random fingerprints say.

    `psnr` in dB and `bit_accuracy` of images that are fingerprinted as usual; `transplanted`, the
    forecast of what a generator can come to; `early`, the same with a quarter of the mean residual,
    which orders weights by how soon they come through; `worst`, the forecast of the worst word;
    `constant`, the share of the residuals' energy that lies in their mean, 0 to 1.
    """

    images: int
    words: int
    psnr: float
    bit_accuracy: float
    transplanted: float
    early: float
    worst: float
    constant: float


@torch.inference_mode()
def forecast(
    encoder: Encoder,
    decoder: Decoder,
    images: Tensor,
    words: int = 8,
    seed: int = 0,
    strength: float = 1.0,
) -> Forecast:
    """The forecast on 8-bit images (N, 3, H, W): one half lends its residuals to the other.

    Networks are used on the CPU, as they are: put them in evaluation mode. `seed` draws the words.
    Raises ValueError: fewer than LEAST images.
    """
    if len(images) < LEAST:
        raise ValueError(f"{len(images)} images; a forecast needs {LEAST}")
    givers, takers = images[: len(images) // 2], images[len(images) // 2 :]
    draws = torch.Generator().manual_seed(seed)
    found: dict[str, list[float]] = {
        name: [] for name in ("psnr", "own", "moved", "early", "share")
    }
    for _ in range(words):
        word = torch.randint(0, 2, (encoder.bits,), generator=draws)
        key = word.numpy().astype(np.uint8)
        residuals = strength * torch.cat(
            [
                encoder.residual(
                    network_input(part, encoder.resolution), word.float().expand(len(part), -1)
                )
                for part in givers.split(_BATCH)
            ]
        )
        marked = add_residual(givers, residuals)
        mean = residuals.mean(dim=0, keepdim=True)
        mirrored = ((mean + mean.flip(-1)) / 2.0).expand(len(takers), -1, -1, -1)
        found["psnr"].append(float(psnr(to_unit(marked), to_unit(givers)).mean()))
        found["own"].append(_accuracy(decoder, marked, key))
        found["moved"].append(_accuracy(decoder, add_residual(takers, mirrored), key))
        found["early"].append(_accuracy(decoder, add_residual(takers, EARLY * mirrored), key))
        energy = residuals.square().mean().clamp_min(1e-12)
        found["share"].append(float(mean.square().mean() / energy))
    means = {name: float(np.mean(values)) for name, values in found.items()}
    return Forecast(
        images=len(images),
        words=words,
        psnr=means["psnr"],
        bit_accuracy=means["own"],
        transplanted=means["moved"],
        early=means["early"],
        worst=min(found["moved"]),
        constant=means["share"],
    )


def _accuracy(decoder: Decoder, pixels: Tensor, word: NDArray[np.uint8]) -> float:
    logits = torch.cat([decode_logits(decoder, part) for part in pixels.split(_BATCH)])
    return float(bit_accuracies(logits.numpy(), word).mean())
