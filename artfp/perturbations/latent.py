"""Images through a latent autoencoder: what a latent-diffusion model does to all that it edits."""

from __future__ import annotations

import torch
from torch import Tensor

from artfp.data.pixels import to_8bit, to_unit
from artfp.nn.latent_autoencoder import LatentAutoencoder
from artfp.perturbations.base import Perturbation, per_image

_TRAINING_IMAGES, _TRAINING_PIXELS = 4, 1 << 17
"""Images of a training step that are encoded and decoded at most, and their pixels together."""

_REAL_PIXELS = 1 << 19
"""Pixels that are encoded at once outside of a training, for the sake of memory."""


class Latent(Perturbation):
    """Encoded and decoded by an autoencoder, with noise of a standard deviation on the latents.

    Args:
        autoencoder: Autoencoder with frozen weights; it follows the images to their device.

    Example:
        >>> from artfp.nn import TinyAutoencoder
        >>> latent = Latent(TinyAutoencoder(channels=4, width=8).requires_grad_(False))
        >>> pixels = torch.full((1, 3, 20, 17), 100, dtype=torch.uint8)
        >>> latent.real(pixels, 0.1, torch.Generator()).shape
        torch.Size([1, 3, 20, 17])
    """

    name = "latent"
    unit = "standard deviation on the latents"
    source = "latent-diffusion models; regeneration in WAVES (An et al. 2024)"
    mildest, harshest = 0.0, 0.5
    levels = (0.0, 0.1, 0.25, 0.5)

    def __init__(self, autoencoder: LatentAutoencoder) -> None:
        self.autoencoder = autoencoder

    def most_images(self, size: tuple[int, int]) -> int:
        """See Perturbation: networks are slow."""
        return max(1, min(_TRAINING_IMAGES, _TRAINING_PIXELS // (size[0] * size[1])))

    def differentiable(self, x: Tensor, strength: Tensor, generator: torch.Generator) -> Tensor:
        """Encode, add noise of standard deviations (N,), decode."""
        height, width = x.shape[-2:]
        latents = self.autoencoder.to(x.device).encode(x)
        # Image by image: drawn together, images of some sizes get other noise than alone.
        noise = torch.stack([torch.randn(one.shape, generator=generator) for one in latents])
        noisy = latents + noise.to(latents) * per_image(strength, latents)
        return self.autoencoder.decode(noisy)[..., :height, :width]

    def real(self, pixels: Tensor, strength: float, generator: torch.Generator) -> Tensor:
        """Apply the same to 8-bit images, few at a time."""
        count = max(1, _REAL_PIXELS // (pixels.shape[-2] * pixels.shape[-1]))
        with torch.no_grad():
            return torch.cat(
                [
                    to_8bit(
                        self.differentiable(
                            to_unit(some), torch.full((len(some),), strength), generator
                        )
                    )
                    for some in pixels.split(count)
                ]
            )
