"""Watermarking methods by name: an embedder, what reads it, and what decides the results."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from numpy.typing import ArrayLike

from artfp.core.errors import UserError
from artfp.data.bundle import find_decoder, find_weights, shipped_weights
from artfp.data.files import file_hash
from artfp.passive.attributors.base import Embedder
from artfp.robustness.matching import MatchingBits, Read
from artfp.robustness.proactive import ArtfpEmbedder, read_bits
from artfp.robustness.third_party import PEERS
from artfp.watermark import load_decoder, load_encoder

PLAIN = ":plain"
"""Ending of a name whose decoder shall not look for crops and turns."""

_WEIGHTS = (".safetensors", ".pth")


@dataclass(frozen=True)
class Reader:
    """What reads words: `read`, images to bits; `settings`, JSON values that decide the results."""

    name: str
    bits: int
    read: Read
    settings: dict[str, object]

    def attributor(self, fingerprints: ArrayLike, sources: Sequence[str]) -> MatchingBits:
        """The attributor for words (sources, bits)."""
        return MatchingBits(self.name, self.read, fingerprints, sources)


@dataclass(frozen=True)
class Method:
    """An embedder and its reader; methods of equal `marks` mark images alike."""

    name: str
    embedder: Embedder
    reader: Reader
    marks: dict[str, object]


def known_methods() -> list[str]:
    """Names of all methods that need no file: shipped weights and peers."""
    return [*shipped_weights(), *PEERS]


def load_method(text: str, strength: float = 1.0) -> Method:
    """Load what `text` names: shipped weights, an encoder's file, or a peer.

    `LABEL=` before it gives it a name of its own; `:plain` after weights takes the decoder as it
    is, without the search for crops and turns. `strength` is a factor on the residual of artfp's
    encoders; peers have none. Raises UserError: no such method, an extra that is not installed,
    or unusable weights.
    """
    label, equals, named = text.partition("=")
    if not equals or Path(text.strip().removesuffix(PLAIN)).exists():  # a path with = in it
        label, equals, named = "", "", text
    label, named = label.strip(), named.strip()
    if not named or (equals and not label):
        raise UserError(f"method {text!r}: expected a name, a file, or LABEL=name")
    method = _peer(named) if named in PEERS else _own(named, strength)
    if label:
        reader = replace(method.reader, name=label)
        method = replace(method, name=label, reader=reader)
    return method


def load_reader(text: str) -> Reader:
    """What reads artfp's fingerprints: shipped weights or a decoder's file, see `load_method`.

    Decoders are loaded here and nowhere else in this room. Raises UserError as `load_decoder`.
    """
    path = text.removesuffix(PLAIN)
    realign = path == text
    decoder, _ = load_decoder(path, realign)
    settings: dict[str, object] = {
        "decoder": file_hash(find_weights(path, "decoder")),
        "realign": realign,
    }
    name = _label(path) + ("" if realign else PLAIN)
    return Reader(name, decoder.bits, partial(read_bits, decoder), settings)


def _peer(name: str) -> Method:
    peer = PEERS[name]()
    marks = {"method": name, **peer.settings}
    return Method(name, peer, Reader(name, peer.bits, peer.read, {}), marks)


def _own(text: str, strength: float) -> Method:
    path = text.removesuffix(PLAIN)
    is_file = Path(path).suffix in _WEIGHTS or Path(path).exists()
    if path not in shipped_weights() and not is_file:
        raise UserError(f"no method {path!r}; {_hint(path)}")
    encoder, _ = load_encoder(path)
    reader = load_reader(str(find_decoder(path)) + text[len(path) :])
    if encoder.bits != reader.bits:
        raise UserError(
            f"{path} writes {encoder.bits} bits and {find_decoder(path)} reads {reader.bits}; "
            "give the two of one training"
        )
    marks: dict[str, object] = {
        "encoder": file_hash(find_weights(path, "encoder")),
        "strength": strength,
    }
    return Method(reader.name, ArtfpEmbedder(encoder, strength), reader, marks)


def _label(path: str) -> str:
    """What weights are called: the shipped name, or the file's without its kind, or its folder."""
    if path in shipped_weights():
        return path
    stem = Path(path).stem
    for kind in ("_encoder", "_decoder", "encoder", "decoder"):
        stem = stem.removesuffix(kind)
    return stem or Path(path).resolve().parent.name or path


def _hint(name: str) -> str:
    lower = {known.lower(): known for known in known_methods()}
    close = difflib.get_close_matches(name.lower(), lower, n=1)
    if close:
        return f"did you mean {lower[close[0]]}?"
    return f"give {', '.join(known_methods())}, or an encoder's file (.safetensors, .pth)"
