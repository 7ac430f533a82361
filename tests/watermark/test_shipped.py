"""The weights that come with the package, on photographs that they were never trained on."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from artfp.data.bundle import find_weights, read_card, shipped_weights
from artfp.ownership.key import Key
from artfp.watermark import Watermark
from artfp.watermark.measure import measure_images


def test_names() -> None:
    assert shipped_weights() == ["cifar32", "photo128", "transfer32"]


@pytest.mark.parametrize(
    "name,bits,resolution", [("photo128", 100, 128), ("cifar32", 64, 32), ("transfer32", 64, 32)]
)
def test_cards(name: str, bits: int, resolution: int) -> None:
    for kind in ("encoder", "decoder"):
        path = find_weights(name, kind)
        card = read_card(path)
        assert (card["kind"], card["bits"], card["resolution"]) == (kind, bits, resolution)
        assert card["training"]["command"].startswith("train.py --data_dir ")
        assert card["measured"]["bit_accuracy"] >= 0.999
        assert path.stat().st_size < 10_000_000


def test_photographs_of_any_size(photographs: list[np.ndarray]) -> None:
    pair, word = Watermark.load("photo128"), Key.from_seed(1).fingerprint(100)
    for photograph in photographs:
        image = Image.fromarray(photograph)
        marked = pair.embed(image, word)
        assert pair.detect(marked, word).matches == 100
        assert pair.detect(marked.transpose(Image.Transpose.FLIP_LEFT_RIGHT), word).matches >= 99
        half = marked.resize((image.width // 2, image.height // 2), Image.Resampling.BICUBIC)
        assert pair.detect(half, word).matches >= 98
        assert 30 <= pair.detect(image, word).matches <= 70


@pytest.mark.parametrize("name", ["photo128", "cifar32"])
def test_pictures_within_an_image(name: str, photo_crops: Callable[..., Tensor]) -> None:
    pair = Watermark.load(name)
    word = Key.from_seed(1).fingerprint(pair.encoder.bits)
    pieces = photo_crops(4, 160, seed=4).permute(0, 2, 3, 1).contiguous().numpy()
    marked = np.array(pair.embed(Image.fromarray(pieces[2]), word))
    plain = pieces[0], pieces[1], pieces[3]
    row, column = np.mgrid[:300, :300]
    frame = np.stack([row // 2, column // 2, 255 - row // 2], axis=2).astype(np.uint8)
    frame[70:230, 60:220] = marked
    pictures = {
        "frame": frame,
        "three": np.concatenate([plain[0], marked, plain[1]], axis=1),
        "column": np.concatenate([plain[0], plain[1], marked], axis=0),
        "square": np.concatenate(
            [np.concatenate([plain[0], plain[1]], 1), np.concatenate([marked, plain[2]], 1)], 0
        ),
    }
    for what, pixels in pictures.items():
        found = pair.detect(Image.fromarray(pixels), word)
        assert found.matches >= 0.9 * found.bits, what
    assert pair.detect(Image.fromarray(np.concatenate(plain, axis=1)), word).log_p > np.log(1e-3)


@pytest.mark.parametrize(
    "name,side,psnr,jpeg90",
    [("photo128", 128, 38.0, 0.85), ("cifar32", 32, 34.0, 0.85), ("transfer32", 32, 34.0, 0.75)],
)
def test_figures_on_pieces(
    name: str, side: int, psnr: float, jpeg90: float, photo_crops: Callable[..., Tensor]
) -> None:
    pair = Watermark.load(name)
    pieces = photo_crops(16, side, seed=4).permute(0, 2, 3, 1).contiguous().numpy()
    figures = measure_images(pair.encoder, pair.decoder, pieces)
    assert figures["bit_accuracy"] >= 0.99
    assert figures["bit_accuracy_mirror"] >= 0.99
    assert figures["bit_accuracy_jpeg90"] >= jpeg90
    assert figures["psnr"] >= psnr
    assert torch.is_tensor(pair.encoder.get_parameter("log_strength"))
