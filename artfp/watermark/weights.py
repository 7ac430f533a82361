"""Weights on disk: one `.safetensors` file a network, with a card in its metadata.

A card is a JSON object: `kind` (encoder or decoder), `architecture`, `bits`, `resolution`,
`version` of artfp, and what the trainer adds: `training` (data, command, settings) and `measured`
(figures). Checkpoints published by the ArtFP authors are read too, as the `stegastamp`
architecture: plain state dicts, `.pth` or `.safetensors`, also as `nn.DataParallel` names the
weights. Nothing in a file is ever executed.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

from torch import Tensor, nn

import artfp
from artfp.core.errors import UserError, one_line
from artfp.data.bundle import (
    Card,
    Network,
    build_to_fit,
    check_finite,
    find_decoder,
    find_weights,
    has_card,
    read_card,
    read_state,
    write_bundle,
)
from artfp.data.state_dict import read_state_dict
from artfp.watermark.networks.base import Decoder, Encoder
from artfp.watermark.networks.build import known_architectures
from artfp.watermark.networks.orientation import OrientingDecoder
from artfp.watermark.networks.realigning import RealigningDecoder, with_realignment
from artfp.watermark.networks.stegastamp import StegaStampDecoder, StegaStampEncoder

_MATRICES = {
    "encoder": ("secret_dense.weight",),
    "decoder": ("dense.0.weight", "dense.2.weight"),
}
"""Weights by which published networks are known, and from which their bits and size are read."""

_WRAPPERS = ("module.", "_orig_mod.")
"""Prefixes that `nn.DataParallel` and `torch.compile` put before the names of all weights."""


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
    if isinstance(network, RealigningDecoder | OrientingDecoder):
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


def load_encoder(
    name: str | Path, resolution: int | None = None, decoder: str | Path | None = None
) -> tuple[Encoder, Card]:
    """Load an encoder in evaluation mode on the CPU, with its card.

    A published encoder does not hold the size that it was trained at; its decoder does.

    Args:
        name: A shipped name, such as `photo128`, or a file.
        resolution: Pixels a side of a published encoder whose decoder is not at hand; otherwise
            passed over.
        decoder: File of a published encoder's decoder; None: the one beside it, if there is one.

    Returns:
        The encoder, and its card: `bits`, `resolution`, `architecture`, ...

    Raises:
        UserError: there is no such encoder, it cannot be read, or its resolution is not known.

    Example:
        >>> encoder, card = load_encoder("cifar32")
        >>> encoder.bits == card["bits"]
        True
    """
    path = find_weights(name, "encoder")
    state = _published_state(path, "encoder")
    if state is None:
        return _load_bundle(path, "encoder", _classes("encoder"))
    bits = int(state["secret_dense.weight"].shape[1])
    beside = Path(find_decoder(path))
    if decoder is None and beside != path and beside.is_file():
        decoder = beside
    if decoder is not None:
        partner, _ = load_decoder(decoder, False, resolution)
        if partner.bits != bits:
            raise UserError(
                f"{path} embeds {bits} bits and {decoder} decodes {partner.bits}; give the two of "
                "one training"
            )
        resolution = partner.resolution
    if resolution is None:
        there = beside.name if beside != path else "..._decoder.pth, and call it ..._encoder.pth"
        raise UserError(
            f"{path} does not hold the size that it was trained at; put its decoder beside it, as "
            f"{there}, or give the size in pixels (--image_resolution of artfp embed)"
        )
    return _fill(StegaStampEncoder, bits, resolution, state, path, "encoder")


def load_decoder(
    name: str | Path, realign: bool = True, resolution: int | None = None
) -> tuple[Decoder, Card]:
    """Load a decoder in evaluation mode on the CPU, with its card.

    Args:
        name: A shipped name, such as `photo128`, or a file.
        realign: True to undo mirroring, crops and turns as far as the architecture can, see
            `artfp.watermark.networks.realigning`.
        resolution: 16 for a published decoder of 16 px, whose weights have the shapes of one of
            32 px; otherwise passed over.

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
    state = _published_state(path, "decoder")
    decoder: Decoder
    if state is None:
        decoder, card = _load_bundle(path, "decoder", _classes("decoder"))
    else:
        bits, features = int(state["dense.2.weight"].shape[0]), state["dense.0.weight"].shape[1]
        side = 16 if (resolution, features) == (16, 128) else round((features * 8) ** 0.5)
        decoder, card = _fill(StegaStampDecoder, bits, side, state, path, "decoder")
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
    if not isinstance(card.get("architecture"), str) or card["architecture"] not in classes:
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
        if issubclass(network_class, StegaStampEncoder | StegaStampDecoder):
            state = {name: weight.float() for name, weight in state.items()}
        network = build_to_fit(lambda: network_class(bits, resolution), state)
    except (ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{path} does not fit the {kind} that it claims to be: {reason}") from error
    network.eval().requires_grad_(False)
    card = {"kind": kind, "architecture": getattr(network, "architecture", "")}
    return network, {**card, "bits": bits, "resolution": resolution}


def _published_state(path: Path, kind: str) -> dict[str, Tensor] | None:
    """Return the state dict of a published encoder or decoder; None for a file with a card.

    Raises UserError: the file cannot be read, or holds something else.
    """
    if path.suffix == ".safetensors":
        if has_card(path):
            return None
        state = read_state(path)
    else:
        state = read_state_dict(path)
    while state and all(name.startswith(_WRAPPERS) for name in state):
        state = {name.partition(".")[2]: weight for name, weight in state.items()}
    kinds = [k for k, names in _MATRICES.items() if all(_is_matrix(state.get(n)) for n in names)]
    if kind in kinds:
        check_finite(state, path)
        return state
    if kinds:
        other = path.with_name(path.name.replace(kinds[0], kind))
        hint = f", {other.name}" if other != path and other.is_file() else ""
        raise UserError(f"{path} holds the {kinds[0]}, not the {kind}; give the other file{hint}")
    found = one_line(", ".join(itertools.islice(state, 3)) or "none")[:100]
    card = "has no artfp card, and " if path.suffix == ".safetensors" else ""
    raise UserError(
        f"{path} {card}is no published {kind}: {_MATRICES[kind][0]} is missing (its first weights: "
        f"{found}); give the file ..._{kind}{path.suffix}"
    )


def _is_matrix(weight: Tensor | None) -> bool:
    return weight is not None and weight.ndim == 2
