"""Figures of an encoder and a decoder on images, through 8-bit pixels and true operations."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

import numpy as np
import torch
from torch import Tensor

from artfp.data.decode import decode_image
from artfp.data.geometry import resize
from artfp.data.pixels import to_unit
from artfp.data.writing import encode_image
from artfp.metrics.fidelity import psnr, ssim
from artfp.metrics.perceptual import effnet_installed, perceptual_distance
from artfp.perturbations import PERTURBATIONS
from artfp.watermark import Decoder, Encoder
from artfp.watermark.networks.base import add_residual, limit_psnr

CONDITIONS: dict[str, tuple[str, float | None]] = {
    "mirror": ("mirror", 1.0),
    "jpeg90": ("jpeg", 90.0),
    "jpeg75": ("jpeg", 75.0),
    "jpeg50": ("jpeg", 50.0),
    "jpeg30": ("jpeg", 30.0),
    "webp75": ("webp", 75.0),
    "resize50": ("resize", 0.5),
    "blur1": ("blur", 1.0),
    "noise0.02": ("noise", 0.02),
    "noise0.05": ("noise", 0.05),
    "brightness0.5": ("brightness", 0.5),
    "brightness1.5": ("brightness", 1.5),
    "contrast0.5": ("contrast", 0.5),
    "contrast1.5": ("contrast", 1.5),
    "centre_crop10": ("centre_crop", 0.1),
    "random_crop": ("random_crop", None),
    "rotation10": ("rotation", 10.0),
    "screenshot": ("screenshot", 1.0),
    "combination": ("combination", 1.0),
}
"""What is done to fingerprinted images, by name: the perturbation and its strength, or None where
each image's own is drawn evenly from the perturbation's range."""

MIN_SIDE = 11
"""Pixels of the shorter side below which an image cannot be measured: the window of the SSIM."""

_BATCH, _PIXELS = 32, 1 << 21
_WINDOW = 2048


@torch.inference_mode()
def measure_images(
    encoder: Encoder,
    decoder: Decoder,
    images: Iterable[np.ndarray],
    seed: int = 0,
    strength: float = 1.0,
    min_psnr: float = 0.0,
) -> dict[str, float]:
    """Mean figures over 8-bit images (H, W, 3) of any size, each with random bits of its own.

    Every image keeps its size; what is decoded has been through a PNG file. The same seed and
    images give the same bits and draws at every `strength`, a factor on the residual, and
    `min_psnr`, what no image may fall under, in dB (see `artfp.watermark.weaken`). Networks
    are used on the CPU, as they are: put them in evaluation mode.

    Returns `images`, `psnr` (dB) and that of the worst image, `ssim`, `effnet_distance` where the
    extra `features` is installed (see `artfp.metrics.perceptual`; of the central 2048 pixels
    of longer sides), `bit_accuracy` unperturbed and the share of images read without any error,
    `bit_accuracy_<condition>` for each of CONDITIONS, applied at the image's size,
    `bit_accuracy_mean` over the unperturbed and all conditions, and `bit_accuracy_unmarked` (0.5
    is chance). Raises ValueError: no image, or one with a side under MIN_SIDE.
    """
    draws = torch.Generator().manual_seed(seed)
    found: dict[str, list[Tensor]] = defaultdict(list)
    for originals in batches(images):
        if min(originals.shape[1:3]) < MIN_SIDE:
            raise ValueError(f"an image has a side under {MIN_SIDE} pixels")
        words = torch.randint(0, 2, (len(originals), encoder.bits), generator=draws)
        pixels = torch.from_numpy(originals).permute(0, 3, 1, 2).contiguous()
        received = _through_files(_mark(encoder, pixels, words, strength, min_psnr))
        for name, values in _fidelity(pixels, received).items():
            found[name].append(values)
        found["bit_accuracy"].append(_accuracy(decoder, received, words))
        for name in CONDITIONS:
            changed = apply_condition(name, received, draws)
            found[f"bit_accuracy_{name}"].append(_accuracy(decoder, changed, words))
        found["bit_accuracy_unmarked"].append(_accuracy(decoder, pixels, words))
    if not found:
        raise ValueError("no image to measure on")
    whole = {name: torch.cat(values).double() for name, values in found.items()}
    means = {name: float(values.mean()) for name, values in whole.items()}
    read_names = ["bit_accuracy", *(f"bit_accuracy_{name}" for name in CONDITIONS)]
    means["bit_accuracy_mean"] = sum(means[name] for name in read_names) / len(read_names)
    means["psnr_worst"] = float(whole["psnr"].min())
    means["perfect_share"] = float((whole["bit_accuracy"] == 1.0).double().mean())
    rounded = {name: round(value, 6) for name, value in means.items()}
    return {"images": len(whole["psnr"]), **rounded}


def batches(images: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """8-bit images (H, W, 3) in stacks (N, H, W, 3) of equal sizes; each comes exactly once.

    N is at most 32, and 1 from two megapixels on. Images of rare sizes wait for others, until 16
    megapixels wait.
    """
    waiting: dict[tuple[int, ...], list[np.ndarray]] = defaultdict(list)

    def pixels(shape: tuple[int, ...]) -> int:
        return len(waiting[shape]) * shape[0] * shape[1]

    for image in images:
        shape = image.shape
        waiting[shape].append(image)
        if len(waiting[shape]) == _BATCH or pixels(shape) + shape[0] * shape[1] > _PIXELS:
            yield np.stack(waiting.pop(shape))
        elif sum(map(pixels, waiting)) > 8 * _PIXELS:
            yield np.stack(waiting.pop(max(waiting, key=pixels)))
    for group in waiting.values():
        yield np.stack(group)


def apply_condition(name: str, pixels: Tensor, generator: torch.Generator) -> Tensor:
    """8-bit images (N, 3, H, W) under one of CONDITIONS, truly applied; the shape stays."""
    perturbation, strength = PERTURBATIONS[CONDITIONS[name][0]], CONDITIONS[name][1]
    if strength is not None:
        return perturbation.true(pixels, strength, generator)
    strengths = perturbation.draw(len(pixels), generator).tolist()
    parts = zip(pixels.split(1), strengths, strict=True)
    return torch.cat([perturbation.true(one, own, generator) for one, own in parts])


@torch.inference_mode()
def decode_batch(decoder: Decoder, pixels: Tensor) -> Tensor:
    """The bits (N, bits), int64, that 8-bit images (N, 3, H, W) of any size decode to."""
    return (decode_logits(decoder, pixels) > 0).long()


@torch.inference_mode()
def decode_logits(decoder: Decoder, pixels: Tensor) -> Tensor:
    """The logits (N, bits) of 8-bit images (N, 3, H, W) of any size."""
    aspect = pixels.shape[-2] / pixels.shape[-1]
    small = network_input(pixels, decoder.resolution)
    return decoder.decode(small, torch.full((len(small),), aspect))[0]


def _mark(
    encoder: Encoder, pixels: Tensor, words: Tensor, strength: float, min_psnr: float
) -> Tensor:
    """Images (N, 3, H, W) with words (N, bits) in them; both 8-bit."""
    residual = encoder.residual(network_input(pixels, encoder.resolution), words.float())
    return add_residual(pixels, limit_psnr(residual * strength, min_psnr))


def _through_files(pixels: Tensor) -> Tensor:
    """8-bit images (N, 3, H, W) written as PNG files and read again."""
    images = pixels.permute(0, 2, 3, 1).contiguous().numpy()
    read_again = np.stack([decode_image(encode_image(image)).pixels for image in images])
    return torch.from_numpy(read_again).permute(0, 3, 1, 2).contiguous()


def _fidelity(pixels: Tensor, received: Tensor) -> dict[str, Tensor]:
    """PSNR, SSIM and, if installed, the perceptual distance of each image (N, 3, H, W)."""
    x, y = to_unit(pixels), to_unit(received)
    values = {"psnr": psnr(y, x), "ssim": ssim(y, x)}
    if effnet_installed():
        values["effnet_distance"] = perceptual_distance(_central(y), _central(x))
    return values


def _central(x: Tensor) -> Tensor:
    """The middle of images (N, 3, H, W), at most 2048 pixels a side."""
    for axis in (2, 3):
        side = x.shape[axis]
        x = x.narrow(axis, max(0, side - _WINDOW) // 2, min(side, _WINDOW))
    return x


def network_input(pixels: Tensor, side: int) -> Tensor:
    """8-bit images (N, 3, H, W) as the networks get them: (N, 3, side, side) in [0, 1]."""
    if tuple(pixels.shape[-2:]) != (side, side):
        images = pixels.permute(0, 2, 3, 1).contiguous().numpy()
        small = np.stack([resize(image, (side, side)) for image in images])
        pixels = torch.from_numpy(small).permute(0, 3, 1, 2)
    return to_unit(pixels.contiguous())


def _accuracy(decoder: Decoder, pixels: Tensor, words: Tensor) -> Tensor:
    """Share (N,) of the words (N, bits) that is read from 8-bit images (N, 3, H, W)."""
    return (decode_batch(decoder, pixels) == words).double().mean(dim=1)
