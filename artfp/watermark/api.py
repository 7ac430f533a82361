"""One image at a time: the same as the prediction loops do, without files.

from PIL import Image
from artfp.ownership.key import Key
from artfp.watermark import Watermark

pair, key = Watermark.load("photo128"), Key.draw()
marked = pair.embed(Image.open("photo.jpg"), key.fingerprint(pair.bits))
print(pair.detect(marked, key.fingerprint(pair.bits)))
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from artfp.data.bundle import (
    find_decoder,
)
from artfp.data.decode import decode_picture
from artfp.data.geometry import resize
from artfp.data.pixels import as_batch
from artfp.stats import format_p, log_p_value
from artfp.watermark.networks.base import Decoder, Encoder, add_residual, limit_psnr
from artfp.watermark.weights import (
    load_decoder,
    load_encoder,
)


@torch.inference_mode()
def fingerprint_image(
    encoder: Encoder,
    pixels: np.ndarray,
    word: NDArray[np.uint8],
    strength: float = 1.0,
    min_psnr: float = 0.0,
) -> np.ndarray:
    """An 8-bit image (H, W, 3) of any size with a fingerprint (bits,) in it; the size stays.

    Args: `strength`, a factor on the residual; `min_psnr` in dB, see
    `artfp.watermark.networks.base.weaken`.
    """
    small = as_batch(resize(pixels, (encoder.resolution, encoder.resolution)))
    residual = encoder.residual(small, torch.from_numpy(word).float().unsqueeze(0))
    residual = limit_psnr(residual * strength, min_psnr)
    image = torch.from_numpy(pixels).permute(2, 0, 1).unsqueeze(0)
    return add_residual(image, residual)[0].permute(1, 2, 0).contiguous().numpy()


@torch.inference_mode()
def decode_pixels(decoder: Decoder, pixels: np.ndarray) -> NDArray[np.uint8]:
    """The bits (bits,) that an 8-bit image (H, W, 3) of any size decodes to."""
    small = as_batch(resize(pixels, (decoder.resolution, decoder.resolution)))
    logits, _ = decoder.decode(small, torch.tensor([pixels.shape[0] / pixels.shape[1]]))
    return (logits[0] > 0).numpy().astype(np.uint8)


@dataclass(frozen=True)
class Detection:
    """What an image decodes to, beside a fingerprint: `matches` of `bits`, natural log p-value."""

    word: NDArray[np.uint8]
    matches: int
    bits: int
    log_p: float

    def __str__(self) -> str:
        return f"{self.matches} of {self.bits} bits match, p = {format_p(self.log_p)}"


@dataclass(frozen=True)
class Watermark:
    """An encoder and its decoder, for Pillow images of any size and mode."""

    encoder: Encoder
    decoder: Decoder

    @classmethod
    def load(cls, encoder: str | Path, decoder: str | Path | None = None) -> Watermark:
        """Load shipped weights by name, or files; the decoder by default lies beside the encoder.

        Raises UserError: no such weights, or unreadable ones.
        """
        return cls(load_encoder(encoder)[0], load_decoder(decoder or find_decoder(encoder))[0])

    @property
    def bits(self) -> int:
        """Length of the fingerprints."""
        return self.encoder.bits

    def embed(
        self,
        image: Image.Image,
        word: NDArray[np.uint8],
        strength: float = 1.0,
        min_psnr: float = 0.0,
    ) -> Image.Image:
        """The image, upright and in RGB, with a fingerprint (bits,). Save it losslessly.

        Raises ImageError: an image that has no 8-bit rendering.
        """
        pixels = decode_picture(image).pixels
        return Image.fromarray(fingerprint_image(self.encoder, pixels, word, strength, min_psnr))

    def detect(self, image: Image.Image, word: NDArray[np.uint8]) -> Detection:
        """Decode an image and compare with a fingerprint (bits,)."""
        found = decode_pixels(self.decoder, decode_picture(image).pixels)
        matches = int((found == word).sum())
        return Detection(found, matches, len(word), log_p_value(matches, len(word)))
