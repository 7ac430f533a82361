"""Networks: encoders, decoders, and their files."""

from artfp.models.architectures import DECODERS, ENCODERS, build_pair
from artfp.models.base import Decoder, Encoder, add_residual, spread, weaken
from artfp.models.bundle import (
    Card,
    file_hash,
    load_decoder,
    load_encoder,
    locate,
    partner,
    read_card,
    save_network,
    shipped,
)
from artfp.models.realign import MirroringDecoder, RealigningDecoder, realigning
from artfp.models.single import Pair, Reading, fingerprint_image, read_image

__all__ = [
    "DECODERS",
    "ENCODERS",
    "Card",
    "Decoder",
    "Encoder",
    "MirroringDecoder",
    "Pair",
    "Reading",
    "RealigningDecoder",
    "add_residual",
    "build_pair",
    "file_hash",
    "fingerprint_image",
    "load_decoder",
    "load_encoder",
    "locate",
    "partner",
    "read_card",
    "read_image",
    "realigning",
    "save_network",
    "shipped",
    "spread",
    "weaken",
]
