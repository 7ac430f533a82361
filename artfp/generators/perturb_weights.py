"""Alterations of a trained generator's weights: what a fingerprint may meet on its way.

Each is a function of a generator that returns an altered copy. Touched are the weights alone: the
parameters of two dimensions and more than three, which are the matrices of linear layers and
embeddings and the kernels of convolutions, as they are stored (before spectral norm or a scale in
use, to which no alteration is sensitive: all strengths are relative to the tensor). Biases, the
scales of norms, learned constants and all buffers, such as the running statistics of batch
normalisation, stay as they are.

Pruning is by magnitude (Han et al., NeurIPS 2015, arXiv 1506.02626), without training afterwards.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from artfp.core.errors import UserError
from artfp.generators.base import Generator

BITS = range(2, 17)
"""What weights can be quantised to."""


def weights_of(generator: Generator) -> dict[str, nn.Parameter]:
    """The parameters that alterations touch, by name, each once."""
    return {name: p for name, p in generator.named_parameters() if p.ndim == 2 or p.ndim > 3}


def noised(generator: Generator, strength: float, seed: int = 0) -> Generator:
    """A copy with Gaussian noise on its weights, of `strength` standard deviations of each tensor.

    Raises UserError: a strength of 0 or less, or none.
    """
    if not 0.0 < strength < math.inf:
        raise UserError(f"noise is {strength:g}; it must be above 0, in deviations of the weights")
    rng = torch.Generator().manual_seed(seed)

    def add(weight: Tensor) -> Tensor:
        noise = torch.randn(weight.shape, generator=rng).to(weight)
        return weight + strength * weight.std(correction=0) * noise

    return _altered(generator, add)


def quantised(generator: Generator, bits: int) -> Generator:
    """A copy whose weights take 2^bits - 1 evenly spaced values, symmetric about 0, a tensor.

    The outermost are plus and minus the tensor's largest magnitude; each weight goes to the nearest
    value. Raises UserError: a number of bits not in `BITS`.
    """
    if bits not in BITS:
        raise UserError(f"bits is {bits:g}; choose from {BITS[0]} to {BITS[-1]}")
    top = 2 ** (int(bits) - 1) - 1

    def rounded(weight: Tensor) -> Tensor:
        step = weight.abs().max() / top
        return weight if step == 0 else (weight / step).round() * step

    return _altered(generator, rounded)


def pruned(generator: Generator, share: float) -> Generator:
    """A copy in which this share of each tensor's weights, the smallest in magnitude, is 0.

    The share counts in each tensor by itself: their scales differ, and by one threshold for all,
    those of the smallest scale would vanish. Raises UserError: a share not between 0 and 1.
    """
    if not 0.0 < share < 1.0:
        raise UserError(f"prune is {share:g}; it must be a share above 0 and below 1")

    def cut(weight: Tensor) -> Tensor:
        flat = weight.flatten().clone()
        order = flat.abs().argsort(stable=True)
        flat[order[: round(share * len(flat))]] = 0.0
        return flat.view_as(weight)

    return _altered(generator, cut)


@dataclass(frozen=True)
class Alteration:
    """One of `ALTERATIONS` by name, with its strength: deviations, bits or share; `seed` of noise.

    Raises UserError: no such alteration.
    """

    by: str
    strength: float
    seed: int = 0

    def __post_init__(self) -> None:
        if self.by not in ALTERATIONS:
            known = ", ".join(ALTERATIONS)
            raise UserError(f"no alteration is called {self.by!r}; choose from {known}")

    def apply(self, generator: Generator) -> Generator:
        """An altered copy. Raises UserError: a strength that cannot be."""
        return ALTERATIONS[self.by](generator, self)

    def entry(self) -> dict[str, Any]:
        """What a card says of it."""
        strength = int(self.strength) if self.by == "bits" else self.strength
        seed = {"seed": self.seed} if self.by == "noise" else {}
        return {"by": self.by, "strength": strength, **seed}


ALTERATIONS: dict[str, Callable[[Generator, Alteration], Generator]] = {
    "noise": lambda generator, it: noised(generator, it.strength, it.seed),
    "bits": lambda generator, it: quantised(generator, it.strength),  # type: ignore[arg-type]
    "prune": lambda generator, it: pruned(generator, it.strength),
}
"""All alterations, by the name of their strength."""


@torch.no_grad()
def _altered(generator: Generator, change: Callable[[Tensor], Tensor]) -> Generator:
    """A copy with `change` made to each of its weights."""
    altered = copy.deepcopy(generator)
    for weight in weights_of(altered).values():
        weight.copy_(change(weight.detach()))
    return altered
