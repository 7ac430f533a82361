"""State dicts as `torch.save` writes them, read as weights only: nothing in a file is executed."""

from __future__ import annotations

import pickle
from pathlib import Path

import torch
from torch import Tensor

from artfp.core.errors import UserError


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Read the weights of a `.pth` file.

    Args:
        path: File of `torch.save(network.state_dict(), path)`.

    Returns:
        Weights by name, as they were saved.

    Raises:
        UserError: the file cannot be read, or holds more than tensors by name.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     torch.save(torch.nn.Linear(2, 3).state_dict(), f"{folder}/linear.pth")
        ...     state = read_state_dict(Path(folder, "linear.pth"))
        >>> {name: tuple(weight.shape) for name, weight in state.items()}
        {'weight': (3, 2), 'bias': (3,)}
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if not _is_pickle(path):
            raise UserError(f"{path} is not a readable checkpoint") from error
        raise UserError(
            f"{path} is refused: it holds more than weights and loading it could execute code; "
            "save the state dict alone"
        ) from error
    except Exception as error:  # a damaged file makes torch raise errors of any kind
        raise UserError(f"{path} is not a readable checkpoint") from error
    if not isinstance(state, dict) or not all(
        isinstance(name, str) and isinstance(weight, Tensor) for name, weight in state.items()
    ):
        raise UserError(f"{path} is not a plain state dict; save the network's state_dict() alone")
    return state


def _is_pickle(path: Path) -> bool:
    """Return whether a file begins like one of torch.save, of today (zip) or of old (pickle)."""
    with path.open("rb") as file:
        return file.read(2) in (b"PK", b"\x80\x02")
