"""JPEG: a differentiable form that follows the standard, and the true codec.

The soft form does what a baseline encoder does (ITU-T T.81: full-range YCbCr as in JFIF, chroma
averaged over 2 x 2 pixels, 8 x 8 DCT, quantisation by the Annex K tables scaled by quality) and
lets gradients pass its roundings unchanged.
"""

from __future__ import annotations

import io
import math

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from artfp.perturbations.base import Perturbation

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
    return x + (x.round() - x).detach()


def quantisation(table: tuple[tuple[int, ...], ...], quality: Tensor) -> Tensor:
    """Tables (N, 8, 8) for qualities (N,) in 1..100, scaled as libjpeg does."""
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
    """JPEG with chroma subsampling 4:2:0; strength is the quality, 100 best."""

    name = "jpeg"
    mildest, harshest = 95.0, 50.0

    def soft(self, x: Tensor, strength: Tensor, generator: torch.Generator) -> Tensor:
        """Coded and decoded at qualities (N,)."""
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

    def true(self, pixels: Tensor, strength: float, generator: torch.Generator) -> Tensor:
        """Pillow's JPEG codec at quality `strength`, 4:2:0."""
        out = []
        for image in pixels.cpu().permute(0, 2, 3, 1).numpy():
            file = io.BytesIO()
            Image.fromarray(image).save(file, "JPEG", quality=round(strength), subsampling=2)
            out.append(torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1))
        return torch.stack(out).to(pixels.device)
