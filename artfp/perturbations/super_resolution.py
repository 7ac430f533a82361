"""Small copies that were enlarged and sharpened, as upscalers do."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor

from artfp.data.pixels import to_8bit, to_unit
from artfp.perturbations.base import Perturbation
from artfp.perturbations.codec import Jpeg
from artfp.perturbations.frequency import gaussian
from artfp.perturbations.geometric import each
from artfp.perturbations.resampling import FILTERS, resample


@dataclass(frozen=True)
class _Degradation:
    """What happens to one image beside the change of its size.

    Args:
        kind: Resampler that shrinks it.
        seed: Seed of the noise.
        blur: Standard deviation of a Gaussian, in pixels of the small copy.
        noise: Standard deviation of noise, full range 1.
        quality: JPEG quality of the small copy.
        radius: Standard deviation of the unsharp mask's Gaussian, in pixels of the small copy.
        amount: Factor on the details that the mask adds.
    """

    kind: Image.Resampling
    seed: int
    blur: float
    noise: float
    quality: float
    radius: float
    amount: float

    def degrade(self, x: Tensor) -> Tensor:
        """Blur small images (1, 3, h, w) and add noise."""
        noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(self.seed))
        return (gaussian(x, torch.tensor([self.blur])) + noise.to(x) * self.noise).clamp(0.0, 1.0)

    def sharpen(self, x: Tensor, share: float) -> Tensor:
        """Apply the unsharp mask to enlarged images (1, 3, H, W)."""
        smooth = gaussian(x, torch.tensor([self.radius / share]))
        return (x + self.amount * (x - smooth)).clamp(0.0, 1.0)


class SuperResolution(Perturbation):
    """Shrunk to a share (strength) of each side, slightly degraded, enlarged, and sharpened.

    For each image are drawn: the resampler that shrinks it (area, bilinear, bicubic or Lanczos),
    blur of 0.2 to 0.7 pixels, noise up to 3/255, JPEG of quality 75 to 95, and, after bicubic
    enlargement, an unsharp mask of 0.5 to 0.8 pixels of the small copy and factor 0.5 to 1.5.

    Example:
        >>> pixels = torch.full((1, 3, 16, 16), 100, dtype=torch.uint8)
        >>> SuperResolution().real(pixels, 0.5, torch.Generator()).shape
        torch.Size([1, 3, 16, 16])
    """

    name = "super_resolution"
    unit = "share of each side"
    source = "upscaled small copies; order of the steps as in Real-ESRGAN (Wang et al. 2021)"
    mildest, harshest = 0.75, 0.25
    levels = (0.75, 0.5, 0.35, 0.25)

    def differentiable(self, x: Tensor, strength: Tensor, generator: torch.Generator) -> Tensor:
        """Apply the chain at shares (N,), the codec in its differentiable form."""
        size, out = (x.shape[-2], x.shape[-1]), []
        draws = _draw_degradations(len(x), generator)
        for one, share, drawn in zip(x.split(1), strength.tolist(), draws, strict=True):
            small = drawn.degrade(resample(one, _small(size, share), drawn.kind))
            small = Jpeg().differentiable(small, torch.tensor([drawn.quality]), generator)
            large = resample(small, size, Image.Resampling.BICUBIC)
            out.append(drawn.sharpen(large, share))
        return torch.cat(out)

    def real(self, pixels: Tensor, strength: float, generator: torch.Generator) -> Tensor:
        """Apply the chain with Pillow's resamplers and codec, 8-bit after each step."""
        size, out = (pixels.shape[-2], pixels.shape[-1]), []
        draws = _draw_degradations(len(pixels), generator)
        for one, drawn in zip(pixels.split(1), draws, strict=True):
            small = _resize(one, _small(size, strength), drawn.kind)
            small = to_8bit(drawn.degrade(to_unit(small)))
            small = Jpeg().real(small, drawn.quality, generator)
            large = _resize(small, size, Image.Resampling.BICUBIC)
            out.append(to_8bit(drawn.sharpen(to_unit(large), strength)))
        return torch.cat(out)


def _draw_degradations(count: int, generator: torch.Generator) -> list[_Degradation]:
    kinds = list(FILTERS)
    choices = torch.randint(len(kinds), (count,), generator=generator).tolist()
    seeds = torch.randint(2**31, (count,), generator=generator).tolist()
    mild = torch.tensor([0.2, 0.0, 95.0, 0.5, 0.5])
    harsh = torch.tensor([0.7, 3.0 / 255.0, 75.0, 0.8, 1.5])
    values = mild + torch.rand(count, 5, generator=generator) * (harsh - mild)
    return [
        _Degradation(kinds[choice], seed, *row)
        for choice, row, seed in zip(choices, values.tolist(), seeds, strict=True)
    ]


def _small(size: tuple[int, int], share: float) -> tuple[int, int]:
    return max(1, round(size[0] * share)), max(1, round(size[1] * share))


def _resize(pixels: Tensor, size: tuple[int, int], kind: Image.Resampling) -> Tensor:
    """Resize 8-bit images (N, 3, H, W) with Pillow."""
    return each(pixels, lambda _, image: image.resize((size[1], size[0]), kind))
