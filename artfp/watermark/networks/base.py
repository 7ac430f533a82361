"""What every encoder and decoder has in common, and how a residual meets an image.

An encoder turns an image and a fingerprint into a *residual*; the fingerprinted image is the
image plus the residual. The residual may be coarser than the image: `spread` brings it to any
size, so one set of weights serves images of every size and shape.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MIN_RESOLUTION, MAX_RESOLUTION = 32, 512
MIN_BITS, MAX_BITS = 8, 256


def check_shape(bits: int, resolution: int) -> None:
    """Refuse bit counts outside 8..256 and resolutions that are no power of two in 32..512.

    Raises ValueError.
    """
    if not MIN_BITS <= bits <= MAX_BITS:
        raise ValueError(f"bits is {bits}; a fingerprint has {MIN_BITS} to {MAX_BITS} bits")
    power_of_two = resolution > 0 and resolution & (resolution - 1) == 0
    if not (power_of_two and MIN_RESOLUTION <= resolution <= MAX_RESOLUTION):
        raise ValueError(
            f"resolution is {resolution}; take a power of two from "
            f"{MIN_RESOLUTION} to {MAX_RESOLUTION}"
        )


def resize_residual(residual: Tensor, size: tuple[int, int]) -> Tensor:
    """Bring a residual (N, 3, h, w) to `size` = (H, W): smooth (bicubic) where it grows."""
    if tuple(residual.shape[-2:]) == tuple(size):
        return residual
    shrinks = residual.shape[-2] > size[0] or residual.shape[-1] > size[1]
    return F.interpolate(
        residual, size=size, mode="bicubic", align_corners=False, antialias=shrinks
    )


def add_residual(pixels: Tensor, residual: Tensor) -> Tensor:
    """Add a residual (N, 3, h, w), in units of the full range, to 8-bit pixels (N, 3, H, W).

    Returns 8-bit pixels (N, 3, H, W).
    """
    grown = resize_residual(residual, (pixels.shape[-2], pixels.shape[-1]))
    return grown.mul(255.0).add_(pixels).round_().clamp_(0.0, 255.0).to(torch.uint8)


def limit_psnr(residual: Tensor, min_psnr: float) -> Tensor:
    """Residuals (N, 3, h, w) in units of the full range, none stronger than `min_psnr` dB.

    An image keeps about that PSNR or more when its residual is added: spreading and clipping make
    it weaker, rounding to 8 bits adds noise of 59 dB. At 0 dB nothing is weakened.
    """
    rms = residual.square().mean(dim=(1, 2, 3), keepdim=True).sqrt()
    return residual * (10.0 ** (-min_psnr / 20.0) / rms.clamp_min(1e-9)).clamp_max(1.0)


class Encoder(nn.Module):
    """Base of the encoders: `residual` is what a subclass provides.

    Attributes: `bits` (length of the fingerprint), `resolution` (pixels a side that the network
    sees), `architecture` (name), `adjustable` (whether `rescale` sets the residual's strength).
    """

    architecture = ""
    adjustable = False

    def __init__(self, bits: int, resolution: int) -> None:
        super().__init__()
        check_shape(bits, resolution)
        self.bits, self.resolution = bits, resolution

    def residual(self, x: Tensor, bits: Tensor) -> Tensor:
        """Residual (N, 3, h, w) for images `x` (N, 3, R, R) in [0, 1] and bits (N, bits) in {0, 1}.

        h and w divide R or equal it; see `spread`.
        """
        raise NotImplementedError

    def rescale(self, factor: float | Tensor) -> None:
        """Multiply the strength of all future residuals by `factor`."""
        raise NotImplementedError(f"{type(self).__name__} has no adjustable strength")

    def forward(self, x: Tensor, bits: Tensor) -> Tensor:
        """Fingerprinted images (N, 3, R, R) in [0, 1]."""
        grown = resize_residual(self.residual(x, bits), (x.shape[-2], x.shape[-1]))
        return (x + grown).clamp(0.0, 1.0)


class Decoder(nn.Module):
    """Base of the decoders: images (N, 3, R, R) in [0, 1] to logits (N, bits), > 0 for 1."""

    architecture = ""

    def __init__(self, bits: int, resolution: int) -> None:
        super().__init__()
        check_shape(bits, resolution)
        self.bits, self.resolution = bits, resolution

    def decode(self, x: Tensor, aspects: Tensor) -> tuple[Tensor, list[str]]:
        """Logits (N, bits) of images (N, 3, R, R), and how each was realigned, in words or "".

        `aspects` (N,) are the heights over the widths of the images before they became squares.
        """
        logits: Tensor = self(x)
        return logits, [""] * len(x)
