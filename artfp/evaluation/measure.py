"""Figures of an encoder and a decoder on images, through 8-bit pixels and true operations."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import numpy as np
import torch

from artfp.data.decode import decode_image
from artfp.data.pixels import as_batch
from artfp.data.writing import encode_image
from artfp.evaluation.fidelity import psnr, ssim
from artfp.models import Decoder, Encoder, fingerprint_image, read_image
from artfp.perturbations import Blur, Brightness, Jpeg, Mirror, Noise, Perturbation, ResizeBack

CONDITIONS: dict[str, tuple[Perturbation, float]] = {
    "mirror": (Mirror(), 1.0),
    "jpeg90": (Jpeg(), 90.0),
    "jpeg75": (Jpeg(), 75.0),
    "jpeg50": (Jpeg(), 50.0),
    "resize75": (ResizeBack(), 0.75),
    "resize50": (ResizeBack(), 0.5),
    "blur1": (Blur(), 1.0),
    "noise0.02": (Noise(), 0.02),
    "brightness0.8": (Brightness(), 0.8),
}
"""What is done to fingerprinted images, by name: the perturbation and its strength."""


@torch.inference_mode()
def measure(
    encoder: Encoder, decoder: Decoder, images: Iterable[np.ndarray], seed: int = 0
) -> dict[str, float]:
    """Mean figures over 8-bit images (H, W, 3) of any size, each with random bits of its own.

    Every image keeps its size; what is decoded has been through a PNG file.

    Returns `images`, `psnr` (dB) and that of the worst image, `ssim`, `bit_accuracy` unperturbed
    and the share of images read without any error, `bit_accuracy_<condition>` for each of
    CONDITIONS, applied at the image's size, and `bit_accuracy_unmarked` (0.5 is chance). Raises
    ValueError without an image.
    """
    draws = torch.Generator().manual_seed(seed)
    sums: dict[str, float] = defaultdict(float)
    worst, perfect, count = 99.0, 0, 0
    for original in images:
        word = torch.randint(0, 2, (encoder.bits,), generator=draws).numpy().astype(np.uint8)
        marked = fingerprint_image(encoder, original, word)
        received = decode_image(encode_image(marked)).pixels
        x, y = as_batch(original), as_batch(received)
        fidelity, read = float(psnr(y, x)), _accuracy(decoder, received, word)
        worst, perfect, count = min(worst, fidelity), perfect + (read == 1.0), count + 1
        sums["psnr"] += fidelity
        sums["ssim"] += float(ssim(y, x))
        sums["bit_accuracy"] += read
        pixels = torch.from_numpy(received).permute(2, 0, 1).unsqueeze(0)
        for name, (perturbation, strength) in CONDITIONS.items():
            changed = perturbation.true(pixels, strength, draws)[0].permute(1, 2, 0)
            sums[f"bit_accuracy_{name}"] += _accuracy(decoder, changed.numpy(), word)
        sums["bit_accuracy_unmarked"] += _accuracy(decoder, original, word)
    if not count:
        raise ValueError("no image to measure on")
    means = {name: round(total / count, 6) for name, total in sums.items()}
    shares = {"psnr_worst": round(worst, 6), "perfect_share": round(perfect / count, 6)}
    return {"images": count, **means, **shares}


def _accuracy(decoder: Decoder, pixels: np.ndarray, word: np.ndarray) -> float:
    """Share of a word (bits,) read from an 8-bit image (H, W, 3) of any size."""
    return float((read_image(decoder, pixels) == word).mean())
