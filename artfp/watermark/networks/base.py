"""Base classes of encoders and decoders, and the addition of a residual to an image.

An encoder turns an image and a message into a *watermark residual*; the fingerprinted image is the
image plus the residual. The residual may be coarser than the image: `resize_residual` brings it to
any size, so one set of weights serves images of every size and shape.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from artfp.watermark.networks.shapes import check_shape

CPU_PIXELS = 1 << 20
"""Pixels of the images that a network on a CPU takes at once."""


def least_side(bits: int, resolution: int) -> int:
    """Return the shortest side in pixels that an image needs to carry a message.

    With the shipped weights three bits in four are read back from images of this side, and on half
    of it no more than by chance. An image as large as those of the training always does.
    """
    return min(resolution, max(3 * resolution // 16, math.ceil(1.5 * math.sqrt(bits))))


def refuse_small(height: int, width: int, bits: int, resolution: int) -> str:
    """Return why an image is too small to carry a message, or "" if it is not."""
    side = least_side(bits, resolution)
    if min(height, width) >= side:
        return ""
    return f"{width}x{height} px cannot carry {bits} bits: each side needs {side} px or more"


def images_at_once(x: Tensor) -> int:
    """Return how many images (N, 3, R, R) a network takes at once: on a CPU as memory allows.

    Networks hold some hundred bytes a pixel, and more images at once make a CPU no faster.
    """
    if x.device.type != "cpu":
        return len(x)
    return max(1, CPU_PIXELS // (x.shape[-2] * x.shape[-1]))


def resize_residual(residual: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize a residual (N, 3, h, w) to `size` = (H, W) by bicubic interpolation."""
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
    size = (pixels.shape[-2], pixels.shape[-1])
    if tuple(residual.shape[-2:]) == size:
        return residual.mul(255.0).add_(pixels).round_().clamp_(0.0, 255.0).to(torch.uint8)
    marked = torch.empty_like(pixels)
    for channel in range(3):  # floats of a whole photograph take gigabytes
        resized = resize_residual(residual[:, channel : channel + 1].contiguous(), size)
        resized.mul_(255.0).add_(pixels[:, channel : channel + 1]).round_().clamp_(0.0, 255.0)
        marked[:, channel] = resized[:, 0]
    return marked


def limit_psnr(residual: Tensor, min_psnr: float) -> Tensor:
    """Weaken residuals (N, 3, h, w), in units of the full range, to `min_psnr` dB or more.

    An image keeps about that PSNR or more when its residual is added: resizing and clipping make
    it weaker, rounding to 8 bits adds noise of 59 dB. At 0 dB nothing is weakened.
    """
    rms = residual.square().mean(dim=(1, 2, 3), keepdim=True).sqrt()
    result: Tensor = residual * (10.0 ** (-min_psnr / 20.0) / rms.clamp_min(1e-9)).clamp_max(1.0)
    return result


class Encoder(nn.Module):
    """Base class of encoders; a subclass provides `residual`.

    Args:
        bits: Number of bits of the message, 8 to 256.
        resolution: Pixels a side that the network sees, a power of two from 32 to 512.

    Attributes:
        architecture: Name of the architecture.
        adjustable: True if `rescale` sets the strength of the residuals.
        check_shape: Function of bits and resolution that raises ValueError where the class cannot
            be built with them; a subclass may allow others than these.

    Example:
        >>> from artfp.watermark import build_pair
        >>> encoder, _ = build_pair("residual", bits=16, resolution=32)
        >>> encoder(torch.rand(4, 3, 32, 32), torch.ones(4, 16)).shape
        torch.Size([4, 3, 32, 32])
    """

    architecture = ""
    adjustable = False
    check_shape = staticmethod(check_shape)

    def __init__(self, bits: int, resolution: int) -> None:
        super().__init__()
        self.check_shape(bits, resolution)
        self.bits, self.resolution = bits, resolution

    def residual(self, x: Tensor, messages: Tensor) -> Tensor:
        """Return the residuals (N, 3, h, w) that carry messages in images.

        Args:
            x: Images (N, 3, R, R) in [0, 1].
            messages: (N, bits), float, in {0, 1}.

        Returns:
            In units of the full range; h and w divide R or equal it, see `resize_residual`.
        """
        raise NotImplementedError

    def rescale(self, factor: float | Tensor) -> None:
        """Multiply the strength of all future residuals by `factor`."""
        raise NotImplementedError(f"{type(self).__name__} has no adjustable strength")

    def forward(self, x: Tensor, messages: Tensor) -> Tensor:
        """Return fingerprinted images (N, 3, R, R) in [0, 1]."""
        resized = resize_residual(self.residual(x, messages), (x.shape[-2], x.shape[-1]))
        return (x + resized).clamp(0.0, 1.0)


class Decoder(nn.Module):
    """Base class of decoders: images (N, 3, R, R) in [0, 1] to logits (N, bits), > 0 for 1.

    Args:
        bits: Number of bits of the message, 8 to 256.
        resolution: Pixels a side that the network sees, a power of two from 32 to 512.

    Attributes:
        architecture: Name of the architecture.
        searched: Forms of an image in which `decode` looks for a fingerprint, in words.
        check_shape: As in `Encoder`.

    Example:
        >>> from artfp.watermark import build_pair
        >>> _, decoder = build_pair("residual", bits=16, resolution=32)
        >>> (decoder(torch.rand(4, 3, 32, 32)) > 0).shape
        torch.Size([4, 16])
    """

    architecture = ""
    searched = "images as they are"
    check_shape = staticmethod(check_shape)

    def __init__(self, bits: int, resolution: int) -> None:
        super().__init__()
        self.check_shape(bits, resolution)
        self.bits, self.resolution = bits, resolution

    def decode(self, x: Tensor, aspects: Tensor) -> tuple[Tensor, list[str]]:
        """Decode images, undoing crops, turns and mirroring where the class can.

        Args:
            x: Images (N, 3, R, R) in [0, 1].
            aspects: (N,) heights over widths of the images before they were resized to squares.

        Returns:
            Logits (N, bits), and what was undone in each image, in words, or "".
        """
        logits: Tensor = self(x)
        return logits, [""] * len(x)
