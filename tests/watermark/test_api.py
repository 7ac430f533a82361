"""One image at a time, against the network run by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from PIL import Image

from artfp.data import ImageError
from artfp.ownership.key import Key
from artfp.watermark import Decoder, Watermark, build_pair
from artfp.watermark.api import decode_pixels, fingerprint_image

BITS = 16


@pytest.fixture(scope="module")
def pair() -> Watermark:
    encoder, decoder = build_pair("residual", BITS, 64)
    encoder.rescale(3.0)
    return Watermark(encoder.eval(), decoder.eval())


def _photograph() -> np.ndarray:
    import skimage.data

    return skimage.data.astronaut()[:200, 100:400]


def test_fingerprint_image_keeps_size_and_input(pair: Watermark) -> None:
    image = _photograph()
    kept = image.copy()
    marked = fingerprint_image(pair.encoder, image, np.ones(BITS, np.uint8))
    assert marked.shape == image.shape and marked.dtype == np.uint8
    assert np.array_equal(image, kept) and not np.array_equal(marked, image)


def test_fingerprint_image_is_the_forward_pass_rounded(pair: Watermark) -> None:
    image, word = _photograph()[:64, :64], np.ones(BITS, np.uint8)
    x = torch.from_numpy(image.copy()).permute(2, 0, 1)[None] / 255.0
    with torch.no_grad():
        exact = pair.encoder(x, torch.ones(1, BITS))[0].permute(1, 2, 0).numpy() * 255
    assert np.abs(fingerprint_image(pair.encoder, image, word) - exact).max() <= 0.501


def test_strength_scales_the_difference(pair: Watermark) -> None:
    image, word = _photograph(), np.ones(BITS, np.uint8)
    one, half = (
        fingerprint_image(pair.encoder, image, word, strength).astype(float) - image
        for strength in (1.0, 0.5)
    )
    assert np.sqrt((half**2).mean() / (one**2).mean()) == pytest.approx(0.5, abs=0.1)


def test_min_psnr_holds_at_the_image_s_size(pair: Watermark) -> None:
    image, word = _photograph(), np.ones(BITS, np.uint8)
    for limit in (0.0, 45.0):
        marked = fingerprint_image(pair.encoder, image, word, min_psnr=limit)
        psnr = 10 * math.log10(255**2 / np.square(marked.astype(float) - image).mean())
        assert (psnr >= 44.9) == (limit == 45.0)


def test_watermark_from_pillow_to_detection_and_back(pair: Watermark) -> None:
    word = Key.from_seed(1).fingerprint(BITS)
    image = Image.fromarray(_photograph())
    marked = pair.embed(image, word)
    assert marked.size == image.size and marked.mode == "RGB"
    detection = pair.detect(marked, word)
    assert np.array_equal(detection.decoded, decode_pixels(pair.decoder, np.asarray(marked)))
    assert detection.matches == int((detection.decoded == word).sum()) >= 14
    tail = sum(math.comb(BITS, k) for k in range(detection.matches, BITS + 1)) / 2**BITS
    assert detection.log_p == pytest.approx(math.log(tail))
    assert f"{detection.matches} of {BITS}" in str(detection)


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK"])
def test_watermark_takes_any_mode(pair: Watermark, mode: str) -> None:
    image = Image.fromarray(_photograph()).convert(mode)
    assert pair.embed(image, np.ones(BITS, np.uint8)).mode == "RGB"


def test_watermark_refuses_floating_point(pair: Watermark) -> None:
    with pytest.raises(ImageError, match="floating-point"):
        pair.embed(Image.new("F", (64, 64)), np.ones(BITS, np.uint8))


def test_detection_tells_the_shape_of_the_image() -> None:
    """Height over width, of the image before it became a square; bits by the sign."""
    seen: list[torch.Tensor] = []

    class Spy(Decoder):
        def decode(self, x: torch.Tensor, aspects: torch.Tensor) -> tuple[torch.Tensor, list[str]]:
            assert x.shape == (1, 3, 32, 32)
            seen.append(aspects)
            return torch.tensor([[1.0, -1.0] * 4]), [""]

    word = decode_pixels(Spy(8, 32), _photograph())
    assert word.tolist() == [1, 0] * 4 and word.dtype == np.uint8
    assert torch.cat(seen).tolist() == pytest.approx([200 / 300])
