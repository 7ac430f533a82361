"""Weights on disk: one `.safetensors` file a network, with a card in its metadata.

A card is a JSON object: `kind` (encoder or decoder), `architecture`, `bits`, `resolution`,
`version` of artfp, and what the trainer adds: `training` (data, command, settings) and `measured`
(figures). Checkpoints published by the ArtFP authors (`.pth`, plain state dicts) are read too, as
the `stegastamp` architecture; nothing in a file is ever executed.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

import artfp
from artfp.core.errors import UserError
from artfp.data.bundle import Card, find_decoder, find_weights, read_card, read_state, write_bundle
from artfp.watermark.networks.base import Decoder, Encoder
from artfp.watermark.networks.build import known_architectures
from artfp.watermark.networks.realigning import (
    MirroringDecoder,
    RealigningDecoder,
    with_realignment,
)
from artfp.watermark.networks.stegastamp import StegaStampDecoder, StegaStampEncoder

Network = TypeVar("Network", bound=nn.Module)


def save_network(network: Encoder | Decoder, path: Path, card: Card | None = None) -> Card:
    """Write the weights of a network with a card.

    A decoder that undoes mirroring, crops and turns is written without that: `load_decoder` adds
    it again.

    Args:
        network: Encoder or decoder.
        path: File to write, `.safetensors`.
        card: Entries beside kind, architecture, bits, resolution and version.

    Returns:
        The card as written.

    Raises:
        UserError: the file cannot be written.

    Example:
        >>> import tempfile
        >>> from artfp.watermark import build_pair
        >>> encoder, _ = build_pair("residual", bits=16, resolution=32)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_network(encoder, Path(folder) / "encoder.safetensors")["bits"]
        16
    """
    if isinstance(network, RealigningDecoder | MirroringDecoder):
        network = network.decoder
    whole: Card = {
        "kind": _kind(network),
        "architecture": network.architecture,
        "bits": network.bits,
        "resolution": network.resolution,
        "version": artfp.__version__,
        **(card or {}),
    }
    write_bundle(network, path, whole)
    return whole


def load_encoder(name: str | Path, resolution: int | None = None) -> tuple[Encoder, Card]:
    """Load an encoder in evaluation mode on the CPU, with its card.

    Args:
        name: A shipped name, such as `photo128`, or a file.
        resolution: Pixels a side, for published `.pth` encoders, whose files do not hold it; None:
            read from the decoder beside it, else 128.

    Returns:
        The encoder, and its card: `bits`, `resolution`, `architecture`, ...

    Raises:
        UserError: there is no such encoder, or it cannot be read.

    Example:
        >>> encoder, card = load_encoder("cifar32")
        >>> encoder.bits == card["bits"]
        True
    """
    path = find_weights(name, "encoder")
    if path.suffix == ".safetensors":
        return _load_bundle(path, "encoder", _classes("encoder"))
    state = _published_state(path)
    try:
        bits = int(state["secret_dense.weight"].shape[1])
    except (KeyError, IndexError) as error:
        raise UserError(
            f"{path} is no published encoder: secret_dense.weight is missing"
        ) from error
    resolution = resolution or _resolution_of_sibling(path) or 128
    return _fill(StegaStampEncoder, bits, resolution, state, path, "encoder")


def load_decoder(name: str | Path, realign: bool = True) -> tuple[Decoder, Card]:
    """Load a decoder in evaluation mode on the CPU, with its card.

    Args:
        name: A shipped name, such as `photo128`, or a file.
        realign: True to undo mirroring, crops and turns as far as the architecture can, see
            `artfp.watermark.networks.realigning`.

    Returns:
        The decoder, and its card: `bits`, `resolution`, `architecture`, ...

    Raises:
        UserError: there is no such decoder, or it cannot be read.

    Example:
        >>> decoder, card = load_decoder("cifar32")
        >>> decoder.bits == card["bits"]
        True
    """
    path = find_weights(name, "decoder")
    if path.suffix == ".safetensors":
        decoder, card = _load_bundle(path, "decoder", _classes("decoder"))
        return with_realignment(decoder) if realign else decoder, card
    state = _published_state(path)
    bits, resolution = _decoder_shape(state, path)
    decoder, card = _fill(StegaStampDecoder, bits, resolution, state, path, "decoder")
    return with_realignment(decoder) if realign else decoder, card


def check_fingerprint_size(expected: int | None, bits: int, weights: str) -> None:
    """Refuse a --fingerprint_size that is not that of the weights."""
    if expected is not None and expected != bits:
        raise UserError(f"--fingerprint_size is {expected}, but {weights} works with {bits} bits")


def check_same_bits(
    encoder: Encoder, decoder: Decoder, encoder_name: str, decoder_name: str
) -> None:
    """Refuse an encoder and a decoder of different trainings, by their numbers of bits."""
    if encoder.bits != decoder.bits:
        raise UserError(
            f"{encoder_name} embeds {encoder.bits} bits and {decoder_name} decodes {decoder.bits}; "
            "give the two of one training"
        )


def _kind(network: nn.Module) -> str:
    return "encoder" if isinstance(network, Encoder) else "decoder"


def _classes(kind: str) -> dict[str, Any]:
    """Return the classes of the encoders or decoders by architecture."""
    return {name: getattr(each, kind) for name, each in known_architectures().items()}


def _load_bundle(path: Path, kind: str, classes: dict[str, type[Network]]) -> tuple[Network, Card]:
    card = read_card(path)
    if card.get("kind") != kind:
        raise UserError(f"{path} holds the {card.get('kind')}, not the {kind}; give the other file")
    if card.get("architecture") not in classes:
        raise UserError(
            f"{path} has architecture {card.get('architecture')!r}, which this version "
            f"({artfp.__version__}) does not know; its file was written by {card.get('version')}"
        )
    try:
        bits, resolution = int(card["bits"]), int(card["resolution"])
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path}: its card does not give bits and resolution") from error
    state = read_state(path)
    network, _ = _fill(classes[card["architecture"]], bits, resolution, state, path, kind)
    return network, card


def _fill(
    network_class: type[Network],
    bits: int,
    resolution: int,
    state: dict[str, Tensor],
    path: Path,
    kind: str,
) -> tuple[Network, Card]:
    """Build a network with these weights, and a card of its class, bits and resolution."""
    try:
        network = network_class(bits, resolution)
        network.load_state_dict(state)
    except (ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{path} does not fit the {kind} that it claims to be: {reason}") from error
    network.eval().requires_grad_(False)
    card = {"kind": kind, "architecture": getattr(network, "architecture", "")}
    return network, {**card, "bits": bits, "resolution": resolution}


def _published_state(path: Path) -> dict[str, Tensor]:
    """Read the state dict of a `.pth` file; refuse whatever is more than tensors by name."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if not _is_pickle(path):
            raise UserError(f"{path} is not a readable checkpoint") from error
        raise UserError(
            f"{path} is refused: it holds more than weights and loading it could execute code; "
            "save the state dict alone"
        ) from error
    except (RuntimeError, EOFError, ValueError, OSError, KeyError) as error:
        raise UserError(f"{path} is not a readable checkpoint") from error
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise UserError(f"{path} is not a plain state dict; save the network's state_dict() alone")
    return state


def _is_pickle(path: Path) -> bool:
    """Return whether a file begins like one of torch.save, of today (zip) or of old (pickle)."""
    with path.open("rb") as file:
        return file.read(2) in (b"PK", b"\x80\x02")


def _decoder_shape(state: dict[str, Tensor], path: Path) -> tuple[int, int]:
    """Return (bits, resolution) of a published decoder: its dense layer has R * R / 8 inputs."""
    try:
        bits = int(state["dense.2.weight"].shape[0])
        features = int(state["dense.0.weight"].shape[1])
    except (KeyError, IndexError) as error:
        raise UserError(f"{path} is no published decoder: its dense layers are missing") from error
    return bits, round((features * 8) ** 0.5)


def _resolution_of_sibling(path: Path) -> int | None:
    """Return the resolution of the decoder beside a published encoder, if there is one."""
    sibling = Path(find_decoder(path))
    if sibling == path or not sibling.is_file():
        return None
    return _decoder_shape(_published_state(sibling), sibling)[1]
