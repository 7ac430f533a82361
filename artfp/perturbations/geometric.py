"""Perturbations that move or resample pixels; the real forms are Pillow's resamplers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from artfp.perturbations import warp
from artfp.perturbations.base import Perturbation

_BICUBIC = Image.Resampling.BICUBIC
WAVES = "WAVES (An et al. 2024)"
YU = "Yu et al. 2019"


def each(pixels: Tensor, change: Callable[[int, Image.Image], Image.Image]) -> Tensor:
    """Apply `change(number, image)` to every 8-bit image (N, 3, H, W) as Pillow sees it."""
    images = pixels.cpu().permute(0, 2, 3, 1).contiguous().numpy()
    changed = [np.array(change(i, Image.fromarray(image))) for i, image in enumerate(images)]
    return torch.from_numpy(np.stack(changed)).permute(0, 3, 1, 2).contiguous().to(pixels.device)


class Mirror(Perturbation):
    """Left and right exchanged, as data augmentation does; there is no strength.

    Example:
        >>> pixels = torch.full((1, 3, 16, 16), 100, dtype=torch.uint8)
        >>> Mirror().real(pixels, 1.0, torch.Generator()).shape
        torch.Size([1, 3, 16, 16])
    """

    name = "mirror"
    unit = "mirrored"
    source = "augmentation of GAN training sets"
    mildest, harshest = 1.0, 1.0
    levels = (1.0,)

    def differentiable(self, x: Tensor, strength: Tensor, generator: torch.Generator) -> Tensor:
        """Mirror the images."""
        return x.flip(-1)


class ResizeBack(Perturbation):
    """Antialiased resize to a share of the size (strength), then back to the size.

    Example:
        >>> pixels = torch.full((1, 3, 16, 16), 100, dtype=torch.uint8)
        >>> ResizeBack().real(pixels, 0.5, torch.Generator()).shape
        torch.Size([1, 3, 16, 16])
    """

    name = "resize"
    unit = "share of each side"
    source = "thumbnails: down to a quarter"
    mildest, harshest = 0.95, 0.35
    levels = (0.75, 0.5, 0.35, 0.25)

    def differentiable(self, x: Tensor, strength: Tensor, generator: torch.Generator) -> Tensor:
        """Resize there and back, bicubic; by the mean strength for the whole batch."""
        size = (x.shape[-2], x.shape[-1])
        small = self._small(size, float(strength.mean()))
        shrunk = F.interpolate(x, small, mode="bicubic", antialias=True).clamp(0.0, 1.0)
        return F.interpolate(shrunk, size, mode="bicubic", antialias=True).clamp(0.0, 1.0)

    def real(self, pixels: Tensor, strength: float, generator: torch.Generator) -> Tensor:
        """Resize there and back with Pillow, 8-bit in between."""
        height, width = self._small((pixels.shape[-2], pixels.shape[-1]), strength)
        return each(
            pixels,
            lambda _, image: image.resize((width, height), _BICUBIC).resize(image.size, _BICUBIC),
        )

    @staticmethod
    def _small(size: tuple[int, int], share: float) -> tuple[int, int]:
        return max(1, round(size[0] * share)), max(1, round(size[1] * share))


class Crop(Perturbation):
    """Base of the crops: a window, whole pixels, is enlarged to the size of the image."""

    def boxes(self, strength: Tensor, size: tuple[int, int], generator: torch.Generator) -> Tensor:
        """Return windows (N, 4), left, top, width, height in pixels, for images of (H, W)."""
        raise NotImplementedError

    def transform(
        self, strength: Tensor, size: tuple[int, int], generator: torch.Generator
    ) -> Tensor:
        """Return the places that the pixels come from; see Perturbation."""
        scale = torch.tensor([size[1], size[0], size[1], size[0]])
        return warp.window(*(self.boxes(strength, size, generator) / scale).unbind(1))

    def differentiable(self, x: Tensor, strength: Tensor, generator: torch.Generator) -> Tensor:
        """Crop and enlarge, bicubic."""
        transform = self.transform(strength, (x.shape[-2], x.shape[-1]), generator)
        grid = F.affine_grid(transform[:, :2].to(x), list(x.shape), align_corners=False)
        out = F.grid_sample(x, grid, mode="bicubic", padding_mode="reflection", align_corners=False)
        return out.clamp(0.0, 1.0)

    def real(self, pixels: Tensor, strength: float, generator: torch.Generator) -> Tensor:
        """Apply Pillow's crop and bicubic resize."""
        strengths = torch.full((len(pixels),), strength)
        boxes = self.boxes(strengths, (pixels.shape[-2], pixels.shape[-1]), generator)

        def change(number: int, image: Image.Image) -> Image.Image:
            left, top, width, height = (int(v) for v in boxes[number])
            cut = image.crop((left, top, left + width, top + height))
            return cut.resize(image.size, _BICUBIC)

        return each(pixels, change)


