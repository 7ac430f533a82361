"""What a perturbation is: one small class with a name, a range, a soft and a true form."""

from __future__ import annotations

import torch
from torch import Tensor

from artfp.data.pixels import to_8bit, to_unit


class Perturbation:
    """One way in which an image changes between its making and its audit.

    Attributes: `name`; `unit` of the strength, for axes; `source` of the range; `mildest` and
    `harshest`, the range of strengths drawn in training; `both_ways`, whether strengths lie on
    both sides of the mildest; `levels`, the strengths of a sweep, from mild to harsh.

    A draw (`draw`) is kept apart from its application (`soft`), so that it can be replayed: the
    same strengths and a generator in the same state give the same result.
    """

    name = ""
    unit = ""
    source = ""
    mildest = 0.0
    harshest = 1.0
    both_ways = False
    levels: tuple[float, ...] = ()

    def draw(self, count: int, generator: torch.Generator, reach: float = 1.0) -> Tensor:
        """Strengths (count,), uniform over the share `reach` of the range next to the mildest."""
        share = torch.rand(count, generator=generator)
        if self.both_ways:
            share = share * 2.0 - 1.0
        share = share * reach
        return self.mildest + share * (self.harshest - self.mildest)

    def soft(self, x: Tensor, strength: Tensor, generator: torch.Generator) -> Tensor:
        """Differentiable form on images (N, 3, H, W) in [0, 1] with strengths (N,)."""
        raise NotImplementedError

    def true(self, pixels: Tensor, strength: float, generator: torch.Generator) -> Tensor:
        """True operation on 8-bit images (N, 3, H, W), 8-bit out.

        Unless a real codec or resampler is involved this is the soft form, rounded.
        """
        strengths = torch.full((len(pixels),), strength)
        return to_8bit(self.soft(to_unit(pixels), strengths, generator))

    def transform(
        self, strength: Tensor, size: tuple[int, int], generator: torch.Generator
    ) -> Tensor | None:
        """Where the pixels of the result come from, (N, 3, 3), or None if every one stays.

        See `artfp.perturbations.warp` for the coordinates. A generator in the state in which
        `soft` is given it tells the transform of that very call. Args: `size`, (H, W).
        """
        return None


def per_image(strength: Tensor, x: Tensor) -> Tensor:
    """Strengths (N,) shaped and placed to multiply images `x` (N, 3, H, W)."""
    return strength.to(x).view(-1, 1, 1, 1)


def pass_through(value: Tensor, x: Tensor) -> Tensor:
    """`value`, with the gradient of `x`: how a rounding or a real codec is trained through."""
    return x + (value - x).detach()
