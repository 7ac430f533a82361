"""Photographs that come with scikit-image, whole and in pieces."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.pop("COLUMNS", None)  # pytest-xdist sets it, and tables would be cut to it

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data
from torch import Tensor

from artfp.nn import TinyAutoencoder
from artfp.watermark import Watermark, build_pair, save_network
from tests.golden import golden, pytest_addoption

__all__ = ["golden", "pytest_addoption"]

torch.set_num_threads(1)
# A shell ignores Ctrl-C in what it starts in the background; the tests of Ctrl-C send it.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def photographs() -> list[np.ndarray]:
    """Four photographs, (H, W, 3) uint8: 512x512, 400x600, 300x451, 427x640."""
    return [data.astronaut(), data.coffee(), data.chelsea(), data.rocket()]


@pytest.fixture(scope="session")
def photo_crops(photographs: list[np.ndarray]) -> Callable[..., Tensor]:
    """Random square pieces of the photographs: (count, side, seed) -> (count, 3, side, side)."""

    def cut(count: int, side: int, seed: int = 0) -> Tensor:
        rng = np.random.default_rng(seed)
        pieces = []
        for i in range(count):
            photograph = photographs[i % len(photographs)]
            factor = max(1, min(photograph.shape[:2]) // (2 * side))  # shrunk, to be rich in detail
            whole = Image.fromarray(photograph)
            size = (max(side, whole.width // factor), max(side, whole.height // factor))
            pixels = np.asarray(whole.resize(size, Image.Resampling.BICUBIC))
            top = rng.integers(0, pixels.shape[0] - side + 1)
            left = rng.integers(0, pixels.shape[1] - side + 1)
            pieces.append(pixels[top : top + side, left : left + side])
        return torch.from_numpy(np.stack(pieces)).permute(0, 3, 1, 2).contiguous()

    return cut


@pytest.fixture(scope="session")
def photo_folder(
    tmp_path_factory: pytest.TempPathFactory, photo_crops: Callable[..., Tensor]
) -> Path:
    """A folder of 120 PNG pieces of photographs, 48 pixels a side; not to be changed."""
    folder = tmp_path_factory.mktemp("photos")
    for number, piece in enumerate(photo_crops(120, 48, seed=1)):
        Image.fromarray(piece.permute(1, 2, 0).numpy()).save(folder / f"{number:03}.png")
    return folder


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with encoder.safetensors and decoder.safetensors: untrained, 16 bits at 32 px.

    They read photographs well all the same, at this strength.
    """
    folder = tmp_path_factory.mktemp("weights")
    encoder, decoder = build_pair("residual", 16, 32, seed=3)
    encoder.rescale(2.0)
    save_network(encoder, folder / "encoder.safetensors")
    save_network(decoder, folder / "decoder.safetensors")
    return folder


@pytest.fixture(scope="session")
def autoencoder_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with encoder.pth and decoder.pth of a tiny autoencoder: untrained, half precision."""
    folder = tmp_path_factory.mktemp("autoencoder")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = TinyAutoencoder(channels=4, width=8).half()
    torch.save(network.encoder.state_dict(), folder / "encoder.pth")
    torch.save(network.decoder.state_dict(), folder / "decoder.pth")
    return folder


@pytest.fixture(scope="session")
def pair(weights: Path) -> Watermark:
    """The same networks, loaded."""
    return Watermark.load(weights / "encoder.safetensors")
