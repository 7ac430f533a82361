"""The decoder as an attributor: the same bits as detection reads."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor

from artfp.data.pixels import as_batch
from artfp.passive.attributors.base import Embedder
from artfp.robustness.matching import MatchingBits
from artfp.robustness.methods import ArtfpEmbedder, read_bits
from artfp.watermark import Watermark
from artfp.watermark.api import decode_pixels, fingerprint_image
from artfp.watermark.networks.base import Decoder


class Corners(Decoder):
    """Reads all bits as whether the image is bright; remembers what it was given."""

    def __init__(self) -> None:
        super().__init__(8, 32)
        self.seen: list[Tensor] = []
        self.aspects: list[Tensor] = []

    def decode(self, x: Tensor, aspects: Tensor) -> tuple[Tensor, list[str]]:
        self.seen.append(x)
        self.aspects.append(aspects)
        return (x.mean(dim=(1, 2, 3)) - 0.5).view(-1, 1).expand(-1, 8), [""] * len(x)


def test_known_outputs() -> None:
    words = np.array([[1] * 8, [0] * 8, [1] * 6 + [0] * 2])
    attributor = MatchingBits(
        "own", partial(read_bits, Corners()), words, ("ones", "zeros", "mixed")
    )
    x = torch.stack([torch.full((3, 20, 50), 0.9), torch.full((3, 20, 50), 0.1)])
    kept = x.clone()
    assert attributor.scores(x).tolist() == [[8, 0, 6], [0, 8, 2]]
    assert torch.equal(x, kept)


def test_images_reach_the_decoder_at_its_resolution_with_their_aspect() -> None:
    decoder = Corners()
    read_bits(decoder, torch.rand(3, 3, 20, 50))
    assert decoder.seen[0].shape == (3, 3, 32, 32)
    assert decoder.aspects[0].tolist() == [pytest.approx(0.4)] * 3
    x = torch.randint(0, 256, (2, 3, 32, 32)) / 255.0
    read_bits(decoder, x)
    assert torch.equal(decoder.seen[1], x)


def test_reads_what_detection_reads(pair: Watermark, photographs: list[np.ndarray]) -> None:
    rng = np.random.default_rng(0)
    for photograph in photographs:
        word = rng.integers(0, 2, pair.bits).astype(np.uint8)
        for pixels in (photograph, fingerprint_image(pair.encoder, photograph, word)):
            found = read_bits(pair.decoder, as_batch(pixels))[0].numpy()
            np.testing.assert_array_equal(found, decode_pixels(pair.decoder, pixels))


def test_embedder_is_the_encoder(pair: Watermark, photographs: list[np.ndarray]) -> None:
    word = np.arange(pair.bits, dtype=np.uint8) % 2
    embedder = ArtfpEmbedder(pair.encoder, 0.5)
    assert isinstance(embedder, Embedder) and embedder.bits == 16
    assert embedder.refuses(1, 1) is None
    expected = fingerprint_image(pair.encoder, photographs[2], word, 0.5)
    np.testing.assert_array_equal(embedder.embed(photographs[2], word), expected)
