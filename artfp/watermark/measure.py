"""Fidelity and bit accuracy of an encoder and its decoder, on 8-bit pixels with real operations."""

from __future__ import annotations

import json
import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from artfp.core.command import count_images
from artfp.core.errors import UserError
from artfp.core.progress import Progress
from artfp.data.bundle import find_decoder, find_weights
from artfp.data.decode import decode_image
from artfp.data.files import write_atomic
from artfp.data.geometry import Geometry, crop_to_shape
from artfp.data.image_files import ImageError
from artfp.data.paths import file_hash
from artfp.data.pixels import to_unit
from artfp.data.reading import Failed, LoadedImage, batch_images, read_images, stack_pixels
from artfp.data.sources import open_source
from artfp.data.train_module import split_names
from artfp.data.writing import encode_image
from artfp.metrics.fidelity import psnr, ssim
from artfp.metrics.perceptual import effnet_installed, perceptual_distance
from artfp.metrics.visibility_models import visibility_models_installed
from artfp.metrics.visibility_summary import VisibilitySummary
from artfp.nn.autoencoder_weights import autoencoder_hashes, load_latent_autoencoder
from artfp.perturbations.latent import Latent
from artfp.watermark.api import decode_batch, network_input
from artfp.watermark.measure_conditions import CONDITIONS, apply_condition, measured_conditions
from artfp.watermark.networks.base import Decoder, Encoder, add_residual, limit_psnr
from artfp.watermark.settings import MeasureSettings
from artfp.watermark.weights import check_same_bits, load_decoder, load_encoder

MIN_SIDE = 11
"""Pixels of the shorter side below which an image cannot be measured: the window of the SSIM."""

_BATCH_PIXELS = 1 << 21
_WINDOW = 2048

Figures = dict[str, float]
"""Mean figures by name, see `measure_images`."""

_log = logging.getLogger("artfp")


@dataclass(frozen=True)
class Measurements:
    """Figures of an encoder and its decoder at each size and strength.

    Attributes:
        figures: By label: the size, the strength, or both; see `measure_images`.
        failed: Names of images that could not be used, with the reasons.
        worst: Name of the image with the most visible fingerprint, by label.

    Example:
        >>> Measurements({}, [("a.png", "empty file")]).failed
        [('a.png', 'empty file')]
    """

    figures: dict[str, Figures]
    failed: Failed
    worst: dict[str, str] = field(default_factory=dict)


def measure_folder(settings: MeasureSettings) -> Measurements:
    """Measure an encoder and its decoder on a set of images.

    Args:
        settings: Weights, images, sizes and strengths.

    Returns:
        Mean figures at each size and strength; they are also in `settings.output`, if given.

    Raises:
        UserError: weights or images cannot be used, or the figures cannot be written.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Image.new("RGB", (32, 32), "gray").save(f"{folder}/gray.png")
        ...     settings = MeasureSettings(encoder_path="cifar32", data_dir=folder)
        ...     found = measure_folder(settings)
        >>> found.figures["own size"]["images"]
        1
    """
    size = settings.image_resolution
    encoder, _ = load_encoder(settings.encoder_path, size, settings.decoder_path)
    decoder_path = settings.decoder_path or find_decoder(settings.encoder_path)
    decoder, _ = load_decoder(decoder_path, settings.realign, resolution=size)
    check_same_bits(encoder, decoder, settings.encoder_path, str(decoder_path))
    images, latent, hashes = _Images(settings), None, None
    if settings.latent_autoencoder is not None:
        hashes = autoencoder_hashes(settings.latent_autoencoder)
        latent = Latent(load_latent_autoencoder(settings.latent_autoencoder))
    if not effnet_installed():
        _log.info("without effnet_distance; for it: pip install 'artfp[features]'")
    if not visibility_models_installed():
        _log.info("without ssimulacra2 and cvvdp; for them: pip install 'artfp[visibility]'")
    strengths: list[float | None] = [*dict.fromkeys(settings.strengths)] or [None]
    figures: dict[str, Figures] = {}
    worst: dict[str, str] = {}
    runs = [(shape, strength) for shape in settings.shapes for strength in strengths]
    with Progress("Measuring", len(images.indices) * len(runs)) as images.progress:
        for shape, strength in runs:
            seen = VisibilitySummary()
            found = measure_images(
                encoder,
                decoder,
                images.at(shape),
                strength=1.0 if strength is None else strength,
                min_psnr=settings.min_psnr,
                latent=latent,
                seen=seen,
            )
            worst[_label(shape, strength)] = seen.worst
            given = {} if strength is None else {"strength": strength}
            figures[_label(shape, strength)] = {**given, **found}
    if settings.output is not None:
        whole = {
            "encoder": file_hash(find_weights(settings.encoder_path, "encoder")),
            "decoder": file_hash(find_weights(decoder_path, "decoder")),
            "realign": settings.realign,
            "data": Path(settings.data_dir).name,
            "image_resolution": settings.image_resolution,
            "validation_only": settings.validation_only,
            "min_psnr": settings.min_psnr,
            **({} if hashes is None else {"latent_autoencoder": hashes}),
            "figures": figures,
            "worst": worst,
        }
        write_atomic(settings.output, json.dumps(whole, indent=2) + "\n")
    return Measurements(figures, list(images.failed.items()), worst)


