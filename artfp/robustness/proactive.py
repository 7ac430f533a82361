"""artfp's own: the encoder as an embedder, the decoder as an attributor."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from artfp.data.geometry import resize
from artfp.data.pixels import to_8bit, to_unit
from artfp.robustness.matching import MatchingBits
from artfp.watermark import Decoder, Encoder
from artfp.watermark.api import fingerprint_image


class ProactiveDecoder(MatchingBits):
    """Attribution by the fingerprints that a decoder reads (Yu et al. 2021)."""

    def __init__(
        self,
        decoder: Decoder,
        fingerprints: ArrayLike,
        sources: Sequence[str],
        name: str = "proactive",
    ) -> None:
        """Take a decoder in evaluation mode and a fingerprint (bits,) for each source.

        Raises ValueError: fingerprints of another length than the decoder reads, or not one for
        each source.
        """
        super().__init__(name, partial(read_bits, decoder), fingerprints, sources)
        if self.bits != decoder.bits:
            raise ValueError(
                f"fingerprints have {self.bits} bits, but the decoder reads {decoder.bits}"
            )


def read_bits(decoder: Decoder, x: Tensor) -> Tensor:
    """Return the bits (N, bits) that images decode to, see `read_logits`."""
    return (read_logits(decoder, x) > 0).to(torch.uint8)


@torch.inference_mode()
def read_logits(decoder: Decoder, x: Tensor) -> Tensor:
    """Logits (N, bits) of images (N, 3, H, W) in [0, 1], of any size.

    They are brought to the decoder's resolution as detection does it, through 8-bit pixels.
    """
    aspects = torch.full((len(x),), x.shape[-2] / x.shape[-1])
    logits, _ = decoder.decode(_fitted(x, decoder.resolution), aspects)
    return logits


def _fitted(x: Tensor, side: int) -> Tensor:
    """Images (N, 3, H, W) in [0, 1] as a network gets them: (N, 3, side, side) in [0, 1]."""
    pixels = to_8bit(x)
    if tuple(pixels.shape[-2:]) != (side, side):
        images = pixels.permute(0, 2, 3, 1).contiguous().numpy()
        small = np.stack([resize(image, (side, side)) for image in images])
        pixels = torch.from_numpy(small).permute(0, 3, 1, 2).contiguous()
    return to_unit(pixels)


class ArtfpEmbedder:
    """An artfp encoder as an Embedder, with a factor on its residual; images keep their size."""

    def __init__(self, encoder: Encoder, strength: float = 1.0) -> None:
        self._encoder, self._strength = encoder, strength
        self.bits = encoder.bits

    def embed(self, pixels: np.ndarray, message: NDArray[np.uint8]) -> np.ndarray:
        """Embed a message (bits,) in an 8-bit image (H, W, 3)."""
        return fingerprint_image(self._encoder, pixels, message, self._strength)

    def refuses(self, height: int, width: int) -> str | None:
        """Return None: images of any size can be marked."""
        return None
