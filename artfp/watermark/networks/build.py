"""Architectures by name, those of other packages among them, and untrained networks of them.

A package adds an architecture by an entry point of the group `artfp.architectures` that names an
`Architecture`; its networks then train, embed and decode in every command:

    [project.entry-points."artfp.architectures"]
    my_watermark = "my_package.networks:ARCHITECTURE"
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch

from artfp.core.plugins import with_plugins
from artfp.watermark.networks.base import Decoder, Encoder
from artfp.watermark.networks.residual import ResidualDecoder, ResidualEncoder, share_carriers
from artfp.watermark.networks.stegastamp import (
    StegaStampDecoder,
    StegaStampEncoder,
    initialise_he,
)


@dataclass(frozen=True)
class Architecture:
    """Encoder and decoder classes that belong together; each is called with bits and resolution.

    Args:
        encoder: Class of the encoder; its `architecture` is the name of the entry point.
        decoder: Class of the decoder; its `architecture` is the same.
        initialise: Function of a new encoder and its decoder that sets their first weights; None
            where the classes do it themselves.

    Example:
        >>> Architecture(ResidualEncoder, ResidualDecoder).encoder.architecture
        'residual'
    """

    encoder: type[Encoder]
    decoder: type[Decoder]
    initialise: Callable[[Any, Any], None] | None = None


_OWN = {
    "residual": Architecture(ResidualEncoder, ResidualDecoder, share_carriers),
    "stegastamp": Architecture(StegaStampEncoder, StegaStampDecoder, initialise_he),
}


@cache
def known_architectures() -> dict[str, Architecture]:
    """Return the architectures by name, artfp's own first."""
    return with_plugins("artfp.architectures", _OWN, _checked)


def _checked(found: Any) -> Architecture | None:
    return found if isinstance(found, Architecture) else None


def build_pair(
    architecture: str, bits: int, resolution: int, seed: int = 0
) -> tuple[Encoder, Decoder]:
    """Build a new, untrained encoder and its decoder.

    The caller's random state is left as it was.

    Args:
        architecture: Name of the architecture, such as `residual`.
        bits: Number of bits of the fingerprint: 8 to 256, for `stegastamp` 1 to 512.
        resolution: Pixels a side that the networks see: a power of two from 32 to 512, for
            `stegastamp` 16 or a multiple of 32 up to 1024.
        seed: Seed of all weights.

    Returns:
        The encoder and the decoder, in training mode.

    Raises:
        ValueError: the name is unknown, or bits or resolution are out of range.

    Example:
        >>> encoder, decoder = build_pair("residual", bits=16, resolution=32)
        >>> decoder(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 16])
    """
    known = known_architectures()
    if architecture not in known:
        raise ValueError(f"unknown architecture {architecture!r}; known: {', '.join(known)}")
    chosen = known[architecture]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder, decoder = chosen.encoder(bits, resolution), chosen.decoder(bits, resolution)
        if chosen.initialise is not None:
            chosen.initialise(encoder, decoder)
    return encoder, decoder
