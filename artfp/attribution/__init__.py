"""Attribution: who made an image, behind one protocol for all ways of finding out."""

from artfp.attribution.base import Attributor, Embedder, ExactAttributor
from artfp.attribution.matching import MatchingBits
from artfp.attribution.methods import Method, known_methods, load_method
from artfp.attribution.peers import PEERS, BlindWatermark, InvisibleWatermark
from artfp.attribution.proactive import ArtfpEmbedder, ProactiveDecoder, read_bits

__all__ = [
    "PEERS",
    "ArtfpEmbedder",
    "Attributor",
    "BlindWatermark",
    "Embedder",
    "ExactAttributor",
    "InvisibleWatermark",
    "MatchingBits",
    "Method",
    "ProactiveDecoder",
    "known_methods",
    "load_method",
    "read_bits",
]
