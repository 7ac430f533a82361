"""Base class of latent autoencoders: images to latents and back, of any size."""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class LatentAutoencoder(nn.Module):
    """Autoencoder between images and the latents that a latent-diffusion model works on.

    A subclass defines `images_to_latents` and `latents_to_images`, which see sides that fit, and
    scales its latents to a standard deviation of about 1. The networks run in bfloat16 where the
    processor computes in it; what comes out is float32. Gradients pass.

    Attributes:
        channels: Channels of the latents.
        factor: Pixels of a side for one latent.

    Example:
        >>> class Blocks(LatentAutoencoder):
        ...     channels = 3
        ...     def images_to_latents(self, x):
        ...         return F.avg_pool2d(x, 8) * 4.0 - 2.0
        ...     def latents_to_images(self, latents):
        ...         return F.interpolate((latents + 2.0) / 4.0, scale_factor=8.0)
        >>> latents = Blocks().encode(torch.rand(1, 3, 20, 16))
        >>> latents.shape, Blocks().decode(latents).shape
        (torch.Size([1, 3, 3, 2]), torch.Size([1, 3, 24, 16]))
    """

    channels: int
    factor: int = 8

    def images_to_latents(self, x: Tensor) -> Tensor:
        """Map images (N, 3, H, W) in [0, 1], H and W multiples of `factor`, to latents."""
        raise NotImplementedError

    def latents_to_images(self, latents: Tensor) -> Tensor:
        """Map latents (N, channels, h, w) to images (N, 3, h * factor, w * factor)."""
        raise NotImplementedError

    def encode(self, x: Tensor) -> Tensor:
        """Encode images of any size; their last rows and columns repeat up to whole blocks.

        Args:
            x: Images (N, 3, H, W) in [0, 1].

        Returns:
            Latents (N, channels, H / factor, W / factor), rounded up.
        """
        down, right = (-side % self.factor for side in x.shape[-2:])
        x = F.pad(x, (0, right, 0, down), mode="replicate")
        with fast_precision(x.device):
            return self.images_to_latents(x.contiguous(memory_format=torch.channels_last)).float()

    def decode(self, latents: Tensor) -> Tensor:
        """Decode latents.

        Args:
            latents: Latents (N, channels, h, w).

        Returns:
            Images (N, 3, h * factor, w * factor) in [0, 1], with what `encode` added.
        """
        latents = latents.contiguous(memory_format=torch.channels_last)
        with fast_precision(latents.device):
            images = self.latents_to_images(latents).float()
        return images.clamp(0.0, 1.0).contiguous()


def fast_precision(device: torch.device) -> AbstractContextManager[object]:
    """Return a context in which networks run in bfloat16 where that is fast, else in float32."""
    if device.type == "cuda":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        capabilities: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
        fast = any(capabilities.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))
    return torch.autocast(device.type, torch.bfloat16, enabled=fast)
