"""Weights on disk: `.safetensors` files with a card in their metadata, and the shipped ones."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from artfp.core.errors import UserError, one_line
from artfp.data.files import write_atomic

WEIGHTS = Path(__file__).resolve().parent.parent / "weights"
"""Folder of the shipped weights."""


CARD = "artfp"
"""Key of the card in the metadata of a `.safetensors` file."""


Card = dict[str, Any]


def shipped_weights() -> list[str]:
    """Return the names of the weights that come with the package."""
    return sorted(p.name.removesuffix("_encoder.safetensors") for p in WEIGHTS.glob("*_encoder.*"))


def find_weights(name: str | Path, kind: str) -> Path:
    """Return the file that a path or a shipped name stands for.

    Args:
        name: Path of a file, or one of `shipped_weights`.
        kind: "encoder" or "decoder".

    Raises:
        UserError: there is no such file.
    """
    if str(name) in shipped_weights():
        return WEIGHTS / f"{name}_{kind}.safetensors"
    path = Path(name)
    if path.is_dir():
        raise UserError(f"{path} is a folder; give the {kind}'s file, such as {kind}.safetensors")
    if not path.is_file():
        names = ", ".join(shipped_weights()) or "none"
        raise UserError(f"no {kind} at {path}; give a file, or a shipped name: {names}")
    return path


def find_decoder(encoder: str | Path) -> str | Path:
    """Return the decoder of an encoder: of the same shipped name, or the file beside it."""
    if str(encoder) in shipped_weights():
        return encoder
    path = Path(encoder)
    return path.with_name(path.name.replace("encoder", "decoder"))


def write_bundle(network: nn.Module, path: Path, card: Card) -> None:
    """Write the weights of any network as a `.safetensors` file with this card."""
    tensors = {name: t.detach().cpu().contiguous() for name, t in network.state_dict().items()}
    write_atomic(path, save(tensors, metadata={CARD: json.dumps(card)}))


def read_state(path: Path) -> dict[str, Tensor]:
    """Return the weights of a file whose card could be read (`read_card`), by name."""
    with safe_open(path, framework="pt") as file:
        return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118


def check_finite(state: Mapping[str, Tensor], path: Path) -> None:
    """Refuse weights that are no numbers, as a training that diverged leaves them.

    Raises:
        UserError: a weight is NaN or infinite.
    """
    for name, weight in state.items():
        if weight.numel() and not all(torch.isfinite(end) for end in torch.aminmax(weight)):
            raise UserError(
                f"{path}: {one_line(name)} holds values that are no finite numbers, as a training "
                "that diverged leaves them; take the weights of another training"
            )


def has_card(path: Path) -> bool:
    """Return whether artfp wrote a `.safetensors` file.

    Raises:
        UserError: the file cannot be read.
    """
    try:
        with safe_open(path, framework="pt") as file:
            return CARD in (file.metadata() or {})
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} is not a readable .safetensors file ({error})") from error


def read_card(path: Path) -> Card:
    """Return the card of a `.safetensors` file.

    Raises:
        UserError: the file cannot be read, or artfp did not write it.
    """
    try:
        with safe_open(path, framework="pt") as file:
            card = json.loads((file.metadata() or {})[CARD])
            if not isinstance(card, dict):
                raise TypeError("the card is no object")
            return card
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} is not a readable .safetensors file ({error})") from error
    except (KeyError, ValueError, TypeError) as error:
        raise UserError(f"{path} has no artfp card; it was not written by artfp") from error
