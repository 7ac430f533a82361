"""Inception-v3 of the published FID, from a file of weights that the user provides.

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
from typing import Any

import torch
from torch import Tensor, nn

from artfp.core.errors import UserError
from artfp.metrics.features import FeatureNetwork

PUBLISHED_SHA256 = "6726825d"
"""First digits of the SHA-256 of the published weights, the last of their file's name."""


class InceptionFeatures(FeatureNetwork):
    """Inception-v3 up to its pooling: 2048 features of 8-bit images of any size.

    The network enlarges them to 299 pixels itself.

    Args:
        network: The network of torch-fidelity.
        published: True if the weights are those of the published FID.
    """

    def __init__(self, network: nn.Module, published: bool) -> None:
        super().__init__()
        self.network = network
        self.published = published
        self.names = ("fid", "kid") if published else ("frechet_inception", "kernel_inception")

    def forward(self, pixels: Tensor) -> Tensor:
        """Return features (N, 2048) of images (N, 3, H, W), uint8."""
        found: Tensor = self.network(pixels)[0]
        return found


def load_inception(path: str | Path) -> InceptionFeatures:
    """Load the network with the weights of a file.

    Raises UserError: torch-fidelity is not installed, or the file is not a state of this network.
    """
    if importlib.util.find_spec("torch_fidelity") is None:
        raise UserError("--inception_weights needs torch-fidelity; run: pip install 'artfp[fid]'")
    from torch_fidelity import FeatureExtractorInceptionV3

    build: Callable[..., Any] = FeatureExtractorInceptionV3
    try:
        content = Path(path).read_bytes()
        # The library unpickles any file: give it only one that holds nothing but tensors.
        torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        network = build("inception", ["2048"], feature_extractor_weights_path=io.BytesIO(content))
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from None
    except Exception as error:  # a damaged file makes torch raise errors of any kind
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"{path}: not the weights of torch-fidelity's Inception-v3 "
            f"(weights-inception-2015-12-05-{PUBLISHED_SHA256}.pth): {reason}"
        ) from error
    published = hashlib.sha256(content).hexdigest().startswith(PUBLISHED_SHA256)
    return InceptionFeatures(network, published).eval()
