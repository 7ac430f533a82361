"""Base class of perturbations: a name, a range, a differentiable and a real form."""

from __future__ import annotations

import torch
from torch import Tensor

from artfp.data.pixels import to_8bit, to_unit


class Perturbation:
    """Change of an image between its making and its audit, at a strength.

    A draw (`draw`) is kept apart from its application (`differentiable`), so that it can be
    replayed: the same strengths and a generator in the same state give the same result. A subclass
    sets the attributes and defines `differentiable`; `real` and `transform` where these differ.
    Other packages add perturbations by the entry point `artfp.perturbations`, which names a
    subclass whose `name` is that of the entry.

    Attributes:
        name: Name on command lines and in tables.
        unit: Unit of the strength, for axes.
        source: Origin of the range.
        mildest: Strength next to doing nothing.
        harshest: Other end of the range that strengths are drawn from in training.
        both_ways: True if strengths lie on both sides of the mildest.
        levels: Strengths of a robustness sweep, from mild to harsh.

    Example:
        >>> class Darken(Perturbation):
        ...     name, unit, levels = "darken", "fraction", (0.25, 0.5)
        ...     def differentiable(self, x, strength, generator):
        ...         return x * (1.0 - per_image(strength, x))
        >>> pixels = torch.full((1, 3, 8, 8), 200, dtype=torch.uint8)
        >>> Darken().real(pixels, 0.5, torch.Generator()).unique().tolist()
        [100]
    """

    name = ""
    unit = ""
    source = ""
    mildest = 0.0
    harshest = 1.0
    both_ways = False
    levels: tuple[float, ...] = ()

    def draw(self, count: int, generator: torch.Generator, reach: float = 1.0) -> Tensor:
        """Draw strengths uniformly from the part of the range next to the mildest.

        Args:
            count: Number of images.
            generator: Source of the random numbers.
            reach: Fraction of the range that is drawn from, 0 to 1.

        Returns:
            Strengths (count,).
        """
        fraction = torch.rand(count, generator=generator)
        if self.both_ways:
            fraction = fraction * 2.0 - 1.0
        fraction = fraction * reach
        return self.mildest + fraction * (self.harshest - self.mildest)

    def most_images(self, size: tuple[int, int]) -> int | None:
        """Return how many images of a training step it is applied to at most; None: any number.

        A slow perturbation bounds the time of a step by it.

        Args:
            size: (H, W) of the images.
        """
        return None

    def differentiable(self, x: Tensor, strength: Tensor, generator: torch.Generator) -> Tensor:
        """Perturb images such that gradients pass.

        Args:
            x: Images (N, 3, H, W) in [0, 1].
            strength: Strengths (N,).
            generator: Source of the random numbers.

        Returns:
            Images (N, 3, H, W) in [0, 1].
        """
        raise NotImplementedError

    def real(self, pixels: Tensor, strength: float, generator: torch.Generator) -> Tensor:
        """Perturb 8-bit images as it happens outside of a training.

        Unless a codec or resampler is involved this is the differentiable form, rounded.

        Args:
            pixels: Images (N, 3, H, W), uint8.
            strength: Strength for all of them.
            generator: Source of the random numbers.

        Returns:
            Images (N, 3, H, W), uint8.
        """
        strengths = torch.full((len(pixels),), strength)
        return to_8bit(self.differentiable(to_unit(pixels), strengths, generator))

    def transform(
        self, strength: Tensor, size: tuple[int, int], generator: torch.Generator
    ) -> Tensor | None:
        """Return the places that the pixels of the result come from; None if every one stays.

        A generator in the state in which `differentiable` is given it gives the transform of that
        very call.

        Args:
            strength: Strengths (N,).
            size: (H, W) of the images.
            generator: Source of the random numbers.

        Returns:
            Maps (N, 3, 3) in the coordinates of `artfp.perturbations.warp`.
        """
        return None


def per_image(strength: Tensor, x: Tensor) -> Tensor:
    """Reshape strengths (N,) to multiply images `x` (N, 3, H, W)."""
    return strength.to(x).view(-1, 1, 1, 1)


def pass_through(value: Tensor, x: Tensor) -> Tensor:
    """Return `value` with the gradient of `x`: the straight-through estimator (Bengio 2013)."""
    return x + (value - x).detach()
