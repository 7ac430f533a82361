"""How far a fingerprinted image is from its original."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure


def psnr(x: Tensor, y: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB of each of (N, 3, H, W), full range 1; (N,).

    Equal images give 99 dB.
    """
    error = (x - y).square().mean(dim=(1, 2, 3))
    return -10.0 * torch.log10(error.clamp_min(10**-9.9))


def ssim(x: Tensor, y: Tensor) -> Tensor:
    """Structural similarity of each of (N, 3, H, W), full range 1; (N,).

    Gaussian window of deviation 1.5 (Wang et al. 2004), as torchmetrics computes it; in float32
    whatever the surrounding precision, since variances of half-precision values mean nothing.
    """
    with torch.autocast(x.device.type, enabled=False):
        value = structural_similarity_index_measure(
            x.float(), y.float(), data_range=1.0, reduction="none"
        )
    assert isinstance(value, Tensor)
    return value.reshape(-1)
