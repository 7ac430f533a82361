"""Forecast of whether weights transfer to a generator, without training one.

A generator that is trained on fingerprinted images never sees an original, and learns first what
the fingerprint does to all of them: the mean residual. So the forecast is the bit accuracy of
*transplants*: images that were never fingerprinted, plus nothing but the mean residual of others
that carry one fingerprint. Mirrored and plain residuals are averaged where trainings mirror images.
The part of a residual that depends on its image is lost in this, as at first in a generator.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from artfp import __version__
from artfp.core.errors import UserError
from artfp.data.bundle import find_decoder, find_weights
from artfp.data.files import write_atomic
from artfp.data.geometry import Geometry
from artfp.data.paths import file_hash
from artfp.data.pixels import to_unit
from artfp.data.reading import Failed, load_images
from artfp.data.sources import open_source
from artfp.data.subset import limit_images
from artfp.metrics.fidelity import psnr
from artfp.transfer.decoded import bit_accuracies
from artfp.transfer.settings import MIN_FORECAST_IMAGES, ForecastSettings
from artfp.watermark import Decoder, Encoder, load_decoder, load_encoder
from artfp.watermark.api import decode_logits, network_input
from artfp.watermark.networks.base import add_residual

EARLY = 0.25
"""Fraction of the mean residual of the early forecast."""

_BATCH = 128


@dataclass(frozen=True)
class Forecast:
    """Figures of transplants of `words` random fingerprints.

    `psnr` in dB and `bit_accuracy` of images that are fingerprinted as usual; `transplanted`, the
    forecast of what a generator can come to; `early`, the same with a quarter of the mean residual,
    which orders weights by how soon they come through; `worst`, that of the worst fingerprint;
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
    mirror: bool = True,
) -> Forecast:
    """Return the forecast on 8-bit images (N, 3, H, W): one half lends its residuals to the other.

    Networks are used on the CPU; put them in evaluation mode. `seed` draws the fingerprints;
    `mirror` is whether the generator's training mirrors images.
    Raises ValueError: fewer than MIN_FORECAST_IMAGES images.
    """
    if len(images) < MIN_FORECAST_IMAGES:
        raise ValueError(f"{len(images)} images; a forecast needs {MIN_FORECAST_IMAGES}")
    givers, takers = images[: len(images) // 2], images[len(images) // 2 :]
    draws = torch.Generator().manual_seed(seed)
    found: dict[str, list[float]] = {
        name: [] for name in ("psnr", "own", "moved", "early", "share")
    }
    for _ in range(words):
        message = torch.randint(0, 2, (encoder.bits,), generator=draws)
        fingerprint = message.numpy().astype(np.uint8)
        residuals = strength * torch.cat(
            [
                encoder.residual(
                    network_input(part, encoder.resolution), message.float().expand(len(part), -1)
                )
                for part in givers.split(_BATCH)
            ]
        )
        marked = add_residual(givers, residuals)
        mean = residuals.mean(dim=0, keepdim=True)
        learnt = (mean + mean.flip(-1)) / 2.0 if mirror else mean
        learnt = learnt.expand(len(takers), -1, -1, -1)
        found["psnr"].append(float(psnr(to_unit(marked), to_unit(givers)).mean()))
        found["own"].append(_accuracy(decoder, marked, fingerprint))
        found["moved"].append(_accuracy(decoder, add_residual(takers, learnt), fingerprint))
        found["early"].append(_accuracy(decoder, add_residual(takers, EARLY * learnt), fingerprint))
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


def _accuracy(decoder: Decoder, pixels: Tensor, fingerprint: NDArray[np.uint8]) -> float:
    logits = torch.cat([decode_logits(decoder, part) for part in pixels.split(_BATCH)])
    return float(bit_accuracies(logits.numpy(), fingerprint).mean())


@dataclass(frozen=True)
class ForecastResult:
    """Result of `forecast_transfer`.

    Args:
        forecast: The figures.
        failed: Names of images that could not be used, with the reasons.
    """

    forecast: Forecast
    failed: Failed

    def lines(self) -> list[str]:
        """Return the figures in sentences."""
        found = self.forecast
        return [
            f"fingerprinted: bit accuracy {found.bit_accuracy:.4f} at {found.psnr:.2f} dB",
            f"forecast after transfer: bit accuracy {found.transplanted:.4f} (worst of "
            f"{found.words} fingerprints {found.worst:.4f})",
            f"with a quarter of the mean residual {found.early:.4f}: compare weights by it, those "
            "with more transfer sooner",
            f"{found.constant:.0%} of the residual is the same in all images",
        ]


def forecast_transfer(settings: ForecastSettings) -> ForecastResult:
    """Forecast, without a generator, how well weights transfer; write the figures as JSON.

    A generator learns first what the residuals of one fingerprint have in common: the mean residual
    of some images is put into others, and these are decoded.

    Args:
        settings: Images, weights, resolution of the generator.

    Returns:
        The figures, and the images that could not be used.

    Raises:
        UserError: too few usable images.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> import numpy as np
        >>> from PIL import Image
        >>> draws = np.random.default_rng(0)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     photos = Path(folder, "photos")
        ...     photos.mkdir()
        ...     for i in range(16):
        ...         pixels = draws.integers(0, 256, (32, 32, 3), dtype=np.uint8)
        ...         Image.fromarray(pixels).save(photos / f"{i}.png")
        ...     settings = ForecastSettings(data_dir=str(photos), images=16, fingerprints=1)
        ...     found = forecast_transfer(settings).forecast
        >>> found.images, 0.5 < found.transplanted < found.bit_accuracy < 1.0
        (16, True)
    """
    encoder, _ = load_encoder(
        settings.encoder_path, settings.image_resolution, settings.decoder_path
    )
    name = settings.decoder_path or find_decoder(settings.encoder_path)
    decoder, _ = load_decoder(name, settings.realign)
    source = limit_images(open_source(settings.data_dir), settings.images)
    resolution = settings.image_resolution or encoder.resolution
    pixels, failed = load_images(source, Geometry(resolution), settings.images)
    if len(pixels) < MIN_FORECAST_IMAGES:
        raise UserError(
            f"{settings.data_dir} has {len(pixels)} usable images; a forecast needs "
            f"{MIN_FORECAST_IMAGES}"
        )
    found = forecast(
        encoder,
        decoder,
        pixels,
        settings.fingerprints,
        settings.seed,
        settings.strength,
        settings.mirror,
    )
    if settings.output is not None:
        facts = {
            "artfp": "transfer predict",
            "software": f"artfp {__version__}",
            "encoder": file_hash(find_weights(settings.encoder_path, "encoder")),
            "decoder": file_hash(find_weights(name, "decoder")),
            "realign": settings.realign,
            "mirror": settings.mirror,
            **asdict(found),
        }
        write_atomic(settings.output, json.dumps(facts, indent=2) + "\n")
    return ForecastResult(found, failed)
