"""Perturbations made of others, one after the other."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from artfp.perturbations import warp
from artfp.perturbations.base import Perturbation
from artfp.perturbations.codec import Jpeg
from artfp.perturbations.frequency import Blur
from artfp.perturbations.geometric import RandomCrop, ResizeBack
from artfp.perturbations.local import Relight
from artfp.perturbations.photometric import Noise


def kernel_deviation(side: Tensor) -> Tensor:
    """Return the deviation in pixels of OpenCV's Gaussian kernel of `side` pixels; near 0 for 1."""
    return torch.where(side > 1.0, 0.3 * ((side - 1.0) * 0.5 - 1.0) + 0.8, 0.05)


@dataclass(frozen=True)
class _Step:
    """A step for some images: their numbers (M,), strengths (M,), and what it draws from."""

    perturbation: Perturbation
    where: Tensor
    strength: Tensor
    generator: torch.Generator


class Screenshot(Perturbation):
    """Shown smaller, stored as JPEG, and shown smaller again: resize, JPEG, resize.

    Strength runs from 0 to 1: the image goes to 1 - 0.4 s of its size and back, through JPEG of
    quality 95 - 45 s, and once more to 1 - 0.2 s of its size and back.

    Example:
        >>> pixels = torch.full((1, 3, 16, 16), 100, dtype=torch.uint8)
        >>> Screenshot().real(pixels, 1.0, torch.Generator()).shape
        torch.Size([1, 3, 16, 16])
    """

    name = "screenshot"
    unit = "harshness"
    source = "messengers and screenshots: sides down to 0.6, JPEG down to 50"
    mildest, harshest = 0.0, 1.0
    levels = (0.25, 0.5, 1.0)

    def differentiable(self, x: Tensor, strength: Tensor, generator: torch.Generator) -> Tensor:
        """Apply the chain at harshness (N,)."""
        x = ResizeBack().differentiable(x, 1.0 - 0.4 * strength, generator)
        x = Jpeg().differentiable(x, 95.0 - 45.0 * strength, generator)
        return ResizeBack().differentiable(x, 1.0 - 0.2 * strength, generator)

    def real(self, pixels: Tensor, strength: float, generator: torch.Generator) -> Tensor:
        """Apply the chain with Pillow's resampler and codec."""
        pixels = ResizeBack().real(pixels, 1.0 - 0.4 * strength, generator)
        pixels = Jpeg().real(pixels, 95.0 - 45.0 * strength, generator)
        return ResizeBack().real(pixels, 1.0 - 0.2 * strength, generator)


class Combination(Perturbation):
    """Relight, random crop, blur, JPEG, noise, in this order, each with probability one half.

    The strengths of each image's steps are drawn evenly from the published ranges (Yu et al. 2019:
    crop 5 to 20%, blur kernels {1, 3, 5, 7, 9}, JPEG quality 10 to 75, noise 5/255 to 20/255).
    Strength 1 is that; less moves the harsh end of each range towards its mild end.

    Example:
        >>> pixels = torch.full((1, 3, 16, 16), 100, dtype=torch.uint8)
        >>> Combination().real(pixels, 1.0, torch.Generator()).shape
        torch.Size([1, 3, 16, 16])
    """

    name = "combination"
    unit = "share of the published ranges"
    source = "Yu et al. 2019"
    mildest, harshest = 0.2, 1.0
    levels = (0.25, 0.5, 1.0)

    CHANCE = 0.5
    STEPS: tuple[tuple[Perturbation, float, float], ...] = (
        (Relight(), 0.0, 1.0),
        (RandomCrop(), 0.05, 0.2),
        (Blur(), -0.5, 4.5),  # which of the kernels, rounded
        (Jpeg(), 75.0, 10.0),
        (Noise(), 5.0 / 255.0, 20.0 / 255.0),
    )

    def _plan(self, strength: Tensor, generator: torch.Generator) -> list[_Step]:
        """Return the steps in order, each with the images that it changes."""
        plan = []
        for step, mild, harsh in self.STEPS:
            chance, share = torch.rand(2, len(strength), generator=generator)
            seed = int(torch.randint(2**31, (), generator=generator))
            where = (chance < self.CHANCE).nonzero().flatten()
            value = mild + share * strength.cpu() * (harsh - mild)
            if isinstance(step, Blur):
                value = kernel_deviation(1.0 + 2.0 * value.round().clamp(0.0, 4.0))
            plan.append(_Step(step, where, value[where], torch.Generator().manual_seed(seed)))
        return plan

    def transform(
        self, strength: Tensor, size: tuple[int, int], generator: torch.Generator
    ) -> Tensor:
        """Return the places that the pixels come from; see Perturbation."""
        out = warp.identity(len(strength))
        for step in self._plan(strength, generator):
            moved = step.perturbation.transform(step.strength, size, step.generator)
            if moved is not None and len(step.where):
                out[step.where] = out[step.where] @ moved
        return out

    def differentiable(self, x: Tensor, strength: Tensor, generator: torch.Generator) -> Tensor:
        """Apply the chain in differentiable steps."""
        for step in self._plan(strength, generator):
            where = step.where.to(x.device)
            if len(where):
                changed = step.perturbation.differentiable(x[where], step.strength, step.generator)
                x = x.index_copy(0, where, changed)
        return x

    def real(self, pixels: Tensor, strength: float, generator: torch.Generator) -> Tensor:
        """Apply the chain of real operations, 8-bit after each."""
        pixels = pixels.clone()
        for step in self._plan(torch.full((len(pixels),), strength), generator):
            for image, value in zip(step.where.tolist(), step.strength.tolist(), strict=True):
                one = pixels[image : image + 1]
                pixels[image] = step.perturbation.real(one, value, step.generator)[0]
        return pixels


class OneStep(Combination):
    """One step of the published combination, on every image, with its drawn strengths."""

    CHANCE = 1.0

    def __init__(self, name: str) -> None:
        """Take the name of the step's perturbation. Raises ValueError: there is no such step."""
        self.STEPS = tuple(step for step in Combination.STEPS if step[0].name == name)
        if not self.STEPS:
            raise ValueError(f"no step {name!r} in the published combination")
        self.name = name
