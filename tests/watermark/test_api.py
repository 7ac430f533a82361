"""One image at a time, against the network run by hand."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from artfp.core.errors import UserError
from artfp.data import ImageError
from artfp.ownership.key import Key
from artfp.watermark import Decoder, Watermark, build_pair, save_network
from artfp.watermark.api import decode_pixels, fingerprint_image

BITS = 16


@pytest.fixture(scope="module")
def pair() -> Watermark:
    encoder, decoder = build_pair("residual", BITS, 64)
    encoder.rescale(3.0)
    return Watermark(encoder.eval(), decoder.eval())


def _photograph() -> np.ndarray:
    import skimage.data

    result: np.ndarray = skimage.data.astronaut()[:200, 100:400]
    return result


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


def test_arrays_and_images_alike(pair: Watermark) -> None:
    fingerprint = Key.from_seed(1).fingerprint(BITS)
    image = Image.fromarray(_photograph())
    marked = pair.embed(np.asarray(image), fingerprint)
    assert np.array_equal(marked, np.asarray(pair.embed(image, fingerprint)))
    assert np.array_equal(pair.decode(marked), pair.decode(Image.fromarray(marked)))
    assert pair.detect(marked, fingerprint).matches >= 14


@pytest.mark.parametrize("size", [(64, 64), (100, 150)])
def test_a_batch_is_what_its_images_are(pair: Watermark, size: tuple[int, int]) -> None:
    """Not rounded to 8 bits; each image may carry a message of its own."""
    pixels = np.stack([_photograph()[: size[0], i : i + size[1]] for i in (0, 50, 100)])
    messages = np.stack([Key.from_seed(i).fingerprint(BITS) for i in range(3)])
    x = torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255.0
    marked = pair.embed(x, messages, strength=1.5)
    assert marked.shape == x.shape and marked.dtype == x.dtype and not marked.requires_grad
    for i, message in enumerate(messages):
        alone = pair.embed(pixels[i], message, strength=1.5)
        assert np.abs(marked[i].permute(1, 2, 0).numpy() * 255 - alone).max() <= 0.51
        assert np.array_equal(pair.decode(marked)[i], pair.decode(alone))
    found = pair.detect(marked, messages[0])
    assert [each.matches for each in found] == (pair.decode(marked) == messages[0]).sum(1).tolist()
    assert torch.equal(pair.embed(x, messages[0]), pair.embed(x, messages[[0, 0, 0]]))


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((8, 8), np.uint8), r"give uint8 \(H, W, 3\)"),
        (np.zeros((8, 8, 3)), "float64"),
        (torch.zeros(3, 8, 8), r"give floats \(N, 3, H, W\)"),
        (torch.zeros(1, 3, 8, 8, dtype=torch.uint8), "uint8"),
        (torch.full((1, 3, 8, 8), 255.0), r"outside \[0, 1\]"),
    ],
)
def test_refused_images(pair: Watermark, images: np.ndarray | torch.Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pair.decode(images)


def test_refused_fingerprints(pair: Watermark) -> None:
    for fingerprint, message in (
        ([1] * 5, "16 bits"),
        ([2] * BITS, "other values than 0 and 1"),
        ([[1] * BITS] * 2, "give one"),
    ):
        with pytest.raises(ValueError, match=message):
            pair.embed(_photograph(), fingerprint)
        with pytest.raises(ValueError, match=message):
            pair.detect(_photograph(), fingerprint)


def test_networks_of_two_trainings(weights: Path, tmp_path: Path) -> None:
    save_network(build_pair("residual", 24, 32)[1], tmp_path / "decoder.safetensors")
    with pytest.raises(UserError, match=r"embeds 16 bits and .* decodes 24"):
        Watermark.load(weights / "encoder.safetensors", tmp_path / "decoder.safetensors")


def test_an_image_that_cannot_carry_the_bits_is_refused(pair: Watermark) -> None:
    for image in (np.zeros((5, 90, 3), np.uint8), torch.zeros(2, 3, 5, 90)):
        with pytest.raises(ImageError, match="90x5 px cannot carry 16 bits"):
            pair.embed(image, [1] * 16)
