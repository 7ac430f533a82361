"""JPEG and WebP: differentiable forms, and the real codecs.

The differentiable form of JPEG does what a baseline encoder does (ITU-T T.81: full-range YCbCr as
in JFIF, chroma averaged over 2 x 2 pixels, 8 x 8 DCT, quantisation by the Annex K tables scaled by
quality) and lets gradients pass its roundings unchanged. That of WebP runs the real codec; its
gradient is that of halving the resolution of the colours.
"""

from __future__ import annotations

import io
import math

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from artfp.data.image_files import open_image
from artfp.data.pixels import to_8bit, to_unit
from artfp.perturbations.base import Perturbation, pass_through
from artfp.perturbations.geometric import each

LUMA_TABLE = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
CHROMA_TABLE = (
    (17, 18, 24, 47, 99, 99, 99, 99),
    (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99),
    (99, 99, 99, 99, 99, 99, 99, 99),
    (99, 99, 99, 99, 99, 99, 99, 99),
    (99, 99, 99, 99, 99, 99, 99, 99),
    (99, 99, 99, 99, 99, 99, 99, 99),
)
_TO_YCC = (
    (0.299, 0.587, 0.114),
    (-0.299 / 1.772, -0.587 / 1.772, 0.5),
    (0.5, -0.587 / 1.402, -0.114 / 1.402),
)


def _dct_matrix() -> Tensor:
    """Orthonormal 8-point DCT-II, (8, 8): frequencies down, samples across."""
    rows = [
        [
            math.sqrt((1 if k == 0 else 2) / 8) * math.cos(math.pi * k * (2 * i + 1) / 16)
            for i in range(8)
        ]
        for k in range(8)
    ]
    return torch.tensor(rows)


def _round(x: Tensor) -> Tensor:
    """Round to nearest; the gradient is that of the identity."""
    return pass_through(x.round(), x)


def _subsample(chroma: Tensor) -> Tensor:
    """Chroma planes (N, 2, H, W), H and W even, at half the resolution and back."""
    return F.interpolate(
        F.avg_pool2d(chroma, 2), scale_factor=2.0, mode="bilinear", align_corners=False
    )


def _store(image: Image.Image, kind: str, **options: int) -> Image.Image:
    """The image as a file of this kind gives it back."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    with open_image(file.getvalue()) as stored:
        return stored.convert("RGB")


def quantisation(table: tuple[tuple[int, ...], ...], quality: Tensor) -> Tensor:
    """Return tables (N, 8, 8) for qualities (N,) in 1..100, scaled as libjpeg does."""
    quality = quality.round().clamp(1, 100)
    scale = torch.where(quality < 50, (5000.0 / quality).floor(), 200.0 - 2.0 * quality)
    steps = (torch.tensor(table, dtype=torch.float32) * scale.view(-1, 1, 1) + 50.0) / 100.0
    return steps.floor().clamp(1, 255)


def _code(plane: Tensor, steps: Tensor) -> Tensor:
    """One plane (N, H, W), H and W multiples of 8, through DCT, quantisation and back."""
    n, h, w = plane.shape
    dct = _dct_matrix().to(plane)
    transform = torch.kron(dct, dct)  # on blocks laid out as 64 values
    blocks = plane.view(n, h // 8, 8, w // 8, 8).transpose(2, 3).reshape(n, -1, 64)
    steps = steps.to(plane).view(n, 1, 64)
    coefficients = _round(blocks @ transform.T / steps) * steps
    back = coefficients @ transform
    return back.view(n, h // 8, w // 8, 8, 8).transpose(2, 3).reshape(n, h, w)


class Jpeg(Perturbation):
    """JPEG with chroma subsampling 4:2:0; strength is the quality, 100 best.

    Example:
        >>> pixels = torch.full((1, 3, 16, 16), 100, dtype=torch.uint8)
        >>> Jpeg().real(pixels, 50.0, torch.Generator()).shape
        torch.Size([1, 3, 16, 16])
    """

    name = "jpeg"
    unit = "quality"
    source = "Yu et al. 2019: 75 to 10; WAVES: 90 to 10"
    mildest, harshest = 95.0, 10.0
    levels = (90.0, 75.0, 50.0, 30.0, 20.0, 10.0)

    def differentiable(self, x: Tensor, strength: Tensor, generator: torch.Generator) -> Tensor:
        """Encode and decode at qualities (N,)."""
        height, width = x.shape[-2:]
        padded = F.pad(x * 255.0, (0, -width % 16, 0, -height % 16), mode="replicate")
        matrix = torch.tensor(_TO_YCC).to(x)
        ycc = torch.einsum("ij,njhw->nihw", matrix, padded)
        luma = _code(_round(ycc[:, 0]) - 128.0, quantisation(LUMA_TABLE, strength)) + 128.0
        chroma = _round(F.avg_pool2d(ycc[:, 1:], 2))
        flat = chroma.flatten(0, 1)
        steps = quantisation(CHROMA_TABLE, strength).repeat_interleave(2, dim=0)
        chroma = _code(flat, steps).view_as(chroma)
        chroma = F.interpolate(chroma, scale_factor=2.0, mode="bilinear", align_corners=False)
        whole = torch.cat([luma.unsqueeze(1), chroma], dim=1)
        rgb = torch.einsum("ij,njhw->nihw", torch.linalg.inv(matrix), whole)
        return (rgb[..., :height, :width] / 255.0).clamp(0.0, 1.0)

    def real(self, pixels: Tensor, strength: float, generator: torch.Generator) -> Tensor:
        """Apply Pillow's JPEG codec at quality `strength`, 4:2:0."""
        quality = round(strength)
        return each(pixels, lambda _, image: _store(image, "JPEG", quality=quality, subsampling=2))


class Webp(Perturbation):
    """Lossy WebP; strength is the quality, 100 best.

    Example:
        >>> pixels = torch.full((1, 3, 16, 16), 100, dtype=torch.uint8)
        >>> Webp().real(pixels, 50.0, torch.Generator()).shape
        torch.Size([1, 3, 16, 16])
    """

    name = "webp"
    unit = "quality"
    source = "as JPEG"
    mildest, harshest = 95.0, 10.0
    levels = (90.0, 75.0, 50.0, 30.0, 10.0)

    def differentiable(self, x: Tensor, strength: Tensor, generator: torch.Generator) -> Tensor:
        """Encode at qualities (N,) by the real codec; the gradient passes by halved chroma."""
        coded = torch.cat(
            [
                self.real(to_8bit(image.detach()[None]), float(quality), generator)
                for image, quality in zip(x, strength, strict=True)
            ]
        )
        height, width = x.shape[-2:]
        padded = F.pad(x, (0, width % 2, 0, height % 2), mode="replicate")
        matrix = torch.tensor(_TO_YCC).to(x)
        ycc = torch.einsum("ij,njhw->nihw", matrix, padded)
        whole = torch.cat([ycc[:, :1], _subsample(ycc[:, 1:])], dim=1)
        rgb = torch.einsum("ij,njhw->nihw", torch.linalg.inv(matrix), whole)
        return pass_through(to_unit(coded).to(x), rgb[..., :height, :width])

    def real(self, pixels: Tensor, strength: float, generator: torch.Generator) -> Tensor:
        """Apply Pillow's WebP codec at quality `strength`."""
        quality = round(strength)
        return each(pixels, lambda _, image: _store(image, "WEBP", quality=quality))
