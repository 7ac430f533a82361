"""The architectures by name, and how to build an untrained pair."""

from __future__ import annotations

import torch

from artfp.watermark.networks.base import Decoder, Encoder
from artfp.watermark.networks.residual import ResidualDecoder, ResidualEncoder, share_carriers
from artfp.watermark.networks.stegastamp import StegaStampDecoder, StegaStampEncoder, initialise_he

ENCODERS: dict[str, type[Encoder]] = {
    "residual": ResidualEncoder,
    "stegastamp": StegaStampEncoder,
}
DECODERS: dict[str, type[Decoder]] = {
    "residual": ResidualDecoder,
    "stegastamp": StegaStampDecoder,
}


def build_pair(
    architecture: str, bits: int, resolution: int, seed: int = 0
) -> tuple[Encoder, Decoder]:
    """New encoder and decoder of one architecture; `seed` decides all their weights.

    The caller's random state is left as it was. Raises ValueError on an unknown name or on bits
    or resolution out of range.
    """
    if architecture not in ENCODERS:
        raise ValueError(f"unknown architecture {architecture!r}; known: {', '.join(ENCODERS)}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = ENCODERS[architecture](bits, resolution)
        decoder = DECODERS[architecture](bits, resolution)
        if isinstance(encoder, ResidualEncoder) and isinstance(decoder, ResidualDecoder):
            share_carriers(encoder, decoder)
        elif architecture == "stegastamp":
            initialise_he(encoder, decoder)
    return encoder, decoder
