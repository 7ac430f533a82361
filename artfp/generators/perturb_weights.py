"""Alterations of a trained generator's weights, to test whether a fingerprint survives them.

Each is a function of a generator that returns an altered copy. Only the weights are altered: the
parameters of two dimensions and of more than three, which are the matrices of linear layers and
embeddings and the kernels of convolutions, as they are stored (before spectral norm or a scale in
use, which change no alteration: all strengths are relative to the tensor). Biases, the scales of
norms, learned constants and all buffers, such as the running statistics of batch normalisation,
stay as they are.

Pruning is by magnitude (Han et al., NeurIPS 2015, arXiv 1506.02626), without training afterwards.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from artfp.core.errors import UserError
from artfp.core.run_folder import exclusive
from artfp.data.paths import file_hash
from artfp.data.resume import Manifest
from artfp.generators.base import Generator
from artfp.generators.settings import AlterSettings
from artfp.generators.weights import load_generator, save_generator

QUANTISATION_BITS = range(2, 17)
"""Numbers of bits that weights can be quantised to."""


def alterable_weights(generator: Generator) -> dict[str, nn.Parameter]:
    """Return the parameters that alterations change, by name, each once."""
    return {name: p for name, p in generator.named_parameters() if p.ndim == 2 or p.ndim > 3}


def add_weight_noise(generator: Generator, strength: float, seed: int = 0) -> Generator:
    """Return a copy with Gaussian noise on its weights.

    The standard deviation is `strength` times that of each tensor's weights.

    Raises UserError: a strength that is not above 0.
    """
    if not 0.0 < strength < math.inf:
        raise UserError(f"noise is {strength:g}; it must be above 0, in deviations of the weights")
    rng = torch.Generator().manual_seed(seed)

    def add(weight: Tensor) -> Tensor:
        noise = torch.randn(weight.shape, generator=rng).to(weight)
        return weight + strength * weight.std(correction=0) * noise

    return _altered(generator, add)


def quantise_weights(generator: Generator, bits: float) -> Generator:
    """Return a copy whose weights take 2^bits - 1 evenly spaced values a tensor.

    The values are symmetric about 0, up to the tensor's largest magnitude; each weight goes to the
    nearest. Raises UserError: a number of bits that is not in `QUANTISATION_BITS`.
    """
    if bits not in QUANTISATION_BITS:
        least, most = QUANTISATION_BITS[0], QUANTISATION_BITS[-1]
        raise UserError(f"quantise is {bits:g}; choose from {least} to {most} bits")
    levels = 2 ** (int(bits) - 1) - 1

    def rounded(weight: Tensor) -> Tensor:
        step = weight.abs().max() / levels
        return weight if step == 0 else (weight / step).round() * step

    return _altered(generator, rounded)


def prune_weights(generator: Generator, fraction: float) -> Generator:
    """Return a copy in which a fraction of each tensor's weights, the smallest in magnitude, is 0.

    Each tensor is pruned by itself: scales differ, and by one threshold for all, the tensors of the
    smallest scale would vanish. Raises UserError: a fraction that is not between 0 and 1.
    """
    if not 0.0 < fraction < 1.0:
        raise UserError(f"prune is {fraction:g}; it must be a fraction above 0 and below 1")

    def cut(weight: Tensor) -> Tensor:
        flat = weight.flatten().clone()
        order = flat.abs().argsort(stable=True)
        flat[order[: round(fraction * len(flat))]] = 0.0
        return flat.view_as(weight)

    return _altered(generator, cut)


@dataclass(frozen=True)
class Alteration:
    """Alteration by name, with its strength.

    Args:
        by: One of `ALTERATIONS`: noise, quantise or prune.
        strength: Standard deviations, bits or fraction.
        seed: Seed of noise.

    Raises:
        UserError: there is no such alteration.
    """

    by: str
    strength: float
    seed: int = 0

    def __post_init__(self) -> None:
        if self.by not in ALTERATIONS:
            known = ", ".join(ALTERATIONS)
            raise UserError(f"no alteration is called {self.by!r}; choose from {known}")

    def apply(self, generator: Generator) -> Generator:
        """Return an altered copy. Raises UserError: a strength that is out of range."""
        return ALTERATIONS[self.by](generator, self)

    def entry(self) -> dict[str, Any]:
        """Return the entry of a card."""
        strength = int(self.strength) if self.by == "quantise" else self.strength
        seed = {"seed": self.seed} if self.by == "noise" else {}
        return {"by": self.by, "strength": strength, **seed}


ALTERATIONS: dict[str, Callable[[Generator, Alteration], Generator]] = {
    "noise": lambda generator, it: add_weight_noise(generator, it.strength, it.seed),
    "quantise": lambda generator, it: quantise_weights(generator, it.strength),
    "prune": lambda generator, it: prune_weights(generator, it.strength),
}
"""All alterations, by the name of their option."""


@dataclass(frozen=True)
class AlteredGenerator:
    """Altered copy of a generator on disk.

    Args:
        path: Its file.
        alteration: What was done.
    """

    path: Path
    alteration: Alteration


@exclusive
def alter_weights(settings: AlterSettings) -> list[AlteredGenerator]:
    """Write an altered copy of a generator for each strength.

    The files are `<output_dir>/<alteration>_<strength>.safetensors`. Each card is that of the
    generator with an entry at the end of the list `altered`: `by`, `strength`, `seed` of noise, and
    `of`, the SHA-256 of the file that was altered.

    Args:
        settings: Generator, strengths and folder.

    Returns:
        The copies: noise, then quantised, then pruned.

    Raises:
        UserError: a file that holds no generator, or a folder with alterations of another generator
            or of another seed.

    Example:
        >>> import tempfile
        >>> from artfp.generators import build_model
        >>> model = build_model("dcgan", 16, changes={"width": 4})
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "dcgan.safetensors")
        ...     _ = save_generator(model.generator, path)
        ...     settings = AlterSettings(generator=path, output_dir=Path(folder), quantise=(8,))
        ...     [altered.path.name for altered in alter_weights(settings)]
        ['quantise_8.safetensors']
    """
    alterations = [
        Alteration(name, strength, settings.seed)
        for name in ALTERATIONS
        for strength in getattr(settings, name)
    ]
    return write_altered(settings.generator, settings.output_dir, alterations)


def write_altered(
    source: Path, output: Path, alterations: Sequence[Alteration]
) -> list[AlteredGenerator]:
    """Write an altered copy of a generator's file for each alteration; see `alter_weights`."""
    generator, card = load_generator(source)
    copies = [(alteration, alteration.apply(generator)) for alteration in alterations]
    digest = file_hash(source)
    seeds = sorted({alteration.seed for alteration in alterations})
    Manifest.claim(output, {"generator_sha256": digest, "seeds": seeds}, "alter")
    written = []
    for alteration, altered in copies:
        path = output / f"{alteration.by}_{alteration.strength:g}.safetensors"
        entries = [*card.get("altered", []), {**alteration.entry(), "of": digest}]
        save_generator(altered, path, {**card, "altered": entries})
        written.append(AlteredGenerator(path, alteration))
    return written


@torch.no_grad()
def _altered(generator: Generator, change: Callable[[Tensor], Tensor]) -> Generator:
    """Return a copy with `change` made to each of its weights."""
    altered = copy.deepcopy(generator)
    for weight in alterable_weights(altered).values():
        weight.copy_(change(weight.detach()))
    return altered
