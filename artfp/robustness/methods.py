"""Watermark methods by name: an embedder with its decoder.

Other packages add methods by the entry point `artfp.methods`, which names a function without
arguments (or a class) that returns a `ThirdPartyWatermark`.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from artfp.core.errors import UserError
from artfp.core.plugins import with_plugins
from artfp.data.bundle import find_decoder, find_weights, shipped_weights
from artfp.data.geometry import resize
from artfp.data.paths import file_hash
from artfp.data.pixels import to_8bit, to_unit
from artfp.passive.attributors.base import Embedder
from artfp.robustness.matching import BitReader, MatchingBits
from artfp.robustness.third_party import PEERS, ThirdPartyWatermark
from artfp.watermark import Decoder, Encoder, load_decoder, load_encoder
from artfp.watermark.api import fingerprint_image

PLAIN_SUFFIX = ":plain"
"""Ending of a name whose decoder shall not search for crops and rotations."""

_WEIGHTS = (".safetensors", ".pth")


@dataclass(frozen=True)
class Reader:
    """Decoder: `read` maps images to bits; `settings` are JSON values that decide the results."""

    name: str
    bits: int
    read: BitReader
    settings: dict[str, object]

    def attributor(self, fingerprints: ArrayLike, sources: Sequence[str]) -> MatchingBits:
        """Return the attributor for fingerprints (sources, bits)."""
        return MatchingBits(self.name, self.read, fingerprints, sources)


@dataclass(frozen=True)
class Method:
    """Watermark method: an embedder and its decoder.

    Args:
        name: Name in tables.
        embedder: Writer of messages.
        reader: Decoder.
        marks: What decides the marked images, as JSON values; methods of equal `marks` share them.

    Example:
        >>> load_method("cifar32").reader.bits
        64
    """

    name: str
    embedder: Embedder
    reader: Reader
    marks: dict[str, object]


def known_methods() -> list[str]:
    """Return the names of all methods that need no file: shipped weights and third-party ones.

    Example:
        >>> "photo128" in known_methods() and "dwtDct" in known_methods()
        True
    """
    return [*shipped_weights(), *third_party_methods()]


@cache
def third_party_methods() -> dict[str, Callable[[], ThirdPartyWatermark]]:
    """Return functions that load the third-party methods, by name, with those of plugins.

    Example:
        >>> list(third_party_methods())[:3]
        ['dwtDct', 'dwtDctSvd', 'rivaGan']
    """
    return with_plugins("artfp.methods", PEERS, lambda found: found if callable(found) else None)


def load_method(text: str, strength: float = 1.0) -> Method:
    """Load a watermark method.

    Args:
        text: Shipped weights, an encoder's file, or a third-party method. `LABEL=` before it gives
            it another name; `:plain` after weights takes the decoder without its search for crops
            and rotations.
        strength: Factor on the watermark residual of artfp's encoders; other methods have none.

    Returns:
        The embedder with its decoder.

    Raises:
        UserError: no such method, an extra that is not installed, or unusable weights.

    Example:
        >>> load_method("mine=cifar32").name
        'mine'
    """
    label, equals, named = text.partition("=")
    if not equals or Path(text.strip().removesuffix(PLAIN_SUFFIX)).exists():  # a path with = in it
        label, equals, named = "", "", text
    label, named = label.strip(), named.strip()
    if not named or (equals and not label):
        raise UserError(f"method {text!r}: expected a name, a file, or LABEL=name")
    method = _third_party(named) if named in third_party_methods() else _own(named, strength)
    if label:
        reader = replace(method.reader, name=label)
        method = replace(method, name=label, reader=reader)
    return method


def load_reader(text: str) -> Reader:
    """Load artfp's decoder: shipped weights or a file, see `load_method`.

    Raises UserError as `load_decoder`.
    """
    path = text.removesuffix(PLAIN_SUFFIX)
    realign = path == text
    decoder, _ = load_decoder(path, realign)
    settings: dict[str, object] = {
        "decoder": file_hash(find_weights(path, "decoder")),
        "realign": realign,
    }
    name = _label(path) + ("" if realign else PLAIN_SUFFIX)
    return Reader(name, decoder.bits, partial(read_bits, decoder), settings)


def read_bits(decoder: Decoder, x: Tensor) -> Tensor:
    """Return the bits (N, bits) that images decode to, see `read_logits`."""
    return (read_logits(decoder, x) > 0).to(torch.uint8)


@torch.inference_mode()
def read_logits(decoder: Decoder, x: Tensor) -> Tensor:
    """Return logits (N, bits) of images (N, 3, H, W) in [0, 1], of any size.

    They are brought to the decoder's resolution as detection does it, through 8-bit pixels.
    """
    aspects = torch.full((len(x),), x.shape[-2] / x.shape[-1])
    logits, _ = decoder.decode(_fitted(x, decoder.resolution), aspects)
    return logits


def _fitted(x: Tensor, side: int) -> Tensor:
    """Images (N, 3, H, W) in [0, 1] as a network gets them: (N, 3, side, side) in [0, 1]."""
    pixels = to_8bit(x)
    if tuple(pixels.shape[-2:]) != (side, side):
        images = pixels.permute(0, 2, 3, 1).contiguous().numpy()
        small = np.stack([resize(image, (side, side)) for image in images])
        pixels = torch.from_numpy(small).permute(0, 3, 1, 2).contiguous()
    return to_unit(pixels)


class ArtfpEmbedder:
    """An artfp encoder as an Embedder, with a factor on its residual; images keep their size."""

    def __init__(self, encoder: Encoder, strength: float = 1.0) -> None:
        self._encoder, self._strength = encoder, strength
        self.bits = encoder.bits

    def embed(self, pixels: np.ndarray, message: NDArray[np.uint8]) -> np.ndarray:
        """Embed a message (bits,) in an 8-bit image (H, W, 3)."""
        return fingerprint_image(self._encoder, pixels, message, self._strength)

    def refuses(self, height: int, width: int) -> str | None:
        """Return None: images of any size can be marked."""
        return None


def _third_party(name: str) -> Method:
    peer = third_party_methods()[name]()
    marks = {"method": name, **peer.settings}
    return Method(name, peer, Reader(name, peer.bits, peer.read, {}), marks)


def _own(text: str, strength: float) -> Method:
    path = text.removesuffix(PLAIN_SUFFIX)
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
    """Name weights: the shipped name, or the file's without its kind, or its folder."""
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
