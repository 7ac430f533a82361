"""Inception-v3 of the published FID, from a file of weights that the user gives.

torch-fidelity (Apache-2.0; the extra `fid`) holds the network with TensorFlow's resizing and reads
the weights converted from TensorFlow's: `weights-inception-2015-12-05-6726825d.pth` of its release
v0.2.0. Nothing is downloaded here.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
from collections.abc import Callable
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor, nn

from artfp.core.errors import UserError
from artfp.metrics.features import FeatureNetwork

__all__ = ["PUBLISHED_SHA256", "InceptionFeatures", "load_inception"]

PUBLISHED_SHA256 = "6726825d"
"""How the SHA-256 of the published weights begins: it is the end of their file's name."""


class InceptionFeatures(FeatureNetwork):
    """2048 pooled features of 8-bit images of any size; the network enlarges them to 299 itself.

    `published` tells whether the weights are those of the published FID.
    """

    def __init__(self, network: nn.Module, published: bool) -> None:
        super().__init__()
        self.network = network
        self.published = published
        self.names = ("fid", "kid") if published else ("frechet_inception", "kernel_inception")

    def forward(self, pixels: Tensor) -> Tensor:
        """Features (N, 2048) of images (N, 3, H, W), uint8."""
        found: Tensor = self.network(pixels)[0]
        return found


def load_inception(path: str | Path) -> InceptionFeatures:
    """The network with the weights of a file.

    Raises UserError: torch-fidelity is not installed, or the file is not a state of this network.
    """
    if importlib.util.find_spec("torch_fidelity") is None:
        raise UserError("--inception_weights needs torch-fidelity; run: pip install 'artfp[fid]'")
    from torch_fidelity import FeatureExtractorInceptionV3

    build: Callable[..., Any] = FeatureExtractorInceptionV3
    try:
        content = Path(path).read_bytes()
        # The library unpickles whatever it is given: let it have only what holds tensors alone.
        torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        network = build("inception", ["2048"], feature_extractor_weights_path=io.BytesIO(content))
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (RuntimeError, EOFError, ValueError, KeyError, TypeError, UnpicklingError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"{path}: not the weights of torch-fidelity's Inception-v3 "
            f"(weights-inception-2015-12-05-{PUBLISHED_SHA256}.pth): {reason}"
        ) from error
    published = hashlib.sha256(content).hexdigest().startswith(PUBLISHED_SHA256)
    return InceptionFeatures(network, published).eval()