class _Images:
    """Images of a set at any size; those that could not be used, with the reasons."""

    def __init__(self, settings: MeasureSettings) -> None:
        self.source = open_source(settings.data_dir)
        indices = list(range(len(self.source)))
        if settings.validation_only:
            indices = split_names(self.source.names)[1]
        self.indices = indices[: settings.limit]
        self.geometry = Geometry(settings.image_resolution)
        self.failed: dict[str, str] = {}
        self.progress: Progress | None = None

    def at(self, shape: tuple[int, int] | None) -> Iterator[LoadedImage]:
        """Yield the images at one size (H, W), or their own.

        Raises UserError: none can be used.
        """

        def prepare(pixels: np.ndarray) -> np.ndarray:
            pixels = self.geometry(pixels)
            pixels = pixels if shape is None else crop_to_shape(pixels, shape)
            height, width = pixels.shape[:2]
            if min(height, width) < MIN_SIDE:
                raise ImageError(f"{width}x{height} is too small, {MIN_SIDE} a side is least")
            return pixels

        failed: Failed = []
        used = 0
        for image in read_images(self.source, failed, self.indices, prepare, self.progress):
            used += 1
            yield image
        self.failed.update(failed)
        if not used:
            reason = next(iter(self.failed.values()), "nothing there")
            raise UserError(
                f"{self.source.location}: none of {count_images(len(self.indices))} can be used; "
                f"the first: {reason}"
            )


def _label(shape: tuple[int, int] | None, strength: float | None) -> str:
    """Return the label of figures: the size, the strength, or both."""
    parts = [] if shape is None else [f"{shape[1]}x{shape[0]}"]
    parts += [] if strength is None else [f"strength {strength:g}"]
    return ", ".join(parts) or "own size"


