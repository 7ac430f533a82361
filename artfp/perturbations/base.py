"""What a perturbation is: one small class with a name, a range, a soft and a true form."""

from __future__ import annotations

import torch
from torch import Tensor

from artfp.data.pixels import to_bytes, to_unit


class Perturbation:
    """One way in which an image changes between its making and its audit.

    Attributes: `name`; `mildest` and `harshest`, the range of strengths drawn in training, in the
    unit that the class states; `both_ways`, whether strengths lie on both sides of the mildest.

    A draw (`draw`) is kept apart from its application (`soft`), so that it can be replayed: the
    same strengths and a generator in the same state give the same result.
    """

    name = ""
    mildest = 0.0
    harshest = 1.0
    both_ways = False

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

        Unless a real codec is involved this is the soft form, rounded.
        """
        strengths = torch.full((len(pixels),), strength)
        return to_bytes(self.soft(to_unit(pixels), strengths, generator))


def per_image(strength: Tensor, x: Tensor) -> Tensor:
    """Strengths (N,) shaped and placed to multiply images `x` (N, 3, H, W)."""
    return strength.to(x).view(-1, 1, 1, 1)