class CentreCrop(Crop):
    """A share (strength) of each side cut off at each edge, then enlarged to the size.

    Example:
        >>> pixels = torch.full((1, 3, 16, 16), 100, dtype=torch.uint8)
        >>> CentreCrop().real(pixels, 0.1, torch.Generator()).shape
        torch.Size([1, 3, 16, 16])
    """

    name = "centre_crop"
    unit = "share cut off at each edge"
    source = f"{WAVES}: down to half of the area"
    mildest, harshest = 0.0, 0.15
    levels = (0.05, 0.1, 0.15, 0.2)

    def boxes(self, strength: Tensor, size: tuple[int, int], generator: torch.Generator) -> Tensor:
        """See Crop."""
        top, left = ((strength * side).round() for side in size)
        return torch.stack([left, top, size[1] - 2 * left, size[0] - 2 * top], dim=1)


class RandomCrop(Crop):
    """A window that lacks a share (strength) of each side, anywhere, enlarged to the size.

    Example:
        >>> pixels = torch.full((1, 3, 16, 16), 100, dtype=torch.uint8)
        >>> RandomCrop().real(pixels, 0.1, torch.Generator()).shape
        torch.Size([1, 3, 16, 16])
    """

    name = "random_crop"
    unit = "share of each side lost"
    source = f"{YU}: 5 to 20%"
    mildest, harshest = 0.05, 0.2
    levels = (0.05, 0.1, 0.15, 0.2)

    def boxes(self, strength: Tensor, size: tuple[int, int], generator: torch.Generator) -> Tensor:
        """See Crop."""
        place = torch.rand(len(strength), 2, generator=generator)
        lost_down, lost_across = ((strength * side).round() for side in size)
        top, left = (place[:, 0] * lost_down).round(), (place[:, 1] * lost_across).round()
        return torch.stack([left, top, size[1] - lost_across, size[0] - lost_down], dim=1)


class Rotation(Perturbation):
    """Turned counter-clockwise about the centre by degrees (strength); black where nothing was.

    Example:
        >>> pixels = torch.full((1, 3, 16, 16), 100, dtype=torch.uint8)
        >>> Rotation().real(pixels, 10.0, torch.Generator()).shape
        torch.Size([1, 3, 16, 16])
    """

    name = "rotation"
    unit = "degrees"
    source = f"{WAVES}: up to 45 degrees"
    mildest, harshest, both_ways = 0.0, 45.0, True
    levels = (5.0, 10.0, 20.0, 30.0, 45.0)

    def transform(
        self, strength: Tensor, size: tuple[int, int], generator: torch.Generator
    ) -> Tensor:
        """Return the places that the pixels come from; see Perturbation."""
        return warp.turn(strength, size)

    def differentiable(self, x: Tensor, strength: Tensor, generator: torch.Generator) -> Tensor:
        """Rotate, bicubic."""
        size = (x.shape[-2], x.shape[-1])
        return warp.warp(x, self.transform(strength, size, generator)).clamp(0.0, 1.0)

    def real(self, pixels: Tensor, strength: float, generator: torch.Generator) -> Tensor:
        """Apply Pillow's bicubic rotation."""
        return each(pixels, lambda _, image: image.rotate(strength, _BICUBIC))