@torch.inference_mode()
def measure_images(
    encoder: Encoder,
    decoder: Decoder,
    images: Iterable[np.ndarray | LoadedImage],
    seed: int = 0,
    strength: float = 1.0,
    min_psnr: float = 0.0,
    latent: Latent | None = None,
    seen: VisibilitySummary | None = None,
) -> Figures:
    """Measure an encoder and its decoder on images, each with a random message of its own.

    Every image keeps its size; what is decoded has been through a PNG file. The same seed and
    images give the same messages and draws at every `strength` and `min_psnr`. Networks are used on
    the CPU, as they are: put them in evaluation mode.

    Args:
        encoder: Encoder.
        decoder: Decoder of the same number of bits.
        images: 8-bit images (H, W, 3) of any size.
        seed: Seed of messages and perturbations.
        strength: Factor on the watermark residual.
        min_psnr: PSNR in dB that no image falls below; 0 is no limit.
        latent: Latent autoencoder through which images go as one more condition.
        seen: Gets the visibility of each image, with its name.

    Returns:
        `images`, `psnr` (dB) and that of the worst image, `ssim`, `effnet_distance` where the extra
        `features` is installed (see `artfp.metrics.perceptual`; of the central 2048 pixels of
        longer sides), those of `artfp.metrics.visibility_summary.VisibilitySummary`,
        `bit_accuracy` unperturbed and the fraction of images decoded without any error,
        `bit_accuracy_<condition>` for each of `measured_conditions`, applied at the image's size,
        `bit_accuracy_mean` over the unperturbed and all CONDITIONS, without those of other packages
        and MORE_CONDITIONS, `bit_accuracy_latent` with `latent` (without noise), and
        `bit_accuracy_unmarked` (0.5 is chance).

    Raises:
        ValueError: there is no image, or one with a side below MIN_SIDE.
    """
    rng, conditions = torch.Generator().manual_seed(seed), measured_conditions()
    # What is measured beside CONDITIONS draws by itself: it must not change their draws.
    draws = {name: torch.Generator().manual_seed(seed) for name in conditions}
    draws |= dict.fromkeys(CONDITIONS, rng)
    found: dict[str, list[Tensor]] = defaultdict(list)
    seen = VisibilitySummary() if seen is None else seen
    for batch in batch_images(_named(images), pixels=_BATCH_PIXELS):
        pixels = stack_pixels([image.pixels for image in batch])
        if min(pixels.shape[2:]) < MIN_SIDE:
            raise ValueError(f"an image has a side under {MIN_SIDE} pixels")
        messages = torch.randint(0, 2, (len(pixels), encoder.bits), generator=rng)
        received = _through_files(_mark(encoder, pixels, messages, strength, min_psnr))
        for name, values in _fidelity(pixels, received).items():
            found[name].append(values)
        for image, marked in zip(batch, received.permute(0, 2, 3, 1), strict=True):
            seen.add(image.name, image.pixels, marked.contiguous().numpy())
        found["bit_accuracy"].append(_accuracy(decoder, received, messages))
        for name in conditions:
            changed = apply_condition(name, received, draws[name])
            found[f"bit_accuracy_{name}"].append(_accuracy(decoder, changed, messages))
        if latent is not None:
            decoded = latent.real(received, 0.0, torch.Generator())
            found["bit_accuracy_latent"].append(_accuracy(decoder, decoded, messages))
        found["bit_accuracy_unmarked"].append(_accuracy(decoder, pixels, messages))
    if not found:
        raise ValueError("no image to measure on")
    whole = {name: torch.cat(values).double() for name, values in found.items()}
    means = {name: float(values.mean()) for name, values in whole.items()}
    accuracies = ["bit_accuracy", *(f"bit_accuracy_{name}" for name in CONDITIONS)]
    means["bit_accuracy_mean"] = sum(means[name] for name in accuracies) / len(accuracies)
    means["psnr_worst"] = float(whole["psnr"].min())
    means["perfect_share"] = float((whole["bit_accuracy"] == 1.0).double().mean())
    means |= seen.figures()
    rounded = {name: round(value, 6) for name, value in means.items()}
    return {"images": len(whole["psnr"]), **rounded}


def _named(images: Iterable[np.ndarray | LoadedImage]) -> Iterator[LoadedImage]:
    """Yield images, with their number as the name of those that have none."""
    for number, image in enumerate(images):
        if isinstance(image, LoadedImage):
            yield image
        else:
            size = (image.shape[0], image.shape[1])
            yield LoadedImage(number, str(number), b"", image, size)


def _mark(
    encoder: Encoder, pixels: Tensor, messages: Tensor, strength: float, min_psnr: float
) -> Tensor:
    """Return images (N, 3, H, W) with messages (N, bits) in them; both 8-bit."""
    residual = encoder.residual(network_input(pixels, encoder.resolution), messages.float())
    return add_residual(pixels, limit_psnr(residual * strength, min_psnr))


def _through_files(pixels: Tensor) -> Tensor:
    """Return 8-bit images (N, 3, H, W) written as PNG files and read again."""
    images = pixels.permute(0, 2, 3, 1).contiguous().numpy()
    return stack_pixels([decode_image(encode_image(image)).pixels for image in images])


def _fidelity(pixels: Tensor, received: Tensor) -> dict[str, Tensor]:
    """Return PSNR, SSIM and, if installed, the perceptual distance of images (N, 3, H, W)."""
    x, y = to_unit(pixels), to_unit(received)
    values = {"psnr": psnr(y, x), "ssim": ssim(y, x)}
    if effnet_installed():
        values["effnet_distance"] = perceptual_distance(_central(y), _central(x))
    return values


def _central(x: Tensor) -> Tensor:
    """Return the centre of images (N, 3, H, W), at most 2048 pixels a side."""
    for axis in (2, 3):
        side = x.shape[axis]
        x = x.narrow(axis, max(0, side - _WINDOW) // 2, min(side, _WINDOW))
    return x


def _accuracy(decoder: Decoder, pixels: Tensor, messages: Tensor) -> Tensor:
    """Return the fraction (N,) of messages (N, bits) decoded from 8-bit images (N, 3, H, W)."""
    return (decode_batch(decoder, pixels) == messages).double().mean(dim=1)
