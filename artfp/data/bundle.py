"""Weights on disk: `.safetensors` files with a card in their metadata, and the shipped ones."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from safetensors import SafetensorError, safe_open

from artfp.core.errors import UserError, one_line
from artfp.data.files import write_atomic

if TYPE_CHECKING:  # commands look for weights before they load torch
    from torch import Tensor, nn

WEIGHTS = Path(__file__).resolve().parent.parent / "weights"
"""Folder of the shipped weights."""


CARD = "artfp"
"""Key of the card in the metadata of a `.safetensors` file."""


Card = dict[str, Any]

Network = TypeVar("Network", bound="nn.Module")

_MAX_CARD = 16 * 1024 * 1024
"""Characters of a card, at most; those of many sources or classes have the most."""

_MAX_DEPTH = 32
"""Objects and lists inside each other in a card, at most."""

_MAX_EXTRA = 1 << 24
"""Values that a network may hold beside those of its file, such as tables that are computed."""


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
    """Write the weights of any network as a `.safetensors` file with this card.

    Raises:
        UserError: the file cannot be written, or a weight is NaN or infinite.
    """
    from safetensors.torch import save

    tensors = {name: t.detach().cpu().contiguous() for name, t in network.state_dict().items()}
    check_finite(tensors, path)
    write_atomic(path, save(tensors, metadata={CARD: json.dumps(card)}))


def read_state(path: Path) -> dict[str, Tensor]:
    """Return the weights of a file whose card could be read (`read_card`), by name.

    Raises:
        UserError: a weight is NaN or infinite, or no plain tensor.
    """
    with safe_open(path, framework="pt") as file:
        state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    check_finite(state, path)
    return state


def check_finite(state: Mapping[str, Tensor], path: Path) -> None:
    """Refuse weights that are no numbers, as a training that diverged leaves them.

    Raises:
        UserError: a weight is NaN or infinite, or no plain tensor.
    """
    import torch

    for name, weight in state.items():
        try:
            values = weight
            if weight.numel() * weight.element_size() > weight.untyped_storage().nbytes():
                # A view that repeats its few numbers, as many as a hostile file likes.
                stored = weight.untyped_storage().nbytes() // weight.element_size()
                values = weight.as_strided((stored,), (1,), 0)
            ends = torch.aminmax(values) if values.numel() else ()
        except RuntimeError as error:  # sparse, complex, of 8 bits, ...
            raise UserError(
                f"{path}: {one_line(name)} is no plain tensor of real numbers; save the weights "
                "as float32"
            ) from error
        if not all(torch.isfinite(end) for end in ends):
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


def build_to_fit(build: Callable[[], Network], state: Mapping[str, Tensor]) -> Network:
    """Build a network as a card describes it, and load its weights.

    It is built without memory first: a card may describe a network that is far too large, and the
    shapes in the file tell.

    Args:
        build: Builds the network; it is called twice.
        state: Weights by name.

    Raises:
        RuntimeError, ValueError: the weights are those of another network.

    Example:
        >>> from torch import nn
        >>> build_to_fit(lambda: nn.Linear(2, 3), nn.Linear(2, 3).state_dict())
        Linear(in_features=2, out_features=3, bias=True)
    """
    import torch
    from torch.nn.modules.module import register_module_parameter_registration_hook

    left = 4 * len(state) + 1000  # some modules register a parameter more than once

    def count(*_: object) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise ValueError(f"it has far more weights than the {len(state)} of the file")

    hook = register_module_parameter_registration_hook(count)
    try:
        with torch.device("meta"), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that nothing is copied
            shell = build()
            shell.load_state_dict(dict(state))
    finally:
        hook.remove()
    known = sum(tensor.numel() for tensor in state.values())
    if sum(buffer.numel() for buffer in shell.buffers()) > known + _MAX_EXTRA:
        raise ValueError(f"it computes far more values than the {known} of the file")
    network = build()
    network.load_state_dict(dict(state))
    return network


def read_card(path: Path) -> Card:
    """Return the card of a `.safetensors` file; numbers that are not finite are None.

    Raises:
        UserError: the file cannot be read, or artfp did not write it.
    """
    try:
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {})[CARD]
        if len(text) > _MAX_CARD:
            raise ValueError("too long")
        card = json.loads(text, parse_constant=_finite, parse_float=_finite)
        if not isinstance(card, dict):
            raise TypeError("the card is no object")
        _check_depth(card)
        return card
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} is not a readable .safetensors file ({error})") from error
    except (KeyError, ValueError, TypeError, RecursionError) as error:
        raise UserError(f"{path} has no artfp card; it was not written by artfp") from error


def _finite(text: str) -> float | None:
    number = float(text)
    return number if math.isfinite(number) else None


def _check_depth(value: object) -> None:
    level: list[object] = [value]
    for _ in range(_MAX_DEPTH):
        inner = [part for part in level if isinstance(part, dict | list)]
        level = [
            item for part in inner for item in (part.values() if isinstance(part, dict) else part)
        ]
        if not level:
            return
    raise ValueError("nested too deep")
